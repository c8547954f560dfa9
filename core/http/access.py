"""The access log: one line a request, saying what it was and never what was in it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from core.log import logger
from core.settings import Settings

if TYPE_CHECKING:
    from core.http.answered import AnsweredRequest

#: Clients choose the names of operations; of longer ones this many characters are written.
NAME = 100
_NAME = "crm.access"


class AccessLog:
    """Writes what requests were to where the other logs go; `on` says whether it is to."""

    def __init__(self, settings: Settings) -> None:
        self.on = settings.log_level in ("debug", "info")
        self._json = settings.log_format == "json"
        #: Whether somebody may be looking on, who wants to see each request as it is answered.
        self.at_once = self.on and not self._json
        self._log = logger(_NAME)

    def write(self, requests: Sequence[AnsweredRequest]) -> None:
        """Write a line for each request."""
        if not self._json:
            for request in requests:
                self._log.info("request", **_facts(request))
            return
        sys.stderr.write(b"".join(map(_line, requests)).decode())
        sys.stderr.flush()


def _line(request: AnsweredRequest) -> bytes:
    stamp = datetime.fromtimestamp(request.at, UTC)
    line = {"event": "request", "level": "info", "logger": _NAME, "timestamp": stamp, **_facts(request)}
    return orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def _facts(request: AnsweredRequest) -> dict[str, Any]:
    return {
        "request_id": request.request_id,
        "workspace": request.workspace,
        "operation": request.operation[:NAME],
        "kind": request.kind,
        "actor_id": request.actor_id,
        "status": request.status,
        "codes": request.codes,
        "statements": request.statements,
        "ms": round(request.seconds * 1000, 2),
    }
