from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "groups_0001"

FORWARDS = (
    """create table customer_group (
    id uuid primary key,
    name text not null,
    family text,
    points integer not null default 0,
    description text,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    updated_by uuid,
    version integer not null default 1,
    deleted_at timestamptz,
    name_fold text generated always as (public.crm_fold(name)) stored,
    family_fold text generated always as (public.crm_fold(coalesce(family, ''))) stored)""",
    "create unique index customer_group_name on customer_group (family_fold, name_fold) where deleted_at is null",
    "create index customer_group_newest on customer_group (created_at desc, id desc) where deleted_at is null",
    """create table group_member (
    id uuid primary key,
    customer_id uuid not null references customer on delete cascade,
    group_id uuid not null references customer_group on delete cascade,
    unique (customer_id, group_id))""",
    "create index group_member_group on group_member (group_id, customer_id)",
)


async def create() -> None:
    for statement in FORWARDS:
        await ENGINE.run_ddl(statement)


async def drop() -> None:
    await ENGINE.run_ddl("drop table group_member")
    await ENGINE.run_ddl("drop table customer_group")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="groups", description="Groups and their members")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
