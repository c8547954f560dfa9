"""Structured logs on standard error; secrets and personal data are dropped before a line is rendered."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

from core.settings import Settings

_SECRET = re.compile(
    r"authorization|cookie|credential|dsn|e_?mail|fax|passphrase|password|phone|secret|tax_?code|token(?!_id)"
    r"|database_url|^key$|api_?key",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]*@")
REDACTED = "[redacted]"


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: values under telling keys are dropped at any depth, passwords cut from addresses."""
    return {key: _clean(key, value) for key, value in event.items()}


def _clean(key: str, value: Any) -> Any:
    if key and _SECRET.search(key):
        return REDACTED
    match value:
        case Mapping():
            return {k: _clean(str(k), v) for k, v in value.items()}
        case list() | tuple() | set():
            return [_clean("", v) for v in value]
        case str():
            return _URL_PASSWORD.sub(r"\1:***@", value)
        case _:
            return value


def configure(settings: Settings) -> None:
    """Set structlog and the standard library's logging up for the whole process; later calls replace earlier."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[Any] = (
        [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer(serializer=_dumps)]
        if settings.log_format == "json"
        else [redact, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry `name`; give facts as keywords, never inside the message."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


def _dumps(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
