"""One attempt at a job: its row says that it runs, its actor is looked up, and the row learns how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import asyncpg
import orjson

from core import tracing
from core.actors import find_actor
from core.collisions import COLLISIONS
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.errors import ClientError, CrmError, Forbidden, NotFound, Refused
from core.files import FileStore
from core.grants import SYSTEM, Grants
from core.jobs import CHANNEL, Ending, JobContext, job_types
from core.log import logger
from core.meters import JOBS
from core.schema.composition import Composition

LOG = logger("crm.jobs")
LONGEST_DELAY = 300.0
#: Most user errors that a refused job keeps in its result.
TOLD = 200
#: A job that takes its worker down with it each time is given up.
MAX_LOST = 5

#: What an API key may do, as the queue keeps it: (record type, action). None is no limit.
Pairs = Sequence[tuple[str, str]] | None

_BEGIN = """
update job set status = 'RUNNING', started_at = clock_timestamp(), heartbeat_at = clock_timestamp(), error = null
where id = $1 and status in ('QUEUED', 'RUNNING')
returning kind, input, counts, change_set_ids, created_by, started_at, cancel_requested
"""

_END = """
with ended as (
    update job set status = $3, result = $4, error = $5,
        finished_at = case when $3 = 'QUEUED' then null else clock_timestamp() end,
        progress = case when $3 = 'DONE' then 1 else progress end
    where id = $1 and started_at = $2 and status = 'RUNNING' returning id
) select pg_notify($6, $7) from ended
"""


class Features(Protocol):
    """Says what a workspace's feature set is composed to."""

    async def composition(self, workspace: Workspace) -> Composition:
        """The workspace's composition."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the queue says of a job. `failed` and `lost` count its attempts that failed and that nobody ended."""

    workspace: Workspace
    job_id: UUID
    allowed: Pairs
    failed: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How an attempt ended. With a `delay` the job is to be attempted again after it."""

    status: str
    result: bytes | None = None
    error: str | None = None
    delay: timedelta | None = None


class Attempts:
    """Does jobs and knows those that are being done, in `running`.

    `heartbeat` is the time in seconds within which a job's row is to hear that it is alive.
    """

    def __init__(self, database: Database, features: Features, heartbeat: float) -> None:
        self.running: dict[UUID, JobContext] = {}
        self._database = database
        self._features = features
        self._heartbeat = heartbeat
        self._files = FileStore(database.settings)

    async def make(self, order: Order) -> timedelta | None:
        """Attempt a job; returns after what time it is to be attempted again, None where it has ended.

        Raises what keeps it from being attempted at all, such as a workspace that cannot be reached.
        """
        pool = self._database.pool(order.workspace)
        row = await pool.fetchrow(_BEGIN, order.job_id)
        if row is None:  # ended, or cancelled while it waited
            return None
        about = {"workspace": order.workspace.slug, "kind": row["kind"], "job": str(order.job_id)}
        outcome = await self._outcome(order, row, about)
        if outcome is None:
            LOG.warning("job_taken_over", **about)
            return None
        started_at: datetime = row["started_at"]
        note = f"{order.workspace.slug} {order.job_id}"
        ended = (order.job_id, started_at, outcome.status, outcome.result, outcome.error, CHANNEL, note)
        await pool.execute(_END, *ended)
        JOBS.add(row["kind"], outcome.status)
        LOG.info("job_ended", status=outcome.status, **about)
        return outcome.delay

    async def _outcome(self, order: Order, row: asyncpg.Record, about: dict[str, str]) -> _Outcome | None:
        """How the attempt ended; None where another worker has taken the job over."""
        if row["cancel_requested"]:
            return _Outcome("CANCELLED")
        if order.lost > MAX_LOST:
            reason = f"given up: {order.lost} times its worker died or stood still while doing it"
            return _Outcome("FAILED", error=reason)
        try:
            job = await self._context(order, row)
        except ClientError as error:
            return _Outcome("FAILED", error=error.message)
        try:
            with tracing.span("job", crm__workspace=order.workspace.slug, crm__job__kind=row["kind"]):
                return _Outcome("DONE", await self._run(job))
        except _BrokenOff as broken:
            if broken.ending is Ending.LOST:
                return None
            if broken.ending is Ending.CANCELLED:
                return _Outcome("CANCELLED")
            return _Outcome("QUEUED", delay=timedelta(0))
        except Refused as error:
            told = orjson.dumps({"userErrors": [e.shown() for e in error.errors[:TOLD]]})
            return _Outcome("FAILED", told, error.message)
        except ClientError as error:
            return _Outcome("FAILED", error=error.message)
        except Exception as error:
            again = order.failed < job.type.retries
            if again and isinstance(error, COLLISIONS):
                # Another transaction was quicker: nobody's fault, and nothing to look for.
                LOG.warning("job_collided", reason=type(error).__name__, **about)
            else:
                LOG.exception("job_failed", **about)
            if again:
                return _Outcome("QUEUED", error=_shown(error), delay=backoff(job.type.retry_delay, order.failed))
            return _Outcome("FAILED", error=_shown(error))

    async def _context(self, order: Order, row: asyncpg.Record) -> JobContext:
        """What the attempt has at hand. Raises ClientError where the job cannot or may not be done."""
        workspace = order.workspace
        composition = await self._features.composition(workspace)
        job_type = job_types(composition.hooks).get(row["kind"])
        if job_type is None:
            raise NotFound(f"no plugin that is switched on does {row['kind']!r}", kind=row["kind"])
        actor = await self._actor(workspace, row["created_by"], order.allowed)
        policy = composition.policy(actor.grants)
        if job_type.ability:
            policy.demand(job_type.ability)
        locale = actor.locale if actor.user_id else workspace.locale
        return JobContext(
            order.job_id,
            job_type,
            RequestContext(workspace, actor, request_id=str(order.job_id), locale=locale, extra={"files": self._files}),
            policy,
            composition.hooks,
            composition,
            row["input"],
            self._database,
            row["started_at"],
            order.failed,
            row["counts"],
            row["change_set_ids"],
        )

    async def _actor(self, workspace: Workspace, user_id: UUID | None, allowed: Pairs) -> Actor:
        if user_id is None:
            return Actor(ActorKind.SYSTEM, SYSTEM, locale=workspace.locale)
        pool = self._database.pool(workspace)
        actor = await find_actor(lambda text, values: pool.fetchval(text, *values), user_id)
        if actor is None:
            raise Forbidden("the user who started it is no longer active")
        if allowed is None:
            return actor
        limited = Grants(actor.grants.roles, allowed=frozenset((record, action) for record, action in allowed))
        return replace(actor, kind=ActorKind.API_KEY, grants=limited)

    async def _run(self, job: JobContext) -> bytes:
        """Run a job in a task of its own, so that it can be broken off; returns its result as JSON."""
        task: asyncio.Task[bytes] = asyncio.create_task(_result(job))
        job.task = task
        self.running[job.id] = job
        beating = asyncio.create_task(self._beat(job))
        try:
            return await task
        except asyncio.CancelledError:
            around = asyncio.current_task()
            if job.ending is None and not (around and around.cancelling()):
                raise RuntimeError("the job cancelled itself") from None
            raise _BrokenOff(job.ending or Ending.INTERRUPTED) from None
        finally:
            beating.cancel()
            if self.running.get(job.id) is job:
                del self.running[job.id]

    async def _beat(self, job: JobContext) -> None:
        while True:
            await asyncio.sleep(self._heartbeat / 2)
            try:
                await job.beat()
            except (OSError, CrmError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                LOG.warning("beat_missed", job=str(job.id), reason=type(error).__name__)


class _BrokenOff(Exception):
    """An attempt was broken off."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.value)
        self.ending = ending


class _TookTooLong(Exception):
    """An attempt reached its job type's timeout; the message is for people."""


async def _result(job: JobContext) -> bytes:
    limit = asyncio.timeout(job.type.timeout)
    try:
        async with limit:
            return orjson.dumps(dict(await job.type.run(job) or {}))
    except TimeoutError:
        if limit.expired():
            raise _TookTooLong(f"it took longer than {job.type.timeout:g} seconds") from None
        raise


def _shown(failure: Exception) -> str:
    """What a job's readers learn of a failure: nothing that may hold somebody's data."""
    return str(failure) if isinstance(failure, _TookTooLong) else f"internal error ({type(failure).__name__})"


def backoff(first: float, times: int) -> timedelta:
    """How long to wait after something has failed once more: twice as long each time, five minutes at most."""
    return timedelta(seconds=min(first * 2 ** min(times, 20), LONGEST_DELAY))
