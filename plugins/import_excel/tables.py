"""The plugin's tables, as Piccolo sees them; their SQL is in the migrations.

Not here: `import_row`, the staged cells of a file, `import_match`, which of them are duplicates, and `import_mapping`,
the mapping that was last used for a set of headers. No client reads them.
"""

from __future__ import annotations

from piccolo.columns import JSONB, UUID, Boolean, Integer, Text, Timestamptz
from piccolo.table import Table


class Import(Table, tablename="import"):
    """Imports, from the upload of a file to its end."""

    id = UUID(primary_key=True)
    file_id = UUID(null=True, default=None)
    file_name = Text()
    file_hash = Text()
    state = Text()
    sheet = Text()
    header_row = Integer()
    row_count = Integer()
    found = JSONB()
    plan = JSONB(null=True, default=None)
    fingerprint = Text(null=True, default=None)
    preview = JSONB(null=True, default=None)
    counts = JSONB(null=True, default=None)
    preview_job_id = UUID(null=True, default=None)
    job_id = UUID(null=True, default=None)
    undo_job_id = UUID(null=True, default=None)
    failed_file_id = UUID(null=True, default=None)
    created_at = Timestamptz()
    created_by = UUID(null=True, default=None)


class ImportFault(Table, tablename="import_fault"):
    """What is wrong with rows of an import."""

    id = UUID(primary_key=True)
    import_id = UUID()
    sheet = Text()
    row_no = Integer()
    column_index = Integer(null=True, default=None)
    field = Text(null=True, default=None)
    value = Text(null=True, default=None)
    code = Text()
    reason = Text()
    fix = Text()
    skipped = Boolean(default=False)
