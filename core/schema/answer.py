"""The answer of one operation, and its errors as clients may see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
import structlog
from graphql import GraphQLError

from core.errors import BadInput, ClientError, LimitExceeded, PluginFailed, TookTooLong

log = structlog.get_logger("crm.graphql")

#: What PostgreSQL raises for values and queries that only the caller can mend.
DATABASE_REFUSES = (asyncpg.DataError, asyncpg.QueryCanceledError, asyncpg.ProgramLimitExceededError)


@dataclass(slots=True)
class Answer:
    """The answer of one operation: the response body, and what the transport must know of it.

    `request_error` is True where nothing ran at all (the body has no `data`); `codes` are those of its errors.
    """

    body: bytes
    request_error: bool = False
    codes: tuple[str, ...] = ()
    kind: str = "query"
    operation: str = ""
    statements: int = 0
    cost: int = 0


def code_of(error: GraphQLError) -> str:
    """The stable code of an error."""
    return str((error.extensions or {}).get("code", "INTERNAL_SERVER_ERROR"))


def translate(error: Exception) -> ClientError:
    """A database's complaint about values or time, as the caller's fault it is."""
    if isinstance(error, asyncpg.QueryCanceledError):
        return TookTooLong("this took too long: ask for less at once")
    if isinstance(error, asyncpg.ProgramLimitExceededError):
        return LimitExceeded("the query asks for too much at once")
    return BadInput("a value does not fit its type")


def graphql_error(error: Exception, located: GraphQLError | None = None, request_id: str = "") -> GraphQLError:
    """An error as clients may see it: a client's fault in full, anything else masked and logged."""
    if isinstance(error, DATABASE_REFUSES):
        error = translate(error)
    if isinstance(error, GraphQLError):
        return error
    if isinstance(error, ClientError):
        message, extensions = error.message, {"code": error.code}
        if isinstance(error, PluginFailed):
            extensions |= error.params
    else:
        log.error("graphql.error", exc_info=error, error=type(error).__name__, request_id=request_id)
        message, extensions = "Internal server error.", {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id}
    return GraphQLError(
        message,
        nodes=located.nodes if located else None,
        path=located.path if located else None,
        extensions=extensions,
    )


def errors_body(errors: Sequence[GraphQLError], *, data: bool) -> bytes:
    """The response body of errors; with `data` null where something may have run."""
    body: dict[str, Any] = {"errors": [e.formatted for e in errors]}
    if data:
        body["data"] = None
    return orjson.dumps(body)


def refused(errors: Sequence[GraphQLError]) -> Answer:
    """The answer where nothing ran."""
    codes = tuple(code_of(e) for e in errors)
    return Answer(errors_body(errors, data=False), request_error=True, codes=codes, kind="")
