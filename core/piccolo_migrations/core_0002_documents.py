from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core.engine import ENGINE

ID = "core_0002"


async def add() -> None:
    await ENGINE.run_ddl("alter table persisted_document add column used_at timestamptz")


async def drop() -> None:
    await ENGINE.run_ddl("alter table persisted_document drop column used_at")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="core", description="When persisted documents were used")
    manager.add_raw(add)
    manager.add_raw_backwards(drop)
    return manager
