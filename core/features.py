"""The feature sets of workspaces: read, composed off the request path, switched, and followed in every process.

A workspace's composition is kept until a NOTIFY on `crm_features` names the workspace; then it is composed anew in
a thread while the old one goes on serving, and swapped in at once. Equal feature sets share one composition.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import asyncpg
import orjson
from piccolo.conf.apps import AppConfig

from core import documentapi, eventcursor, explain, membership, migrate, personapi, signin
from core.context import Workspace
from core.contributions import Chosen, Composed, FeatureSet, Operations, compose, reason
from core.customfields import COLUMNS, CustomField
from core.customrules import ABILITY as CUSTOM_FIELDS
from core.customrules import CHANNEL
from core.database import Database
from core.errors import CrmError, DatabaseError
from core.featureapi import operations_of
from core.log import logger
from core.piccolo_app import APP_CONFIG
from core.plugins import PluginRegistry, State
from core.pool import Connection
from core.ruleexplain import EXPLANATION
from core.schema import file, job
from core.schema.composition import Composition
from core.schema.mutations import UNDO
from core.settings import Settings
from core.switch import Switch
from core.warmup import Warmup

LOG = logger("crm.features")
RETRY_SECONDS = 1.0
#: Notifications only travel within the deployment's own database; a workspace in another one is looked after.
LOOK_SECONDS = 1.0
#: Compositions that are kept without being in use: those just tried or left.
RECENT = 4

ERROR_CODES: Mapping[str, str] = {
    "REQUIRED": "A value is missing.",
    "TOO_LONG": "A text is longer than allowed.",
    "INVALID": "A value cannot be meant.",
    "OUT_OF_RANGE": "A number is too small or too large.",
    "DUPLICATE": "A value that must be unique is in use.",
    "NOT_FOUND": "Something that is referred to does not exist, or may not be read.",
    "STALE": "The record was changed since `expectedVersion`.",
    "CONFLICT": "Something else stands in the way.",
    "FORBIDDEN": "The record may not be changed in this way.",
    "INVALID_RULE": "A condition does not fit the workspace's record types, fields and plugins.",
}

ABILITIES: Mapping[str, str] = {
    "plugins": "Switch plugins on and off and set them up.",
    CUSTOM_FIELDS: "Add, change and delete custom fields.",
    "undo": "Undo change sets.",
    "roles": "Give roles and permissions as far as one has them oneself; whoever has all abilities gives any.",
    "users": "Act on the sign-in of other users.",
    "settings": "Change the workspace's settings.",
    "jobs": "See and cancel the jobs of others.",
    "files": "Upload files.",
}


def core_operations(features: Features) -> Operations:
    """What core contributes beside its record types: sign-in, explanations, undo, plugins and custom fields."""
    return (
        Operations(
            mutations=(UNDO, *membership.MUTATIONS, *job.MUTATIONS, *file.MUTATIONS),
            error_codes=ERROR_CODES,
            abilities=ABILITIES,
        )
        + Operations(signin.QUERIES, signin.MUTATIONS, signin.OBJECTS, signin.ERROR_CODES)
        + Operations(eventcursor.QUERIES)
        + Operations(explain.QUERIES, objects=(*explain.OBJECTS, EXPLANATION))
        + operations_of(features)
        + documentapi.operations_of(features)
        + personapi.OPERATIONS
    )


@dataclass(frozen=True, slots=True)
class FeatureStatus:
    """A plugin as it stands in one workspace.

    `state` is ENABLED, DISABLED (its data is kept), AVAILABLE, LEFT_OUT (enabled, and `reason` says why it is not
    in the composition) or BROKEN. `settings` are those in force, secrets masked; `schema` is their JSON Schema.
    """

    name: str
    version: str
    summary: str
    state: str
    reason: str = ""
    settings: Any = None
    schema: Mapping[str, Any] = field(default_factory=dict)

    @property
    def enabled(self) -> bool:
        """Whether the workspace has it switched on, even where it is left out."""
        return self.state in ("ENABLED", "LEFT_OUT")


@dataclass
class _Entry:
    """What this process knows of one workspace."""

    workspace: Workspace
    composed: Composed | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    dirty: bool = True
    looked: float = 0.0
    task: asyncio.Task[None] | None = None


class Features:
    """The feature sets of one process's workspaces."""

    def __init__(
        self, database: Database, settings: Settings | None = None, registry: PluginRegistry | None = None
    ) -> None:
        self.database = database
        self.settings = settings
        self.registry = registry or PluginRegistry.discover()
        self.switch = Switch(self)
        self.warmup = Warmup(self)
        self._operations = core_operations(self)
        self._entries: dict[str, _Entry] = {}
        self._known: WeakValueDictionary[str, Composed] = WeakValueDictionary()
        self._building: dict[str, asyncio.Task[Composed]] = {}
        self._recent: deque[Composed] = deque(maxlen=RECENT)
        self._listening: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Stop following changes."""
        await self.warmup.close()
        tasks = [t for e in self._entries.values() if (t := e.task)] + list(self._building.values())
        self._entries.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def compositions(self) -> list[Composition]:
        """The compositions that are in use or were until a moment ago."""
        return [composed.composition for composed in self._known.values()]

    async def composition(self, workspace: Workspace) -> Composition:
        """The workspace's composition as this process knows it; only the first call has to wait for it.

        Raises DatabaseError where the workspace cannot be read, CompositionError where core cannot be composed.
        """
        return (await self.composed(workspace)).composition

    async def composed(self, workspace: Workspace) -> Composed:
        """The composition with what came with it: who was left out and why, abilities, jobs."""
        entry = self._entries.get(workspace.slug)
        if entry is None or (entry.workspace is not workspace and entry.workspace != workspace):
            entry = self._entries[workspace.slug] = _Entry(workspace)
        if entry.composed is None:
            await asyncio.shield(self._follow(entry))
        elif workspace.database_url and time.monotonic() - entry.looked > LOOK_SECONDS:
            self._changed(workspace.slug)
        assert entry.composed is not None
        return entry.composed

    def serving(self, slug: str) -> Workspace | None:
        """The workspace of that name, if this process serves it."""
        entry = self._entries.get(slug)
        return entry.workspace if entry is not None and entry.composed is not None else None

    async def refresh(self, workspace: Workspace) -> Composed:
        """The composition as the database has it now."""
        entry = self._entries.setdefault(workspace.slug, _Entry(workspace))
        entry.dirty = True
        await asyncio.shield(self._follow(entry))
        return await self.composed(workspace)

    async def enable(self, workspace: Workspace, name: str, settings: Mapping[str, Any] | None = None) -> None:
        """Switch a plugin on, or change its settings: see `Switch.enable`. Raises Refused."""
        async with self.database.transaction(workspace, statement_timeout_ms=0) as connection:
            await self.switch.enable(connection, self.switch.system(workspace), name, settings)
        await self.refresh(workspace)

    async def disable(self, workspace: Workspace, name: str) -> None:
        """Switch a plugin off; its data stays. Raises Refused."""
        async with self.database.transaction(workspace) as connection:
            await self.switch.disable(connection, self.switch.system(workspace), name)
        await self.refresh(workspace)

    async def purge(self, workspace: Workspace, name: str) -> None:
        """Drop a plugin's tables and data, for good; it is switched off first. Raises Refused."""
        if any(s.name == name and s.enabled for s in await self.status(workspace)):
            await self.disable(workspace, name)
        async with self.database.transaction(workspace, statement_timeout_ms=0) as connection:
            await self.switch.purge(connection, self.switch.system(workspace), name)
        await self.refresh(workspace)

    async def status(self, workspace: Workspace) -> list[FeatureStatus]:
        """Every installed plugin and every one the workspace knows, by name."""
        left_out = await self.left_out(workspace)
        async with self.database.connection(workspace) as connection:
            stored = await _stored(connection)
        versions = {name: row["version"] for name, row in stored.items()}
        versions |= {s.name: s.version for s in self.registry.status()}
        return [self._status(name, version, stored.get(name), left_out) for name, version in sorted(versions.items())]

    async def left_out(self, workspace: Workspace) -> dict[str, str]:
        """The plugins that are switched on and not in the composition, installed or not, and why each is not."""
        composed = await self.composed(workspace)
        return {**composed.left_out, **self._entries[workspace.slug].absent}

    async def status_in(self, connection: Connection, name: str) -> FeatureStatus:
        """A plugin as it stands inside a transaction that switches it; what that composes to is not known yet."""
        row = (await _stored(connection)).get(name)
        return self._status(name, row["version"] if row else "", row, {})

    async def apps(self, workspace: Workspace) -> list[AppConfig]:
        """The Piccolo apps whose tables the workspace has or is to have: core's, and those of plugins it knows."""
        async with self.database.connection(workspace) as connection:
            known = []
            if await connection.fetchval("select to_regclass('feature') is not null"):
                known = [row["plugin"] for row in await connection.fetch("select plugin from feature")]
        return self.apps_of(known)

    def apps_of(self, plugins: Collection[str]) -> list[AppConfig]:
        """Core's Piccolo app and those of plugins, as far as they are installed."""
        return [APP_CONFIG, *(p.app for p in self.registry.plugins.values() if p.app and p.name in plugins)]

    async def built(self, feature_set: FeatureSet) -> Composed:
        """A feature set, composed in a thread unless it is there already."""
        fingerprint = feature_set.fingerprint
        if (known := self._known.get(fingerprint)) is None:
            task = self._building.get(fingerprint)
            if task is None:
                work = asyncio.to_thread(compose, feature_set, self.registry, self._operations)
                task = self._building[fingerprint] = asyncio.create_task(work)
                task.add_done_callback(lambda _: self._building.pop(fingerprint, None))
            known = await asyncio.shield(task)
            self._known[fingerprint] = known
        if known not in self._recent:
            self._recent.append(known)
        return known

    async def read(self, connection: Connection) -> FeatureSet:
        """The feature set that a workspace's tables say. Raises DatabaseError where it was never migrated."""
        try:
            stored = await _stored(connection)
            fields = await connection.fetch(f"select {COLUMNS} from custom_field order by record_type, name")
        except asyncpg.UndefinedTableError as error:
            raise DatabaseError("the workspace has not been migrated: run crm migrate") from error
        return FeatureSet(
            tuple(self.chosen(n, r["settings"], r["version"]) for n, r in sorted(stored.items()) if r["enabled"]),
            tuple(CustomField.of(r["id"], r) for r in fields),
        )

    async def composed_in(self, connection: Connection) -> Composed:
        """What a transaction's own view of a workspace's features composes to. Raises DatabaseError."""
        return await self.built(await self.usable(connection))

    async def usable(self, connection: Connection) -> FeatureSet:
        """The feature set of a workspace without what cannot be composed in this process. Raises DatabaseError."""
        feature_set, _ = await self._usable(connection, await self.read(connection))
        return feature_set

    def chosen(self, name: str, settings: Any, version: str = "") -> Chosen:
        """A plugin with settings, in the version that is installed."""
        plugin = self.registry.plugins.get(name)
        return Chosen(name, plugin.manifest.version if plugin else version, canonical(settings))

    def _status(
        self, name: str, version: str, row: Mapping[str, Any] | None, left_out: Mapping[str, str]
    ) -> FeatureStatus:
        plugin = self.registry.plugins.get(name)
        broken = self.registry.broken.get(name)
        if plugin is None:
            reason = broken.reason if broken else "it is not installed"
            return FeatureStatus(name, version, "", State.BROKEN.value, reason)
        state = "AVAILABLE" if row is None else "ENABLED" if row["enabled"] else "DISABLED"
        reason = left_out.get(name, "") if state == "ENABLED" else ""
        settings = None
        if row is not None:
            try:
                settings = plugin.settings(row["settings"]).model_dump(mode="json")
            except CrmError as error:
                reason = reason or error.message
        return FeatureStatus(
            name,
            plugin.manifest.version,
            plugin.manifest.summary,
            "LEFT_OUT" if reason and state == "ENABLED" else state,
            reason,
            settings,
            plugin.model.model_json_schema(),
        )

    async def _listen(self) -> None:
        if self._listening is None or (self._listening.done() and self._listening.exception()):
            self._listening = asyncio.create_task(self._begin())
        await asyncio.shield(self._listening)

    async def _begin(self) -> None:
        await self.database.listen(CHANNEL, self._changed)
        await self.warmup.start()

    def _changed(self, slug: str | None) -> None:
        """A workspace's features may have changed; None means any's."""
        for entry in self._entries.values():
            if slug in (None, entry.workspace.slug):
                entry.dirty = True
                self._follow(entry)

    def _follow(self, entry: _Entry) -> asyncio.Task[None]:
        """The task that brings an entry up to date, started unless it runs."""
        if entry.task is None or entry.task.done():
            entry.task = asyncio.create_task(self._load(entry))
            entry.task.add_done_callback(_heard)
        return entry.task

    async def _load(self, entry: _Entry) -> None:
        """Compose anew until nothing has changed meanwhile. What is served already outlives any failure."""
        await self._listen()
        while entry.dirty or entry.composed is None:
            entry.dirty = False
            entry.looked = time.monotonic()
            try:
                async with self.database.connection(entry.workspace) as connection:
                    feature_set, absent = await self._usable(connection, await self.read(connection))
                composed = await self.built(feature_set)
            except Exception as error:
                if entry.composed is None:
                    raise
                LOG.warning("features_not_followed", workspace=entry.workspace.slug, reason=reason(error))
                entry.dirty = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if entry.composed is not None and entry.composed is not composed:
                fingerprint = composed.composition.fingerprint
                LOG.info("features_changed", workspace=entry.workspace.slug, fingerprint=fingerprint)
            entry.composed, entry.absent = composed, absent
            for name, why in {**composed.left_out, **absent}.items():
                LOG.warning("plugin_left_out", workspace=entry.workspace.slug, plugin=name, reason=why)

    async def _usable(self, connection: Connection, found: FeatureSet) -> tuple[FeatureSet, dict[str, str]]:
        """The feature set without plugins that are not there, broken or not migrated, and why each is not."""
        absent: dict[str, str] = {}
        rows = await connection.fetch("select app_name, name from migration")
        done = {(row["app_name"], row["name"]) for row in rows}
        for chosen in found.plugins:
            plugin = self.registry.plugins.get(chosen.name)
            if plugin is None:
                broken = self.registry.broken.get(chosen.name)
                absent[chosen.name] = broken.reason if broken else "it is not installed"
            elif plugin.app and any((s.app, s.id) not in done for s in migrate.load(plugin.app)):
                absent[chosen.name] = "its tables are of an older version: run crm migrate"
        return FeatureSet(tuple(c for c in found.plugins if c.name not in absent), found.fields), absent


async def _stored(connection: Connection) -> dict[str, Mapping[str, Any]]:
    rows = await connection.fetch("select plugin, enabled, settings, version from feature")
    return {row["plugin"]: row for row in rows}


def canonical(settings: Any) -> bytes:
    """Settings as JSON, equal for equal settings."""
    return orjson.dumps(settings or {}, option=orjson.OPT_SORT_KEYS)


def _heard(task: asyncio.Task[None]) -> None:
    """Whoever waits for the task gets its error; nobody may."""
    if not task.cancelled():
        task.exception()


__all__ = ["Composed", "FeatureSet", "FeatureStatus", "Features", "compose", "core_operations"]
