"""The rule that whoever was kept as a viewer at a transfer loses that sight when he, owner again, gives it away."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from core.records import Invariant
from core.targets import Target

if TYPE_CHECKING:
    from core.changes import Batch, ChangeSet

#: The source of viewers who were kept at a transfer.
KEPT = "transfer"

_STALE = (
    "select v.id from customer_viewer v join unnest($1::uuid[], $2::uuid[]) as former (customer, owner) "
    "on v.customer_id = former.customer and v.user_id = former.owner where v.source = $3"
)


class FormerOwner(Invariant):
    """Ends what earlier transfers left to owners who give a customer away; the transfer at hand may keep them anew."""

    async def settle(self, changes: ChangeSet, batch: Batch) -> None:
        """Remove what earlier transfers left to the owners of before."""
        former = {r.id: r.before["ownerId"] for r in batch.rows if "ownerId" in r.changed and r.before}
        gone = {id_: UUID(owner) for id_, owner in former.items() if owner}
        if gone:
            rows = await changes.connection.fetch(_STALE, list(gone), list(gone.values()), KEPT)
            await changes.system().delete("CustomerViewer", Target(ids=tuple(r["id"] for r in rows)))
