"""`crm plugin new`: a plugin to begin with, complete and as a package of its own.

The files are in `templates`, each beside its name: `PACKAGE` and `NAME` in a path stand for those of the new plugin,
`dot_` for a dot. In the files a `~name` stands for one of `Names`.
"""
