from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core.engine import ENGINE

ID = "core_0006"

TABLES = ("customer", "contact", "opportunity")
#: Samples of a text that PostgreSQL keeps to guess how many rows contain something. Of the usual 100 one in a hundred
#: is missed too often: it then gathers all that match, where walking to the first of them would be quicker by far.
SAMPLES = 400


async def sample(samples: int = SAMPLES) -> None:
    for table in TABLES:
        await ENGINE.run_ddl(f"alter table {table} alter column search_fold set statistics {samples}")


async def as_usual() -> None:
    await sample(-1)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="core", description="More samples of what is searched")
    manager.add_raw(sample)
    manager.add_raw_backwards(as_usual)
    return manager
