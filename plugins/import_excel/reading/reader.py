"""Reading a file in a child process, without ever blocking the server's loop."""

from __future__ import annotations

import asyncio
import signal
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from plugins.import_excel.reading.limits import Limits
from plugins.import_excel.reading.problem import Unreadable

#: How much longer than its processor time a child may take on a busy machine.
_PATIENCE = 10.0
_STDERR = 20_000


@dataclass
class Reading:
    """One reading of a file: iterate over its rows as chunks of COPY text, then look at `summary`.

    Rows are lines of `label`, the row's number in the sheet and its cells as a JSON list, separated by tabs. `sheet` is
    the sheet wanted (None: the first visible one with data), `header` the number of its last header row (0: it has
    none, None: find it). Raises Unreadable while iterating.
    """

    path: Path
    limits: Limits = field(default_factory=Limits)
    label: str = ""
    sheet: str | None = None
    header: int | None = None
    summary: dict[str, Any] = field(default_factory=dict)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks of rows."""
        seconds = self.limits.clock(self.path.stat().st_size)
        request = {
            "path": str(self.path),
            "label": self.label,
            "sheet": self.sheet,
            "header": self.header,
            "limits": self.limits.plain(),
            "seconds": seconds,
        }
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "plugins.import_excel.reading.child",
            orjson.dumps(request).decode(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
        )
        assert child.stdout is not None
        assert child.stderr is not None
        said = asyncio.create_task(_said(child.stderr))
        try:
            while True:
                try:
                    letter, body = await asyncio.wait_for(_frame(child.stdout), seconds * _PATIENCE)
                except TimeoutError:
                    raise Unreadable("too_large", "takes_too_long") from None
                except asyncio.IncompleteReadError:
                    raise await _died(child, said) from None
                if letter == b"R":
                    yield body
                elif letter == b"S":
                    self.summary = orjson.loads(body)
                    return
                else:
                    told = orjson.loads(body)
                    raise Unreadable(told["kind"], told["code"], **told["params"])
        finally:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
            said.cancel()
            with suppress(asyncio.CancelledError):
                await said


def _environment() -> dict[str, str]:
    """The child needs to find its modules and nothing else: no secret of the server's is handed on."""
    return {
        "PYTHONPATH": ":".join(p for p in sys.path if p),
        "OPENPYXL_DEFUSEDXML": "False",
        "OPENPYXL_LXML": "False",
        "LANG": "C.UTF-8",
        "PATH": "",
        "MALLOC_ARENA_MAX": "2",
    }


async def _frame(stream: asyncio.StreamReader) -> tuple[bytes, bytes]:
    start = await stream.readexactly(5)
    (length,) = struct.unpack(">I", start[1:])
    return start[:1], await stream.readexactly(length)


async def _said(stream: asyncio.StreamReader) -> bytes:
    """The end of what the child said; it may say a lot."""
    kept = b""
    while part := await stream.read(4096):
        kept = (kept + part)[-_STDERR:]
    return kept


async def _died(child: asyncio.subprocess.Process, said: asyncio.Task[bytes]) -> Unreadable:
    """Why a child ended without an answer."""
    code = await child.wait()
    with suppress(TimeoutError):
        words = await asyncio.wait_for(asyncio.shield(said), 2)
        if b"memory allocation" in words or b"MemoryError" in words or b"capacity overflow" in words:
            return Unreadable("too_large", "needs_too_much_memory")
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return Unreadable("too_large", "takes_too_long")
    return Unreadable("corrupt")
