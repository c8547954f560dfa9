"""Running jobs to their end in this process, as a worker would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import methodcaller
from typing import Any
from uuid import UUID

import orjson

from core.attempt import Attempts, Features, Order
from core.context import Actor, Workspace
from core.database import Database
from core.jobs import enqueue

#: Failures show the test's own lines.
__tracebackhide__ = methodcaller("errisinstance", AssertionError)

_ENDED = "select kind, status, result, error, counts, change_set_ids from job where id = $1"
#: More jobs than this cause each other without end.
MOST = 1000


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended: `status` is DONE, FAILED or CANCELLED; `attempts` is how often it was begun."""

    id: UUID
    kind: str
    status: str
    result: Any
    error: str | None
    counts: Mapping[str, Any]
    change_sets: tuple[UUID, ...]
    attempts: int


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Runs the jobs of one workspace; what is tried again is tried at once."""

    database: Database
    features: Features
    workspace: Workspace

    async def start(self, kind: str, given: Mapping[str, Any], actor: Actor | None) -> JobResult:
        """Enqueue a job and run it."""
        async with self.database.transaction(self.workspace) as connection:
            job_id = await enqueue(connection, self.workspace, kind, given, actor)
        return await self.run(job_id)

    async def run(self, job_id: UUID) -> JobResult:
        """Run a job that waits."""
        allowed = await self._take(job_id)
        attempts = Attempts(self.database, self.features, heartbeat=60)
        failed = 0
        while await attempts.make(Order(self.workspace, job_id, allowed, failed)) is not None:
            failed += 1
        async with self.database.connection(self.workspace) as connection:
            row = await connection.fetchrow(_ENDED, job_id)
        change_sets = tuple(row["change_set_ids"])
        return JobResult(
            job_id, row["kind"], row["status"], row["result"], row["error"], row["counts"], change_sets, failed + 1
        )

    async def run_all(self) -> list[JobResult]:
        """Run every job that waits, the oldest first, and those that they cause."""
        done: list[JobResult] = []
        waiting = "select id from job where status = 'QUEUED' order by id limit 1"
        while job_id := await self.database.pool(self.workspace).fetchval(waiting):
            if len(done) == MOST:
                raise AssertionError(f"{MOST} jobs have run and still one waits, of the kind {done[-1].kind}")
            done.append(await self.run(job_id))
        return done

    async def _take(self, job_id: UUID) -> list[tuple[str, str]] | None:
        """Take a job out of the queue; gives what the API key that started it may do, None without one."""
        async with self.database.admin() as connection:
            payload = await connection.fetchval(
                "delete from crm.pgqueuer where dedupe_key = $1 returning payload", f"{self.workspace.role} {job_id}"
            )
        allowed = orjson.loads(payload)["allowed"] if payload else None
        return None if allowed is None else [(record, action) for record, action in allowed]
