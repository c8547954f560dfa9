"""Reading a request's body, whole or part by part, up to a limit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from core.http.refusal import Refusal


class Disconnected(Exception):
    """The client went away before its request was complete."""


async def read_body(receive: Any, headers: dict[bytes, bytes], limit: int) -> bytes:
    """The whole body. Raises Refusal where it is longer than `limit` bytes, Disconnected where it ends early."""
    _check_declared(headers, limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        return body
    parts = bytearray()
    while message["type"] == "http.request":
        parts += message.get("body", b"")
        if len(parts) > limit:
            raise too_large(limit)
        if not message.get("more_body"):
            return bytes(parts)
        message = await receive()
    raise Disconnected


async def body_parts(receive: Any, headers: dict[bytes, bytes], limit: int) -> AsyncIterator[bytes]:
    """The body as it comes in. Raises what `read_body` raises."""
    _check_declared(headers, limit)
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        yield part
        if not message.get("more_body"):
            return


def _check_declared(headers: dict[bytes, bytes], limit: int) -> None:
    declared = headers.get(b"content-length", b"0")
    if len(declared) > 15 or int(declared or 0) > limit:
        raise too_large(limit)


def too_large(limit: int, what: str = "body") -> Refusal:
    """What is said to a request that sends too much.

    Where only a part of the body does, the connection is kept: the server reads on until the client, having sent all of
    it, listens.
    """
    closing = ((b"connection", b"close"),) if what == "body" else ()
    return Refusal(413, "PAYLOAD_TOO_LARGE", f"The {what} is over the limit of {limit} bytes.", closing)
