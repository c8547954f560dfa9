"""The queue of background work in one database: pgqueuer's tables in the schema `crm`, and the one way in.

Workspaces see none of its rows. All that their roles may do is call `crm.enqueue`, which writes down who called.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.models import Job, TracebackRecord
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import JOB_STATUS, Channel, JobId

#: All kinds of job are one entry point to pgqueuer: which kinds there are differs between workspaces.
ENTRYPOINT = "job"
#: The name under which workers are connected.
WORKER = "headless-crm worker"

#: All of it said, so that no PGQUEUER_ variable of the environment moves or weakens the queue.
NAMES = DBSettings(
    db_schema="crm",
    prefix="",
    channel=Channel("crm_queue"),
    function="fn_pgqueuer_changed",
    statistics_table="pgqueuer_statistics",
    queue_status_type="pgqueuer_status",
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    trigger="tg_pgqueuer_changed",
    schedules_table="pgqueuer_schedules",
    durability=Durability.durable,
)

#: `role` is still the workspace's inside the function, whose current_user is its owner.
_ENQUEUE = f"""
create function crm.enqueue(job uuid, delay interval, allowed jsonb) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    caller text := current_setting('role');
    queued bigint;
begin
    if caller = 'none' then
        raise insufficient_privilege using message = 'only a workspace enqueues jobs';
    end if;
    insert into crm.pgqueuer (priority, entrypoint, payload, execute_after, dedupe_key, status)
    values (
        0, '{ENTRYPOINT}',
        convert_to(json_build_object('role', caller, 'job', job, 'allowed', allowed)::text, 'UTF8'),
        now() + delay, caller || ' ' || job, 'queued'
    ) returning id into queued;
    insert into crm.pgqueuer_log (job_id, status, entrypoint, priority) values (queued, 'queued', '{ENTRYPOINT}', 0);
end
$$;
grant usage on schema crm to public;
"""


def install_sql() -> str:
    """The statements that create the queue in a database which has the schema `crm` and no queue yet."""
    return QueryBuilderEnvironment(NAMES).build_install_query(create_schema=False) + _ENQUEUE


class Queue(Queries):
    """pgqueuer's statements on one connection, which must be a plain asyncpg one without codecs.

    A worker that was taken for dead, because its event loop stood still, must not settle a queue row that
    another worker holds by now: pgqueuer looks only at the row's id.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        super().__init__(
            AsyncpgDriver(connection),
            QueryBuilderEnvironment(NAMES),
            QueryQueueBuilder(NAMES),
            QuerySchedulerBuilder(NAMES),
        )

    async def log_jobs(self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]) -> None:
        """Settle jobs that are done with, as far as they are still this worker's."""
        held = await self._held([job for job, _, _ in job_status])
        if ours := [entry for entry in job_status if entry[0].id in held]:
            await super().log_jobs(ours)

    async def retry_job(self, job: Job, delay: timedelta, traceback_record: TracebackRecord | None) -> None:
        """Put a job back into the queue, if it is still this worker's."""
        if await self._held([job]):
            await super().retry_job(job, delay, traceback_record)

    async def times_lost(self, job: Job) -> int:
        """How often a worker took the job and never said what became of it."""
        history = await self.job_log_history(job.id, limit=1000)
        return sum(entry.status == "picked" for entry in history) - job.attempts - 1

    async def prune(self, days: int, schedules: Sequence[str]) -> None:
        """Drop what is older than some days: the queue's log and counts, and schedules nobody has any more."""
        age = timedelta(days=days)
        for table in ("pgqueuer_log", "pgqueuer_statistics"):
            await self.driver.execute(f"delete from crm.{table} where created < now() - $1::interval", age)
        await self.driver.execute(
            "delete from crm.pgqueuer_schedules where entrypoint <> all($1::text[]) and updated < now() - $2::interval",
            list(schedules),
            age,
        )

    async def _held(self, jobs: Sequence[Job]) -> set[JobId]:
        rows = await self.driver.fetch(
            "select q.id from crm.pgqueuer q join unnest($1::bigint[], $2::uuid[]) as held (id, worker)"
            " on q.id = held.id and q.queue_manager_id = held.worker",
            [job.id for job in jobs],
            [job.queue_manager_id for job in jobs],
        )
        return {JobId(int(str(row["id"]))) for row in rows}
