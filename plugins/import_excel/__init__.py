"""Import customers from any spreadsheet, and export them to one that imports again without a change.

A file is uploaded, its columns are recognised and mapped to fields, a preview says what would become of each row, and
a job does it: resumable, with a workbook of what failed, and undone as a whole.
"""
