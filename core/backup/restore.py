"""Reading a backup: the migrations that it names are run, its rows copied in, then it is brought up to the code.

The tables are thus made by the same code as anywhere else, whatever version of PostgreSQL they come from, and a backup
of an older version is migrated like a workspace of one. All of it is one transaction: whoever is killed in the middle
leaves nothing that anybody sees, and it can be repeated.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import asyncpg
from piccolo.conf.apps import AppConfig

from core.backup.archive import FILES, TABLES, Reader
from core.backup.contents import Table, bare, set_sequences, tables, use
from core.context import Workspace
from core.database import Database
from core.errors import ConfigError
from core.files import FileStore
from core.migrate import Step, here, load, migrate_workspace, replay
from core.piccolo_app import APP_CONFIG
from core.plugins import PluginRegistry
from core.pool import Connection
from core.sql import quote
from core.workspaces import Workspaces, build, fresh

_DAMAGE = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)


@dataclass(frozen=True, slots=True)
class Fit:
    """How a backup fits the installed code: the migrations to run before it is read, and the apps to migrate after."""

    steps: tuple[Step, ...]
    apps: tuple[AppConfig, ...]


@dataclass(slots=True)
class Restored:
    """What was restored: rows by table, files, jobs that go on; `damaged` files are not what their rows say."""

    workspace: Workspace
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    jobs: int = 0
    migrated: tuple[str, ...] = ()
    damaged: list[UUID] = field(default_factory=list)


async def restore(
    database: Database,
    registry: PluginRegistry,
    source: BinaryIO,
    slug: str | None = None,
    *,
    database_url: str | None = None,
    jobs: bool = True,
) -> Restored:
    """Make a workspace of a backup: under its own name, or as another one, which gets no host name.

    Jobs that had not ended go on, or are cancelled without `jobs`. Raises ConfigError, with nothing left behind, for a
    stream that is no sound backup, or one that needs a plugin or a version that is not installed here; BadInput for a
    slug in use.
    """
    reader = await asyncio.to_thread(Reader, source)
    fit = fitting(reader.manifest, registry)
    facts: dict[str, Any] = dict(reader.manifest["workspace"])
    own: str = facts.pop("slug")
    if slug is not None and slug != own:
        facts["hostname"] = None
    workspace = fresh(slug or own, database_url=database_url, **facts)
    restored = Restored(workspace)
    store = FileStore(database.settings)
    with staged(store, workspace) as (folder, place):
        async with Workspaces(database).founding(workspace) as connection:
            await build(connection, workspace)
            await fill(connection, workspace, reader, fit, restored, folder=folder, jobs=jobs)
            place()
    return restored


def fitting(manifest: Mapping[str, Any], registry: PluginRegistry) -> Fit:
    """What the installed code makes of a backup. Raises ConfigError naming what is missing or too old here."""
    apps = {APP_CONFIG.app_name: APP_CONFIG} | {p.app.app_name: p.app for p in registry.plugins.values() if p.app}
    for plugin in manifest["plugins"]:
        if plugin["enabled"] and plugin["name"] not in registry.plugins:
            raise _missing(plugin["name"], registry, manifest)
    steps = []
    for migration in manifest["migrations"]:
        app = apps.get(migration["app"])
        if app is None:
            raise _missing(migration["plugin"], registry, manifest)
        step_id = migration["id"]
        step = next((s for s in load(app) if s.id == step_id), None)
        if step is None:
            plugin = migration["plugin"]
            made = manifest["made_by"] if app is APP_CONFIG else f"{plugin} {_version(manifest, plugin)}"
            message = f"the backup was made by {made}, newer than what is installed: {step_id} is unknown here"
            raise ConfigError(message, migration=step_id)
        steps.append(step)
    known = {APP_CONFIG.app_name, *(p["name"] for p in manifest["plugins"])}
    return Fit(tuple(steps), tuple(app for name, app in apps.items() if name in known))


def _version(manifest: Mapping[str, Any], plugin: str) -> str:
    return next((str(p["version"]) for p in manifest["plugins"] if p["name"] == plugin), "")


def _missing(plugin: str, registry: PluginRegistry, manifest: Mapping[str, Any]) -> ConfigError:
    broken = registry.broken.get(plugin)
    version = _version(manifest, plugin)
    reason = f"is broken here: {broken.reason}" if broken else "is not installed here"
    return ConfigError(f"the backup needs the plugin {plugin} {version}, which {reason}", plugin=plugin)


async def fill(
    connection: Connection,
    workspace: Workspace,
    reader: Reader,
    fit: Fit,
    restored: Restored,
    *,
    folder: Path | None = None,
    jobs: bool | None = True,
    migrate: bool = True,
) -> None:
    """Fill an empty workspace from a backup, inside the transaction that a connection is in.

    The files' bytes go to `folder`, or nowhere. Jobs that had not ended go on or are cancelled; None leaves their rows
    as they are. Without `migrate` the workspace stays as old as the backup. Raises
    ConfigError for what is not sound.
    """
    await use(connection, workspace.schema, workspace.role)
    await replay(connection, workspace, fit.steps)
    found = [Table(t["name"], tuple((c, type_) for c, type_ in t["columns"])) for t in reader.manifest["tables"]]
    _demand_same(found, await tables(connection, workspace.schema))
    await connection.execute(f"truncate {', '.join(quote(t.name) for t in found)}")
    with _damage_told():
        end = await _read(connection, workspace, reader, found, restored, folder)
    if jobs:
        restored.jobs = await go_on(connection, end["jobs"])
    elif jobs is not None:
        await _cancel_jobs(connection)
    if migrate:
        restored.migrated = (await migrate_workspace(here(connection), workspace, fit.apps)).applied
    await connection.execute("analyze " + ", ".join(quote(t.name) for t in await tables(connection, workspace.schema)))
    await connection.execute("set local role none")


async def _read(
    connection: Connection,
    workspace: Workspace,
    reader: Reader,
    found: Sequence[Table],
    restored: Restored,
    folder: Path | None,
) -> Mapping[str, Any]:
    """Copy in what the backup holds; returns its end."""
    async with bare(connection, workspace.schema):
        for table in found:
            restored.rows[table.name] = await _copy_in(connection, table, reader)
        await _files(connection, reader, folder, restored)
        end = await asyncio.to_thread(reader.finish)
        if end["rows"] != restored.rows or end["files"] != restored.files:
            raise ConfigError("the backup is damaged: it holds more or fewer rows than it says")
        await set_sequences(connection, workspace.schema, end["sequences"])
    return end


def _demand_same(found: Sequence[Table], made: Sequence[Table]) -> None:
    here_ = {t.name: dict(t.columns) for t in made}
    for table in found:
        if (columns := here_.get(table.name)) is None:
            raise ConfigError(f"the backup's table {table.name} is made by no migration that is installed here")
        if columns != dict(table.columns):
            other = sorted({c for c, _ in set(columns.items()) ^ set(table.columns)})
            raise ConfigError(f"the backup's table {table.name} has other columns than here: {', '.join(other)}")


async def _copy_in(connection: Connection, table: Table, reader: Reader) -> int:
    async def pieces() -> AsyncIterator[bytes]:
        prefix = f"{TABLES}/{table.name}/"
        while reader.name.startswith(prefix):
            while piece := await asyncio.to_thread(reader.read):
                yield piece
            await asyncio.to_thread(reader.advance)

    status = await connection.copy_to_table(table.name, source=pieces(), columns=table.names, format="text")
    return int(status.split()[-1])


async def _files(connection: Connection, reader: Reader, folder: Path | None, restored: Restored) -> None:
    while reader.name.startswith(f"{FILES}/"):
        try:
            id_ = UUID(reader.name.removeprefix(f"{FILES}/"))
        except ValueError as error:
            raise ConfigError("the backup is damaged: a file has no id") from error
        sha256 = await asyncio.to_thread(_put, reader, folder and folder / id_.hex[-2:] / str(id_))
        known = await connection.fetchval("select sha256 from file where id = $1", id_)
        if known is None:
            raise ConfigError("the backup is damaged: a file has no row")
        if known != sha256:
            restored.damaged.append(id_)
        restored.files += 1
        await asyncio.to_thread(reader.advance)


def _put(reader: Reader, path: Path | None) -> str:
    """Write the present member to a file, and to disk; returns its SHA-256."""
    digest = hashlib.sha256()
    if path is None:
        while piece := reader.read():
            digest.update(piece)
        return digest.hexdigest()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("xb") as out:
        path.chmod(0o600)
        while piece := reader.read():
            digest.update(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


async def go_on(connection: Connection, jobs: Sequence[Mapping[str, Any]]) -> int:
    """Put jobs that had not ended into this database's queue; an attempt that ran elsewhere is made again."""
    await connection.execute("update job set status = 'QUEUED' where status = 'RUNNING'")
    for job in jobs:
        delay = timedelta(seconds=job["delay"])
        await connection.execute("select crm.enqueue($1, $2, $3)", UUID(job["id"]), delay, job["allowed"])
    return len(jobs)


async def _cancel_jobs(connection: Connection) -> None:
    await connection.execute(
        "update job set status = 'CANCELLED', cancel_requested = true, finished_at = now()"
        " where status in ('QUEUED', 'RUNNING')"
    )


@contextmanager
def _damage_told() -> Iterator[None]:
    """Turn what PostgreSQL says of rows that cannot be into one line without their values."""
    try:
        yield
    except _DAMAGE as error:
        where = f" of {error.table_name}" if getattr(error, "table_name", None) else ""
        raise ConfigError(f"the backup is damaged: rows{where} cannot be ({type(error).__name__})") from error


@contextmanager
def staged(store: FileStore, workspace: Workspace) -> Iterator[tuple[Path, Any]]:
    """A folder for a workspace's files that is put in its place by calling what comes with it, or is gone at the end.

    What a crash leaves of it is swept up like other drafts.
    """
    folder = store.draft().with_name(f"restore-{secrets.token_hex(8)}")
    target = store.folder(workspace)

    def place() -> None:
        if folder.exists():
            folder.rename(target)

    try:
        yield folder, place
    finally:
        shutil.rmtree(folder, ignore_errors=True)
