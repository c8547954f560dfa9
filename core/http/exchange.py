"""One request to the GraphQL endpoint and what becomes known of it on the way to its answer."""

from __future__ import annotations

import os
import re
import time
from itertools import count
from typing import Any

from core.context import Actor, Workspace
from core.http.accept import GRAPHQL, JSON, Accepted, accepted
from core.http.refusal import Headers, bad_request

_REQUEST_ID = re.compile(rb"[\w.:-]{1,128}")
_SECONDS = re.compile(rb"\d{1,9}(\.\d{1,6})?")
_OWN = os.urandom(6).hex()
_NUMBERS = count(1)

_COMMON = (
    (b"x-content-type-options", b"nosniff"),
    (b"vary", b"accept, accept-encoding, accept-language, authorization, origin"),
)
#: The header lists of answers by media type: they differ in nothing else.
_HEADERS = {media: ((b"content-type", f"{media}; charset=utf-8".encode()), *_COMMON) for media in (GRAPHQL, JSON)}


def new_request_id() -> str:
    """A request id that no other process and no other request has."""
    return f"{_OWN}-{next(_NUMBERS):x}"


class Exchange:
    """A request being answered. What is found out about it is kept here for the log and the metrics."""

    __slots__ = (
        "accept", "actor", "allowed", "codes", "content_type", "headers", "kind", "method", "operation", "request_id",
        "scope", "started", "statements", "workspace",
    )  # fmt: skip

    def __init__(self, scope: Any) -> None:
        self.started = time.perf_counter()
        self.scope = scope
        self.method: str = scope["method"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.accept: Accepted = accepted(self.headers.get(b"accept", b""))
        #: The media type of the body, without parameters.
        self.content_type = self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        given = self.headers.get(b"x-request-id")
        self.request_id = given.decode() if given and _REQUEST_ID.fullmatch(given) else new_request_id()
        self.workspace: Workspace | None = None
        self.actor: Actor | None = None
        self.kind = ""
        self.operation = ""
        self.codes: tuple[str, ...] = ()
        #: The headers that tell what its actor may still ask for.
        self.allowed: Headers = ()
        self.statements = 0

    def answer_headers(
        self, length: int | None, extra: Headers = (), cache: bytes = b"no-store"
    ) -> list[tuple[bytes, bytes]]:
        """The headers of an answer of `length` bytes, None where nobody knows; `cache` is what may be done with it."""
        headers: Headers = _HEADERS[self.accept.media or GRAPHQL]
        if extra and extra[0][0] == b"content-type":
            headers = headers[1:]
        if length is not None:
            headers = (*headers, (b"content-length", b"%d" % length))
        return [
            *headers,
            (b"cache-control", cache),
            (b"x-request-id", self.request_id.encode()),
            *extra,
        ]

    @property
    def preflighted(self) -> bool:
        """Whether the request carries what a page of another origin can send only after a preflight."""
        headers = self.headers
        return (
            b"graphql-require-preflight" in headers
            or b"apollo-require-preflight" in headers
            or b"x-apollo-operation-name" in headers
            or self.content_type == b"application/json"
        )

    @property
    def staleness(self) -> float | None:
        """How many seconds an answer may be behind; None where not at all. Raises Refusal for what is no number."""
        given = self.headers.get(b"x-max-staleness")
        if given is None:
            return None
        if not _SECONDS.fullmatch(given):
            raise bad_request("X-Max-Staleness must be a number of seconds.")
        return float(given)

    @property
    def asks(self) -> bool:
        """Whether a GET names an operation, so that it is no visit to the page."""
        query: bytes = self.scope["query_string"]
        return any(part in query for part in (b"query=", b"documentId=", b"extensions="))

    @property
    def token(self) -> str | None:
        """The bearer token; empty where the client identifies itself by other means; None where not at all."""
        given = self.headers.get(b"authorization")
        if given is None:
            return None
        scheme, _, token = given.partition(b" ")
        return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
