"""Jobs: long work that a worker does after the request that asked for it has been answered.

A job is enqueued in the transaction that causes it and runs at least once. Each attempt is fenced by the time it
started: whatever an attempt that was taken for dead still tries to write is refused.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from croniter import croniter  # type: ignore[import-untyped]

from core import clock, meters
from core.changes import ChangeSet
from core.context import Actor, RequestContext, Workspace
from core.database import Database
from core.errors import CompositionError
from core.files import Files, files_of
from core.hooks import Hooks
from core.policy import Policy
from core.pool import Connection
from core.rows import new_id

if TYPE_CHECKING:
    from core.schema.composition import Composition

#: Hears "<slug> <job id>" whenever a job was enqueued, began, moved on or ended.
CHANNEL = "crm_jobs"
#: Hears the id of a running job that somebody wants cancelled.
CANCEL_CHANNEL = "crm_job_cancel"

_KIND = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_FIELDS = 5

_INSERT = "insert into job (id, kind, input, created_at, created_by) values ($1, $2, $3, now(), $4)"

#: Of one attempt only: rows that a later attempt has taken over are no longer found.
_SAVE = """
with saved as (
    update job set heartbeat_at = clock_timestamp(), progress = coalesce($3, progress), counts = counts || $4,
        change_set_ids = change_set_ids || $5::uuid[]
    where id = $1 and started_at = $2 and status = 'RUNNING' returning cancel_requested
) select cancel_requested, case when $6::text is not null then pg_notify('crm_jobs', $6) end from saved
"""


@dataclass(frozen=True, slots=True)
class JobType:
    """A kind of job that workers can do. `kind` begins with the plugin's name, such as `tiering.pass`.

    `run` returns a JSON object for the job's `result`. It fails by raising: a ClientError (Refused, Forbidden, …)
    is final and its message is shown to whoever may read the job; anything else is tried again, `retries` times,
    after `retry_delay` seconds that double each time. An attempt that takes more than `timeout` seconds fails.
    `ability` is demanded of the actor anew at the beginning of each attempt.

    `schedule` is a cron expression of five fields in the workspace's time zone; at each due time one job without
    input is enqueued, which acts as the system. Raises CompositionError for a kind or a schedule that cannot be.
    """

    kind: str
    description: str
    run: Callable[[JobContext], Awaitable[Mapping[str, Any] | None]]
    retries: int = 3
    retry_delay: float = 5.0
    timeout: float = 3600.0
    ability: str = ""
    schedule: str = ""

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise CompositionError(f"{self.kind!r} cannot be a kind of job: write plugin.what_it_does")
        if self.schedule and (len(self.schedule.split()) != _FIELDS or not croniter.is_valid(self.schedule)):
            raise CompositionError(f"{self.schedule!r} of job {self.kind} is not a cron expression of five fields")


class Ending(Enum):
    """Why an attempt is broken off before its `run` has returned."""

    CANCELLED = "somebody cancelled the job"
    LOST = "another worker has taken the job over"
    INTERRUPTED = "this worker stops or lost its queue"


async def enqueue(
    connection: Connection,
    workspace: Workspace,
    kind: str,
    input: Mapping[str, Any],  # noqa: A002 - it is the job's `input`
    created_by: Actor | None,
    delay: timedelta | None = None,
) -> UUID:
    """Enqueue a job inside the caller's transaction, to run once that has committed; returns the job's id.

    `connection` is the workspace's, `input` a JSON object, `delay` the least time to wait. The job acts as
    `created_by`, looked up anew when it runs but within what his API key allows; None is the system.
    """
    job_id = new_id()
    actor = None if created_by is None else created_by.user_id
    if created_by is not None and actor is None and not created_by.grants.unlimited:
        message = "a job is started by a user or by the system"
        raise ValueError(message)
    await connection.execute(_INSERT, job_id, kind, dict(input), actor)
    await _announce(connection, workspace, job_id, delay, created_by)
    return job_id


async def enqueue_once(connection: Connection, workspace: Workspace, kind: str, job_id: UUID) -> bool:
    """Enqueue a job of the system's under an id that names its occasion; False where it was enqueued before."""
    found = await connection.execute(f"{_INSERT} on conflict (id) do nothing", job_id, kind, {}, None)
    if found == "INSERT 0 0":
        return False
    await _announce(connection, workspace, job_id, None, None)
    return True


async def _announce(
    connection: Connection, workspace: Workspace, job_id: UUID, delay: timedelta | None, actor: Actor | None
) -> None:
    """Put a job's row into the queue and say so."""
    allowed = None if actor is None or actor.grants.allowed is None else sorted(actor.grants.allowed)
    await connection.execute("select crm.enqueue($1, $2, $3)", job_id, delay or timedelta(0), allowed)
    await connection.execute("select pg_notify($1, $2)", CHANNEL, f"{workspace.slug} {job_id}")


async def cancel(connection: Connection, workspace: Workspace, job_id: UUID) -> bool:
    """Cancel a job: at once while it waits, as soon as its worker hears of it while it runs.

    Returns False where it has ended already. Whoever may ask for it is for the caller to decide.
    """
    status = await connection.fetchval(
        "update job set cancel_requested = true,"
        " status = case status when 'QUEUED' then 'CANCELLED' else status end,"
        " finished_at = case status when 'QUEUED' then now() else finished_at end"
        " where id = $1 and status in ('QUEUED', 'RUNNING') returning status",
        job_id,
    )
    if status is None:
        return False
    if status == "RUNNING":
        await connection.execute("select pg_notify($1, $2)", CANCEL_CHANNEL, str(job_id))
    await connection.execute("select pg_notify($1, $2)", CHANNEL, f"{workspace.slug} {job_id}")
    return True


