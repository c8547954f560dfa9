"""How far a subscriber has got: a cursor that neither loses nor repeats a change, whatever order commits come in.

Change sets are numbered by nothing that grows in the order of their commits, so that a cursor is a snapshot of the
database: what it sees has been told, what it does not see is to come. Within a batch that is still being told, it is
the snapshots before and after the batch and the last change told.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

import orjson

from core.context import Workspace
from core.errors import BadInput
from core.operations import Ask, Query

_SNAPSHOT = re.compile(r"\d{1,20}:\d{1,20}:(\d{1,20}(,\d{1,20})*)?")
_LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class EventCursor:
    """Everything that `seen` sees was told; and of what only `upper` sees, the changes up to the id `last`."""

    seen: str
    upper: str = ""
    last: int = 0

    def encode(self, workspace: Workspace) -> str:
        """As clients get it: opaque, and good for one workspace."""
        parts = [_place(workspace), self.seen, self.upper, self.last]
        return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, workspace: Workspace) -> EventCursor:
        """Read what `encode` wrote. Raises BadInput for anything else."""
        try:
            padded = text[:_LONGEST].encode("ascii") + b"=" * (-len(text) % 4)
            id_, seen, upper, last = orjson.loads(base64.urlsafe_b64decode(padded))
            sound = _SNAPSHOT.fullmatch(seen) is not None and (not upper or _SNAPSHOT.fullmatch(upper) is not None)
            if sound and id_ == _place(workspace) and isinstance(last, int) and 0 <= last < 2**63:
                return cls(seen, upper, last)
        except (ValueError, TypeError, UnicodeEncodeError, binascii.Error):
            pass
        raise BadInput("`since` is no cursor of this workspace")


def _place(workspace: Workspace) -> str:
    """What a cursor is good for: snapshots are of one database, so that it says nothing once a workspace was moved."""
    if workspace.database_url is None:
        return workspace.id.hex
    return hashlib.sha256(f"{workspace.id} {workspace.database_url}".encode()).hexdigest()[:32]


async def _present(ask: Ask) -> str:
    found = await ask.fetch("select to_json(pg_current_snapshot()::text)", [])
    return EventCursor(orjson.loads(found or b'""')).encode(ask.context.workspace)


QUERIES = (
    Query(
        "eventsCursor",
        "The present, as `since` of a subscription. Ask for it before you fetch what you show, in a request of its"
        " own: then nothing that is changed meanwhile is lost.",
        "String!",
        _present,
    ),
)
