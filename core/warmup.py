"""What is about to be switched is told to every process, which composes it while the switching still goes on.

So the others need only swap when it is committed. It is a hint and nothing more: it may be lost, or be followed by
nothing; what a workspace has is read from its tables only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import orjson

from core.context import Workspace
from core.contributions import FeatureSet, reason
from core.log import logger

if TYPE_CHECKING:
    from core.features import Features

LOG = logger("crm.features")
CHANNEL = "crm_features_soon"
#: PostgreSQL takes notifications of less than 8,000 bytes.
_LONGEST = 7_900
#: How JSON Schema marks what is taken and never shown.
_SECRET = b'"writeOnly":true'


class Warmup:
    """Announces the switchings of one process, and heeds those of all."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises DatabaseError where the database cannot be reached."""
        await self._features.database.listen(CHANNEL, self._heard)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def announce(self, workspace: Workspace, name: str, settings: Any = None) -> None:
        """Tell all that a plugin is about to be switched on with these settings, or off without any.

        Returns at once: the caller has a connection already, and must not wait for another one. Secrets are kept:
        whoever may connect to the database may listen.
        """
        plugin = self._features.registry.plugins.get(name)
        if settings and plugin is not None and _SECRET in orjson.dumps(plugin.model.model_json_schema()):
            return
        payload = orjson.dumps([workspace.slug, name, settings]).decode()
        if len(payload.encode()) <= _LONGEST:
            self._run(self._tell(payload))

    def _heard(self, payload: str | None) -> None:
        if payload is not None:
            slug, name, settings = orjson.loads(payload)
            if (workspace := self._features.serving(slug)) is not None:
                self._run(self._compose(workspace, name, settings))

    async def _tell(self, payload: str) -> None:
        async with self._features.database.admin() as connection:
            await connection.execute("select pg_notify($1, $2)", CHANNEL, payload)

    async def _compose(self, workspace: Workspace, name: str, settings: Any) -> None:
        features = self._features
        async with features.database.connection(workspace) as connection:
            found = await features.usable(connection)
        plugins = {c.name: c for c in found.plugins if c.name != name}
        if settings is not None:
            plugins[name] = features.chosen(name, settings)
        await features.built(FeatureSet(tuple(plugins[n] for n in sorted(plugins)), found.fields))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.warning("features_not_foreseen", reason=reason(error))