@dataclass
class JobContext:
    """What one attempt at a job has at hand.

    `attempt` counts from 0 what was tried before and failed. `counts` and `change_sets` are what earlier
    attempts, and this one so far, have saved: a job that must not do a thing twice looks there first.
    """

    id: UUID
    type: JobType
    context: RequestContext
    policy: Policy
    hooks: Hooks
    composition: Composition
    input: Mapping[str, Any]
    database: Database
    started_at: datetime
    attempt: int = 0
    counts: dict[str, Any] = field(default_factory=dict)
    change_sets: list[UUID] = field(default_factory=list)
    ending: Ending | None = None
    task: asyncio.Task[bytes] | None = None

    @property
    def workspace(self) -> Workspace:
        """The workspace it works in."""
        return self.context.workspace

    @property
    def actor(self) -> Actor:
        """Who acts: the user who started the job, as he was when the attempt began, or the system."""
        return self.context.actor

    @property
    def files(self) -> Files:
        """The workspace's files, kept as the actor's."""
        return files_of(self.context)

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants the job cancelled. It is then also broken off at its next `await`."""
        return self.ending is Ending.CANCELLED

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the workspace's, for reading; what it reads is not narrowed by policy."""
        async with self.database.connection(self.workspace) as connection:
            yield connection

    async def progress(self, fraction: float | None = None, counts: Mapping[str, Any] | None = None) -> None:
        """Show how far it is, from 0 to 1, and merge `counts` into the job's, at once and whatever becomes of it.

        Breaks the attempt off (CancelledError) where the job was cancelled or taken over.
        """
        async with self.connection() as connection:
            ending = await self._save(connection, fraction, counts, (), notify=True)
        await self._obey(ending)
        self.counts.update(counts or {})

    @asynccontextmanager
    async def change_set(
        self,
        operation: str = "",
        *,
        source: str = "JOB",
        reason: str = "",
        skip_failed: bool = False,
        fraction: float | None = None,
        counts: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[ChangeSet]:
        """A change set in a transaction of its own, committed at the end of the block.

        `fraction` and `counts`, as they are at the end of the block, and the change set's id are saved with it:
        either all of it is done or nothing. Not committed (CancelledError) where the job was cancelled or taken over.
        """
        context = replace(self.context, now=clock.now())
        name = operation or self.type.kind
        async with self.database.transaction(self.workspace, statement_timeout_ms=0) as connection:
            changes = ChangeSet(
                connection, context, self.policy, self.hooks, source, name, reason, skip_failed=skip_failed
            )
            yield changes
            committed = await changes.finish()
            done = () if committed is None else (changes.id,)
            # Last, so that the job's row is not locked while the change set is at work.
            await self._obey(await self._save(connection, fraction, counts, done, notify=True))
        self.counts.update(counts or {})
        self.change_sets += done
        if committed is not None:
            meters.committed(committed.source, committed.touched.values())
            await self.hooks.announce("committed", change_set=committed)

    async def beat(self) -> None:
        """Say that the attempt is alive, and stop it where the job was cancelled or taken over."""
        async with self.connection() as connection:
            ending = await self._save(connection, None, None, (), notify=False)
        if ending is not None:
            self.stop(ending)

    def stop(self, ending: Ending) -> None:
        """Break the attempt off at its next `await`."""
        if self.ending is None:
            self.ending = ending
        if self.task is not None:
            self.task.cancel()

    async def _obey(self, ending: Ending | None) -> None:
        if ending is not None:
            self.stop(ending)
            await asyncio.sleep(0)
            raise asyncio.CancelledError

    async def _save(
        self,
        connection: Connection,
        fraction: float | None,
        counts: Mapping[str, Any] | None,
        change_sets: tuple[UUID, ...],
        *,
        notify: bool,
    ) -> Ending | None:
        if fraction is not None and not 0 <= fraction <= 1:
            message = f"progress goes from 0 to 1, not {fraction}"
            raise ValueError(message)
        shown = None if fraction is None else Decimal(str(round(fraction, 4)))
        note = f"{self.workspace.slug} {self.id}" if notify else None
        row = await connection.fetchrow(
            _SAVE, self.id, self.started_at, shown, dict(counts or {}), list(change_sets), note
        )
        if row is None:
            return Ending.LOST
        return Ending.CANCELLED if row["cancel_requested"] else None


def job_types(hooks: Hooks) -> dict[str, JobType]:
    """The kinds of job of a composition's plugins and of core, by kind.

    Raises CompositionError for a kind that is not named after its plugin or declared twice, PluginError for a plugin
    that fails.
    """
    found: dict[str, JobType] = {}
    for plugin, contributed in hooks.contribute("jobs"):
        for job_type in contributed:
            if not job_type.kind.startswith(f"{plugin}."):
                raise CompositionError(f"the job {job_type.kind!r} of {plugin} must begin with {plugin!r} and a dot")
            if job_type.kind in found:
                raise CompositionError(f"{plugin} declares the job {job_type.kind!r} twice")
            found[job_type.kind] = job_type
    return found
