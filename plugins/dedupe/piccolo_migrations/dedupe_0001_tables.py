from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "dedupe_0001"

FORWARDS = (
    "create sequence dedupe_set as integer",
    """create table dedupe_criterion (
    id uuid primary key,
    name text,
    fields text[] not null,
    exact text[],
    effect text not null check (effect in ('BLOCK', 'WARN')),
    in_contacts boolean not null default true,
    set_id integer not null default nextval('dedupe_set'),
    status text not null default 'BUILDING' check (status in ('BUILDING', 'ACTIVE')),
    progress numeric,
    made_with text not null default '',
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    updated_by uuid,
    version integer not null default 1,
    deleted_at timestamptz)""",
    "create index dedupe_criterion_newest on dedupe_criterion (created_at desc, id desc) where deleted_at is null",
    # No foreign keys: whoever writes customers would pay for each, and customers are never really removed.
    """create table dedupe_key (
    set_id integer not null,
    key text collate "C" not null,
    customer_id uuid not null,
    contact_id uuid,
    live boolean not null default true,
    free boolean not null default false)""",
    "create index dedupe_key_key on dedupe_key (set_id, key, customer_id) include (contact_id) where live",
    "create index dedupe_key_dead on dedupe_key (set_id, key, customer_id) where not live",
    "create index dedupe_key_customer on dedupe_key (customer_id)",
    # Of those who find a key free at the same time, one is let in.
    "create unique index dedupe_key_free on dedupe_key (set_id, key) where free",
    """create table dedupe_dismissal (
    id uuid primary key,
    customer_id uuid not null references customer on delete cascade,
    other_id uuid not null references customer on delete cascade,
    unique (customer_id, other_id))""",
    "create index dedupe_dismissal_other on dedupe_dismissal (other_id)",
)


async def create() -> None:
    for statement in FORWARDS:
        await ENGINE.run_ddl(statement)


async def drop() -> None:
    for table in ("dedupe_dismissal", "dedupe_key", "dedupe_criterion"):
        await ENGINE.run_ddl(f"drop table {table}")
    await ENGINE.run_ddl("drop sequence dedupe_set")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="dedupe", description="Criteria, keys and dismissals")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
