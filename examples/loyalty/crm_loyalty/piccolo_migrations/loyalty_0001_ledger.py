from core import ENGINE
from piccolo.apps.migrations.auto.migration_manager import MigrationManager

ID = "loyalty_0001"

FORWARDS = (
    """create table loyalty_entry (
    id uuid primary key,
    customer_id uuid not null references customer on delete cascade,
    kind text not null,
    points integer not null,
    note text,
    expires_at timestamptz,
    created_at timestamptz not null default now(),
    created_by uuid)""",
    "create index loyalty_entry_customer on loyalty_entry (customer_id, created_at desc, id desc)",
)


async def create() -> None:
    for statement in FORWARDS:
        await ENGINE.run_ddl(statement)


async def drop() -> None:
    await ENGINE.run_ddl("drop table loyalty_entry")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="loyalty", description="The ledger")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
