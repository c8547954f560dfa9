from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "import_excel_0001"

TABLES = {
    "import": """
    id uuid primary key,
    file_id uuid,
    file_name text not null,
    file_hash text not null,
    state text not null,
    sheet text not null,
    header_row integer not null,
    row_count integer not null,
    found jsonb not null,
    plan jsonb,
    fingerprint text,
    preview jsonb,
    counts jsonb,
    preview_job_id uuid,
    job_id uuid,
    undo_job_id uuid,
    failed_file_id uuid,
    created_at timestamptz not null default now(),
    created_by uuid""",
    # Kept as text: cells are parsed once, in Python, and only key columns are looked into here.
    "import_row": """
    import_id uuid not null references import on delete cascade,
    row_no integer not null,
    cells json not null,
    primary key (import_id, row_no)""",
    "import_match": """
    import_id uuid not null references import on delete cascade,
    row_no integer not null,
    field text not null,
    first_row integer,
    customer_id uuid,
    primary key (import_id, row_no, field)""",
    "import_fault": """
    id uuid primary key,
    import_id uuid not null references import on delete cascade,
    sheet text not null,
    row_no integer not null,
    column_index integer,
    field text,
    value text,
    code text not null,
    reason text not null,
    fix text not null,
    skipped boolean not null default false""",
    "import_mapping": """
    headers text primary key,
    targets jsonb not null,
    at timestamptz not null default now()""",
}
INDEXES = (
    "index import_newest on import (created_at desc, id desc)",
    "unique index import_fingerprint on import (fingerprint) where state in ('RUNNING', 'DONE')",
    "index import_fault_import on import_fault (import_id, row_no, id)",
)


async def create() -> None:
    for name, columns in TABLES.items():
        await ENGINE.run_ddl(f"create table {name} ({columns})")
    for index in INDEXES:
        await ENGINE.run_ddl(f"create {index}")


async def drop() -> None:
    for name in reversed(TABLES):
        await ENGINE.run_ddl(f"drop table {name}")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="import_excel", description="Imports, their rows and faults")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
