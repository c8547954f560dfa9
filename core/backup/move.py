"""Moving a workspace to another database while people work in it: they wait for the last moment only.

It is copied like a backup, while triggers note what is written meanwhile. Rounds bring over what was noted, until one
is small. Then every table is locked against writers, the last notes are brought over, the counts compared, and the old
copy is made one that nobody may write to: a write either is in the new copy or was refused. Readers never wait. The old
copy is dropped once every table of the new one was found to hold what the old one holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import BinaryIO, TypeVar

import asyncpg

from core.backup.archive import Reader
from core.backup.capture import LOCK_TIMEOUT, Capture
from core.backup.contents import Guard, Table, counts, fingerprint, sequences, set_sequences, tables, unguarded, use
from core.backup.copy import piped
from core.backup.restore import Restored, fill, fitting, go_on
from core.backup.save import open_jobs, save
from core.context import Workspace
from core.database import Database, address
from core.errors import BadInput, DatabaseError
from core.log import logger
from core.plugins import PluginRegistry
from core.pool import Connection
from core.sql import quote
from core.workspaces import Workspaces, build, demolish, unqueue

LOG = logger("crm.move")
Result = TypeVar("Result")
#: Called when the new copy is what it takes over as.
See = Callable[[], Awaitable[None]]
#: A round that brings over no more than so many rows is followed by the last one.
FEW = 500
MOST_ROUNDS = 20
#: How often the locks are tried for, with a pause between.
TRIES, PAUSE = 100, 0.3


@dataclass(slots=True)
class Moved:
    """How a move went: rows by table, changes brought over in how many rounds, and the seconds that writers waited.

    `differ` are tables of which the old copy is not what the new one was when it took over; it was kept then.
    """

    workspace: Workspace
    rows: dict[str, int] = field(default_factory=dict)
    rounds: int = 0
    carried: int = 0
    closed: float = 0.0
    differ: list[str] = field(default_factory=list)


async def move(database: Database, registry: PluginRegistry, workspace: Workspace, database_url: str) -> Moved:
    """Move a workspace to another database, with its id, name, role, files and jobs.

    Raises BadInput where it is there already, DatabaseError where the other database cannot be used or the locks are
    not to be had; whatever it raises, the workspace is where it was and can be written to.
    """
    old = workspace.database_url or database.dsn
    if database_url == old:
        raise BadInput(f"the workspace {workspace.slug} lives in {address(database_url)} already")
    home = database_url == database.dsn
    await database.prepare(None if home else database_url)
    target_of = replace(workspace, database_url=None if home else database_url)
    capture = Capture(workspace)
    moved = Moved(target_of)
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(database.admin_at(old))
        target = await stack.enter_async_context(database.admin_at(database_url))
        witness = await stack.enter_async_context(database.admin_at(database_url))
        await _demand_elsewhere(source, target, workspace)
        switched = False
        try:
            await capture.end(source)
            await _close(source, workspace, closed=False)
            found = await _begin(source, workspace, capture)
            guards = await _first_copy(database, registry, workspace, target_of, target, moved)
            await _rounds(source, target, capture, target_of, moved)
            async with _seen_by(witness, target_of) as see:
                await _last_round(source, target, capture, found, target_of, guards, moved, see)
                await _register(database, source, workspace, target_of.database_url)
                switched = True
                async with source.transaction():
                    await unqueue(source, workspace)
                await _settle(target, target_of, guards)
                moved.differ = await _differing(source, witness, workspace, found)
        finally:
            if not source.is_closed():
                await capture.end(source)
            if not switched and not target.is_closed():
                async with target.transaction():
                    await demolish(target, target_of)
        if not moved.differ:
            async with source.transaction():
                await demolish(source, workspace)
    await database.forget(workspace)
    return moved


async def _demand_elsewhere(source: Connection, target: Connection, workspace: Workspace) -> None:
    """Raise where the target is the source by another address, or holds something of that name."""
    # Whoever migrates it would make tables that nobody copies.
    await source.execute("select pg_advisory_lock_shared(hashtextextended($1, 0))", f"crm.migrate.{workspace.schema}")
    key = f"crm.move.{workspace.id}"
    await source.execute("select pg_advisory_lock(hashtextextended($1, 0))", key)
    if not await target.fetchval("select pg_try_advisory_lock(hashtextextended($1, 0))", key):
        raise BadInput(f"the workspace {workspace.slug} lives there already")
    if await target.fetchval("select to_regnamespace($1) is not null", quote(workspace.schema)):
        raise DatabaseError(f"the schema {workspace.schema} exists there: drop or rename it", schema=workspace.schema)


async def _begin(source: Connection, workspace: Workspace, capture: Capture) -> list[Table]:
    """Begin to note what is written; returns the tables."""

    async def begin() -> list[Table]:
        async with source.transaction():
            found = await tables(source, workspace.schema)
            await capture.begin(source, found)
        return found

    return await _tried(workspace, begin)


async def _tried(workspace: Workspace, work: Callable[[], Awaitable[Result]]) -> Result:
    """Do what takes locks, again and again for a while, since it waits for none of them for long."""
    for _ in range(TRIES):
        try:
            return await work()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await asyncio.sleep(PAUSE)
    message = f"the tables of {workspace.slug} are in use all the time: try again when long jobs and imports are done"
    raise DatabaseError(message, workspace=workspace.slug)


async def _first_copy(
    database: Database,
    registry: PluginRegistry,
    workspace: Workspace,
    target_of: Workspace,
    target: Connection,
    moved: Moved,
) -> list[Guard]:
    """Copy all of it as it is at one moment; returns what guards it is left without."""

    async def read(source: BinaryIO) -> list[Guard]:
        reader = await asyncio.to_thread(Reader, source)
        restored = Restored(target_of)
        async with target.transaction():
            await build(target, target_of)
            await fill(
                target, target_of, reader, fitting(reader.manifest, registry), restored, migrate=False, jobs=None
            )
            await use(target, target_of.schema, target_of.role)
            guards = await unguarded(target, target_of.schema)
        moved.rows = restored.rows
        return guards

    return await piped(lambda out: save(database, registry, workspace, out, files=False, compressed=False), read)


async def _rounds(source: Connection, target: Connection, capture: Capture, target_of: Workspace, moved: Moved) -> None:
    """Bring over what was written meanwhile, and meanwhile again, until it is little."""
    while moved.rounds < MOST_ROUNDS:
        moved.rounds += 1
        async with source.transaction(isolation="repeatable_read"), target.transaction():
            await use(target, target_of.schema, target_of.role)
            carried = await capture.carry(source, target)
        moved.carried += carried
        if carried <= FEW:
            return


async def _last_round(
    source: Connection,
    target: Connection,
    capture: Capture,
    found: list[Table],
    target_of: Workspace,
    guards: list[Guard],
    moved: Moved,
    see: See,
) -> None:
    """Keep writers out, bring over the rest, and make the old copy one that nobody may write to."""
    workspace = replace(target_of, database_url=None)
    names = ", ".join(quote(t.name) for t in found)

    async def last() -> None:
        async with source.transaction():
            await use(source, workspace.schema, workspace.role)
            await source.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
            await source.execute(f"lock table {names} in exclusive mode")
            started = time.monotonic()
            async with target.transaction():
                await use(target, workspace.schema, workspace.role)
                moved.carried += await capture.carry(source, target)
                for guard in guards:
                    await target.execute(guard.make)
                there, here = await asyncio.gather(counts(source, found), counts(target, found))
                if there != here:
                    raise DatabaseError(
                        f"the copy of {workspace.slug} has other rows than the original: nothing was moved"
                    )
                await set_sequences(target, workspace.schema, await sequences(source, workspace.schema))
            await see()
            async with target.transaction():
                await use(target, workspace.schema, workspace.role)
                await go_on(target, await open_jobs(source, workspace))
            await _close(source, workspace, closed=True)
        moved.closed = time.monotonic() - started

    await _tried(workspace, last)


async def _close(source: Connection, workspace: Workspace, *, closed: bool) -> None:
    """Take from the workspace's own role the right to write to its tables in a database, or give it back."""
    way = ("revoke", "from") if closed else ("grant", "to")
    async with source.transaction():
        await use(source, workspace.schema, workspace.role)
        schema, role = quote(workspace.schema), quote(workspace.role)
        await source.execute(
            f"{way[0]} insert, update, delete, truncate on all tables in schema {schema} {way[1]} {role}"
        )
        await source.execute("set local role none")


