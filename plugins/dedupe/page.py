"""Pages of what is computed: their cursors, and where a page lies in its list."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import orjson

from core import BadInput, Member


def members(item: str, what: str) -> tuple[Member, ...]:
    """The members of a page of items."""
    return Member("nodes", f"[{item}!]!", what), Member("pageInfo", "PageInfo!", "Where the page lies.")


def page(nodes: Sequence[dict[str, Any]], after: str | None, *, more: bool, end: str | None = None) -> dict[str, Any]:
    """A page of nodes that have a `cursor`; `end` is that of its end where the last one of it is not shown."""
    return {
        "nodes": nodes,
        "pageInfo": {
            "hasNextPage": more,
            "hasPreviousPage": after is not None,
            "startCursor": nodes[0]["cursor"] if nodes else None,
            "endCursor": end or (nodes[-1]["cursor"] if nodes else None),
        },
    }


def cursor(place: Any) -> str:
    """The cursor of a place, which is any JSON value."""
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def place(cursor: str, length: int) -> list[Any]:
    """The place of a cursor, a list. Raises BadInput for text that is none."""
    try:
        found = orjson.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (binascii.Error, UnicodeError, ValueError):
        found = None
    if not isinstance(found, list) or len(found) != length:
        raise BadInput("`after` is no cursor of this list")
    return found
