"""The subscriptions of one process: a hub per workspace, woken by what the database notifies."""

from __future__ import annotations

from core.auth import CHANNEL as ACCESS
from core.context import Workspace
from core.customrules import CHANNEL as FEATURES
from core.database import Database
from core.errors import LimitExceeded
from core.events.hub import Hub
from core.events.progress import Progress
from core.events.subscription import Subscription
from core.events.watch import selection_of
from core.features import Features
from core.jobs import CHANNEL as JOBS
from core.schema.measure import Limits
from core.settings import Settings

CHANGES = "crm_changes"
JOB_FIELD = "jobProgress"


class Hubs:
    """Where subscriptions begin. `await start()` makes it hear of commits of all processes."""

    def __init__(self, database: Database, features: Features, limits: Limits, settings: Settings) -> None:
        self._database = database
        self._features = features
        self._limits = limits
        self._most = settings.max_subscriptions
        self._most_of_one = settings.max_subscriptions_per_actor
        self._hubs: dict[str, Hub] = {}
        self._jobs: dict[str, Progress] = {}

    async def start(self) -> None:
        """Listen. Raises DatabaseError where the database cannot be reached."""
        await self._database.listen(CHANGES, self._committed)
        # After the authenticator and the features, which forget what they know at the same notifications.
        for channel in (ACCESS, FEATURES):
            await self._database.listen(channel, self._stale)
        await self._database.listen(JOBS, self._moved)

    async def close(self) -> None:
        """End every subscription."""
        for hub in self._hubs.values():
            await hub.close()
        for progress in self._jobs.values():
            await progress.close()

    @property
    def open(self) -> int:
        """How many subscriptions there are."""
        return sum(map(len, self._hubs.values())) + sum(map(len, self._jobs.values()))

    @property
    def told(self) -> int:
        """How many events were told since the process began."""
        return sum(hub.told for hub in self._hubs.values())

    async def subscribe(self, subscription: Subscription) -> None:
        """Begin a subscription. Raises GraphQLError or ClientError where it cannot be."""
        if self.open >= self._most:
            raise LimitExceeded("this server has no room for another subscription: try again later")
        workspace = subscription.context.workspace
        theirs = subscription.context.actor.user_id
        hubs: list[Hub | Progress] = [*self._hubs.values(), *self._jobs.values()]
        if sum(hub.held_by(theirs) for hub in hubs if hub.workspace.id == workspace.id) >= self._most_of_one:
            raise LimitExceeded(f"you may have {self._most_of_one} subscriptions open at once: end some first")
        composition = await self._features.composition(workspace)
        _, selection = selection_of(composition, subscription.asked, self._limits)
        if selection.name == JOB_FIELD:
            await self._progress(workspace).join(subscription)
            return
        given = selection.argument("since")
        since = None
        if given is not None and not given.is_null:
            since = given.operand.source(selection.document.variables, subscription.context)
        await self._hub(workspace).join(subscription, since)

    def _hub(self, workspace: Workspace) -> Hub:
        hub = self._hubs.get(workspace.slug)
        if hub is None or hub.workspace.id != workspace.id:
            hub = self._hubs[workspace.slug] = Hub(self._database, self._features, self._limits, workspace)
        return hub

    def _progress(self, workspace: Workspace) -> Progress:
        found = self._jobs.get(workspace.slug)
        if found is None or found.workspace.id != workspace.id:
            found = self._jobs[workspace.slug] = Progress(self._database, self._features, self._limits, workspace)
        return found

    def _committed(self, payload: str | None) -> None:
        slug = payload and payload.partition(" ")[0]
        for hub in self._of(slug):
            hub.changed()

    def _stale(self, slug: str | None) -> None:
        for hub in self._of(slug or None):
            hub.stale()

    def _moved(self, payload: str | None) -> None:
        slug, _, job_id = (payload or "").partition(" ")
        for progress in self._jobs.values() if not slug else [p for s, p in self._jobs.items() if s == slug]:
            progress.changed(job_id or None)

    def _of(self, slug: str | None) -> list[Hub]:
        if slug is None:
            return list(self._hubs.values())
        return [hub for s, hub in self._hubs.items() if s == slug]
