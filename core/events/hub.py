"""The subscriptions of one workspace in one process: told of each commit, renewed when rights or schema change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from graphql import GraphQLError

from core.context import Workspace
from core.database import Database
from core.errors import CrmError
from core.eventcursor import EventCursor
from core.events import feed
from core.events.feed import Links
from core.events.subscription import Subscription
from core.events.watch import Watch, selection_of
from core.features import Features
from core.log import logger
from core.schema.composition import Composition
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
        self._links: tuple[Composition, Links] | None = None
        self._seen = ""
        self._dirty = asyncio.Event()
        self._stale = False
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._statements = asyncio.Semaphore(AT_ONCE)

    def __len__(self) -> int:
        return len(self._subscriptions)

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
                    await self._catch_up(connection, subscription, cursor)
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
            await self._renew_all()
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
            found = await asyncio.gather(*(self._ask(w, s[0], batch) for w, s in watches.items()))
            for (_, subscriptions), events in zip(watches.items(), found, strict=True):
                for subscription in subscriptions:
                    for event in events:
                        subscription.put(event)
                self.told += len(events) * len(subscriptions)
        self._seen = batch.snapshot

    async def _ask(self, watch: Watch, subscription: Subscription, batch: feed.Batch) -> Any:
        async with self._statements:
            return await watch.events(batch, subscription.context, self._fetch)

    async def _fetch(self, text: str, values: Sequence[Any]) -> Any:
        return await self._database.pool(self.workspace).fetchval(text, *values)

    async def _catch_up(self, connection: Any, subscription: Subscription, cursor: EventCursor) -> None:
        """Have a subscriber told what he missed, up to where the others are."""
        watch = subscription.watch
        assert watch is not None
        links = await self._known_links()
        batch = await feed.read(connection, links, cursor, {watch.record.name}, self._seen)
        for event in await watch.events(batch, subscription.context, self._fetch):
            subscription.put(event)

    async def _known_links(self) -> Links:
        composition = await self._features.composition(self.workspace)
        if self._links is None or self._links[0] is not composition:
            self._links = (composition, Links(composition.catalog))
        return self._links[1]

    async def _renew_all(self) -> None:
        """Look again who everybody is and what he may see; whoever may not any more is told so and left."""
        self._watches.clear()
        for subscription in list(self._subscriptions):
            try:
                await self._renew(subscription)
            except (CrmError, GraphQLError) as error:
                subscription.end(error)
                self._subscriptions.discard(subscription)

    async def _renew(self, subscription: Subscription) -> None:
        """Give a subscriber the watch that suits who he is now. Raises what keeps him from watching."""
        composition = await self._features.composition(self.workspace)
        actor = await subscription.renew()
        key = (
            composition.fingerprint,
            actor.grants.fingerprint,
            actor.user_id,
            actor.team_ids,
            actor.mate_ids,
            subscription.asked.key,
        )
        watch = self._watches.get(key)
        if watch is None:
            _, selection = selection_of(composition, subscription.asked, self._limits)
            record = next(r for r in composition.catalog.exposed() if selection.name == f"{r.type.singular}Changed")
            watch = Watch(composition, actor, selection, record)
            self._watches[key] = watch
            self._forget_unused()
        subscription.watch = watch

    def _forget_unused(self) -> None:
        if len(self._watches) > 2 * len(self._subscriptions) + 10:
            used = {s.watch for s in self._subscriptions}
            self._watches = {k: w for k, w in self._watches.items() if w in used}
