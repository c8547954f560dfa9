"""The subscriptions of one workspace in one process: told of each commit, renewed when rights or schema change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import asyncpg
from graphql import GraphQLError

from core.auth import ANONYMOUS
from core.context import RequestContext, Workspace
from core.database import Database
from core.errors import BadInput, ClientError
from core.eventcursor import EventCursor
from core.events import feed
from core.events.feed import Links
from core.events.sight import Sight
from core.events.subscription import Subscription
from core.events.watch import Event, Question, Watch
from core.features import Features
from core.log import logger
from core.schema.answer import DATABASE_REFUSES, translate
from core.schema.composition import Composition
from core.schema.measure import Limits

LOG = logger("crm.events")

#: Seconds in which commits are gathered before they are told, and after which is looked without being told to:
#: notifications only travel within the deployment's own database.
GATHER, LOOK, LOOK_ELSEWHERE = 0.02, 30.0, 1.0
RETRY_SECONDS = 1.0
#: Statements that one workspace's subscriptions run at once, and how many of those who come back catch up at once.
AT_ONCE, CATCH_UP_AT_ONCE = 3, 2


class Hub:
    """Tells the subscribers of a workspace what was committed. Lives as long as it has any."""

    def __init__(self, database: Database, features: Features, limits: Limits, workspace: Workspace) -> None:
        self.workspace = workspace
        self.told = 0
        self._database = database
        self._features = features
        self._limits = limits
        self._subscriptions: set[Subscription] = set()
        self._watches: dict[Any, Watch] = {}
        self._sights: WeakValueDictionary[Any, Sight] = WeakValueDictionary()
        self._composition: Composition | None = None
        self._links: Links
        self._seen = ""
        #: Who is still being told what he missed, and what has come for him meanwhile.
        self._behind: dict[Subscription, list[Event]] = {}
        self._dirty = asyncio.Event()
        #: How often rights or the schema have changed, and up to which change everybody was looked at.
        self._changes, self._followed = 0, 0
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._statements = asyncio.Semaphore(AT_ONCE)
        self._catching_up = asyncio.Semaphore(CATCH_UP_AT_ONCE)

    def __len__(self) -> int:
        return len(self._subscriptions)

    def held_by(self, user_id: UUID | None) -> int:
        """How many of them are a user's."""
        return sum(s.context.actor.user_id == user_id for s in self._subscriptions)

    def changed(self) -> None:
        """Something was committed."""
        self._dirty.set()

    def stale(self) -> None:
        """Rights or the schema have changed: look again who may see what before anything more is told."""
        self._changes += 1
        self._dirty.set()

    async def join(self, subscription: Subscription, since: str | None) -> None:
        """Add a subscriber: from now on, or from a cursor on. Raises what keeps him from subscribing."""
        cursor = None if since is None else EventCursor.decode(since, self.workspace)
        async with self._lock:
            await self._follow()
            await self._renew(subscription)
            if not self._subscriptions:
                async with self._database.connection(self.workspace) as connection:
                    self._seen = await feed.snapshot(connection)
            seen = self._seen
            if cursor is not None:
                self._behind[subscription] = []
            self._subscriptions.add(subscription)
            subscription.close = lambda: self._leave(subscription)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        if cursor is not None:
            try:
                async with self._catching_up:
                    await self._catch_up(subscription, cursor, seen)
            except BaseException:
                self._leave(subscription)
                raise

    async def close(self) -> None:
        """End all subscriptions and stop."""
        for subscription in list(self._subscriptions):
            subscription.end()
        self._subscriptions.clear()
        self._behind.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._subscriptions:
            try:
                async with asyncio.timeout(LOOK_ELSEWHERE if self.workspace.database_url else LOOK):
                    await self._dirty.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(GATHER)
            self._dirty.clear()
            try:
                async with self._lock:
                    await self._advance()
            except Exception as error:  # noqa: BLE001 whatever it is, it must not silence the others
                # Nothing was marked as told: it is told when the database is back.
                LOG.warning("events_wait", workspace=self.workspace.slug, reason=f"{type(error).__name__}: {error}")
                self._dirty.set()
                await asyncio.sleep(RETRY_SECONDS)
        # Nobody is left to be told: what was composed for them may go.
        self._composition = None
        self._watches.clear()

    async def _advance(self) -> None:
        """Tell everything that was committed since the last time."""
        await self._follow()
        watches: dict[Watch, list[Subscription]] = {}
        for subscription in self._subscriptions:
            if subscription.watch is not None and not subscription.ended:
                watches.setdefault(subscription.watch, []).append(subscription)
        if not watches:
            return
        types = {watch.record.name for watch in watches}
        async with self._database.connection(self.workspace) as connection:
            batch = await feed.read(connection, self._links, EventCursor(self._seen), types)
        if batch.changes or batch.flooded:
            found = await self._events(watches, batch)
            if self._stale:
                # Rights have changed since: it is read again for those whom they leave.
                return
            for watch, events in found.items():
                for subscription in watches[watch]:
                    self._tell(subscription, events)
        self._seen = batch.snapshot

    def _tell(self, subscription: Subscription, events: list[Event] | ClientError) -> None:
        if isinstance(events, ClientError):
            self._leave(subscription)
            subscription.end(events)
        elif subscription in self._behind:
            self._behind[subscription] += events
        else:
            for event in events:
                subscription.put(event)
            self.told += len(events)

    def _leave(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        self._behind.pop(subscription, None)
        if not self._subscriptions:
            self._dirty.set()

    async def _events(self, watches: Iterable[Watch], batch: feed.Batch) -> dict[Watch, list[Event] | ClientError]:
        """What each watch makes of a batch, or why it can make nothing of it; those who see alike are asked at once."""
        alike: dict[Sight, list[Watch]] = {}
        for watch in watches:
            alike.setdefault(watch.sight, []).append(watch)
        found = await asyncio.gather(*(self._ask(sight, some, batch) for sight, some in alike.items()))
        return {watch: events for part in found for watch, events in part.items()}

    async def _ask(
        self, sight: Sight, watches: list[Watch], batch: feed.Batch
    ) -> dict[Watch, list[Event] | ClientError]:
        if sight.record.name in batch.flooded:
            return {w: [w.refetch(batch, self.workspace)] for w in watches}
        try:
            async with self._statements:
                seen = await sight.of(watches, batch, RequestContext(self.workspace, ANONYMOUS), self._fetch)
        except DATABASE_REFUSES as error:
            if len(watches) == 1:
                return {watches[0]: translate(error)}
            # What one of them asks cannot be answered: the others are none the worse for it.
            parts = [await self._ask(sight, [watch], batch) for watch in watches]
            return {watch: events for part in parts for watch, events in part.items()}
        return {w: w.events(batch, self.workspace, s) for w, s in zip(watches, seen, strict=True)}

    async def _fetch(self, text: str, values: Sequence[Any]) -> Any:
        return await self._database.pool(self.workspace).fetchval(text, *values)

    async def _catch_up(self, subscription: Subscription, cursor: EventCursor, seen: str) -> None:
        """Have a subscriber told what he missed up to `seen`, where he joined the others, and what came since.

        The others are not kept waiting: many come back at once, as when a server was started anew.
        """
        while not subscription.ended:
            watch = subscription.watch
            assert watch is not None
            try:
                async with self._database.connection(self.workspace) as connection:
                    if await feed.ahead(connection, cursor):
                        # The database has been put back to before the cursor.
                        batch = feed.Batch(cursor, seen, (), frozenset({watch.record.name}))
                    else:
                        batch = await feed.read(connection, self._links, cursor, {watch.record.name}, seen)
            except asyncpg.DataError:
                raise BadInput("`since` is no cursor of this workspace") from None
            missed = (await self._events([watch], batch))[watch]
            if subscription.watch is watch and not self._stale:
                held = self._behind.pop(subscription, [])
                self._tell(subscription, missed)
                self._tell(subscription, held)
                return
            # Rights have changed since.
            async with self._lock:
                await self._follow()

    @property
    def _stale(self) -> bool:
        """Whether somebody may be watching with rights he has lost: until he is looked at, nobody is told anything."""
        return self._followed != self._changes

    async def _follow(self) -> None:
        """Where rights or the schema have changed, look again what everybody may see before anything more is told."""
        composition = await self._features.composition(self.workspace)
        if self._composition is not composition:
            self._composition, self._links = composition, Links(composition.catalog)
            self._changes += 1
        if self._stale:
            changes = self._changes
            await self._renew_all()
            self._followed = changes

    async def _renew_all(self) -> None:
        """Look again who everybody is and what he may see; whoever may not any more is told so and left."""
        for subscription in list(self._subscriptions):
            try:
                await self._renew(subscription)
            except (ClientError, GraphQLError) as error:
                subscription.end(error)
                self._leave(subscription)
        self._forget_unused()

    async def _renew(self, subscription: Subscription) -> None:
        """Give a subscriber the watch that suits who he is now. Raises what keeps him from watching."""
        composition = self._composition
        assert composition is not None
        actor = await subscription.renew()
        question = subscription.question
        if question is None or question.composition is not composition:
            question = subscription.question = Question.of(composition, subscription.asked, self._limits)
        key = (question.key, actor.grants.fingerprint, actor.user_id, actor.team_ids, actor.mate_ids)
        watch = self._watches.get(key)
        if watch is None:
            asked, selection = subscription.asked, question.selection
            shape = question.operation.shape(question.variables)
            alike = (composition, actor.grants.fingerprint, asked.text, asked.operation, shape)
            sight = self._sights.get(alike)
            if sight is None:
                record = next(r for r in composition.catalog.exposed() if selection.name == f"{r.type.singular}Changed")
                sight = self._sights[alike] = Sight(composition.policy(actor.grants), selection, record)
            watch = self._watches[key] = Watch(selection, sight, actor)
            if len(self._watches) > 2 * len(self._subscriptions) + 10:
                self._forget_unused()
        subscription.watch = watch

    def _forget_unused(self) -> None:
        used = {s.watch for s in self._subscriptions}
        self._watches = {k: w for k, w in self._watches.items() if w in used}
