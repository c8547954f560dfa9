"""The plugin's tables, as Piccolo sees them; their SQL is in the migrations."""

from __future__ import annotations

from piccolo.columns import JSONB, UUID, Boolean, Integer, Text, Timestamptz
from piccolo.table import Table


class Pool(Table, tablename="pool"):
    """Pools of customers."""

    id = UUID(primary_key=True)
    name = Text()
    description = Text(null=True, default=None)
    open_to_all = Boolean(default=True)
    rule = JSONB(null=True, default=None)
    waiting_days = Integer(null=True, default=None)
    waiting_field = Text(null=True, default=None)
    release_on_exit = Boolean(default=False)
    owner_on_entry = Text(default="KEEP")
    claims_per_day = Integer(null=True, default=None)
    most_held = Integer(null=True, default=None)
    cool_down_days = Integer(null=True, default=None)
    created_at = Timestamptz()
    created_by = UUID(null=True, default=None)
    updated_at = Timestamptz()
    updated_by = UUID(null=True, default=None)
    version = Integer(default=1)
    deleted_at = Timestamptz(null=True, default=None)


class PoolTeam(Table, tablename="pool_team"):
    """The teams that a pool is open to."""

    id = UUID(primary_key=True)
    pool_id = UUID()
    team_id = UUID()


class PoolMember(Table, tablename="pool_member"):
    """Which customer is in which pool; `by_rule` where the pool's rule moved it in."""

    id = UUID(primary_key=True)
    pool_id = UUID()
    customer_id = UUID()
    by_rule = Boolean(default=False)
    since = Timestamptz()


class PoolAbsence(Table, tablename="pool_absence"):
    """Which customers a pool's rule does not move in again for now: those claimed, or taken out by hand."""

    id = UUID(primary_key=True)
    pool_id = UUID()
    customer_id = UUID()
    since = Timestamptz()


class PoolClaim(Table, tablename="pool_claim"):
    """Who has claimed which customer from which pool."""

    id = UUID(primary_key=True)
    pool_id = UUID()
    customer_id = UUID()
    user_id = UUID()
    at = Timestamptz()
