"""What is left of a workspace that was erased: every place that could mention it is looked at, and said to be clean."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from core.context import Workspace
from core.database import Database
from core.files import folder_of
from core.pool import Connection
from core.sql import quote
from core.workspaces import Erased, Workspaces

_TABLES = """
select n.nspname as schema, c.relname as name,
       array_agg(a.attname order by a.attnum) as columns,
       array_agg(a.atttypid = 'bytea'::regtype order by a.attnum) as binary
from pg_class c join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where n.nspname = any($1::text[]) and c.relkind in ('r', 'p') and not c.relispartition
group by 1, 2 order by 1, 2
"""
#: What all workspaces of a database share.
SHARED = ("crm", "public")


@dataclass(frozen=True, slots=True)
class Trace:
    """A place that was looked at, and how often it mentions the workspace."""

    place: str
    found: int


async def look(database: Database, erased: Erased, *, everywhere: bool = False) -> list[Trace]:
    """Look for what mentions an erased workspace: its id, schema or role, or one of its users and API keys.

    Looks at the registry, roles, schemas, every table that workspaces share, the queue's included, as text, and the
    files; with `everywhere` also at every table of every other workspace, which takes as long as reading them.
    """
    gone = erased.workspace
    async with database.admin_at(database.dsn) as connection:
        found = [Trace("registry", await _registered(connection, gone))]
        found += await _cluster(connection, gone, "")
        found += await _tables(connection, SHARED, gone)
        held = "select count(*) from crm.allowance where key = any($1::uuid[]::text[])"
        found.append(Trace("rate limits of its users and keys", await connection.fetchval(held, list(erased.actors))))
    if gone.database_url is not None:
        async with database.admin_at(gone.database_url) as connection:
            found += await _cluster(connection, gone, "its own database: ")
            found += await _tables(connection, SHARED, gone, "its own database: ")
    files = folder_of(database.settings, gone)
    found.append(Trace(f"files in {files}", await asyncio.to_thread(lambda: sum(1 for _ in files.rglob("*")))))
    if everywhere:
        for other in await Workspaces(database).list():
            async with database.transaction(other, statement_timeout_ms=0) as connection:
                found += await _tables(connection, (other.schema,), gone)
    return found


async def _registered(connection: Connection, gone: Workspace) -> int:
    statement = "select count(*) from crm.workspace where id = $1 or schema_name = $2 or role_name = $3 or slug = $4"
    count: int = await connection.fetchval(statement, gone.id, gone.schema, gone.role, gone.slug)
    return count


async def _cluster(connection: Connection, gone: Workspace, where: str) -> list[Trace]:
    schemas = await connection.fetchval("select count(*) from pg_namespace where nspname = $1", gone.schema)
    roles = await connection.fetchval("select count(*) from pg_roles where rolname = $1", gone.role)
    said = await connection.fetchval(
        "select (select count(*) from pg_description where description ~ $1)"
        " + (select count(*) from pg_shdescription where description ~ $1)",
        _pattern(gone),
    )
    return [
        Trace(f"{where}schema {gone.schema}", schemas),
        Trace(f"{where}role {gone.role}", roles),
        Trace(f"{where}comments in the catalog", said),
    ]


async def _tables(connection: Connection, schemas: Sequence[str], gone: Workspace, where: str = "") -> list[Trace]:
    """How many rows of each table of some schemas mention a workspace, whatever the column."""
    found = []
    for table in await connection.fetch(_TABLES, list(schemas)):
        name = f"{quote(table['schema'])}.{quote(table['name'])}"
        texts = (
            f"encode({quote(column)}, 'escape')" if binary else f"{quote(column)}::text"
            for column, binary in zip(table["columns"], table["binary"], strict=True)
        )
        statement = f"select count(*) from {name} where concat_ws(' ', {', '.join(texts)}) ~ $1"
        count = await connection.fetchval(statement, _pattern(gone))
        found.append(Trace(f"{where}{table['schema']}.{table['name']}", count))
    return found


def _pattern(gone: Workspace) -> str:
    """A regular expression for what only this workspace is called."""
    return rf"\m({gone.id}|{gone.id.hex}|{gone.role}|{gone.schema})\M"
