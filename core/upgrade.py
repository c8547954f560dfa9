"""Upgrades: what the installed code would do to each workspace, tried on a copy, and then done.

A rehearsal looks at three things besides the migrations themselves: the schema that clients see, the rules that records
keep, and that no table has lost rows. What clients saw before is what the last upgrade wrote down, since the code that
made it is no longer there: that feature set is composed anew, so that nothing but the code makes a difference.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from graphql import build_schema

from core.backup.archive import Reader
from core.backup.contents import counts, tables, use
from core.backup.copy import piped
from core.backup.restore import Restored, fill, fitting
from core.backup.save import save
from core.context import Workspace
from core.contributions import Composed, FeatureSet
from core.customfields import CustomField
from core.customrules import CHANNEL
from core.errors import CrmError
from core.features import Features
from core.log import logger
from core.migrate import here, migrate_workspace, pending
from core.pool import Connection
from core.rules import problem, rule_fields
from core.schema.differences import BREAKING, Difference, differences
from core.sql import literal, quote
from core.workspaces import build, demolish, fresh

LOG = logger("crm.upgrade")

#: The schema that clients saw after the last upgrade, and the feature set it was made of, by key of the settings.
CONTRACT = "contract"
#: What a copy's role is called, in the catalog, so that copies that a crash left behind are found.
REHEARSAL = "headless-crm rehearsal"

#: What may be wrong with one workspace, and is no reason to leave out the others.
FAULTS = (CrmError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)

#: Locks that keep writers or readers of a table waiting until the migration has been committed.
_LOCKS = """
select c.relname as table, max(case l.mode when 'AccessExclusiveLock' then 2 else 1 end) as weight
from pg_locks l join pg_class c on c.oid = l.relation
where l.pid = pg_backend_pid() and l.granted and c.relname = any($1::text[])
  and c.relnamespace = $2::text::regnamespace
  and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
