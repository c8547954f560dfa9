"""Reading a request's body, up to a limit."""

from __future__ import annotations

from typing import Any

from core.http.refusal import Refusal


class Disconnected(Exception):
    """The client went away before its request was complete."""


async def read_body(receive: Any, headers: dict[bytes, bytes], limit: int) -> bytes:
    """The whole body. Raises Refusal where it is longer than `limit` bytes, Disconnected where it ends early."""
    declared = headers.get(b"content-length", b"0")
    if len(declared) > 15 or int(declared or 0) > limit:
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        return body
    parts = bytearray()
    while message["type"] == "http.request":
        parts += message.get("body", b"")
        if len(parts) > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return bytes(parts)
        message = await receive()
    raise Disconnected


def _too_large(limit: int) -> Refusal:
    closing = ((b"connection", b"close"),)
    return Refusal(413, "PAYLOAD_TOO_LARGE", f"The body is over the limit of {limit} bytes.", closing)
