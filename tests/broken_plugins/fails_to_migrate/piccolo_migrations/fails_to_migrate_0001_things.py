from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "fails_to_migrate_0001"


async def create():
    await ENGINE.run_ddl(
        "create table failing_thing (id uuid primary key, name text not null, c uuid references nowhere)"
    )


async def drop():
    await ENGINE.run_ddl("drop table failing_thing")


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="fails_to_migrate", description="")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
