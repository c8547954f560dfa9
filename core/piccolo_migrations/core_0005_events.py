from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core.engine import ENGINE

ID = "core_0005"

#: The transaction that wrote a change set: with a snapshot it tells what was committed since, whatever the order.
STATEMENTS = (
    "alter table change_set add column xid xid8 not null default '0'",
    "alter table change_set alter column xid set default pg_current_xact_id()",
    "create index change_set_xid on change_set (xid)",
)


async def create() -> None:
    for statement in STATEMENTS:
        await ENGINE.run_ddl(statement)


async def drop() -> None:
    await ENGINE.run_ddl("alter table change_set drop column xid")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="core", description="What was committed since when")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
