"""Writing a backup: every table in one snapshot, then the files, straight from the database to a stream."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import asyncpg
import orjson

from core import clock
from core.backup.archive import FILES, PIECE, TABLES, Writer
from core.backup.contents import Table, history, sequences, tables, use
from core.context import Workspace
from core.database import Database
from core.errors import DatabaseError
from core.files import FileStore
from core.plugins import DISTRIBUTION, PluginRegistry
from core.pool import Connection
from core.sql import quote

_QUEUED = """
select payload, greatest(extract(epoch from execute_after - now()), 0)::float8 as delay
from crm.pgqueuer where starts_with(dedupe_key, $1)
"""


@dataclass(slots=True)
class Saved:
    """What a backup holds: rows by table, files and their bytes; `missing` are files whose bytes are not there."""

    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0
    missing: list[UUID] = field(default_factory=list)


async def save(
    database: Database,
    registry: PluginRegistry,
    workspace: Workspace,
    out: BinaryIO,
    *,
    files: bool = True,
    compressed: bool = True,
) -> Saved:
    """Write a backup of a workspace to a stream, as it is at one moment, while everybody goes on working in it.

    Memory is a few pieces, whatever the size. Without `files` their rows are there and their bytes are not. Raises
    DatabaseError where the workspace was never migrated or is being migrated for long; OSError of the stream.
    """
    url = workspace.database_url or database.dsn
    async with database.admin_at(url) as connection, snapshot(connection, workspace) as found:
        if "migration" not in {table.name for table in found}:
            raise DatabaseError(f"the workspace {workspace.slug} has not been migrated: there is nothing to back up")
        manifest = await _manifest(connection, registry, workspace, found)
        writer = await asyncio.to_thread(Writer, out, manifest, compressed=compressed)
        saved = Saved()
        for table in found:
            saved.rows[table.name] = await _table(connection, table, writer)
        if files:
            await _files(connection, FileStore(database.settings), workspace, writer, saved)
        # Sequences know no snapshots: read last, they are behind no row.
        end = {"rows": saved.rows, "files": saved.files, "sequences": await sequences(connection, workspace.schema)}
        end["jobs"] = await open_jobs(connection, workspace)
        await asyncio.to_thread(writer.finish, end)
    return saved


@asynccontextmanager
async def snapshot(connection: Connection, workspace: Workspace) -> AsyncIterator[list[Table]]:
    """A read-only transaction in the workspace that sees one moment; nobody alters or drops a table meanwhile."""
    key = f"crm.migrate.{workspace.schema}"
    try:
        # No migration is half way when the snapshot is taken, and none drops what it sees.
        await connection.execute("select pg_advisory_lock_shared(hashtextextended($1, 0))", key)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await use(connection, workspace.schema, workspace.role)
            found = await tables(connection, workspace.schema)
            for table in found:
                await connection.execute(f"lock table {quote(table.name)} in access share mode")
            await connection.execute("select pg_advisory_unlock_shared(hashtextextended($1, 0))", key)
            yield found
    except asyncpg.QueryCanceledError as error:
        raise DatabaseError(f"the workspace {workspace.slug} is being migrated: try again when it is done") from error
    finally:
        if not connection.is_closed():
            await connection.execute("select pg_advisory_unlock_all()")


async def _manifest(
    connection: Connection, registry: PluginRegistry, workspace: Workspace, found: list[Table]
) -> dict[str, Any]:
    plugins = await connection.fetch("select plugin, version, enabled from feature order by plugin")
    apps = {p.app.app_name: name for name, p in registry.plugins.items() if p.app}
    return {
        "made_at": clock.now(),
        "made_by": f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}",
        "postgresql": await connection.fetchval("show server_version"),
        "workspace": {
            "slug": workspace.slug,
            "hostname": workspace.hostname,
            "time_zone": workspace.time_zone,
            "locale": workspace.locale,
            "currency": workspace.currency,
            "country": workspace.country,
        },
        "plugins": [{"name": p, "version": version, "enabled": on} for p, version, on in plugins],
        "migrations": [{"app": app, "id": id_, "plugin": apps.get(app, app)} for app, id_ in await history(connection)],
        "tables": [{"name": t.name, "columns": t.columns} for t in found],
    }


async def _table(connection: Connection, table: Table, writer: Writer) -> int:
    """Write a table's rows as COPY gives them, in pieces; returns how many there were."""
    piece = bytearray()
    number = 0

    async def put() -> None:
        nonlocal number
        await asyncio.to_thread(writer.add, f"{TABLES}/{table.name}/{number:08}", bytes(piece))
        piece.clear()
        number += 1

    async def take(data: bytes) -> None:
        piece.extend(data)
        if len(piece) >= PIECE:
            await put()

    query = f"select {table.portable()} from {quote(table.name)}"
    status = await connection.copy_from_query(query, output=take, format="text")
    if piece or not number:
        await put()
    return int(status.split()[-1])


async def _files(connection: Connection, store: FileStore, workspace: Workspace, writer: Writer, saved: Saved) -> None:
    if not await connection.fetchval("select to_regclass('file') is not null"):
        return
    files = store.of(workspace)
    async for id_, expired in connection.cursor(
        "select id, coalesce(expires_at <= now(), false) from file order by id"
    ):
        size = await asyncio.to_thread(_put, writer, f"{FILES}/{id_}", files.path(id_))
        if size is not None:
            saved.files += 1
            saved.bytes += size
        elif not expired:
            saved.missing.append(id_)


def _put(writer: Writer, name: str, path: Path) -> int | None:
    try:
        with path.open("rb") as content:
            size = os.fstat(content.fileno()).st_size
            writer.add_stream(name, size, content)
    except FileNotFoundError:
        return None
    return size


async def open_jobs(connection: Connection, workspace: Workspace) -> list[dict[str, Any]]:
    """The jobs that have not ended, with what only the queue knows of them."""
    ids = await connection.fetch("select id from job where status in ('QUEUED', 'RUNNING')")
    # The queue is not the workspace's to read.
    await connection.execute("set local role none")
    queued = {}
    for payload, delay in await connection.fetch(_QUEUED, f"{workspace.role} "):
        order = orjson.loads(payload)
        queued[order["job"]] = {"delay": delay, "allowed": order["allowed"]}
    return [{"id": str(id_), **queued.get(str(id_), {"delay": 0.0, "allowed": None})} for (id_,) in ids]
