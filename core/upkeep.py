"""What a large change set leaves to be done: the planner's statistics, and the text indexes' waiting lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.changes import Batch, ChangeSet
from core.jobs import JobContext, JobType, enqueue
from core.sql import quote

KIND = "core.upkeep"
#: From how many rows on a change set is large.
LARGE = 20_000

_PENDING = """
select gin_clean_pending_list(c.oid::regclass) from pg_index i
join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
where i.indrelid = $1::text::regclass and a.amname = 'gin'
"""


async def look_after(batch: Batch, changes: ChangeSet) -> None:
    """Once a change set becomes large, let text indexes gather more before they sort it in, and see to them later."""
    total = sum(sum(by_action.values()) for by_action in changes.touched.values())
    if total - len(batch.rows) < LARGE <= total:
        await changes.connection.execute("set local gin_pending_list_limit = '64MB'")
        order = {"changeSet": str(changes.id)}
        await enqueue(changes.connection, changes.context.workspace, KIND, order, None)


async def _run(job: JobContext) -> Mapping[str, Any]:
    async with job.database.transaction(job.workspace, statement_timeout_ms=0) as connection:
        names = await connection.fetch(
            "select distinct record_type from change where change_set_id = $1", job.input["changeSet"]
        )
    catalog = job.policy.catalog
    tables = [catalog[r["record_type"]].type.tablename for r in names if r["record_type"] in catalog]
    for table in (*sorted(tables), "change"):
        # A transaction for each: whoever looks after two tables at once waits for others who do so, too.
        async with job.database.transaction(job.workspace, statement_timeout_ms=0) as connection:
            await connection.execute(f"analyze {quote(table)}")
            await connection.fetch(_PENDING, quote(table))
    return {"tables": sorted(tables)}


UPKEEP = JobType(KIND, "Brings statistics and text indexes up to date after a large change set.", _run)
