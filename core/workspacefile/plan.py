"""A workspace's file as a whole: planned, applied and written.

Planning is applying without a commit, so that a plan says all that would be refused. A workspace's own values stand in
the deployment's registry, everything else in its schema; both are committed together, the schema first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from core.catalog import FILE_SECTIONS
from core.changes import ChangeSet, Committed
from core.context import Workspace
from core.customfields import RECORD as CUSTOM_FIELD
from core.errors import BadInput
from core.features import Features
from core.grants import SYSTEM
from core.pool import Connection
from core.schema.mutate import repeated
from core.switch import Switch
from core.workspacefile import document
from core.workspacefile.difference import Difference, FileFault
from core.workspacefile.references import References
from core.workspacefile.section import Section
from core.workspacefile.settle import settle
from core.workspacefile.switching import Plugins
from core.workspaces import Workspaces

OPERATION = "workspaceApply"
#: What stands under `[workspace]`, by the names of `Workspace`.
OWN = {
    "time_zone": "time_zone",
    "locale": "locale",
    "currency": "currency",
    "country": "country",
    "host_name": "hostname",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes a workspace what its file says."""

    workspace: str
    differences: tuple[Difference, ...]

    @property
    def destructive(self) -> tuple[Difference, ...]:
        """What takes something away."""
        return tuple(d for d in self.differences if d.destructive)


class _Rollback(Exception):
    """Ends a transaction that was only to find something out."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan


class WorkspaceFiles:
    """Plans, applies and writes the files of a deployment's workspaces."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._database = features.database
        self._workspaces = Workspaces(features.database)
        self._plugins = Plugins(features)

    async def plan(self, workspace: Workspace, content: Mapping[str, Any]) -> Plan:
        """What `apply` would do; nothing is written. Raises FileFault."""
        return await repeated(lambda: self._once(workspace, content, "", keep=False))

    async def apply(
        self, workspace: Workspace, content: Mapping[str, Any], reason: str = "", allowed: Plan | None = None
    ) -> Plan:
        """Make the workspace what its file says, whole or not at all; sections that it does not have are left alone.

        `reason` goes into the journal. Raises FileFault with all faults that were found, each with its place, and
        BadInput where something else than `allowed` would be taken away.
        """
        return await repeated(lambda: self._once(workspace, content, reason, keep=True, allowed=allowed))

    async def export(self, workspace: Workspace) -> str:
        """The file of what is there; for equal workspaces the same text. Secrets of plugins are left out."""
        async with (
            self._database.connection(workspace) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            own = {name: getattr(workspace, field) or "" for name, field in OWN.items()}
            plugins = await self._plugins.table(connection)
            composed = await self._features.composed_in(connection)
            changes = ChangeSet(
                connection, Switch.system(workspace), composed.composition.policy(SYSTEM), composed.composition.hooks
            )
            records = {
                name: [await section.table(one) for one in await section.stored(changes)]
                for name, section in self._sections(changes).items()
            }
        return document.write({"slug": workspace.slug, "workspace": own, "plugins": plugins, **records})

    async def _once(
        self,
        workspace: Workspace,
        content: Mapping[str, Any],
        reason: str,
        *,
        keep: bool,
        allowed: Plan | None = None,
    ) -> Plan:
        changes: ChangeSet | None = None
        committed: Committed | None = None
        try:
            async with AsyncExitStack() as stack:
                registry = await stack.enter_async_context(self._database.admin())
                await stack.enter_async_context(registry.transaction())
                workspace = await self._workspaces.get_in(registry, workspace.slug)
                found = list(await self._own(registry, workspace, content.get("workspace")))
                workspace = await self._workspaces.get_in(registry, workspace.slug)
                connection = await stack.enter_async_context(
                    self._database.transaction(workspace, statement_timeout_ms=0)
                )
                if "plugins" in content:
                    found += await self._plugins.settle(connection, Switch.system(workspace), content["plugins"])
                changes = await self._changes(connection, workspace, reason)
                found += await self._records(changes, content)
                plan = Plan(workspace.slug, tuple(found))
                _roll_back_unless(keep, plan)
                _demand_allowed(plan, allowed)
                committed = await changes.finish()
        except _Rollback as rolled:
            return rolled.plan
        await self._features.refresh(workspace)
        if committed is not None and changes is not None:
            await changes.hooks.announce("committed", change_set=committed)
        return plan

    async def _changes(self, connection: Connection, workspace: Workspace, reason: str) -> ChangeSet:
        composition = (await self._features.composed_in(connection)).composition
        return ChangeSet(
            connection,
            Switch.system(workspace),
            composition.policy(SYSTEM),
            composition.hooks,
            source="COMMAND",
            operation=OPERATION,
            reason=reason,
        )

    async def _own(self, registry: Connection, workspace: Workspace, table: Any) -> Sequence[Difference]:
        """The workspace's own values are set."""
        if table is None:
            return ()
        if not isinstance(table, Mapping):
            raise FileFault(["workspace: must be a table"])
        problems = [f"workspace.{name}: a workspace has no such value" for name in table.keys() - OWN.keys()]
        problems += [f"workspace.{n}: must be a text" for n in table.keys() & OWN if not isinstance(table[n], str)]
        if problems:
            raise FileFault(sorted(problems))
        there = {name: getattr(workspace, field) or "" for name, field in OWN.items()}
        changes = {name: (there[name], value) for name, value in table.items() if there[name] != value}
        if not changes:
            return ()
        try:
            new = {OWN[name]: after for name, (_, after) in changes.items()}
            if "hostname" in new:
                new["hostname"] = new["hostname"] or None
            await self._workspaces.change(registry, workspace, new)
        except BadInput as error:
            raise FileFault([f"workspace: {error.message}"]) from error
        return (Difference("change", "workspace", workspace.slug, changes),)

    async def _records(self, changes: ChangeSet, content: Mapping[str, Any]) -> list[Difference]:
        """Custom fields, from which the record types follow, then everything else."""
        sections = self._sections(changes)
        if unknown := sorted(content.keys() - sections.keys() - FILE_SECTIONS):
            raise FileFault([f"{n}: no record type of this feature set is configured under this name" for n in unknown])
        first = {n: s for n, s in sections.items() if s.record.name == CUSTOM_FIELD}

        async def compose() -> None:
            composition = (await self._features.composed_in(changes.connection)).composition
            changes.policy, changes.hooks = composition.policy(SYSTEM), composition.hooks

        found = await settle(first, content, changes, compose)
        if found:
            await compose()
        rest = {n: s for n, s in self._sections(changes).items() if n not in first}
        return found + await settle(rest, content, changes)

    @staticmethod
    def _sections(changes: ChangeSet) -> dict[str, Section]:
        """The sections of a feature set, custom fields first."""
        catalog = changes.policy.catalog
        references = References(changes.connection, catalog)
        records = [record for record in catalog if record.type.configuration]
        records.sort(key=lambda record: record.name != CUSTOM_FIELD)
        return {record.type.plural: Section(record, references) for record in records}


def _roll_back_unless(keep: bool, plan: Plan) -> None:
    if not keep:
        raise _Rollback(plan)


def _demand_allowed(plan: Plan, allowed: Plan | None) -> None:
    """Raise BadInput where more would be taken away than somebody has agreed to."""
    if allowed is None:
        return
    agreed = {(d.action, d.section, d.name) for d in allowed.destructive}
    more = [f"{d.section} {d.name}" for d in plan.destructive if (d.action, d.section, d.name) not in agreed]
    if more:
        raise BadInput(f"the workspace has changed meanwhile, {', '.join(more)} would go, too: plan again")
