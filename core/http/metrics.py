"""What one application counts of its requests, and what its processes say together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import orjson
import psutil

from core.log import logger
from core.meters import METERS, Counter, Histogram, Meter, Snapshot, merged, snapshot, text

LOG = logger("crm.metrics")

#: Operation names come from clients, so only this many are told apart.
NAMES = 200
OTHERS = "(others)"
SHARE_SECONDS = 1.0


class Metrics:
    """Requests by kind and outcome, by operation, and how long they took."""

    def __init__(self) -> None:
        self.requests = Counter(
            "crm_requests_total", "GraphQL requests by kind and HTTP status, 0 on a socket.", ("kind", "status")
        )
        self.operations = Counter("crm_operations_total", "GraphQL requests by operation name.", ("operation",))
        self.errors = Counter("crm_errors_total", "Errors in answers by code.", ("code",))
        self.statements = Counter("crm_statements_total", "SQL statements of reads.")
        self.seconds = Histogram(
            "crm_request_seconds", "Seconds from a request's arrival to its answer, by kind.", ("kind",)
        )

    @property
    def meters(self) -> tuple[Meter, ...]:
        """All of them."""
        return self.requests, self.operations, self.errors, self.statements, self.seconds

    def request(
        self,
        kind: str,
        status: int,
        operation: str,
        codes: Iterable[str],
        statements: int,
        seconds: float,
        *,
        known: bool = True,
    ) -> None:
        """Count one GraphQL request. Only names from those who are `known` may be new ones, as far as there is room."""
        kind = kind or "none"
        self.requests.add(kind, str(status))
        operation = operation or "(anonymous)"
        if (operation,) not in self.operations.values and (not known or len(self.operations.values) >= NAMES):
            operation = OTHERS
        self.operations.add(operation)
        for code in codes:
            self.errors.add(code)
        if statements:
            self.statements.add(by=statements)
        self.seconds.observe(seconds, kind)


class Sharing:
    """Lets any of a server's processes speak for all of them.

    Each writes what it counts to a file of its own in `folder`, once a second; what a process counted that has ended
    since stays in the sums, its gauges do not. Without a folder a process speaks for itself.
    """

    def __init__(
        self, requests: Callable[[], Iterable[Meter]], folder: Path | None, gauges: Callable[[], Iterable[Meter]]
    ) -> None:
        self._requests = requests
        self._gauges = gauges
        self._folder = folder
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        if self._folder is not None:
            self._task = asyncio.get_running_loop().create_task(self._write_again_and_again(self._folder))

    async def close(self) -> None:
        """Write a last time."""
        if self._task is not None and self._folder is not None:
            self._task.cancel()
            self._write(self._folder)

    def text(self, common: Iterable[Meter]) -> str:
        """What all processes count and hold, added up, and what is `common` to them."""
        own = self._own()
        shown = [own] if self._folder is None else [*self._others(self._folder), own]
        return text([*merged(shown), *snapshot(common)])

    def _own(self) -> list[Snapshot]:
        return snapshot((*self._requests(), *METERS, *self._gauges()))

    def _others(self, folder: Path) -> Iterable[list[Snapshot]]:
        for file in folder.glob("*.json"):
            pid = int(file.stem)
            if pid == os.getpid():
                continue
            try:
                found = orjson.loads(file.read_bytes())
            except (OSError, orjson.JSONDecodeError):
                continue
            yield found if psutil.pid_exists(pid) else [meter for meter in found if meter[0] != "gauge"]

    async def _write_again_and_again(self, folder: Path) -> None:
        while True:
            self._write(folder)
            await asyncio.sleep(SHARE_SECONDS)

    def _write(self, folder: Path) -> None:
        try:
            draft = folder / f"{os.getpid()}.draft"
            draft.write_bytes(orjson.dumps(self._own()))
            draft.replace(folder / f"{os.getpid()}.json")
        except OSError as error:
            LOG.warning("metrics_not_shared", reason=error.strerror)
