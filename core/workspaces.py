"""The registry of workspaces: who there is, and how one comes to be and is erased."""

from __future__ import annotations

import asyncio
import re
import shutil
import zoneinfo
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import astuple, dataclass, replace
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from core.context import Workspace
from core.database import Database
from core.errors import BadInput, DatabaseError, NotFound
from core.files import folder_of
from core.log import logger
from core.pool import Connection
from core.prepare import LOCK
from core.sql import literal, quote

LOG = logger("crm.workspaces")
SLUG = re.compile(r"[a-z][a-z0-9_]{0,40}")
CHANNEL = "crm_workspaces"
COLUMNS = """
    id, slug, schema_name as schema, role_name as role, database_url, hostname,
    time_zone, locale, currency, country
"""


@dataclass(frozen=True, slots=True)
class Erased:
    """A workspace that was: `actors` are the ids of its users and API keys."""

    workspace: Workspace
    actors: tuple[UUID, ...] = ()


class Workspaces:
    """The workspaces of one deployment, as rows of `crm.workspace`.

    Creating or erasing one notifies `CHANNEL` with its slug, so that every process can follow.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        slug: str,
        *,
        time_zone: str = "Asia/Ho_Chi_Minh",
        locale: str = "vi",
        currency: str = "VND",
        country: str = "VN",
        hostname: str | None = None,
        database_url: str | None = None,
    ) -> Workspace:
        """Make a workspace's role and its empty schema and register it; migrate it next.

        Raises BadInput for a slug, time zone, currency or country that cannot be, or a slug or host name in
        use; DatabaseError where the login may not create roles or schemas.
        """
        workspace = fresh(
            slug,
            time_zone=time_zone,
            locale=locale,
            currency=currency,
            country=country,
            hostname=hostname,
            database_url=database_url,
        )
        async with self.founding(workspace) as connection:
            await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
            await build(connection, workspace)
        return workspace

    @asynccontextmanager
    async def founding(self, workspace: Workspace) -> AsyncIterator[Connection]:
        """Register a workspace that the block builds and fills: at its end both are there, or neither.

        Yields a connection with the deployment's login in the database it is to live in, inside a transaction; nobody
        sees any of it before the end, and a process that is killed leaves nothing. Raises BadInput for a slug or host
        name in use.
        """
        url = workspace.database_url
        if url is not None:
            await self._database.prepare(url)
        async with self._database.admin() as registry, registry.transaction():
            await registry.execute("set local idle_in_transaction_session_timeout = 0")
            await self._register(registry, workspace)
            if url is None:
                yield registry
            else:
                async with self._database.admin_at(url) as other, other.transaction():
                    yield other

    async def list(self) -> Sequence[Workspace]:
        """All workspaces by slug."""
        async with self._database.admin() as connection:
            rows = await connection.fetch(f"select {COLUMNS} from crm.workspace order by slug")
        return [Workspace(**row) for row in rows]

    async def get(self, slug: str) -> Workspace:
        """One workspace. Raises NotFound."""
        workspace = await self._find("slug", slug)
        if workspace is None:
            raise NotFound(f"there is no workspace {slug!r}", slug=slug)
        return workspace

    async def get_in(self, registry: Connection, slug: str) -> Workspace:
        """One workspace as a transaction of the registry sees it. Raises NotFound."""
        row = await registry.fetchrow(f"select {COLUMNS} from crm.workspace where slug = $1", slug)
        if row is None:
            raise NotFound(f"there is no workspace {slug!r}", slug=slug)
        return Workspace(**row)

    async def change(self, registry: Connection, workspace: Workspace, values: Mapping[str, Any]) -> None:
        """Give a workspace another time zone, locale, currency, country or host name, in the registry's transaction.

        Raises BadInput as `create` does.
        """
        new = replace(workspace, **values)
        _check(new.slug, new.time_zone, new.locale, new.currency, new.country)
        statement = """
            update crm.workspace set time_zone = $2, locale = $3, currency = $4, country = $5, hostname = $6
            where id = $1
        """
        try:
            await registry.execute(
                statement, new.id, new.time_zone, new.locale, new.currency, new.country, new.hostname
            )
        except asyncpg.UniqueViolationError as error:
            raise BadInput(f"the host name {new.hostname!r} is in use", slug=new.slug) from error
        await registry.execute("select pg_notify($1, $2)", CHANNEL, new.slug)

    async def by_hostname(self, hostname: str) -> Workspace | None:
        """The workspace a host name belongs to."""
        return await self._find("hostname", hostname)

    async def relocate(self, workspace: Workspace, database_url: str | None) -> None:
        """Register that a workspace lives in another database now; None is the deployment's own."""
        async with self._database.admin() as registry, registry.transaction():
            await registry.execute(
                "update crm.workspace set database_url = $2 where id = $1", workspace.id, database_url
            )
            await registry.execute("select pg_notify($1, $2)", CHANNEL, workspace.slug)

    async def erase(self, slug: str) -> Erased:
        """Drop a workspace with everything in it and all that tells of it elsewhere, its files too, for good.

        Raises NotFound. `traces.look` says whether anything is left.
        """
        workspace = await self.get(slug)
        await self._database.forget(workspace)
        async with self._database.admin() as registry, registry.transaction():
            await registry.execute("delete from crm.workspace where id = $1", workspace.id)
            await registry.execute("select pg_notify($1, $2)", CHANNEL, slug)
            if workspace.database_url is None:
                actors = await demolish(registry, workspace)
            else:
                async with self._database.admin_at(workspace.database_url) as other, other.transaction():
                    actors = await demolish(other, workspace)
            await registry.execute("delete from crm.allowance where key = any($1::uuid[]::text[])", actors)
            await unqueue(registry, workspace)
        files = folder_of(self._database.settings, workspace)
        await asyncio.to_thread(shutil.rmtree, files, ignore_errors=True)
        if files.exists():
            LOG.error("files_left", workspace=slug, folder=str(files))
        return Erased(workspace, tuple(actors))

    async def _find(self, column: str, value: str) -> Workspace | None:
        async with self._database.admin() as connection:
            row = await connection.fetchrow(f"select {COLUMNS} from crm.workspace where {quote(column)} = $1", value)
        return Workspace(**row) if row else None

    async def _register(self, connection: Connection, workspace: Workspace) -> None:
        try:
            await connection.execute(
                """
                insert into crm.workspace (id, slug, schema_name, role_name, database_url, hostname,
                                           time_zone, locale, currency, country)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                """,
                *astuple(workspace),
            )
        except asyncpg.UniqueViolationError as error:
            what = "host name" if error.constraint_name and "hostname" in error.constraint_name else "slug"
            value = workspace.hostname if what == "host name" else workspace.slug
            raise BadInput(f"the {what} {value!r} is in use", slug=workspace.slug) from error
        await connection.execute("select pg_notify($1, $2)", CHANNEL, workspace.slug)


