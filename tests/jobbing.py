"""A plugin with jobs for the tests of jobs, the composition it is in, and a worker process that has it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg

from core.catalog import Catalog
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.errors import BadInput
from core.features import ERROR_CODES
from core.grants import SYSTEM
from core.hooks import Enabled, Hooks
from core.hookspecs import hookimpl
from core.jobs import JobContext, JobType
from core.schema import job as jobs
from core.schema.composition import Composition
from core.schema.declared import CORE
from core.settings import Settings
from core.worker import Worker

#: What was run in this process: the words given as `input.word`, in order.
RUN: list[str] = []


async def nightly(job: JobContext) -> None:
    RUN.append(job.workspace.slug)


async def note(job: JobContext) -> Mapping[str, Any]:
    RUN.append(job.input.get("word", ""))
    return {"word": job.input.get("word"), "actor": job.actor.login, "reach": sorted(job.actor.grants.allowed or ())}


async def flaky(job: JobContext) -> Mapping[str, Any]:
    RUN.append(f"attempt {job.attempt}")
    if job.attempt < job.input["failures"]:
        if job.input.get("collides"):
            raise asyncpg.DeadlockDetectedError("deadlock detected")
        raise ConnectionError("090 123 4567 is not to be shown")
    return {"attempt": job.attempt}


async def refused(job: JobContext) -> None:
    raise BadInput("column B holds no dates")


async def two_steps(job: JobContext) -> Mapping[str, Any]:
    """Creates two customers in two change sets; a process told to stand still never commits the second."""
    for step in range(job.counts.get("steps", 0), 2):
        async with job.change_set("step", fraction=(step + 1) / 2, counts={"steps": step + 1}) as changes:
            await changes.create("Customer", [{"kind": "PERSON", "name": f"{job.input['word']} {step}"}])
            if step == 1 and os.environ.get("STAND_STILL"):
                await job.progress(counts={"standing": 1})
                await asyncio.sleep(600)
    return {"changeSets": len(job.change_sets)}


async def sleepy(job: JobContext) -> Mapping[str, Any]:
    async with job.change_set() as changes:
        await changes.create("Customer", [{"kind": "PERSON", "name": "never"}])
        await job.progress(0.5, {"asleep": 1})
        await asyncio.sleep(job.input.get("seconds", 600))
    return {}


async def stubborn(job: JobContext) -> Mapping[str, Any]:
    """Swallows being broken off, and meets it again."""
    await job.progress(0.1, {"asleep": 1})
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        RUN.append("swallowed")
    await job.progress(0.9)
    RUN.append("went on")
    return {}


async def report(job: JobContext) -> Mapping[str, Any]:
    """Makes a file of another one, upside down."""
    text = job.files.path(UUID(job.input["file"])).read_text()
    async with job.files.draft("báo cáo.txt", "text/plain") as draft:
        draft.path.write_text(text[::-1])
        upload = await draft.finished()
        async with job.change_set() as changes:
            made = await job.files.keep(changes.connection, upload, purpose="testing.report")
            if job.input.get("fails"):
                raise BadInput("no report")
    return {"file": str(made.id)}


JOBS = (
    JobType("testing.note", "Notes a word.", note),
    JobType("testing.guarded", "Needs an ability.", note, ability="testing_may"),
    JobType("testing.flaky", "Fails a few times.", flaky, retries=2, retry_delay=0.05),
    JobType("testing.refused", "Is refused.", refused),
    JobType("testing.two_steps", "Takes two steps.", two_steps),
    JobType("testing.sleepy", "Sleeps.", sleepy),
    JobType("testing.brief", "Has too little time.", sleepy, timeout=0.2, retries=0),
    JobType("testing.stubborn", "Does not want to stop.", stubborn),
    JobType("testing.report", "Makes a report.", report),
    JobType("testing.nightly", "Is due at night.", nightly, schedule="0 2 * * *"),
)


@hookimpl(specname="jobs")
def _jobs() -> tuple[JobType, ...]:
    return JOBS


PLUGIN = Enabled("testing", SimpleNamespace(_jobs=_jobs))


def compose() -> Composition:
    types = [t for t in CORE if t.name != "Job"] + [jobs.JOB]
    hooks = Hooks([PLUGIN])
    return Composition("testing", Catalog.build(types), (), jobs.MUTATIONS, (), ERROR_CODES, {}, hooks)


class Composed:
    """Every workspace has the same feature set."""

    def __init__(self) -> None:
        self.one = compose()

    async def composition(self, workspace: Workspace) -> Composition:
        return self.one


def system(workspace: Workspace) -> RequestContext:
    return RequestContext(workspace, Actor(ActorKind.SYSTEM, SYSTEM))


@asynccontextmanager
async def working(database: Database, features: Composed, **values: float) -> AsyncIterator[Worker]:
    """A worker that works during the block."""
    worker = Worker(database, features, **{"heartbeat": 1.0, "refresh": 0.3, "grace": 0.3, **values})  # type: ignore[arg-type]
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await asyncio.wait_for(task, 15)


async def main(data_dir: str) -> None:
    """A process that is a worker and nothing else."""
    database = await Database.open(Settings.load(data_dir=Path(data_dir), secret="s" * 40))
    await Worker(database, Composed(), heartbeat=1.0).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
