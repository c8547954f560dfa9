from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core.engine import ENGINE

ID = "core_0007"

#: What people sort customers by, besides the newest first: of a million it took a quarter of a second each time.
FIELDS = ("code", "name")


async def create() -> None:
    for field in FIELDS:
        await ENGINE.run_ddl(
            f"create index customer_by_{field} on customer ({field}_fold, id) where deleted_at is null"
        )


async def drop() -> None:
    for field in FIELDS:
        await ENGINE.run_ddl(f"drop index customer_by_{field}")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="core", description="Customers in order of code and of name")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
