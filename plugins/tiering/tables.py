"""The plugin's tables, as Piccolo sees them; their SQL is in the migrations."""

from __future__ import annotations

from piccolo.columns import JSONB, UUID, Boolean, Integer, Numeric, Text, Timestamptz
from piccolo.table import Table


class Tier(Table, tablename="tier"):
    """Tiers of customers."""

    id = UUID(primary_key=True)
    name = Text()
    rank = Integer()
    discount_percent = Numeric(null=True, default=None)
    benefits = JSONB(null=True, default=None)
    description = Text(null=True, default=None)
    auto = Boolean(default=False)
    rule = JSONB(null=True, default=None)
    created_at = Timestamptz()
    created_by = UUID(null=True, default=None)
    updated_at = Timestamptz()
    updated_by = UUID(null=True, default=None)
    version = Integer(default=1)
    deleted_at = Timestamptz(null=True, default=None)


class TierMember(Table, tablename="tier_member"):
    """Which customer has which tier, at most one."""

    id = UUID(primary_key=True)
    customer_id = UUID()
    tier_id = UUID()
    pinned = Boolean(default=False)
    since = Timestamptz()
    source = Text()