def fresh(
    slug: str,
    *,
    time_zone: str = "Asia/Ho_Chi_Minh",
    locale: str = "vi",
    currency: str = "VND",
    country: str = "VN",
    hostname: str | None = None,
    database_url: str | None = None,
) -> Workspace:
    """A workspace that is yet to be made, with an id, a schema and a role of its own. Raises BadInput."""
    _check(slug, time_zone, locale, currency, country)
    id_ = uuid7()
    # Roles belong to the whole server: the end of the id keeps two databases on it apart.
    role = f"ws_{slug}_{id_.hex[-8:]}"
    return Workspace(id_, slug, f"ws_{slug}", role, database_url, hostname, time_zone, locale, currency, country)


async def build(connection: Connection, workspace: Workspace) -> None:
    """Make the role and the schema it owns. It cannot log in; the deployment's login may become it."""
    role, schema = quote(workspace.role), quote(workspace.schema)
    login = quote(await connection.fetchval("select current_user"))
    inherits = "with inherit false, set true" if connection.get_server_version().major >= 16 else ""
    try:
        # One that moves within a server has it already.
        if not await connection.fetchval("select exists (select from pg_roles where rolname = $1)", workspace.role):
            await connection.execute(f"create role {role} nologin nosuperuser nocreatedb nocreaterole noinherit")
            await connection.execute(f"comment on role {role} is {literal('headless-crm workspace ' + workspace.slug)}")
            await connection.execute(f"grant {role} to {login} {inherits}")
        await connection.execute(f"create schema {schema} authorization {role}")
    except asyncpg.InsufficientPrivilegeError as error:
        message = "the deployment's database login may not create roles and schemas: grant it CREATEROLE and CREATE"
        raise DatabaseError(message) from error
    except asyncpg.DuplicateSchemaError as error:
        message = f"the schema {workspace.schema} exists but is not registered: drop or rename it"
        raise DatabaseError(message, schema=workspace.schema) from error


async def demolish(connection: Connection, workspace: Workspace) -> list[UUID]:
    """Drop a workspace's schema, its role and its jobs, where they are there; returns the ids of its users and keys."""
    await connection.execute("set local statement_timeout = 0")
    await unqueue(connection, workspace)
    if not await connection.fetchval("select exists (select from pg_roles where rolname = $1)", workspace.role):
        return []
    role, schema = quote(workspace.role), quote(workspace.schema)
    await connection.execute(f"set local role {role}")
    actors = []
    for table in ("app_user", "api_key"):
        if await connection.fetchval("select to_regclass($1) is not null", f"{schema}.{table}"):
            actors += [row["id"] for row in await connection.fetch(f"select id from {schema}.{table}")]
    await connection.execute(f"drop schema if exists {schema} cascade")
    await connection.execute(f"drop owned by {role}")
    await connection.execute("reset role")
    # In another database of the same server it may live on.
    with suppress(asyncpg.DependentObjectsStillExistError):
        async with connection.transaction():
            await connection.execute(f"drop role {role}")
    return actors


async def unqueue(connection: Connection, workspace: Workspace) -> None:
    """Take a workspace's jobs and schedules out of a database's queue, with what the log says of them."""
    owner = f"{workspace.role} "
    await connection.execute(
        "with gone as (delete from crm.pgqueuer where starts_with(dedupe_key, $1) returning id)"
        " delete from crm.pgqueuer_log where job_id in (select id from gone)",
        owner,
    )
    await connection.execute("delete from crm.pgqueuer_schedules where starts_with(entrypoint, $1)", owner)


def _check(slug: str, time_zone: str, locale: str, currency: str, country: str) -> None:
    patterns: dict[str, tuple[Any, str, str]] = {
        "slug": (SLUG, slug, "a letter, then letters, digits and _, 41 at most, all lower case"),
        "locale": (re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*"), locale, "a language such as vi"),
        "currency": (re.compile(r"[A-Z]{3}"), currency, "three capitals such as VND"),
        "country": (re.compile(r"[A-Z]{2}"), country, "two capitals such as VN"),
    }
    for name, (pattern, value, meaning) in patterns.items():
        if not pattern.fullmatch(value):
            raise BadInput(f"{value!r} cannot be a workspace's {name}: {meaning}", argument=name)
    if time_zone not in zoneinfo.available_timezones():
        raise BadInput(f"{time_zone!r} is not a time zone", argument="time_zone")
