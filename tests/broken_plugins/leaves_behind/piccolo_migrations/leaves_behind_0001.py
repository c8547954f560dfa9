from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "leaves_behind_0001"


async def create():
    await ENGINE.run_ddl("create table if not exists left_thing (id uuid primary key)")


async def drop():
    await ENGINE.run_ddl("select 1")


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="leaves_behind", description="")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
