from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core.engine import ENGINE

ID = "core_0004"

FIELDS = ("code", "name", "email", "phone")


async def create() -> None:
    # The text that search looks through holds that of each field: one index serves all of them.
    for field in FIELDS:
        await ENGINE.run_ddl(f"drop index customer_{field}_fold")
    await ENGINE.run_ddl(
        "alter table opportunity add column search_fold text generated always as (public.crm_fold(name)) stored"
    )
    await ENGINE.run_ddl("create index opportunity_search on opportunity using gin (search_fold gin_trgm_ops)")


async def drop() -> None:
    await ENGINE.run_ddl("alter table opportunity drop column search_fold")
    for field in FIELDS:
        await ENGINE.run_ddl(f"create index customer_{field}_fold on customer using gin ({field}_fold gin_trgm_ops)")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="core", description="One index for search, opportunities too")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
