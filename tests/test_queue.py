from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from pgqueuer.domain.models import Job
from pgqueuer.domain.types import QueueEntrypoint, QueueManagerId
from pgqueuer.ports.repository import EntrypointExecutionParameter

from core.context import Workspace
from core.database import Database
from core.jobs import enqueue
from core.queue import ENTRYPOINT, Queue, install_sql


@pytest.fixture
async def queue(database: Database, empty_queue: None) -> AsyncIterator[Queue]:
    connection = await asyncpg.connect(database.dsn)
    try:
        yield Queue(connection)
    finally:
        await connection.close()


async def take(queue: Queue, worker: uuid.UUID, stale: timedelta = timedelta(seconds=30)) -> list[Job]:
    entrypoints = {QueueEntrypoint(ENTRYPOINT): EntrypointExecutionParameter(concurrency_limit=0)}
    return await queue.dequeue(10, entrypoints, QueueManagerId(worker), None, stale)


async def test_a_worker_taken_for_dead_settles_nothing(queue: Queue, database: Database, workspace: Workspace) -> None:
    async with database.transaction(workspace) as connection:
        await enqueue(connection, workspace, "testing.note", {}, None)
    one, two = uuid.uuid4(), uuid.uuid4()
    (old,) = await take(queue, one)
    assert await take(queue, two) == []
    (new,) = await take(queue, two, stale=timedelta(0))
    assert new.id == old.id
    assert await queue.times_lost(new) == 1
    await queue.log_jobs([(old, "successful", None)])
    await queue.retry_job(old, timedelta(0), None)
    held = await queue.queue_job_by_id(new.id)
    assert held is not None
    assert (held.status, held.queue_manager_id, held.attempts) == ("picked", two, 0)
    await queue.retry_job(new, timedelta(0), None)
    (again,) = await take(queue, two)
    assert (again.attempts, await queue.times_lost(again)) == (1, 1)
    await queue.log_jobs([(again, "successful", None)])
    assert await queue.queue_job_by_id(new.id) is None


async def test_only_what_is_old_is_pruned(queue: Queue) -> None:
    old, new = "now() - interval '31 days'", "now() - interval '29 days'"
    for at, name in ((old, "old"), (new, "new")):
        for statement in (
            "pgqueuer_log (job_id, status, entrypoint, priority, created) values (1, 'queued', $1, 0, {at})",
            "pgqueuer_statistics (count, status, entrypoint, priority, created) values (1, 'queued', $1, 0, {at})",
            "pgqueuer_schedules (expression, entrypoint, updated) values ('x', $1, {at}), ('x', $1 || ' kept', {at})",
        ):
            await queue.driver.execute(f"insert into crm.{statement.format(at=at)}", name)
    await queue.prune(30, ["old kept", "new kept"])
    for table in ("pgqueuer_log", "pgqueuer_statistics"):
        rows = await queue.driver.fetch(f"select entrypoint from crm.{table}")
        assert [row["entrypoint"] for row in rows] == ["new"]
    rows = await queue.driver.fetch("select entrypoint from crm.pgqueuer_schedules order by 1")
    assert [row["entrypoint"] for row in rows] == ["new", "new kept", "old kept"]


async def test_the_installed_queue_is_what_pgqueuer_wants(queue: Queue) -> None:
    assert (await queue.plan_upgrade()).statements == ()


def test_the_environment_does_not_move_the_queue(project: Path) -> None:
    names = ("PREFIX", "SCHEMA", "CHANNEL", "FUNCTION", "QUEUE_TABLE", "QUEUE_TABLE_LOG", "STATISTICS_TABLE", "TRIGGER")
    others = dict.fromkeys(("CHANNEL", "QUEUE_TABLE", "SCHEDULES_TABLE", "QUEUE_STATUS_TYPE"), "elsewhere")
    weak = {"PGQUEUER_DURABILITY": "volatile"}
    environment = {**os.environ, **others, **{f"PGQUEUER_{name}": "elsewhere" for name in names}, **weak}
    script = "from core.queue import install_sql; print(install_sql(), end='')"
    made = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=project, capture_output=True, text=True, check=True
    )
    assert made.stdout == install_sql()
