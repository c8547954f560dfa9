"""Piccolo's way to the database: one engine for all workspaces, told by the context which one is meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from piccolo.engine.postgres import PostgresEngine

from core.errors import DatabaseError
from core.pool import Connection, Pool

_POOL: ContextVar[Pool | None] = ContextVar("crm_piccolo_pool", default=None)


class _CurrentPool:
    """Looks to Piccolo like asyncpg's pool, and passes each call on to the bound workspace's."""

    async def acquire(self) -> Connection:
        return await bound_pool().acquire()

    async def release(self, connection: Connection) -> None:
        bound_pool().release(connection)


class WorkspaceEngine(PostgresEngine):
    """Runs Piccolo's queries on the workspace bound by `bind`; without one it raises DatabaseError.

    Tables need no schema name: the connection's `search_path` says which workspace's table is meant.
    """

    def __init__(self) -> None:
        super().__init__(config={})
        self.pool = _CurrentPool()

    async def check_version(self) -> None:
        """Do nothing: Piccolo asks before any workspace is bound; `Database.open` has checked already."""

    async def get_new_connection(self) -> Connection:
        """A connection of the bound workspace; Piccolo closes it."""
        return await bound_pool().acquire()

    async def _run_in_pool(self, query: str, args: Sequence[Any] | None = None) -> list[Any]:
        return await bound_pool().fetch(query, *(args or ()))

    async def _run_in_new_connection(self, query: str, args: Sequence[Any] | None = None) -> list[Any]:
        return await self._run_in_pool(query, args)


def bound_pool() -> Pool:
    """The pool that the current task's Piccolo queries run on."""
    pool = _POOL.get()
    if pool is None:
        message = "a Piccolo query ran outside of `database.bind(workspace)`"
        raise DatabaseError(message)
    return pool


@contextmanager
def bind(pool: Pool) -> Iterator[None]:
    """Inside the block, Piccolo's queries of this task run on `pool`."""
    token = _POOL.set(pool)
    try:
        yield
    finally:
        _POOL.reset(token)


#: Piccolo's engine: what a migration does by it happens in the workspace that is being migrated.
ENGINE = WorkspaceEngine()
