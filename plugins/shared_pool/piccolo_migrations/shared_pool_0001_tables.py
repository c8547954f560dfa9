from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "shared_pool_0001"

TABLES = {
    "pool": """
    id uuid primary key,
    name text not null,
    description text,
    open_to_all boolean not null default true,
    rule jsonb,
    waiting_days integer check (waiting_days between 1 and 3650),
    waiting_field text,
    release_on_exit boolean not null default false,
    owner_on_entry text not null default 'KEEP' check (owner_on_entry in ('KEEP', 'CLEAR')),
    claims_per_day integer check (claims_per_day >= 1),
    most_held integer check (most_held >= 1),
    cool_down_days integer check (cool_down_days between 1 and 3650),
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    updated_by uuid,
    version integer not null default 1,
    deleted_at timestamptz,
    name_fold text generated always as (public.crm_fold(name)) stored""",
    "pool_team": """
    id uuid primary key,
    pool_id uuid not null references pool on delete cascade,
    team_id uuid not null references team on delete cascade,
    unique (pool_id, team_id)""",
    "pool_member": """
    id uuid primary key,
    pool_id uuid not null references pool on delete cascade,
    customer_id uuid not null references customer on delete cascade,
    by_rule boolean not null default false,
    since timestamptz not null,
    unique (customer_id, pool_id)""",
    "pool_absence": """
    id uuid primary key,
    pool_id uuid not null references pool on delete cascade,
    customer_id uuid not null references customer on delete cascade,
    since timestamptz not null,
    unique (customer_id, pool_id)""",
    "pool_claim": """
    id uuid primary key,
    pool_id uuid not null references pool on delete cascade,
    customer_id uuid not null references customer on delete cascade,
    user_id uuid not null references app_user on delete cascade,
    at timestamptz not null""",
    # When each pool's rule was last followed for the sake of the clock.
    "pool_pass": """
    pool_id uuid primary key references pool on delete cascade,
    at timestamptz not null""",
}

INDEXES = (
    "unique index pool_name on pool (name_fold) where deleted_at is null",
    "index pool_newest on pool (created_at desc, id desc) where deleted_at is null",
    "index pool_team_team on pool_team (team_id)",
    "index pool_member_pool on pool_member (pool_id, customer_id)",
    "index pool_absence_pool on pool_absence (pool_id, since)",
    "index pool_claim_pool on pool_claim (pool_id, user_id, at)",
    "index pool_claim_customer on pool_claim (customer_id, pool_id, at)",
    "index pool_claim_user on pool_claim (user_id)",
)


async def create() -> None:
    for name, columns in TABLES.items():
        await ENGINE.run_ddl(f"create table {name} ({columns})")
    for index in INDEXES:
        await ENGINE.run_ddl(f"create {index}")


async def drop() -> None:
    for name in reversed(TABLES):
        await ENGINE.run_ddl(f"drop table {name}")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="shared_pool", description="Pools and who is in them")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
