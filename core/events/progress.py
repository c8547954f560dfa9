"""Subscriptions to the progress of one job, as a reader of the job sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
from graphql import GraphQLError

from core.context import Workspace
from core.database import Database
from core.errors import BadInput, CrmError
from core.events.subscription import Subscription
from core.events.watch import Event, selection_of
from core.features import Features
from core.log import logger
from core.predicate import Compare, constant
from core.schema.compile import Reader
from core.schema.measure import Limits
from core.schema.running import fill
from core.schema.where import uuid_or_none

LOG = logger("crm.events")
GATHER = 0.05
_ENDED = "select status not in ('QUEUED', 'RUNNING') from job where id = $1"


class Progress:
    """Tells the subscribers of a workspace's jobs how far those are."""

    def __init__(self, database: Database, features: Features, limits: Limits, workspace: Workspace) -> None:
        self.workspace = workspace
        self._database = database
        self._features = features
        self._limits = limits
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._dirty: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._subscriptions.values()))

    def held_by(self, user_id: UUID | None) -> int:
        """How many of them are a user's."""
        return sum(s.context.actor.user_id == user_id for some in self._subscriptions.values() for s in some)

    def changed(self, job_id: str | None) -> None:
        """A job has moved; None: any may have."""
        moved = self._subscriptions.keys() if job_id is None else self._subscriptions.keys() & {job_id}
        self._dirty |= set(moved)
        if self._dirty and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run())

    async def join(self, subscription: Subscription) -> None:
        """Add a subscriber, who is told at once how far the job is. Raises what keeps him from subscribing."""
        composition = await self._features.composition(self.workspace)
        _, selection = selection_of(composition, subscription.asked, self._limits)
        given = selection.argument("id")
        id_ = uuid_or_none(given.operand.source(selection.document.variables, subscription.context)) if given else None
        if id_ is None:
            raise BadInput("the id is no id of a job")
        there = self._subscriptions.setdefault(str(id_), set())
        there.add(subscription)

        def leave() -> None:
            there.discard(subscription)
            if not there and self._subscriptions.get(str(id_)) is there:
                del self._subscriptions[str(id_)]

        subscription.close = leave
        try:
            await self._tell(str(id_), subscription)
        except BaseException:
            leave()
            raise

    async def close(self) -> None:
        """End all subscriptions and stop."""
        for subscription in [s for some in self._subscriptions.values() for s in some]:
            subscription.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._dirty:
            await asyncio.sleep(GATHER)
            moved, self._dirty = self._dirty, set()
            for id_ in moved:
                for subscription in list(self._subscriptions.get(id_, ())):
                    try:
                        await self._tell(id_, subscription)
                    except (CrmError, GraphQLError) as error:
                        subscription.end(error)
                    except Exception as error:  # noqa: BLE001 as when the database is away
                        LOG.warning("events_wait", workspace=self.workspace.slug, reason=type(error).__name__)
                        self._dirty.add(id_)
                        await asyncio.sleep(1.0)

    async def _tell(self, id_: str, subscription: Subscription) -> None:
        composition = await self._features.composition(self.workspace)
        actor = await subscription.renew()
        _, selection = selection_of(composition, subscription.asked, self._limits)
        policy = composition.policy(actor.grants)
        record = composition.catalog["Job"]
        by = Compare(record.fields["id"], "eq", constant(uuid_or_none(id_)))
        key = selection.key
        read = Reader(policy).read([(key, lambda r: r.one(record, selection, (key,), by))])
        ended = await self._fetch(_ENDED, [uuid_or_none(id_)])
        context = replace(subscription.context, actor=actor)
        data = await self._fetch(read.statement.text, read.statement.bind(selection.document.variables, context))
        if read.slots:
            data = await fill(read, data, context)
        subscription.put(Event(b'{"data":%b}' % data))
        if ended is not False or orjson.loads(data)[key] is None:
            subscription.end()

    async def _fetch(self, text: str, values: Sequence[Any]) -> Any:
        return await self._database.pool(self.workspace).fetchval(text, *values)
