"""Compressing answers for clients that ask for it."""

from __future__ import annotations

import asyncio
import zlib
from functools import lru_cache

SMALLEST = 1024
#: From this size on another thread does it: zlib lets go of the interpreter.
_ASIDE = 64 * 1024
_LEVEL = 4
_GZIP = 31


@lru_cache(500)
def wants_gzip(header: bytes) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    for part in header.lower().split(b","):
        name, _, weight = part.partition(b";")
        if name.strip() in (b"gzip", b"*"):
            return weight.strip().replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False


async def gzip(body: bytes) -> bytes:
    """The body as one gzip member without a time stamp."""
    return await asyncio.to_thread(_gzip, body) if len(body) > _ASIDE else _gzip(body)


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()
