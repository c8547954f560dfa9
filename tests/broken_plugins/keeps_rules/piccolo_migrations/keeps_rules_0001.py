from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "keeps_rules_0001"


async def create():
    await ENGINE.run_ddl(
        "create table watch (id uuid primary key, name text, rule jsonb, created_at timestamptz, created_by uuid, "
        "updated_at timestamptz, updated_by uuid, version integer not null default 1, deleted_at timestamptz)"
    )


async def drop():
    await ENGINE.run_ddl("drop table watch")


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="keeps_rules", description="")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
