"""What every workspace finds in its database: extensions, text folding, the queue of jobs, the registry."""

from __future__ import annotations

import asyncpg

from core.errors import DatabaseError
from core.pool import Connection

OLDEST, NEWEST = 15, 18
EXTENSIONS = ("pg_trgm", "unaccent", "btree_gin")
LOCK = 7_236_001

#: A body bound at creation does not depend on the caller's search_path. unaccent is only "stable" because its
#: rules can be edited; whoever edits them has to reindex.
#: Most text (codes, phones, mail addresses) is ASCII, where lower case is all there is to do; that part is inlined.
FOLD = """
create function public.crm_fold_wide(value text) returns text
    language sql immutable strict parallel safe
    return lower(public.unaccent('public.unaccent'::regdictionary, normalize(value, NFKC)));
create or replace function public.crm_fold(value text) returns text
    language sql immutable parallel safe
    return case when octet_length(value) = length(value) then lower(value) else public.crm_fold_wide(value) end
"""

REGISTRY = """
create schema if not exists crm;
create table if not exists crm.workspace (
    id uuid primary key,
    slug text not null unique,
    schema_name text not null unique,
    role_name text not null unique,
    database_url text,
    hostname text unique,
    time_zone text not null default 'Asia/Ho_Chi_Minh',
    locale text not null default 'vi',
    currency text not null default 'VND',
    country text not null default 'VN',
    created_at timestamptz not null default now()
);
"""

#: Nothing is lost with it in a crash but for some seconds' counting.
ALLOWANCE = """
create unlogged table if not exists crm.allowance (
    key text primary key,
    requests double precision not null,
    cost double precision not null,
    at timestamptz not null
)
"""


async def prepare(connection: Connection, *, registry: bool) -> None:
    """Create what is missing in the connection's database; with `registry` also the table of workspaces.

    Raises DatabaseError where the server is too old or new, the encoding is not UTF8, or a right is missing.
    """
    version = connection.get_server_version().major
    if not OLDEST <= version <= NEWEST:
        message = f"PostgreSQL {OLDEST} to {NEWEST} is needed, the server is {version}"
        raise DatabaseError(message, version=version)
    encoding = await connection.fetchval("select getdatabaseencoding()")
    if encoding != "UTF8":
        raise DatabaseError(f"the database's encoding is {encoding}, UTF8 is needed", encoding=encoding)
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
        await _extensions(connection)
        if not await connection.fetchval("select to_regprocedure('public.crm_fold_wide(text)') is not null"):
            await _create(connection, FOLD, "the function public.crm_fold")
        if registry and not await connection.fetchval("select to_regclass('crm.workspace') is not null"):
            await _create(connection, REGISTRY, "the schema crm")
        if registry and not await connection.fetchval("select to_regclass('crm.allowance') is not null"):
            await _create(connection, ALLOWANCE, "the table crm.allowance")
        if not await connection.fetchval("select to_regprocedure('crm.enqueue(uuid, interval, jsonb)') is not null"):
            from core.queue import install_sql  # noqa: PLC0415 - a quarter of a second, once in a database's life

            await _create(connection, f"create schema if not exists crm; {install_sql()}", "the queue of jobs")
        # Databases that once ran PostgreSQL 14 or older still let everybody create tables in public.
        if await connection.fetchval("select has_schema_privilege('public', 'public', 'create')"):
            await _create(connection, "revoke create on schema public from public", "the rights on the schema public")


async def _extensions(connection: Connection) -> None:
    rows = await connection.fetch(
        "select extname, nspname from pg_extension join pg_namespace n on n.oid = extnamespace where extname = any($1)",
        list(EXTENSIONS),
    )
    found = {row["extname"]: row["nspname"] for row in rows}
    for name in EXTENSIONS:
        if name not in found:
            await _create(connection, f"create extension {name} schema public", f"the extension {name}")
        elif found[name] != "public":
            message = f"the extension {name} is in the schema {found[name]}; it must be in public"
            raise DatabaseError(message, extension=name)


async def _create(connection: Connection, sql: str, what: str) -> None:
    try:
        async with connection.transaction():
            await connection.execute(sql)
    except asyncpg.InsufficientPrivilegeError as error:
        message = f"this login may not create {what}: let an administrator do it or use another login"
        raise DatabaseError(message) from error
    except asyncpg.FeatureNotSupportedError as error:
        message = f"the server cannot create {what}: {error}"
        raise DatabaseError(message) from error
