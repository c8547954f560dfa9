"""Copying a workspace within a deployment: a backup that is restored as it is written, without a file between."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO, TypeVar, cast

from core.backup.restore import Restored, restore
from core.backup.save import save
from core.context import Workspace
from core.database import Database
from core.plugins import PluginRegistry

Result = TypeVar("Result")
#: Pieces that may be on their way.
PIECES = 16


async def copy(database: Database, registry: PluginRegistry, workspace: Workspace, slug: str) -> Restored:
    """Make a workspace like another one, with its files. What jobs it had waiting is left to the original.

    Raises what `save` and `restore` raise, with nothing left behind.
    """
    url = workspace.database_url
    return await piped(
        lambda out: save(database, registry, workspace, out, compressed=False),
        lambda source: restore(database, registry, source, slug, database_url=url, jobs=False),
    )


async def piped(
    write: Callable[[BinaryIO], Awaitable[object]], read: Callable[[BinaryIO], Awaitable[Result]]
) -> Result:
    """Read what is being written, both at once; where one fails the other is stopped, and the first error is raised."""
    pipe = _Pipe()

    async def writing() -> None:
        await write(cast("BinaryIO", pipe))
        pipe.end()

    async def reading() -> Result:
        return await read(cast("BinaryIO", pipe))

    reader = asyncio.create_task(reading())
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(writing()), reader]
    try:
        for task in asyncio.as_completed(tasks):
            await task
    finally:
        pipe.tear()
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return reader.result()


class _Pipe:
    """A stream from one thread to another that holds a few pieces at most."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._ended = self._torn = False
        self._changed = threading.Condition()

    def write(self, data: bytes) -> int:
        """Wait for room. Raises BrokenPipeError where nobody reads any more."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._pieces) < PIECES or self._torn)
            if self._torn:
                raise BrokenPipeError
            if data:
                self._pieces.append(bytes(data))
            self._changed.notify_all()
        return len(data)

    def read(self, size: int) -> bytes:
        """Some bytes, none at the end. Raises BrokenPipeError where nobody writes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._ended or self._torn)
            if self._torn:
                raise BrokenPipeError
            if not self._pieces:
                return b""
            piece = self._pieces.popleft()
            if len(piece) > size:
                self._pieces.appendleft(piece[size:])
            self._changed.notify_all()
        return piece[:size]

    def flush(self) -> None:
        """Nothing is held back."""

    def end(self) -> None:
        """All has been written."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def tear(self) -> None:
        """Whoever waits at either end waits no longer."""
        with self._changed:
            self._torn = True
            self._changed.notify_all()