group by 1 order by 1
"""


@dataclass(slots=True)
class Upgrade:
    """What became of one workspace, or would: `problems` are the reasons not to, one line each.

    `locks` are the tables whose readers or writers wait during the migration, `rows` those whose number of rows it
    changed (before, after), `contract` the differences that clients see, None where it is not known what they saw.
    Times are in seconds.
    """

    workspace: str
    migrations: tuple[str, ...] = ()
    copied: float = 0.0
    migrated: float = 0.0
    locks: dict[str, str] = field(default_factory=dict)
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    contract: list[Difference] | None = None
    problems: list[str] = field(default_factory=list)


async def upgrade(features: Features, workspace: Workspace) -> Upgrade:
    """Migrate a workspace to the installed code, whole or not at all, and write down what its clients see from now on.

    Others are served meanwhile. Never raises for what is wrong with the workspace: `problems` say it.
    """
    done = Upgrade(workspace.slug)
    try:
        report = await migrate_workspace(features.database, workspace, await features.apps(workspace))
        done.migrations, done.migrated = report.applied, report.seconds
        async with features.database.transaction(workspace) as connection:
            found = await features.read(connection)
            composed = await features.built(found)
            done.problems += _left_out(features, found, composed)
            await write_contract(connection, found, composed)
            # Servers left plugins out whose tables were of an older version.
            await connection.execute("select pg_notify($1, $2)", CHANNEL, workspace.slug)
    except FAULTS as error:
        done.problems.append(_said(error))
        LOG.warning("workspace_not_upgraded", workspace=workspace.slug, reason=done.problems[-1])
    return done


async def rehearse(features: Features, workspace: Workspace) -> Upgrade:
    """Upgrade a copy of a workspace that nobody sees, and drop it: nothing that lives is touched.

    Never raises for what is wrong with the workspace: `problems` say it.
    """
    tried = Upgrade(workspace.slug)
    try:
        tried.migrations = tuple(await pending(features.database, workspace, await features.apps(workspace)))
        started = time.monotonic()
        async with _twin(features, workspace) as (connection, twin, restored):
            tried.copied = time.monotonic() - started
            async with connection.transaction():
                await use(connection, twin.schema, twin.role)
                await _try(features, connection, twin, restored, tried)
    except FAULTS as error:
        tried.problems.append(_said(error))
    return tried


async def _try(features: Features, connection: Connection, twin: Workspace, restored: Restored, tried: Upgrade) -> None:
    """Migrate the copy, inside a transaction of its own, and look at what came of it."""
    known = [row["plugin"] for row in await connection.fetch("select plugin from feature")]
    report = await migrate_workspace(here(connection), twin, features.apps_of(known))
    tried.migrated = report.seconds
    for table, weight in await connection.fetch(_LOCKS, list(restored.rows), quote(twin.schema)):
        tried.locks[table] = "reads and writes" if weight > 1 else "writes"
    now = await counts(connection, await tables(connection, twin.schema))
    changed = {name: (rows, now.get(name, 0)) for name, rows in restored.rows.items() if now.get(name, 0) != rows}
    changed.pop("migration", None)
    tried.rows = changed
    lost = {name: before - after for name, (before, after) in changed.items() if after < before}
    tried.problems += [f"the table {name} loses {rows} rows" for name, rows in lost.items()]
    found = await features.read(connection)
    composed = await features.built(found)
    tried.problems += _left_out(features, found, composed)
    tried.problems += await _rules_off(connection, composed)
    tried.contract = await _differences(features, connection)
    tried.problems += [f"clients break: {d.description}" for d in tried.contract or () if d.severity == BREAKING]


@asynccontextmanager
async def _twin(features: Features, workspace: Workspace) -> AsyncIterator[tuple[Connection, Workspace, Restored]]:
    """A copy of a workspace as old as it is, without files, that is registered nowhere; dropped at the end."""
    database = features.database
    own = fresh(workspace.slug, database_url=workspace.database_url)
    name = f"rehearsal_{own.id.hex[-12:]}"
    twin = replace(own, schema=name, role=name)
    async with database.admin_at(workspace.database_url or database.dsn) as connection:
        await _sweep(connection)
        await connection.execute("select pg_advisory_lock(hashtextextended($1, 0))", name)

        async def read(source: Any) -> Restored:
            reader = await asyncio.to_thread(Reader, source)
            restored = Restored(twin)
            async with connection.transaction():
                await build(connection, twin)
                await connection.execute(f"comment on role {quote(name)} is {literal(REHEARSAL)}")
                fit = fitting(reader.manifest, features.registry)
                await fill(connection, twin, reader, fit, restored, jobs=False, migrate=False)
            return restored

        try:
            restored = await piped(
                lambda out: save(database, features.registry, workspace, out, files=False, compressed=False), read
            )
            yield connection, twin, restored
        finally:
            if not connection.is_closed():
                async with connection.transaction():
                    await demolish(connection, twin)


async def _sweep(connection: Connection) -> None:
    """Drop copies that rehearsals left behind which were killed."""
    rows = await connection.fetch(
        "select rolname from pg_roles where shobj_description(oid, 'pg_authid') = $1"
        " and to_regnamespace(quote_ident(rolname)) is not null",
        REHEARSAL,
    )
    for (name,) in rows:
        async with connection.transaction():
            if await connection.fetchval("select pg_try_advisory_xact_lock(hashtextextended($1, 0))", name):
                await demolish(connection, replace(fresh("rehearsal"), schema=name, role=name))


async def _rules_off(connection: Connection, composed: Composed) -> list[str]:
    """The rules of live records that do not fit the feature set."""
    catalog = composed.composition.catalog
    found = []
    for record in catalog:
        for declared in rule_fields(record):
            column, live = quote(declared.column), " and deleted_at is null" if record.type.soft_delete else ""
            table = quote(record.type.tablename)
            statement = f"select id, {column} as rule from {table} where {column} is not null{live}"
            for id_, stored in await connection.fetch(statement):
                if why := problem(catalog, declared, stored):
                    found.append(f"the rule {declared.name} of the {record.type.singular} {id_} is off: {why}")
    return found


def _said(error: Exception) -> str:
    """An error in one line; PostgreSQL repeats rows on the further ones."""
    if isinstance(error, CrmError):
        return error.message
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def _left_out(features: Features, found: FeatureSet, composed: Composed) -> list[str]:
    """The plugins and custom fields that are switched on and would not be there."""
    absent = {c.name: "it is not installed" for c in found.plugins if c.name not in features.registry.plugins}
    absent |= {name: status.reason for name, status in features.registry.broken.items() if name in absent}
    return [f"{name} is left out: {why}" for name, why in sorted({**composed.left_out, **absent}.items())]


async def write_contract(connection: Connection, found: FeatureSet, composed: Composed) -> None:
    """Write down what clients see, and of what feature set it was made, for the next rehearsal to compare with."""
    value = {
        "sdl": composed.composition.sdl,
        "plugins": [[c.name, c.version, orjson.loads(c.settings)] for c in found.plugins],
        "fields": [{**asdict(f), "id": str(f.id), "recordType": f.record} for f in found.fields],
    }
    await connection.execute(
        "insert into workspace_setting (key, value) values ($1, $2) on conflict (key) do update "
        "set value = excluded.value",
        CONTRACT,
        value,
    )


async def _differences(features: Features, connection: Connection) -> list[Difference] | None:
    """How the installed code would show clients what the last upgrade showed them, if there was one."""
    value = await connection.fetchval("select value from workspace_setting where key = $1", CONTRACT)
    if value is None:
        return None
    before = FeatureSet(
        tuple(features.chosen(name, settings, version) for name, version, settings in value["plugins"]),
        tuple(CustomField.of(UUID(f["id"]), f) for f in value["fields"]),
    )
    composed = await features.built(before)
    return differences(build_schema(value["sdl"]), build_schema(composed.composition.sdl))