async def _register(database: Database, source: Connection, workspace: Workspace, database_url: str | None) -> None:
    """Let every process know where the workspace lives now; where that fails it can be written to where it was."""
    try:
        await Workspaces(database).relocate(workspace, database_url)
    except BaseException:
        await _close(source, workspace, closed=False)
        raise


async def _settle(target: Connection, target_of: Workspace, guards: list[Guard]) -> None:
    """Check the foreign keys, which held where the rows come from, and look at how values are spread."""
    async with target.transaction():
        await use(target, target_of.schema, target_of.role)
        for guard in guards:
            if guard.check:
                await target.execute(guard.check)
        await target.execute("analyze " + ", ".join(quote(t.name) for t in await tables(target, target_of.schema)))


@asynccontextmanager
async def _seen_by(witness: Connection, target_of: Workspace) -> AsyncIterator[See]:
    """Lets a connection see the new copy as it was when it took over, whatever is written to it since."""
    async with AsyncExitStack() as stack:

        async def see() -> None:
            await stack.enter_async_context(witness.transaction(isolation="repeatable_read", readonly=True))
            await use(witness, target_of.schema, target_of.role)
            await witness.fetchval("select count(*) from migration")

        yield see


async def _differing(source: Connection, witness: Connection, workspace: Workspace, found: list[Table]) -> list[str]:
    """The tables of the old copy that do not hold what the new one held when it took over."""
    differ = []
    async with source.transaction():
        await use(source, workspace.schema, workspace.role)
        for table in found:
            if await fingerprint(source, table) != await fingerprint(witness, table):
                differ.append(table.name)
    return differ
