from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "import_excel_0002"

#: Imports are never deleted, and their rows are only staged along with them: each row would pay for what always holds.
TABLES = ("import_row", "import_match")


async def drop() -> None:
    for table in TABLES:
        await ENGINE.run_ddl(f"alter table {table} drop constraint {table}_import_id_fkey")


async def restore() -> None:
    for table in TABLES:
        await ENGINE.run_ddl(
            f"alter table {table} add constraint {table}_import_id_fkey "
            "foreign key (import_id) references import on delete cascade"
        )


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="import_excel", description="Staged rows without references")
    manager.add_raw(drop)
    manager.add_raw_backwards(restore)
    return manager
