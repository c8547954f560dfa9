"""The registry of workspaces: who there is, and how one comes to be and is erased."""

from __future__ import annotations

import asyncio
import re
import shutil
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any

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
        _check(slug, time_zone, locale, currency, country)
        id_ = uuid7()
        # Roles belong to the whole server: the end of the id keeps two databases on it apart.
        workspace = Workspace(
            id=id_,
            slug=slug,
            schema=f"ws_{slug}",
            role=f"ws_{slug}_{id_.hex[-8:]}",
            database_url=database_url,
            hostname=hostname,
            time_zone=time_zone,
            locale=locale,
            currency=currency,
            country=country,
        )
        if database_url is not None:
            await self._database.prepare(database_url)
        async with self._database.admin() as registry, registry.transaction():
            await self._register(registry, workspace)
            if database_url is None:
                await _build(registry, workspace)
            else:
                async with self._database.admin_at(database_url) as other, other.transaction():
                    await _build(other, workspace)
        return workspace

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

    async def erase(self, slug: str) -> None:
        """Drop a workspace with everything in it, its files too, for good. Raises NotFound."""
        workspace = await self.get(slug)
        await self._database.forget(workspace)
        async with self._database.admin() as registry, registry.transaction():
            await registry.execute("delete from crm.workspace where id = $1", workspace.id)
            await registry.execute("select pg_notify($1, $2)", CHANNEL, slug)
            if workspace.database_url is None:
                await _demolish(registry, workspace)
            else:
                async with self._database.admin_at(workspace.database_url) as other, other.transaction():
                    await _demolish(other, workspace)
        files = folder_of(self._database.settings, workspace)
        await asyncio.to_thread(shutil.rmtree, files, ignore_errors=True)
        if files.exists():
            LOG.error("files_left", workspace=slug, folder=str(files))

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


async def _build(connection: Connection, workspace: Workspace) -> None:
    """Make the role and the schema it owns. It cannot log in; the deployment's login may become it."""
    role, schema = quote(workspace.role), quote(workspace.schema)
    login = quote(await connection.fetchval("select current_user"))
    inherits = "with inherit false, set true" if connection.get_server_version().major >= 16 else ""
    try:
        await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
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


async def _demolish(connection: Connection, workspace: Workspace) -> None:
    await connection.execute("set local statement_timeout = 0")
    role = quote(workspace.role)
    await connection.execute(f"set local role {role}")
    await connection.execute(f"drop schema if exists {quote(workspace.schema)} cascade")
    await connection.execute(f"drop owned by {role}")
    await connection.execute("reset role")
    await connection.execute(f"drop role {role}")


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
