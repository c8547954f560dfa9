"""Reads that tolerate being a little behind go to a streaming replica, as long as it is not further behind.

How far behind it is, is told by no clock but ours: the primary's position in its log is noted every moment, and the
replica knows everything that was committed until the last position noted that it has reached.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import asyncpg

from core.context import Workspace
from core.errors import DatabaseError
from core.log import logger
from core.meters import REPLICA_READS
from core.pool import Pool

LOG = logger("crm.replica")
#: Seconds between two looks, and after which one is given up.
LOOK_SECONDS, PATIENCE = 0.25, 2.0
#: Positions that are remembered: a replica that is further behind than these reach is told to be as far behind.
REMEMBERED = 4 * 600

Position = Callable[[], Awaitable[int]]
Fetch = Callable[[str, Sequence[Any]], Awaitable[bytes | None]]

#: Where the next record goes: what is visible lies before it, even where it is not written yet.
PRIMARY_POSITION = "select (pg_current_wal_insert_lsn() - '0/0')::bigint"
PAGE, HEADERS = 8192, (24, 40)
_REPLICA_POSITION = (
    "select case when pg_is_in_recovery() then (pg_last_wal_replay_lsn() - '0/0')::bigint end as position"
)
#: What is wrong with the question, which the primary would answer in the same way.
_REFUSES = (asyncpg.DataError, asyncpg.QueryCanceledError, asyncpg.ProgramLimitExceededError)
_FAILS = (OSError, TimeoutError, DatabaseError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Replica:
    """The replica of the deployment's own database; it begins to be watched when it is first asked for.

    `make_pool` makes the pool of a workspace on the replica, and with None that of the deployment's login; `position`
    asks the primary how far its log is, in bytes.
    """

    def __init__(self, make_pool: Callable[[Workspace | None], Pool], position: Position) -> None:
        self._make_pool = make_pool
        self._position = position
        self._pools: dict[str, Pool] = {}
        self._marks: deque[tuple[float, int]] = deque(maxlen=REMEMBERED)
        #: The moment up to which it knows everything, and what is done once it is away; None while it is away.
        self._knows: float | None = None
        self._away: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def behind(self) -> float | None:
        """Seconds that it is behind at most; None where it is away."""
        return None if self._knows is None else time.monotonic() - self._knows

    async def measured(self) -> float | None:
        """Seconds that it is behind at most, seen by watching it for a moment; None where it does not follow."""
        self._watch()
        began = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * PATIENCE):
                while self._knows is None or self._knows < began:  # noqa: ASYNC110 - it is looked at that often
                    await asyncio.sleep(LOOK_SECONDS)
        return self.behind

    def reading(self, workspace: Workspace, tolerated: float, primary: Fetch) -> Fetch:
        """How to read for somebody who tolerates being so many seconds behind.

        The primary is asked where the replica is away, fails, or is further behind, and for workspaces that live in
        another database.
        """

        async def fetch(text: str, values: Sequence[Any]) -> bytes | None:
            self._watch()
            behind = self.behind
            if behind is not None and behind <= tolerated and workspace.database_url is None:
                try:
                    found = await self._fetch(workspace, text, values)
                except _REFUSES:
                    raise
                except _FAILS as error:
                    LOG.warning("replica_failed", workspace=workspace.slug, reason=type(error).__name__)
                else:
                    REPLICA_READS.add("replica")
                    return found
            REPLICA_READS.add("primary")
            return await primary(text, values)

        return fetch

    async def forget(self, workspace: Workspace) -> None:
        """Close a workspace's pool."""
        if (pool := self._pools.pop(workspace.role, None)) is not None:
            await pool.close()

    async def close(self) -> None:
        """Stop watching and close every connection."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for pool in self._pools.values():
            await pool.close()
        self._pools.clear()

    async def _fetch(self, workspace: Workspace, text: str, values: Sequence[Any]) -> bytes | None:
        """Ask the replica; not waited for any more once it is away. Raises what it raises, and ConnectionError."""
        assert self._away is not None
        asking = asyncio.ensure_future(self._pool(workspace).fetchval(text, *values))
        try:
            await asyncio.wait({asking, self._away}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not asking.done():
                asking.cancel()
                asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        if asking.cancelled() or not asking.done():
            message = "the replica has gone"
            raise ConnectionError(message)
        found: bytes | None = asking.result()
        return found

    def _pool(self, workspace: Workspace | None) -> Pool:
        role = workspace.role if workspace else ""
        if role not in self._pools:
            self._pools[role] = self._make_pool(workspace)
        return self._pools[role]

    def _watch(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._look_on())

    async def _look_on(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._look()
            except _FAILS as error:
                self._gone(type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        noted = time.monotonic()
        self._marks.append((noted, _end(await self._position())))
        reached = await self._pool(None).fetchval(_REPLICA_POSITION)
        if reached is None:
            self._gone("it is no replica")
            return
        known = next((at for at, position in reversed(self._marks) if position <= reached), None)
        if known is None:
            self._gone("it is too far behind")
            return
        if self._knows is None:
            LOG.info("replica_there", behind=round(time.monotonic() - known, 3))
            self._away = asyncio.get_running_loop().create_future()
        self._knows = known

    def _gone(self, reason: str) -> None:
        if self._knows is not None:
            LOG.warning("replica_away", reason=reason)
        self._knows = None
        if self._away is not None and not self._away.done():
            self._away.set_result(None)


def _end(position: int) -> int:
    """Where the last record ends: at the start of a page, the next one goes behind the page's header."""
    return position - position % PAGE if position % PAGE in HEADERS else position
