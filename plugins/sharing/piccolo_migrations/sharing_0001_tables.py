from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "sharing_0001"

# The ledger outlives whom and what it tells of, so it refers to nothing but itself.
FORWARDS = (
    """create table sharing_act (
    id uuid primary key,
    change_set_id uuid not null,
    action text not null check (action in ('SHARE', 'UNSHARE', 'TRANSFER')),
    source text not null,
    through text,
    at timestamptz not null,
    by_id uuid,
    from_id uuid,
    to_user_id uuid,
    to_team_id uuid,
    to_everyone boolean not null default false,
    can_edit boolean not null default false,
    kept_as_viewer boolean not null default false,
    customer_count integer not null default 0,
    constraint sharing_act_once unique nulls not distinct
        (change_set_id, action, from_id, to_user_id, to_team_id, to_everyone, through, can_edit))""",
    "create index sharing_act_newest on sharing_act (at desc, id desc)",
    "create index sharing_act_from on sharing_act (from_id, at desc, id desc)",
    "create index sharing_act_to on sharing_act (to_user_id, at desc, id desc)",
    "create index sharing_act_by on sharing_act (by_id, at desc, id desc)",
    """create table sharing_act_customer (
    id uuid primary key default gen_random_uuid(),
    act_id uuid not null references sharing_act on delete cascade,
    customer_id uuid not null,
    unique (act_id, customer_id))""",
    "create index sharing_act_customer_customer on sharing_act_customer (customer_id)",
)


async def create() -> None:
    for statement in FORWARDS:
        await ENGINE.run_ddl(statement)


async def drop() -> None:
    await ENGINE.run_ddl("drop table sharing_act_customer")
    await ENGINE.run_ddl("drop table sharing_act")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="sharing", description="The ledger of sharing and transfers")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
