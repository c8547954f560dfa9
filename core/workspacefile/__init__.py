"""A workspace's feature set as one file: read, compared with what is there, applied, and written.

`document` is the file's text, `references` how records are named in it, `sections` the records of configuration,
`plan` the whole. No record type is known here: what stands in the file follows from the declarations.
"""
