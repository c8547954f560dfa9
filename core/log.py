"""Structured logs on standard error; secrets and personal data are dropped before a line is rendered."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from traceback import format_tb
from typing import Any

import asyncpg
import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

from core.errors import ClientError, CrmError
from core.settings import Settings

REDACTED = "[redacted]"
_TELLING = re.compile(
    r"authorization|birthday|cookie|credential|dsn|e_?mail|fax|passphrase|password|phone|secret|signature|tax_?code"
    r"|token(?!_id)|database_url|^key$|api_?key",
    re.IGNORECASE,
)
_SIGNATURE = re.compile(r"([?&]signature=)[\w-]+")
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]*@")
#: Errors whose texts are about the program.
_ABOUT_CODE = (AttributeError, ImportError, NameError, NotImplementedError, RecursionError, TimeoutError, TypeError)
#: Loggers of libraries that repeat exceptions in their messages.
_REPEATERS = ("asyncio", "uvicorn.error")
#: PostgreSQL repeats the offending row here.
_DETAIL = re.compile(r"^DETAIL:.*$", re.MULTILINE)


#: Id and workspace's slug of the request that is being answered: every line that is logged meanwhile has them.
REQUEST: ContextVar[tuple[str, str] | None] = ContextVar("crm_request", default=None)


def of_request(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: says in which request a line was logged."""
    if (request := REQUEST.get()) is not None:
        event.setdefault("request_id", request[0])
        event.setdefault("workspace", request[1])
    return event


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: drops values under telling keys, passwords in addresses, rows in errors."""
    return {key: _clean(key, value) for key, value in event.items()}


def withheld(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: renders exceptions without what they say, where that may hold somebody's data.

    asyncio and others put an exception's text into the lines after the first.
    """
    info = event.pop("exc_info", None)
    if info:
        error = info if isinstance(info, BaseException) else (info if isinstance(info, tuple) else sys.exc_info())[1]
        if error is not None:
            event["exception"] = _traceback(error)
    if event.get("logger") in _REPEATERS and isinstance(event.get("event"), str):
        event["event"] = event["event"].partition("\n")[0]
    return event


def told(error: BaseException) -> str:
    """What may be said of an exception: its type and, where that holds no data, its text.

    Of PostgreSQL's it is the code and the names of what was in the way.
    """
    name = type(error).__name__
    if isinstance(error, asyncpg.PostgresError):
        names = (error.sqlstate, error.schema_name, error.table_name, error.column_name, error.constraint_name)
        return f"{name}: {' '.join(n for n in names if n)}"
    if isinstance(error, OSError):
        return f"{name}: {error.strerror or ''}".removesuffix(": ")
    if isinstance(error, _ABOUT_CODE) or (isinstance(error, CrmError) and not isinstance(error, ClientError)):
        return f"{name}: {error}"
    return name


def _traceback(error: BaseException) -> str:
    """The traceback of an exception and of those that led to it, the first of them first."""
    chain, seen = [error], {id(error)}
    while (before := chain[-1].__cause__ or (None if chain[-1].__suppress_context__ else chain[-1].__context__)) and (
        id(before) not in seen
    ):
        seen.add(id(before))
        chain.append(before)
    parts = [f"Traceback (most recent call last):\n{''.join(format_tb(e.__traceback__))}{told(e)}" for e in chain]
    return "\n\n".join(reversed(parts))


def _clean(key: str, value: Any) -> Any:
    if key.startswith("_"):  # structlog's own
        return value
    if _TELLING.search(key):
        return REDACTED
    match value:
        case Mapping():
            return {k: _clean(str(k), v) for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean("", v) for v in value]
        case str():
            value = _SIGNATURE.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", value))
            return _DETAIL.sub(f"DETAIL: {REDACTED}", value)
        case _:
            return value


def _dumps(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


_CHAIN: tuple[Any, ...] = (
    of_request,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    withheld,
    redact,
)

structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_CHAIN,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)


def configure(settings: Settings) -> None:
    """Render the whole process's logs, the standard library's too, as the settings ask."""
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=_dumps)
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_CHAIN,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry `name`; give facts as keywords, never inside the message."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound
