from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "comes_back_otherwise_0001"


async def create():
    await ENGINE.run_ddl("create table other_thing (id uuid)")


async def drop():
    await ENGINE.run_ddl("drop table other_thing")


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="comes_back_otherwise", description="")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
