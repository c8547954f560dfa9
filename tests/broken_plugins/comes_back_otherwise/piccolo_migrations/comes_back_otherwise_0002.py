from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "comes_back_otherwise_0002"


async def create():
    await ENGINE.run_ddl("alter table other_thing add column if not exists n int default 0")


async def drop():
    await ENGINE.run_ddl("alter table other_thing alter column n drop default")


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="comes_back_otherwise", description="")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
