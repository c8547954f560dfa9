"""Switching plugins on and off in a workspace, and dropping what they left.

Everything happens on one connection, inside the caller's transaction: the plugin's migrations, its row, the
permissions and the notification are there together or not at all, so `dryRun`, `idempotencyKey` and a killed
process need no cleaning up. Piccolo is made to use that very connection; a second one could wait for locks that the
first one holds. Switching waits for its locks for ten seconds at most and then refuses, so that it holds up nobody.
Reads go on meanwhile: making tables that refer to others only keeps their writers waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
from piccolo.conf.apps import AppConfig

from core import migrate
from core.changes import ChangeSet, Target
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.contributions import Composed, FeatureSet
from core.customrules import CHANNEL
from core.errors import MigrationError, PluginError, PluginFailed, Refused, UserError
from core.grants import SYSTEM
from core.log import logger
from core.messages import text
from core.piccolo_app import APP_CONFIG
from core.plugins import Plugin
from core.pool import Connection
from core.predicate import Compare, constant

if TYPE_CHECKING:
    from core.features import Features

LOG = logger("crm.features")

#: Whoever has it may do everything with the records of the plugins he switches on.
ABILITY = "plugins"
LOCK_TIMEOUT = "10s"
#: Seconds that every process is given to let go of a plugin before its tables are dropped.
GRACE = 2.0


class Switch:
    """The switches of one process; `features` says what there is."""

    def __init__(self, features: Features) -> None:
        self._features = features

    @staticmethod
    def system(workspace: Workspace) -> RequestContext:
        """The context in which the system itself switches."""
        return RequestContext(workspace, Actor(ActorKind.SYSTEM, SYSTEM), locale="en")

    async def enable(
        self, connection: Connection, context: RequestContext, name: str, settings: Mapping[str, Any] | None = None
    ) -> None:
        """Switch a plugin on, make its tables, and give its records and abilities to those who may switch.

        A plugin that is on already takes the new settings; without any it keeps those it has. Raises Refused,
        with nothing changed, where it is unknown or broken, its settings do not fit, a plugin it requires is not
        on, or its names are taken.
        """
        async with self._alone(connection, context):
            plugin = self._demand(context, name)
            found = await self._features.read(connection)
            on = {c.name for c in found.plugins}
            for other in plugin.manifest.requires:
                if other not in on:
                    raise _refused(context, "name", "plugin_requires", "CONFLICT", name=name, other=other)
            stored = await connection.fetchval("select settings from feature where plugin = $1", name)
            given = dict(settings) if settings is not None else dict(stored or {})
            try:
                plugin.settings(given)
            except PluginError as error:
                raise _refused(context, "settings", "plugin_settings", "INVALID", reason=error.message) from error
            self._features.warmup.announce(context.workspace, name, given)
            composed = await self._compose_with(found, name, given)
            if why := composed.left_out.get(name):
                raise _refused(context, "name", "plugin_broken", "CONFLICT", name=name, reason=why)
            if plugin.app:
                apps = [APP_CONFIG, *(p.app for n in sorted({*on, name}) if (p := self._plugin(n)) and p.app)]
                await self._migrate(connection, context, name, apps)
            since = await connection.fetchval("select at from feature where plugin = $1 and not enabled", name)
            await connection.execute(
                "insert into feature (plugin, enabled, settings, version, at) values ($1, true, $2, $3, now()) "
                "on conflict (plugin) do update set enabled = true, settings = excluded.settings, "
                "version = excluded.version, at = excluded.at",
                name,
                given,
                plugin.manifest.version,
            )
            await self._grant(self._changes(connection, context, composed, "pluginEnable"), composed, name)
            changes = self._changes(connection, context, composed, "pluginEnable")
            await changes.hooks.call("switched_on", only=name, changes=changes, since=since)
            await changes.finish()
            await self._notify(connection, context)

    async def disable(self, connection: Connection, context: RequestContext, name: str) -> None:
        """Switch a plugin off: its fields vanish, its tables and their data stay.

        Raises Refused where the workspace does not know it, or another plugin that is on requires it.
        """
        async with self._alone(connection, context):
            found = await self._features.read(connection)
            if not await connection.fetchval("select true from feature where plugin = $1", name):
                raise _refused(context, "name", "plugin_unknown", "NOT_FOUND", name=name)
            self._demand_unneeded(context, name, [c.name for c in found.plugins])
            left = FeatureSet(tuple(c for c in found.plugins if c.name != name), found.fields)
            # So that all processes need only swap.
            self._features.warmup.announce(context.workspace, name)
            await self._features.built(left)
            await connection.execute("update feature set enabled = false, at = now() where plugin = $1", name)
            await self._notify(connection, context)

    async def purge(self, connection: Connection, context: RequestContext, name: str) -> None:
        """Drop the tables of a plugin that is switched off, with its permissions, abilities, viewers and jobs.

        Every process is given two seconds from the switching off to let go of it. Raises Refused where it is on,
        unknown or broken, or where another plugin that requires it has data; MigrationError where one of its
        migrations cannot be reversed.
        """
        async with self._alone(connection, context):
            row = await connection.fetchrow(
                "select enabled, settings, extract(epoch from clock_timestamp() - at)::float8 as age "
                "from feature where plugin = $1",
                name,
            )
            if row is None:
                raise _refused(context, "name", "plugin_unknown", "NOT_FOUND", name=name)
            if row["enabled"]:
                raise _refused(context, "name", "plugin_enabled", "CONFLICT", name=name)
            plugin = self._demand(context, name)
            known = await connection.fetch("select plugin from feature")
            self._demand_unneeded(context, name, [r["plugin"] for r in known])
            if row["age"] < GRACE:
                await asyncio.sleep(GRACE - row["age"])
            found = await self._features.read(connection)
            composed = await self._compose_with(found, name, row["settings"])
            await self._withdraw(self._changes(connection, context, composed, "pluginPurge"), composed, name)
            if plugin.app:
                await self._migrate(connection, context, name, [plugin.app], backwards=True)
            await connection.execute("delete from job where starts_with(kind, $1)", f"{name}.")
            await connection.execute("delete from feature where plugin = $1", name)
            await self._notify(connection, context)

    @asynccontextmanager
    async def _alone(self, connection: Connection, context: RequestContext) -> AsyncIterator[None]:
        """One switching at a time in a workspace; inside, a savepoint, so that a refusal leaves nothing behind."""
        try:
            async with connection.transaction():
                await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
                key = f"crm.features.{context.workspace.schema}"
                await connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", key)
                yield
        except asyncpg.LockNotAvailableError as error:
            raise _refused(context, "name", "plugin_busy", "CONFLICT") from error
        except MigrationError as error:
            if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise _refused(context, "name", "plugin_busy", "CONFLICT") from error
            raise

    def _plugin(self, name: str) -> Plugin | None:
        return self._features.registry.plugins.get(name)

    def _demand(self, context: RequestContext, name: str) -> Plugin:
        if plugin := self._plugin(name):
            return plugin
        if broken := self._features.registry.broken.get(name):
            raise _refused(context, "name", "plugin_broken", "CONFLICT", name=name, reason=broken.reason)
        raise _refused(context, "name", "plugin_unknown", "NOT_FOUND", name=name)

    def _demand_unneeded(self, context: RequestContext, name: str, others: Sequence[str]) -> None:
        for other in others:
            plugin = self._plugin(other)
            if plugin and name in plugin.manifest.requires:
                raise _refused(context, "name", "plugin_needed", "CONFLICT", name=name, other=other)

    async def _compose_with(self, found: FeatureSet, name: str, settings: Any) -> Composed:
        plugins = {**{c.name: c for c in found.plugins}, name: self._features.chosen(name, settings)}
        return await self._features.built(FeatureSet(tuple(plugins[n] for n in sorted(plugins)), found.fields))

    async def _migrate(
        self,
        connection: Connection,
        context: RequestContext,
        name: str,
        apps: Sequence[AppConfig],
        *,
        backwards: bool = False,
    ) -> None:
        """Migrate, or take the migrations of one app back. Raises PluginFailed naming the plugin and the reason."""
        here = migrate.here(connection)
        try:
            if backwards:
                await migrate.purge_app(here, context.workspace, apps[0])
            else:
                await migrate.migrate_workspace(here, context.workspace, apps)
        except MigrationError as error:
            if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise
            LOG.exception("plugin_not_migrated", plugin=name, workspace=context.workspace.slug)
            raise PluginFailed(str(error.params.get("app", name)), error.message) from error

    @staticmethod
    def _changes(connection: Connection, context: RequestContext, composed: Composed, operation: str) -> ChangeSet:
        """A change set of its own for permissions: whoever may switch plugins need not be allowed to give roles."""
        composition = composed.composition
        policy, hooks = composition.policy(SYSTEM), composition.hooks
        return ChangeSet(connection, context, policy, hooks, source="RULE", operation=operation)

    @staticmethod
    async def _grant(changes: ChangeSet, composed: Composed, name: str) -> None:
        """Give all actions on the plugin's records, and its abilities, to the roles that may switch plugins."""
        statement = "select id from role where $1 = any(abilities) and deleted_at is null order by id"
        roles = [row["id"] for row in await changes.connection.fetch(statement, ABILITY)]
        wanted = [(t.name, a) for t in composed.record_types.get(name, ()) if not t.follows for a in t.actions]
        rows = await changes.connection.fetch(
            "select role_id, record_type, action from permission_grant where role_id = any($1::uuid[])", roles
        )
        there = {tuple(row) for row in rows}
        await changes.create(
            "PermissionGrant",
            [
                {"roleId": str(role), "recordType": record, "action": action, "scope": "ALL"}
                for role in roles
                for record, action in wanted
                if (role, record, action) not in there
            ],
        )
        if abilities := composed.plugin_abilities.get(name):
            await changes.update(
                "Role",
                Target(ids=tuple(roles)),
                lambda row: {"abilities": sorted({*(row.before or {}).get("abilities", ()), *abilities})},
            )
        await changes.finish()

    @staticmethod
    async def _withdraw(changes: ChangeSet, composed: Composed, name: str) -> None:
        """Remove all permissions and field rules on the plugin's records, its abilities, and the viewers it let in."""
        types = [t.name for t in composed.record_types.get(name, ())]
        for record, table in (("PermissionGrant", "permission_grant"), ("FieldRule", "field_rule")):
            rows = await changes.connection.fetch(f"select id from {table} where record_type = any($1::text[])", types)
            if rows:
                await changes.delete(record, Target(ids=tuple(row["id"] for row in rows)))
        abilities = set(composed.plugin_abilities.get(name, ()))
        statement = "select id from role where abilities && $1::text[] and deleted_at is null order by id"
        able = await changes.connection.fetch(statement, list(abilities))
        await changes.update(
            "Role",
            Target(ids=tuple(row["id"] for row in able)),
            lambda row: {"abilities": sorted(set((row.before or {}).get("abilities", ())) - abilities)},
        )
        catalog = composed.composition.catalog
        for viewed in catalog:
            if name in viewed.viewer_sources and viewed.type.viewers:
                link = catalog[viewed.to_many[viewed.type.viewers].target]
                let_in = Compare(link.fields["source"], "eq", constant(name))
                await changes.delete(link.name, Target(predicate=let_in))
        await changes.finish()

    @staticmethod
    async def _notify(connection: Connection, context: RequestContext) -> None:
        await connection.execute("select pg_notify($1, $2)", CHANNEL, context.workspace.slug)


def _refused(context: RequestContext, field: str, key: str, code: str, **params: Any) -> Refused:
    return Refused([UserError(("input", field), code, text(key, context.locale, **params), params)])
