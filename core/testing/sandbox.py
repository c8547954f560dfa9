"""A workspace for tests: everything a test does with it that its users do not."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from operator import methodcaller
from typing import Any
from uuid import UUID

from piccolo.conf.apps import AppConfig

from core import clock, migrate
from core.context import Actor, ActorKind, Workspace
from core.database import Database
from core.errors import CrmError
from core.features import Features
from core.files import Upload, safe_name
from core.grants import SYSTEM
from core.http.services import Services
from core.jobs import job_types
from core.schedule import next_due
from core.testing.actors import Role, make_role, make_user
from core.testing.client import Client
from core.testing.jobs import JobResult, JobRunner
from core.testing.tables import Tables, difference, tables_of

#: Failures show the test's own lines.
__tracebackhide__ = methodcaller("errisinstance", AssertionError)

_CREATE = """mutation($records: [CustomerCreateInput!]!) { customersBulkCreate(input: { records: $records }) {
  userErrors { code path message } changeSet { id } job { id } } }"""
#: In the order of their creation, as ids are.
_CREATED = "select record_id from change where change_set_id = any($1::uuid[]) and record_type = 'Customer' order by 1"


@dataclass
class Sandbox:
    """A workspace of a test's own, with the plugins that it asked for switched on."""

    workspace: Workspace
    services: Services = field(repr=False)
    _added: dict[str, tuple[Tables, Tables]] = field(default_factory=dict, repr=False)
    _users: int = field(default=0, repr=False)

    @property
    def slug(self) -> str:
        """The workspace's slug."""
        return self.workspace.slug

    @property
    def database(self) -> Database:
        """The database that the workspace is in."""
        return self.services.database

    @property
    def features(self) -> Features:
        """The feature sets of this process."""
        return self.services.features

    async def client(
        self,
        actor: str | Role | Mapping[str, str] | Actor | None = None,
        *,
        login: str = "",
        teams: Collection[str] = (),
        locale: str = "en",
    ) -> Client:
        """A client that asks as somebody: the system, or a new user with one role.

        `actor` is None for the system, a role's name, a `Role` or its grants alone, or an Actor ready-made. `teams` are
        names; teams that are not there are made. Raises AssertionError for what is unknown.
        """
        if actor is None:
            return Client(self, Actor(ActorKind.SYSTEM, SYSTEM, locale=locale), locale)
        if isinstance(actor, Actor):
            return Client(self, actor, locale)
        role = Role(actor) if isinstance(actor, Mapping) else actor
        if isinstance(role, Role):
            role.check(await self.features.composed(self.workspace))
        self._users += 1
        try:
            async with self.database.transaction(self.workspace) as connection:
                name = role if isinstance(role, str) else await make_role(connection, role)
                made = await make_user(connection, login or f"user{self._users}", [name], teams)
        except CrmError as error:
            raise AssertionError(error.message) from error
        return Client(self, made, locale, _found=True)

    async def customer(self, name: str = "An", **values: Any) -> str:
        """Create a customer, a person unless `kind` says otherwise, as the system; returns the id."""
        return (await self.customers(1, name=name, **values))[0]

    async def customers(self, count: int, name: str = "", **values: Any) -> list[str]:
        """Create customers as the system, numbered unless they are given a `name`; returns their ids."""
        client = await self.client()
        records = [{"kind": "PERSON", "name": name or f"Customer {n + 1}", **values} for n in range(count)]
        done = await client.do(_CREATE, records=records)
        if done["job"]:
            change_sets = list((await self.finished(done["job"]["id"])).change_sets)
        else:
            change_sets = [UUID(done["changeSet"]["id"])] if done["changeSet"] else []
        return [str(row["record_id"]) for row in await self.sql(_CREATED, change_sets)]

    @asynccontextmanager
    async def upload(self, name: str, content: bytes) -> AsyncIterator[Upload]:
        """A file, as an argument of type `Upload` for the block."""
        path = self.services.files.draft()
        try:
            await asyncio.to_thread(path.write_bytes, content)
            digest = hashlib.sha256(content).hexdigest()
            yield Upload(safe_name(name), "application/octet-stream", len(content), digest, path)
        finally:
            path.unlink(missing_ok=True)

    async def enable(self, plugin: str, settings: Mapping[str, Any] | None = None) -> None:
        """Switch a plugin on, or give it other settings. Raises AssertionError where that is refused."""
        before = await self.tables()
        try:
            await self.features.enable(self.workspace, plugin, settings)
        except CrmError as error:
            raise AssertionError(f"the plugin {plugin} cannot be switched on: {error.message}") from error
        left_out = (await self.features.composed(self.workspace)).left_out
        if plugin in left_out:
            raise AssertionError(f"the plugin {plugin} is left out: {left_out[plugin]}")
        self._added.setdefault(plugin, (before, await self.tables()))

    async def disable(self, plugin: str) -> None:
        """Switch a plugin off; its data stays. Raises Refused."""
        await self.features.disable(self.workspace, plugin)

    async def purge(self, plugin: str) -> None:
        """Switch a plugin off and drop its data. Raises AssertionError where something of its tables is left."""
        await self.features.purge(self.workspace, plugin)
        await self._demand_gone(plugin)

    async def run_job(
        self,
        kind: str,
        input: Mapping[str, Any] | None = None,  # noqa: A002 - it is the job's `input`
        *,
        actor: Client | Actor | None = None,
        expect: str = "DONE",
    ) -> JobResult:
        """Enqueue a job, as the system unless an actor is given, and run it to its end.

        Raises AssertionError unless it ends as expected.
        """
        composition = await self.features.composition(self.workspace)
        kinds = job_types(composition.hooks)
        if kind not in kinds:
            raise AssertionError(f"there is no job {kind!r}; there are {', '.join(sorted(kinds))}")
        who = actor.actor if isinstance(actor, Client) else actor
        who = None if who is None or who.user_id is None else who
        result = await self._runner.start(kind, input or {}, who)
        if result.status != expect:
            reason = f": {result.error}" if result.error else ""
            raise AssertionError(f"the job {kind} is {result.status}, not {expect}{reason}")
        return result

    async def run_jobs(self) -> list[JobResult]:
        """Run every job that waits, whatever its delay, and those that they cause; the oldest first."""
        return await self._runner.run_all()

    async def finished(self, job_id: str | UUID) -> JobResult:
        """Run one job that waits, such as one that a mutation has enqueued, to its end."""
        return await self._runner.run(UUID(str(job_id)))

    async def next_due(self, kind: str) -> datetime:
        """When a recurring job is due next. Raises AssertionError for a job without a schedule."""
        composition = await self.features.composition(self.workspace)
        job_type = job_types(composition.hooks).get(kind)
        if job_type is None or not job_type.schedule:
            raise AssertionError(f"there is no job {kind!r} with a schedule")
        return next_due(job_type.schedule, self.workspace.time_zone, clock.now())

    async def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Run one statement with the workspace's own database role; returns its rows."""
        return [dict(row) for row in await self.database.pool(self.workspace).fetch(statement, *values)]

    async def tables(self) -> dict[str, tuple[str, ...]]:
        """What each table of the workspace is made of: columns, constraints, indexes, triggers."""
        async with self.database.connection(self.workspace) as connection:
            return await tables_of(connection)

    async def migrations(self, plugin: str) -> Sequence[str]:
        """The migrations of a plugin that the workspace has, the oldest first."""
        return await migrate.applied(self.database, self.workspace, self._app(plugin))

    async def migrate_back(self, plugin: str, *, keep: int = 0) -> Sequence[str]:
        """Reverse a plugin's migrations but the `keep` oldest, newest first; returns those reversed.

        Its tables and their data are gone then. Raises MigrationError where one cannot be reversed.
        """
        return await migrate.purge_app(self.database, self.workspace, self._app(plugin), keep=keep)

    async def migrate(self, plugin: str) -> Sequence[str]:
        """Apply the migrations that are missing; returns them. Raises MigrationError."""
        apps = await self.features.apps(self.workspace)
        self._app(plugin)
        return (await migrate.migrate_workspace(self.database, self.workspace, apps)).applied

    async def check_migrations(self, plugin: str) -> None:
        """Take a plugin's migrations back, one more each time, and forth again; in the end all are applied.

        Raises AssertionError with the difference where the tables are not what they were, or where something of the
        plugin is left once all are back; MigrationError where one cannot be reversed.
        """
        before = await self.tables()
        count = len(await self.migrations(plugin))
        for keep in reversed(range(count)):
            reversed_ = await self.migrate_back(plugin, keep=keep)
            if keep == 0:
                await self._demand_gone(plugin)
            await self.migrate(plugin)
            if lines := difference(before, await self.tables()):
                there = f"after {reversed_[-1]} was taken back and applied again the tables of {plugin} differ:"
                raise AssertionError("\n  ".join([there, *lines]))

    async def _demand_gone(self, plugin: str) -> None:
        """Raise AssertionError where what came with a plugin is there, or what went with it is not."""
        if plugin not in self._added:
            return
        before, after = self._added[plugin]
        now = await self.tables()
        brought = {line[2:] for line in difference(before, after) if line.startswith("+")}
        taken = {line[2:] for line in difference(before, after) if line.startswith("-")}
        there = {f"{name}: {line}" for name, lines in now.items() for line in lines}
        wrong = [f"+ {line}" for line in sorted(brought & there)] + [f"- {line}" for line in sorted(taken - there)]
        if wrong:
            raise AssertionError("\n  ".join([f"{plugin} leaves something behind:", *wrong]))

    def _app(self, plugin: str) -> AppConfig:
        known = self.features.registry.plugins.get(plugin)
        if known is None or known.app is None:
            raise AssertionError(f"there is no plugin {plugin!r} with tables")
        return known.app

    @property
    def _runner(self) -> JobRunner:
        return JobRunner(self.database, self.features, self.workspace)
