"""Answers as server-sent events, in the distinct connections mode of GraphQL over SSE."""

from __future__ import annotations

from core.http.refusal import Headers

#: Headers of an event stream besides those of any answer; proxies must not hold it back.
STREAM: Headers = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no"))


def event(name: str, data: bytes = b"") -> bytes:
    """One event; in JSON a line break is nothing but a space."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data.replace(b"\n", b" "))


def events(body: bytes) -> bytes:
    """The whole stream of an operation that has one answer."""
    return event("next", body) + event("complete")
