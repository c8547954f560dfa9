"""LISTEN on a connection of its own, which comes back by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import asyncpg

from core.errors import DatabaseError
from core.log import logger
from core.meters import RECONNECTS
from core.pool import Connect, Connection

LOG = logger("crm.listener")
Callback = Callable[[str | None], None]
PROBE_SECONDS = 15.0
RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)


class Listener:
    """Keeps one connection listening; callbacks run in the event loop and must not block.

    A callback gets a notification's payload, or None after a gap in which notifications may have been lost.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._callbacks: dict[str, list[Callback]] = {}
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()
        self._guard = asyncio.Lock()

    async def add(self, channel: str, callback: Callback) -> None:
        """Listen on a channel too. Raises DatabaseError when the first connection cannot be made."""
        async with self._guard:
            if self._task is None:
                self._connection = await self._open()
                self._task = asyncio.get_running_loop().create_task(self._run())
        await self._ready.wait()
        callbacks = self._callbacks.setdefault(channel, [])
        callbacks.append(callback)
        if len(callbacks) == 1 and self._connection is not None:
            try:
                await self._connection.add_listener(channel, self._heard)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                self._lost.set()

    @property
    def connected(self) -> bool:
        """Whether notifications are heard at this moment."""
        return self._ready.is_set()

    async def close(self) -> None:
        """Stop listening and close the connection."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._connection is not None:
            self._connection.terminate()

    async def _run(self) -> None:
        while True:
            self._ready.set()
            await self._wait_for_loss()
            self._ready.clear()
            LOG.warning("listener_lost")
            await self._reconnect()
            for channel, callbacks in self._callbacks.items():
                self._call(channel, callbacks, None)

    async def _open(self) -> Connection:
        self._lost.clear()
        connection = await self._connect()
        connection.add_termination_listener(lambda _connection: self._lost.set())
        return connection

    async def _wait_for_loss(self) -> None:
        """Return when the connection is gone; a probe finds out where the network only fell silent."""
        while self._connection is not None and not self._connection.is_closed():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), PROBE_SECONDS)
                return
            try:
                await self._connection.execute("select 1", timeout=PROBE_SECONDS)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return

    async def _reconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        for attempt in range(1_000_000_000):
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            try:
                self._connection = await self._open()
                for channel in self._callbacks:
                    await self._connection.add_listener(channel, self._heard)
            except (OSError, DatabaseError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                LOG.warning("listener_waits", reason=str(error))
            else:
                LOG.info("listener_back")
                RECONNECTS.add()
                return

    def _heard(self, _connection: Any, _pid: int, channel: str, payload: Any) -> None:
        self._call(channel, self._callbacks.get(channel, []), str(payload))

    def _call(self, channel: str, callbacks: list[Callback], payload: str | None) -> None:
        for callback in callbacks:
            try:
                callback(payload)
            except Exception:
                LOG.exception("listener_callback_failed", channel=channel)
