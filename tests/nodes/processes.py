"""Servers and workers as processes of their own on one database, and the killing of them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.serving import CRM

#: Seconds that a kill may take to show at whoever talks to the process.
SLACK = 0.5
#: A machine that is busy with other things lets a process start slowly.
PATIENCE = 180


@dataclass
class Process:
    """A server (with a port) or a worker (without) that is started again whenever it was killed.

    `gaps` are the spans between its death and its return, in seconds of `time.monotonic`.
    """

    name: str
    log: Path
    env: dict[str, str]
    port: int = 0
    gaps: list[list[float]] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and wait until it takes requests or jobs."""
        before = self._said()
        self.process = self._launch()
        deadline = time.monotonic() + PATIENCE
        while not (self._listens() if self.port else self._said() > before):
            assert self.process.poll() is None, f"{self.name} ended: {self.tail()}"
            assert time.monotonic() < deadline, f"{self.name} does not come up: {self.tail()}"
            await asyncio.sleep(0.05)

    def _launch(self) -> subprocess.Popen[bytes]:
        command = ["serve", "--port", str(self.port)] if self.port else ["worker"]
        with self.log.open("ab") as log:
            return subprocess.Popen([CRM, *command], env=self.env, stdout=log, stderr=log)

    async def kill(self) -> None:
        """Kill it without a warning and start it anew."""
        assert self.process is not None
        gap = [time.monotonic(), float("inf")]
        self.gaps.append(gap)
        self.process.kill()
        await asyncio.to_thread(self.process.wait)
        await self.start()
        gap[1] = time.monotonic()

    @property
    def returning(self) -> bool:
        """Whether it was killed and is not back yet."""
        return bool(self.gaps) and self.gaps[-1][1] == float("inf")

    def away(self, began: float, ended: float) -> bool:
        """Whether it was dead at any moment of a span of time."""
        return any(dead <= ended + SLACK and began <= back for dead, back in self.gaps)

    def stop(self) -> None:
        """End it as an operator would."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def tail(self) -> str:
        return self.log.read_text()[-2000:]

    def _said(self) -> int:
        return self.log.read_bytes().count(b"worker_started") if self.log.exists() else 0

    def _listens(self) -> bool:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False
