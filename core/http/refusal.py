"""Requests that are turned away before an operation runs, as GraphQL answers with a code."""

from __future__ import annotations

from typing import Any

import orjson

from core.errors import ClientError

#: The status of a document that does not fit the schema, of variables that do not fit the document and of an
#: operation that cannot be chosen: 400 by the specification's draft of 2023, 422 by that of 2026.
INVALID = 400

_STATUS = {"UNAUTHENTICATED": 401, "FORBIDDEN": 403, "NOT_FOUND": 404, "RATE_LIMITED": 429}

Headers = tuple[tuple[bytes, bytes], ...]
CHALLENGE: Headers = ((b"www-authenticate", b"Bearer"),)


class Refusal(Exception):
    """A request turned away: HTTP status, the error's code and message, and further headers."""

    def __init__(self, status: int, code: str, message: str, headers: Headers = (), **extensions: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        self.extensions = extensions

    @classmethod
    def of(cls, error: ClientError) -> Refusal:
        """The refusal that an error of the caller's making amounts to."""
        status = _STATUS.get(error.code, INVALID)
        headers = CHALLENGE if status == 401 else ()
        if status == 429 and (wait := error.params.get("retry_after")):
            return cls(status, error.code, error.message, ((b"retry-after", b"%d" % wait),), retryAfter=wait)
        return cls(status, error.code, error.message, headers)

    @property
    def body(self) -> bytes:
        """The answer: `errors` and no `data`."""
        extensions = {"code": self.code, **self.extensions}
        return orjson.dumps({"errors": [{"message": self.message, "extensions": extensions}]})


def bad_request(message: str) -> Refusal:
    """A request that is not what GraphQL over HTTP asks for."""
    return Refusal(400, "BAD_REQUEST", message)


def not_allowed(message: str, allow: str) -> Refusal:
    """A method that cannot be used for this."""
    return Refusal(405, "METHOD_NOT_ALLOWED", message, ((b"allow", allow.encode()),))
