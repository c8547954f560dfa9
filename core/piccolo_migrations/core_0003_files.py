from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core.engine import ENGINE

ID = "core_0003"

STATEMENTS = (
    """
    create table file (
        id uuid primary key,
        name text not null,
        content_type text not null,
        size integer not null,
        sha256 text not null,
        purpose text not null,
        created_at timestamptz not null default now(),
        created_by uuid,
        expires_at timestamptz
    )""",
    "create index file_newest on file (created_at desc, id desc)",
    "create index file_creator on file (created_by, created_at desc, id desc)",
    "create index file_expiry on file (expires_at) where expires_at is not null",
)


async def create() -> None:
    for statement in STATEMENTS:
        await ENGINE.run_ddl(statement)


async def drop() -> None:
    await ENGINE.run_ddl("drop table file")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="core", description="Files that are kept")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
