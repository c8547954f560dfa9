"""The database of a deployment: its server, what every workspace shares in it, and the ways to reach both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, ClassVar, Self

import asyncpg
import orjson

from core import embedded
from core.context import Workspace
from core.engine import bind
from core.errors import DatabaseError
from core.listener import Callback, Listener
from core.pool import Budget, Connection, Pool
from core.prepare import prepare
from core.replica import PRIMARY_POSITION, Replica
from core.settings import Settings
from core.sql import quote

# Piccolo finds its engine by this name only.
os.environ.setdefault("PICCOLO_CONF", "core.piccolo_conf")

CONNECT_SECONDS = 10
ADMIN = ""


class Database:
    """The open database. Make one with `await Database.open(settings)`, end it with `await database.close()`.

    Connections of a workspace have its role and `search_path`: PostgreSQL refuses them every other
    workspace's tables. They give `json` as raw bytes, `jsonb` as Python values, take Python values for
    `jsonb` (or ready JSON as bytes), and run in UTC without JIT and parallel workers.
    """

    connection_class: ClassVar[type[Connection]] = Connection

    def __init__(self, settings: Settings, dsn: str, server: embedded.EmbeddedServer | None) -> None:
        self.settings = settings
        self.dsn = dsn
        self.budget = Budget(settings.max_connections)
        self._server = server
        self._pools: dict[str, Pool] = {}
        self._listeners: dict[str, Listener] = {}
        self.replica = None if settings.replica_url is None else self._replica(settings.replica_url.get_secret_value())

    @classmethod
    async def open(cls, settings: Settings) -> Self:
        """Start or join the embedded server, or reach CRM_DATABASE_URL, and create what all workspaces share.

        Raises ConfigError for an unusable folder, DatabaseError for a server that cannot be reached, is not
        PostgreSQL 15 to 18 or lacks a right; one line each, never with the password.
        """
        server = None
        if settings.database_url is None:
            server = await asyncio.to_thread(embedded.start, settings.data_dir, settings.postgres_bin)
            dsn = server.dsn
        else:
            dsn = settings.database_url.get_secret_value()
        database = cls(settings, dsn, server)
        try:
            await database.prepare(None)
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Close every connection and let go of the embedded server; the last process stops it."""
        for listener in self._listeners.values():
            await listener.close()
        if self.replica is not None:
            await self.replica.close()
        for pool in list(self._pools.values()):
            await pool.close()
        self._pools.clear()
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)

    async def prepare(self, database_url: str | None) -> None:
        """Create what workspaces need in the database they live in; `None` is the deployment's own."""
        connection = await self._connect(database_url or self.dsn, {})
        try:
            await prepare(connection, registry=database_url is None)
        finally:
            await connection.close()

    def pool(self, workspace: Workspace) -> Pool:
        """The workspace's pool; nothing is opened before its first use."""
        key = _key(workspace)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = self._make_pool(workspace)
        return pool

    @asynccontextmanager
    async def connection(self, workspace: Workspace) -> AsyncIterator[Connection]:
        """Hold one connection of the workspace for several statements."""
        async with self.pool(workspace).connection() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(
        self, workspace: Workspace, *, statement_timeout_ms: int | None = None
    ) -> AsyncIterator[Connection]:
        """A transaction of the workspace: committed at the end of the block, rolled back when it raises.

        `statement_timeout_ms` replaces the setting of that name for this transaction; 0 is no limit.
        """
        async with self.pool(workspace).connection() as connection, connection.transaction():
            if statement_timeout_ms is not None:
                await connection.execute(f"set local statement_timeout = {int(statement_timeout_ms)}")
            yield connection

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Connection]:
        """A connection with the deployment's own login, for the registry and for roles and schemas."""
        if ADMIN not in self._pools:
            self._pools[ADMIN] = self._make_pool(None)
        async with self._pools[ADMIN].connection() as connection:
            yield connection

    @asynccontextmanager
    async def admin_at(self, database_url: str | None) -> AsyncIterator[Connection]:
        """The same for the database a workspace lives in; elsewhere a connection made for the occasion."""
        if database_url is None:
            async with self.admin() as connection:
                yield connection
            return
        connection = await self._connect(database_url, {})
        try:
            yield connection
        finally:
            await connection.close()

    def bind(self, workspace: Workspace) -> AbstractContextManager[None]:
        """`with database.bind(workspace)`: Piccolo's queries of this task run in that workspace."""
        return bind(self.pool(workspace))

    async def forget(self, workspace: Workspace) -> None:
        """Close the workspace's pool, as when it has been erased or lives elsewhere now."""
        pool = self._pools.pop(_key(workspace), None)
        if pool is not None:
            await pool.close()
        if self.replica is not None:
            await self.replica.forget(workspace)

    async def listen(self, channel: str, callback: Callback) -> None:
        """Call `callback(payload)` for each NOTIFY on `channel` in the deployment's own database.

        After the connection was lost and made anew it is called with None: notifications may have been
        missed, so read anew what they announce. Returns when listening has begun.
        """
        listener = self._listeners.get(self.dsn)
        if listener is None:
            listener = self._listeners[self.dsn] = Listener(lambda: self._connect(self.dsn, {}))
        await listener.add(channel, callback)

    @property
    def listening(self) -> bool:
        """Whether notifications are heard at this moment, by whoever asked for them."""
        return all(listener.connected for listener in self._listeners.values())

    def _replica(self, dsn: str) -> Replica:
        budget = Budget(self.settings.max_connections)

        async def position() -> int:
            async with self.admin() as connection:
                found: int = await connection.fetchval(PRIMARY_POSITION)
            return found

        return Replica(lambda workspace: self._make_pool(workspace, dsn, budget), position)

    def _make_pool(self, workspace: Workspace | None, dsn: str = "", budget: Budget | None = None) -> Pool:
        """A workspace's pool, or that of the deployment's login: where it lives, or at `dsn` under another cap."""
        settings = {"statement_timeout": str(self.settings.statement_timeout_ms)}
        dsn = dsn or (workspace.database_url if workspace else None) or self.dsn
        if workspace is not None:
            settings |= {"role": workspace.role, "search_path": f"{quote(workspace.schema)}, public"}
        return Pool(
            lambda: self._connect(dsn, settings),
            size=self.settings.pool_size,
            budget=budget or self.budget,
            timeout=self.settings.pool_timeout,
        )

    async def _connect(self, dsn: str, settings: dict[str, str]) -> Connection:
        common = {
            "application_name": "headless-crm",
            "jit": "off",
            "max_parallel_workers_per_gather": "0",
            "timezone": "UTC",
        }
        try:
            connection: Connection = await asyncpg.connect(
                dsn,
                timeout=CONNECT_SECONDS,
                server_settings=common | settings,
                connection_class=self.connection_class,
                statement_cache_size=512,
                max_cached_statement_lifetime=0,
            )
        except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            message = f"cannot reach the database {address(dsn)}: {reason}"
            raise DatabaseError(message, database=address(dsn)) from error
        try:
            await set_codecs(connection)
            await _demand(connection, settings)
        except BaseException:
            connection.terminate()
            raise
        return connection


async def _demand(connection: Connection, settings: dict[str, str]) -> None:
    """Refuse a connection that is not the workspace's, as when a pooler in between has dropped what it was asked for.

    Nothing is set afterwards in its place: a pooler may give the same connection to another workspace next.
    """
    asked = [settings[name] for name in ("role", "search_path") if name in settings]
    if asked and asked != await connection.fetchval("select array[current_user, current_setting('search_path')]"):
        raise DatabaseError("a pooler before the database drops role and search_path: connect to PostgreSQL itself")


def _key(workspace: Workspace) -> str:
    """What a pool belongs to: a role in a database."""
    return f"{workspace.role} {workspace.database_url}" if workspace.database_url else workspace.role


async def set_codecs(connection: Connection) -> None:
    """`json` passes as raw bytes both ways; `jsonb` is decoded, and encoded unless it is bytes already."""
    await connection.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode_jsonb, decoder=orjson.loads, format="text"
    )


def _encode_jsonb(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else orjson.dumps(value).decode()


def address(dsn: str) -> str:
    """A DSN without user and password, to show to people."""
    return dsn.split("://", 1)[-1].rsplit("@", 1)[-1].split("?", 1)[0] or "of the embedded server"
