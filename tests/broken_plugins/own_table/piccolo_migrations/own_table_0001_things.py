from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "own_table_0001"


async def create():
    await ENGINE.run_ddl("create table own_thing (id uuid primary key, name text not null, c uuid references customer)")


async def drop():
    await ENGINE.run_ddl("drop table own_thing")


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="own_table", description="")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
