"""Recurring jobs: each workspace's schedules in its own time zone, every due time enqueued once.

pgqueuer's scheduler is the clock; among many workers one takes a due time. That a due time is never enqueued twice,
whatever clocks say and whoever is killed, follows from the job's id, which is made of the occasion.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

from croniter import croniter  # type: ignore[import-untyped]
from pgqueuer.core.executors import ScheduleExecutor
from pgqueuer.core.sm import SchedulerManager
from pgqueuer.domain.models import Schedule

from core import clock
from core.context import Workspace
from core.database import Database
from core.files import Files, FileStore
from core.jobs import JobType, enqueue_once
from core.log import logger
from core.pool import Connection
from core.queue import Queue
from core.workspaces import Workspaces

LOG = logger("crm.schedule")
KEEP_DAYS = 30
_PRUNE = ("crm.prune", "17 3 * * *")
_PRUNE_FILES = ("crm.prune_files", "43 * * * *")
_SWEEP_FILES = ("crm.sweep_files", "23 4 * * *")

#: The job types with schedules, with the workspaces that have them.
Recurring = list[tuple[Workspace, JobType]]


def next_due(expression: str, time_zone: str, now: datetime) -> datetime:
    """The first time after `now` at which a schedule is due, in UTC."""
    found: datetime = croniter(expression, now.astimezone(ZoneInfo(time_zone))).get_next(datetime)
    return found.astimezone(UTC)


def last_due(expression: str, time_zone: str, now: datetime) -> datetime:
    """The last time before `now` at which a schedule was due, in UTC."""
    found: datetime = croniter(expression, now.astimezone(ZoneInfo(time_zone))).get_prev(datetime)
    return found.astimezone(UTC)


def occasion_id(workspace: Workspace, kind: str, due: datetime) -> UUID:
    """The id of the job of a due time: a UUIDv7 of that time whose random part is made of the occasion."""
    digest = hashlib.sha256(f"{workspace.id} {kind} {due.isoformat()}".encode()).digest()
    value = int(due.timestamp() * 1000) << 80 | int.from_bytes(digest[:10])
    version, variant = 0xF << 76, 0b11 << 62
    return UUID(int=value & ~version & ~variant | 7 << 76 | 0b10 << 62)


@dataclass
class _Zoned(ScheduleExecutor):
    """Tells pgqueuer the next due time in a workspace's time zone; by itself it knows only UTC."""

    time_zone: str = "UTC"

    def get_next(self) -> datetime:
        return next_due(self.parameters.expression, self.time_zone, clock.now())


class Clock:
    """Runs the schedules that `recurring` lists; the list is read anew every `refresh` seconds."""

    def __init__(
        self, database: Database, queue: Queue, recurring: Callable[[], Awaitable[Recurring]], refresh: float
    ) -> None:
        self._database = database
        self._queue = queue
        self._recurring = recurring
        self._refresh = refresh

    async def run(self, stop: asyncio.Event) -> None:
        """Enqueue what falls due until `stop` is set. Raises what the queue's connection raises."""
        while not stop.is_set():
            manager = await self._manager()
            running = asyncio.create_task(manager.run())
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({running, stopping}, timeout=self._refresh, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopping.cancel()
                manager.shutdown.set()
                await running

    async def _manager(self) -> SchedulerManager:
        manager = SchedulerManager(self._queue)
        for workspace, job_type in await self._recurring():
            # The role, unlike the slug, is never given a second time.
            name = f"{workspace.role} {workspace.time_zone} {job_type.kind}"
            zoned = partial(_Zoned, time_zone=workspace.time_zone)
            enqueue = partial(self._enqueue, workspace, job_type)
            manager.schedule(name, job_type.schedule, zoned, accepts_context=False)(enqueue)
        manager.schedule(*_PRUNE_FILES, accepts_context=False)(self._prune_files)
        manager.schedule(*_SWEEP_FILES, accepts_context=False)(self._sweep_files)
        names = [str(key.entrypoint) for key in manager.registry]
        manager.schedule(*_PRUNE, accepts_context=False)(partial(self._prune, names))
        return manager

    async def _enqueue(self, workspace: Workspace, job_type: JobType, schedule: Schedule) -> None:
        due = last_due(job_type.schedule, workspace.time_zone, clock.now())
        job_id = occasion_id(workspace, job_type.kind, due)
        try:
            async with self._database.transaction(workspace) as connection:
                new = await enqueue_once(connection, workspace, job_type.kind, job_id)
        except Exception:
            # pgqueuer has the next due time in its table by now: have it come back for this one.
            again = "update crm.pgqueuer_schedules set next_run = now() + interval '1 minute' where id = $1"
            await self._queue.driver.execute(again, schedule.id)
            LOG.warning("schedule_postponed", workspace=workspace.slug, kind=job_type.kind, due=due.isoformat())
            raise
        if new:
            LOG.info("job_due", workspace=workspace.slug, kind=job_type.kind, job=str(job_id), due=due.isoformat())

    async def _prune_files(self, _schedule: Schedule) -> None:
        await self._in_all_files(Files.prune)

    async def _sweep_files(self, _schedule: Schedule) -> None:
        """Apart from pruning and seldom, for it looks at every file."""
        await asyncio.to_thread(FileStore(self._database.settings).sweep_drafts)
        await self._in_all_files(Files.sweep)

    async def _in_all_files(self, remove: Callable[[Files, Connection], Awaitable[int]]) -> None:
        store = FileStore(self._database.settings)
        for workspace in await Workspaces(self._database).list():
            try:
                async with self._database.connection(workspace) as connection:
                    gone = await remove(store.of(workspace), connection)
            except Exception as error:  # noqa: BLE001 - one workspace's trouble is not the others'
                LOG.error("files_not_removed", workspace=workspace.slug, reason=type(error).__name__)  # noqa: TRY400
            else:
                if gone:
                    LOG.info("files_removed", workspace=workspace.slug, files=gone)

    async def _prune(self, names: list[str], schedule: Schedule) -> None:
        await self._queue.prune(KEEP_DAYS, [*names, schedule.entrypoint])
