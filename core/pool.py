"""Connections to the workspaces' databases: a small pool each, under one cap for the whole process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeAlias

import asyncpg

from core.errors import DatabaseError

#: A connection to the database in one workspace's name; `json` comes as bytes, `jsonb` as Python values.
Connection: TypeAlias = asyncpg.Connection
TURN_SECONDS = 0.05

Connect = Callable[[], Awaitable[Connection]]


class Budget:
    """The connections one process may hold. Pools that wait for one get others' idle ones, fewest first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.pools: set[Pool] = set()
        self.starving: dict[Pool, None] = {}
        self.closing: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, pool: Pool) -> bool:
        """Reserve one connection. At the cap say False: the pool's turn comes when another is closed."""
        if self.used < self.limit:
            self.used += 1
            return True
        self.starving[pool] = None
        self._make_room()
        return False

    def give_back(self) -> None:
        """Return one reservation; the starving pool with the fewest connections may take it."""
        self.used -= 1
        while self.used < self.limit and (pool := self.neediest()):
            del self.starving[pool]
            pool.open_for_waiter()
            if pool.wants():
                self.starving[pool] = None
        self._make_room()

    def neediest(self, but: Pool | None = None) -> Pool | None:
        """Of the pools that still wait for the cap, the one with the fewest connections, then the first."""
        for pool in [p for p in self.starving if not p.wants()]:
            del self.starving[pool]
        return min((p for p in self.starving if p is not but), key=lambda p: p.size, default=None)

    def _make_room(self) -> None:
        """Close the longest idle connections, one for each starving pool."""
        while len(self.closing) < len(self.starving):
            idlest = min((p for p in self.pools if p.idle), key=lambda p: p.last_used, default=None)
            if idlest is None:
                return
            self.close(idlest.idle.popleft())

    def close(self, connection: Connection) -> None:
        """Close a connection without waiting for it; its pool hears of it as a termination listener."""
        if connection.is_closed():
            return
        self.closing.add(connection)
        task = asyncio.get_running_loop().create_task(_close(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until every connection that is being closed is closed."""
        await asyncio.gather(*self._tasks)


class Pool:
    """The connections of one workspace.

    `fetch`, `fetchrow`, `fetchval` and `execute` run one statement; `acquire()` and `release()`, or
    `async with pool.connection()`, hold a connection for several. Nothing is sent on release: what a
    connection's user sets must be local to his transaction. One left inside a transaction, or with a
    statement broken off, is thrown away.
    """

    def __init__(self, connect: Connect, size: int, budget: Budget, timeout: float) -> None:
        self.idle: deque[Connection] = deque()
        self.waiters: deque[asyncio.Future[Connection]] = deque()
        self.last_used = 0.0
        self.size = 0
        self.opening = 0
        self._connect = connect
        self._limit = size
        self._budget = budget
        self._timeout = timeout
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._turn_began = 0.0
        self._clock = asyncio.get_running_loop().time
        budget.pools.add(self)

    async def acquire(self) -> Connection:
        """Take a connection, opening one where none is idle and the limits allow it.

        Raises DatabaseError when none becomes free in time or the server cannot be reached.
        """
        self.last_used = self._clock()
        while self.idle:
            connection = self.idle.pop()
            if not connection.is_closed():
                return connection
        if self._closed:
            message = "the pool is closed"
            raise DatabaseError(message)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Connection] = loop.create_future()
        self.waiters.append(future)
        if self.wants():
            self.open_for_waiter()
        expiry = loop.call_later(self._timeout, self._expire, future)
        try:
            return await future
        except BaseException:
            self._abandon(future)
            raise
        finally:
            expiry.cancel()

    def _expire(self, future: asyncio.Future[Connection]) -> None:
        if not future.done():
            message = f"no database connection became free within {self._timeout:g} seconds"
            future.set_exception(DatabaseError(message, seconds=self._timeout))

    def release(self, connection: Connection, error: BaseException | None = None) -> None:
        """Give a connection back: to whoever waits for one, else to the idle ones.

        `error` is what its use ended with; where a statement may have been broken off it is thrown away. Raises
        DatabaseError where the server had ended it, and that was on the way when it was used.
        """
        if isinstance(error, asyncpg.InternalClientError):
            self.discard(connection)
            raise DatabaseError("the database has ended the connection") from error
        if connection.is_closed():
            return
        if self._closed or connection.is_in_transaction() or isinstance(error, asyncio.CancelledError | TimeoutError):
            self.discard(connection)
            return
        if self._budget.starving and self._yields():
            self._budget.close(connection)
            return
        self._hand_over(connection)

    def _hand_over(self, connection: Connection) -> None:
        while self.waiters:
            future = self.waiters.popleft()
            if not future.done():
                future.set_result(connection)
                return
        self.idle.append(connection)

    def discard(self, connection: Connection) -> None:
        """Throw a connection away whose state is not known."""
        # Not terminate(): that would leave a statement that was broken off running on the server.
        self._budget.close(connection)

    def connection(self) -> _Lease:
        """`async with pool.connection() as c`: hold a connection for several statements."""
        return _Lease(self)

    async def fetchval(self, query: str, *args: Any) -> Any:
        """Run one statement, return the first column of its first row (None without rows)."""
        # On the way of every read, so without the ado of a lease.
        connection = await self.acquire()
        try:
            found = await connection.fetchval(query, *args)
        except BaseException as error:
            self.release(connection, error)
            raise
        self.release(connection)
        return found

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Run one statement, return its first row."""
        async with _Lease(self) as connection:
            return await connection.fetchrow(query, *args)

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run one statement, return its rows."""
        async with _Lease(self) as connection:
            rows: list[asyncpg.Record] = await connection.fetch(query, *args)
        return rows

    async def execute(self, query: str, *args: Any) -> str:
        """Run one statement, return its status such as `UPDATE 3`."""
        async with _Lease(self) as connection:
            status: str = await connection.execute(query, *args)
        return status

    async def close(self) -> None:
        """Close the idle connections, refuse new users; connections in use close as they are released."""
        self._closed = True
        self._budget.pools.discard(self)
        for task in self._tasks:
            task.cancel()
        for future in self.waiters:
            if not future.done():
                future.set_exception(DatabaseError("the pool is closed"))
        self.waiters.clear()
        while self.idle:
            self._budget.close(self.idle.pop())
        await self._budget.settle()

    def wants(self) -> bool:
        """Whether somebody waits here whom one more connection would serve."""
        return len(self.waiters) > self.opening and self.size < self._limit

    def open_for_waiter(self) -> None:
        """Open a connection for the first waiter now, or once the process's cap allows it."""
        if not self._budget.take(self):
            return
        self.size += 1
        self.opening += 1
        task = asyncio.get_running_loop().create_task(self._open())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        try:
            connection = await self._connect()
        except BaseException as error:
            self.opening -= 1
            self._fail(error)
            self._lost(None)
            if not isinstance(error, Exception):
                raise
            return
        self.opening -= 1
        connection.add_termination_listener(self._lost)
        self._turn_began = self._clock()
        if self._closed:
            self.discard(connection)
        else:
            self._hand_over(connection)

    def _fail(self, error: BaseException) -> None:
        while self.waiters:
            future = self.waiters.popleft()
            if not future.done():
                future.set_exception(error if isinstance(error, DatabaseError) else DatabaseError(str(error)))
                return

    def _lost(self, connection: Connection | None) -> None:
        self.size -= 1
        self._budget.closing.discard(connection)
        self._budget.give_back()
        if self.wants():
            self.open_for_waiter()

    def _yields(self) -> bool:
        """Whether a connection released here should make room for a pool that waits for the process's cap.

        It should when nobody waits here, when that pool has so few that the exchange evens them out, and,
        with more busy pools than connections, when this pool's turn is over.
        """
        budget = self._budget
        neediest = budget.neediest(but=self)
        if neediest is None or len(budget.closing) >= len(budget.starving):
            return False
        if not self.waiters or neediest.size + 1 < self.size:
            return True
        return neediest.size == 0 and self._clock() - self._turn_began > TURN_SECONDS

    def _abandon(self, future: asyncio.Future[Connection]) -> None:
        if future.done() and not future.cancelled() and future.exception() is None:
            self.release(future.result())
        elif future in self.waiters:
            self.waiters.remove(future)


class _Lease:
    """Holds one connection of a pool for the length of a `with` block."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> Connection:
        self._connection = await self._pool.acquire()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.release(self._connection, error)


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
