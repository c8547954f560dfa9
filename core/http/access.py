"""The access log: one line a request, made and written in batches because a line at a time would cost a tenth of it."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import Any

import orjson

from core.log import logger
from core.settings import Settings

FLUSH_SECONDS = 0.25
FLUSH_LINES = 1_000
_NAME = "crm.access"


class AccessLog:
    """Writes what requests were, never what was in them."""

    def __init__(self, settings: Settings) -> None:
        self.on = settings.log_level in ("debug", "info")
        self._json = settings.log_format == "json"
        self._log = logger(_NAME)
        #: When each was answered, how long it took, and what it was.
        self._requests: list[tuple[float, float, dict[str, Any]]] = []
        self._timer: asyncio.TimerHandle | None = None

    def write(self, seconds: float, **facts: Any) -> None:
        """Log one request, which took so many seconds."""
        if not self._json:
            self._log.info("request", **facts, ms=_ms(seconds))
            return
        self._requests.append((time.time(), seconds, facts))
        if len(self._requests) >= FLUSH_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what has gathered to where the other logs go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        requests, self._requests = self._requests, []
        if requests:
            sys.stderr.write(b"".join(_line(*request) for request in requests).decode())
            sys.stderr.flush()


def _line(at: float, seconds: float, facts: dict[str, Any]) -> bytes:
    stamp = datetime.fromtimestamp(at, UTC)
    line = {"event": "request", "level": "info", "logger": _NAME, "timestamp": stamp, **facts, "ms": _ms(seconds)}
    return orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
