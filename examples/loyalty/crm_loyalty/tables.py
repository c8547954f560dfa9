"""The plugin's table, as Piccolo sees it; its SQL is in the migrations."""

from __future__ import annotations

from piccolo.columns import UUID, Integer, Text, Timestamptz
from piccolo.table import Table


class LoyaltyEntry(Table, tablename="loyalty_entry"):
    """The ledger: points that came and went."""

    id = UUID(primary_key=True)
    customer_id = UUID()
    kind = Text()
    points = Integer()
    note = Text(null=True, default=None)
    expires_at = Timestamptz(null=True, default=None)
    created_at = Timestamptz()
    created_by = UUID(null=True, default=None)
