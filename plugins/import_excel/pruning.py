"""Forgetting what imports no longer need: staged rows and matches of those that are old."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core import JobContext, JobType
from plugins.import_excel.settings import Settings

PRUNE = "import_excel.prune"

_OLD = """
select id from import i where created_at < now() - make_interval(days => $1)
and not exists (select from job j where j.id in (i.job_id, i.preview_job_id) and j.status in ('QUEUED', 'RUNNING'))
and exists (select from import_row r where r.import_id = i.id)
"""


def pruning(settings: Settings) -> JobType:
    """The job that forgets the rows of imports after `keep_days`; what became of them is kept."""

    async def run(job: JobContext) -> Mapping[str, Any]:
        async with job.connection() as connection:
            old = [row["id"] for row in await connection.fetch(_OLD, settings.keep_days)]
        for import_id in old:
            async with job.database.transaction(job.workspace, statement_timeout_ms=0) as connection:
                await connection.execute("delete from import_row where import_id = $1", import_id)
                await connection.execute("delete from import_match where import_id = $1", import_id)
        return {"imports": len(old)}

    return JobType(PRUNE, "Forgets the staged rows of old imports.", run, schedule="40 3 * * *")
