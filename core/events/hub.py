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
from core.events.watch import Event, Watch, selection_of
from core.features import Features
from core.log import logger
from core.schema.composition import Composition
from core.schema.execute import DATABASE_REFUSES, translate
from core.schema.measure import Limits

LOG = logger("crm.events")

#: Seconds in which commits are gathered before they are told, and after which is looked without being told to:
#: notifications only travel within the deployment's own database.
GATHER, LOOK, LOOK_ELSEWHERE = 0.02, 30.0, 1.0
RETRY_SECONDS = 1.0
#: Statements that one workspace's subscriptions run at once.
AT_ONCE = 3


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
        self._links: tuple[Composition, Links] | None = None
        self._seen = ""
        self._dirty = asyncio.Event()
        self._stale = False
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._statements = asyncio.Semaphore(AT_ONCE)

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
        self._stale = True
        self._dirty.set()

    async def join(self, subscription: Subscription, since: str | None) -> None:
        """Add a subscriber: from now on, or from a cursor on. Raises what keeps him from subscribing."""
        cursor = None if since is None else EventCursor.decode(since, self.workspace)
        async with self._lock:
            await self._renew(subscription)
            async with self._database.connection(self.workspace) as connection:
                if not self._subscriptions:
                    self._seen = await feed.snapshot(connection)
                if cursor is not None:
                    try:
                        await self._catch_up(connection, subscription, cursor)
                    except asyncpg.DataError:
                        raise BadInput("`since` is no cursor of this workspace") from None
            self._subscriptions.add(subscription)
            subscription.close = lambda: self._subscriptions.discard(subscription)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End all subscriptions and stop."""
        for subscription in list(self._subscriptions):
            subscription.end()
        self._subscriptions.clear()
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

    async def _advance(self) -> None:
        """Tell everything that was committed since the last time."""
        composition = await self._features.composition(self.workspace)
        if self._stale or (self._links is not None and self._links[0] is not composition):
            self._stale = False
            try:
                await self._renew_all()
            except BaseException:
                # Until everybody has been looked at, nobody is told anything.
                self._stale = True
                raise
        watches: dict[Watch, list[Subscription]] = {}
        for subscription in self._subscriptions:
            if subscription.watch is not None and not subscription.ended:
                watches.setdefault(subscription.watch, []).append(subscription)
        if not watches:
            return
        types = {watch.record.name for watch in watches}
        async with self._database.connection(self.workspace) as connection:
            batch = await feed.read(connection, await self._known_links(), EventCursor(self._seen), types)
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
            self._subscriptions.discard(subscription)
            subscription.end(events)
            return
        for event in events:
            subscription.put(event)
        self.told += len(events)

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

    async def _catch_up(self, connection: Any, subscription: Subscription, cursor: EventCursor) -> None:
        """Have a subscriber told what he missed, up to where the others are."""
        watch = subscription.watch
        assert watch is not None
        links = await self._known_links()
        if await feed.ahead(connection, cursor):
            # The database has been put back to before the cursor.
            batch = feed.Batch(cursor, self._seen, (), frozenset({watch.record.name}))
        else:
            batch = await feed.read(connection, links, cursor, {watch.record.name}, self._seen)
        self._tell(subscription, (await self._events([watch], batch))[watch])

    async def _known_links(self) -> Links:
        composition = await self._features.composition(self.workspace)
        if self._links is None or self._links[0] is not composition:
            self._links = (composition, Links(composition.catalog))
        return self._links[1]

    async def _renew_all(self) -> None:
        """Look again who everybody is and what he may see; whoever may not any more is told so and left."""
        for subscription in list(self._subscriptions):
            try:
                await self._renew(subscription)
            except (ClientError, GraphQLError) as error:
                subscription.end(error)
                self._subscriptions.discard(subscription)
        self._forget_unused()

    async def _renew(self, subscription: Subscription) -> None:
        """Give a subscriber the watch that suits who he is now. Raises what keeps him from watching."""
        composition = await self._features.composition(self.workspace)
        actor = await subscription.renew()
        asked = subscription.asked
        key = (composition, actor.grants.fingerprint, actor.user_id, actor.team_ids, actor.mate_ids, asked.key)
        watch = self._watches.get(key)
        if watch is None:
            operation, selection = selection_of(composition, asked, self._limits)
            shape = operation.shape(selection.document.variables)
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
