"""The database server: version, extensions, rights, room for connections, and its clock beside ours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from core.database import Database, address
from core.doctor.finding import Finding, fail, ok, warn
from core.pool import Connection
from core.prepare import EXTENSIONS, NEWEST, OLDEST

#: Connections a process keeps besides its pools: what listens, and the two of a worker.
OWN = 3
SKEW_WARN, SKEW_FAIL = timedelta(seconds=1), timedelta(seconds=30)

_CONNECTIONS = """
select current_setting('max_connections')::int as most,
    current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true), '0')::int as reserved,
    (select rolconnlimit from pg_roles where rolname = current_user) as of_login,
    (select datconnlimit from pg_database where datname = current_database()) as of_database,
    (select count(*) from pg_stat_activity where backend_type = 'client backend') as open
"""
_RIGHTS = """
select rolsuper or (rolcreaterole and has_database_privilege(current_database(), 'create')) as whole
from pg_roles where rolname = current_user
"""
_EXTENSIONS = """
select name, installed_version, default_version from pg_available_extensions
where name = any($1) and installed_version is not null order by name
"""


async def server(database: Database) -> list[Finding]:
    """What one connection with the deployment's login tells."""
    async with database.admin() as connection:
        return [
            await _version(connection, database),
            *[_extension(row) for row in await connection.fetch(_EXTENSIONS, list(EXTENSIONS))],
            await _rights(connection),
            *_connections(await connection.fetchrow(_CONNECTIONS), database.settings.max_connections),
            await _clock(connection),
        ]


async def replica(database: Database) -> list[Finding]:
    """The replica, where there is one: whether it follows the primary, and how far behind it is."""
    if database.replica is None:
        return []
    behind = await database.replica.measured()
    cure = (
        "see that CRM_REPLICA_URL names a streaming replica of CRM_DATABASE_URL and that it runs; the primary answers"
    )
    if behind is None:
        return [warn("replica", "away, no replica, or far behind", cure)]
    return [ok("replica", f"{behind:.1f} s behind at most")]


async def _version(connection: Connection, database: Database) -> Finding:
    version = await connection.fetchval("show server_version")
    where = address(database.dsn) if database.settings.database_url else "the embedded server's"
    detail = f"PostgreSQL {version} ({OLDEST} to {NEWEST} are supported), {where}"
    if await connection.fetchval("select pg_is_in_recovery()"):
        cure = "let CRM_DATABASE_URL name the primary; a replica belongs into CRM_REPLICA_URL"
        return fail("database", f"{detail}, is a replica: nothing can be written", cure)
    if await connection.fetchval("show default_transaction_read_only") == "on":
        return fail("database", f"{detail}, lets this login only read", "reset default_transaction_read_only")
    return ok("database", detail)


def _extension(row: Any) -> Finding:
    what, version = f"extension {row['name']}", row["installed_version"]
    if version != row["default_version"]:
        cure = f"alter extension {row['name']} update, as its owner"
        return warn(what, f"version {version}, the server has {row['default_version']}", cure)
    return ok(what, f"version {version}")


async def _rights(connection: Connection) -> Finding:
    if await connection.fetchval(_RIGHTS):
        return ok("rights", "the login may make workspaces")
    login = await connection.fetchval("select current_user")
    cure = f'alter role "{login}" createrole; grant create on database … to "{login}"'
    return warn("rights", "the login cannot make workspaces, only serve those there are", cure)


def _connections(row: Any, mine: int) -> Iterator[Finding]:
    """Whether the server has room for what one process and two of them may open."""
    there = min([row["most"] - row["reserved"], *(n for n in (row["of_login"], row["of_database"]) if n >= 0)])
    detail = f"a process may open {mine + OWN}, the server has {there}, {row['open']} are open now"
    cure = (
        f"let the server have {2 * (mine + OWN) + row['reserved']} (max_connections), or set CRM_MAX_CONNECTIONS to"
        f" {max(2, there // 2 - OWN)} for each of two processes"
    )
    if mine + OWN > there:
        yield fail("connections", detail, cure)
    elif 2 * (mine + OWN) > there:
        yield warn("connections", f"{detail}: not enough for a server and a worker", cure)
    else:
        yield ok("connections", detail)
    if row["open"] >= there * 0.9:
        yield warn(
            "open connections", f"{row['open']} of {there} are in use", "see pg_stat_activity for whose they are"
        )


async def _clock(connection: Connection) -> Finding:
    began = datetime.now(UTC)
    theirs: datetime = await connection.fetchval("select clock_timestamp()")
    return skew(theirs - (began + (datetime.now(UTC) - began) / 2))


def skew(ahead: timedelta) -> Finding:
    """What it means that the database's clock is ahead of ours by so much."""
    detail = f"the database's is {abs(ahead.total_seconds()):.3f} s {'ahead' if ahead > timedelta(0) else 'behind'}"
    cure = "let both machines keep time by NTP: tokens, jobs and schedules go by these clocks"
    if abs(ahead) > SKEW_FAIL:
        return fail("clock", detail, cure)
    return warn("clock", detail, cure) if abs(ahead) > SKEW_WARN else ok("clock", detail)
