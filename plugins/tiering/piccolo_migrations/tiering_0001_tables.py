from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "tiering_0001"

FORWARDS = (
    """create table tier (
    id uuid primary key,
    name text not null,
    rank integer not null,
    discount_percent numeric(19, 4),
    benefits jsonb,
    description text,
    auto boolean not null default false,
    rule jsonb,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    updated_by uuid,
    version integer not null default 1,
    deleted_at timestamptz,
    name_fold text generated always as (public.crm_fold(name)) stored)""",
    "create unique index tier_name on tier (name) where deleted_at is null",
    "create unique index tier_rank on tier (rank) where deleted_at is null",
    """create table tier_member (
    id uuid primary key,
    customer_id uuid not null unique references customer on delete cascade,
    tier_id uuid not null references tier on delete cascade,
    pinned boolean not null default false,
    since timestamptz not null,
    source text not null)""",
    "create index tier_member_tier on tier_member (tier_id, customer_id)",
)


async def create() -> None:
    for statement in FORWARDS:
        await ENGINE.run_ddl(statement)


async def drop() -> None:
    await ENGINE.run_ddl("drop table tier_member")
    await ENGINE.run_ddl("drop table tier")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="tiering", description="Tiers and who has them")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
