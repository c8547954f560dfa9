"""`crm plugin check`: small rules that a plugin keeps, each under a code.

Some look at its files, some at the plugin loaded and composed, some at how it does in a workspace.

`table.py` lists the rules; a file holds one family of them. `docs/plugins/check.md` explains each under its code.
"""
