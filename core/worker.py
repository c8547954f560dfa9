"""The worker: takes jobs from the queue and does them, for all workspaces, beside any number of its like.

pgqueuer hands jobs out, delays them, puts them back and knows by their heartbeats which workers live. There is one
queue per database: the deployment's own, and one in each database that a workspace lives in by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain import models
from pgqueuer.domain.errors import FailingListenerError, RetryRequested

from core.attempt import Attempts, Features, Order, backoff
from core.context import Workspace
from core.database import CONNECT_SECONDS, Database
from core.errors import CrmError
from core.jobs import CANCEL_CHANNEL, Ending, job_types
from core.log import logger
from core.pool import Connection
from core.queue import ENTRYPOINT, NAMES, WORKER, Queue
from core.schedule import Clock, Recurring
from core.workspaces import Workspaces

LOG = logger("crm.worker")
RECONNECT_SECONDS = 2.0

_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, FailingListenerError)

Work = Callable[[Connection, str | None, asyncio.Event], Awaitable[None]]


class Worker:
    """One worker on an open database.

    `concurrency` jobs run at once per database (2 at least, as pgqueuer takes them in batches). A worker from which
    nothing was heard for `heartbeat` seconds is taken for dead and its jobs are given to others. `refresh` is how
    often, in seconds, workspaces and schedules are read anew; `grace` how long jobs may go on after `stop`.
    """

    def __init__(
        self,
        database: Database,
        features: Features,
        *,
        concurrency: int = 4,
        heartbeat: float = 30.0,
        refresh: float = 60.0,
        grace: float = 10.0,
    ) -> None:
        self._database = database
        self._features = features
        self._workspaces: dict[str, Workspace] = {}
        self._attempts = Attempts(database, features, heartbeat)
        self._concurrency = max(2, concurrency)
        self._heartbeat = heartbeat
        self._refresh = refresh
        self._grace = grace

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; what has not ended after the grace time goes back into the queue.

        A lost connection is made anew. Raises DatabaseError where the registry of workspaces cannot be read at first.
        """
        await self._read_workspaces()
        halt = asyncio.Event()
        clock = asyncio.create_task(self._keep(None, self._tick, halt))
        takers: dict[str | None, asyncio.Task[None]] = {}
        LOG.info("worker_started", workspaces=len(self._workspaces))
        try:
            while not stop.is_set():
                for url in {None, *(w.database_url for w in self._workspaces.values())} - takers.keys():
                    takers[url] = asyncio.create_task(self._keep(url, self._take, halt))
                await _wait(stop, self._refresh)
                await self._refresh_workspaces()
        finally:
            halt.set()
            await asyncio.wait([clock, *takers.values()], timeout=self._grace)
            for job in list(self._attempts.running.values()):
                job.stop(Ending.INTERRUPTED)
            await asyncio.gather(clock, *takers.values())
            LOG.info("worker_stopped")

    async def _keep(self, database_url: str | None, work: Work, halt: asyncio.Event) -> None:
        """Do `work` on a connection of its own, and again on a new one whenever that was lost."""
        while not halt.is_set():
            try:
                # Not from a pool: it listens, and pgqueuer wants no codecs.
                connection = await asyncpg.connect(
                    database_url or self._database.dsn,
                    timeout=CONNECT_SECONDS,
                    server_settings={"application_name": WORKER, "timezone": "UTC"},
                )
                try:
                    await work(connection, database_url, halt)
                finally:
                    connection.terminate()
            except _LOST as error:
                LOG.warning("queue_lost", reason=type(error).__name__)
                await _wait(halt, RECONNECT_SECONDS)
            except Exception:
                LOG.exception("queue_failed")
                await _wait(halt, RECONNECT_SECONDS)

    async def _tick(self, connection: Connection, _url: str | None, halt: asyncio.Event) -> None:
        """Enqueue what the schedules of all workspaces ask for."""
        await Clock(self._database, Queue(connection), self._recurring, self._refresh).run(halt)

    async def _take(self, connection: Connection, database_url: str | None, halt: asyncio.Event) -> None:
        """Take jobs from one database's queue and do them."""
        queue = Queue(connection)
        await queue.upgrade()
        manager = QueueManager(queue, channel=NAMES.channel)

        async def do(job: models.Job) -> None:
            await self._do(queue, job)

        def give_up(_connection: Any) -> None:
            # Nobody hears any more that these jobs are alive: others will take them over.
            for job in list(self._attempts.running.values()):
                if job.workspace.database_url == database_url:
                    job.stop(Ending.INTERRUPTED)

        manager.entrypoint(ENTRYPOINT, accepts_context=False)(do)
        await connection.add_listener(CANCEL_CHANNEL, self._hear_cancel)
        connection.add_termination_listener(give_up)
        halting = asyncio.create_task(_then(halt, manager.shutdown))
        try:
            await manager.run(
                dequeue_timeout=timedelta(seconds=min(5.0, self._heartbeat / 2)),
                batch_size=self._concurrency // 2,
                max_concurrent_tasks=self._concurrency,
                shutdown_on_listener_failure=True,
                heartbeat_timeout=timedelta(seconds=self._heartbeat),
            )
        finally:
            halting.cancel()
            connection.remove_termination_listener(give_up)

    async def _do(self, queue: Queue, job: models.Job) -> None:
        """Do one job of the queue. Raises RetryRequested, and nothing else, where it must stay there."""
        order = orjson.loads(job.payload or b"{}")
        try:
            workspace = await self._workspace_of(order["role"])
            if workspace is None:
                LOG.warning("job_without_workspace", job=order["job"])
                return
            lost = await queue.times_lost(job)
            attempt = Order(workspace, UUID(order["job"]), order["allowed"], job.attempts, lost)
            delay = await self._attempts.make(attempt)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job must not drop out of the queue
            LOG.warning("job_postponed", job=order["job"], reason=type(error).__name__)
            delay = backoff(RECONNECT_SECONDS, job.attempts)
        if delay is not None:
            raise RetryRequested(delay)

    def _hear_cancel(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        job = self._attempts.running.get(UUID(payload))
        if job is not None:
            job.stop(Ending.CANCELLED)

    async def _recurring(self) -> Recurring:
        """The schedules of all workspaces; one whose feature set fails is left out, and named."""
        found: Recurring = []
        await self._read_workspaces()
        for workspace in self._workspaces.values():
            try:
                hooks = (await self._features.composition(workspace)).hooks
                found += [(workspace, job_type) for job_type in job_types(hooks).values() if job_type.schedule]
            except Exception as error:  # noqa: BLE001 - one workspace's trouble is not the others'
                LOG.error("schedules_unknown", workspace=workspace.slug, reason=type(error).__name__)  # noqa: TRY400
        return found

    async def _workspace_of(self, role: str) -> Workspace | None:
        if role not in self._workspaces:
            await self._read_workspaces()
        return self._workspaces.get(role)

    async def _read_workspaces(self) -> None:
        self._workspaces = {w.role: w for w in await Workspaces(self._database).list()}

    async def _refresh_workspaces(self) -> None:
        try:
            await self._read_workspaces()
        except (*_LOST, CrmError) as error:
            LOG.warning("workspaces_unknown", reason=type(error).__name__)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


async def _then(event: asyncio.Event, other: asyncio.Event) -> None:
    await event.wait()
    other.set()
