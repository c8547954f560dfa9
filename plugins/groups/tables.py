"""The plugin's tables, as Piccolo sees them; their SQL is in the migrations."""

from __future__ import annotations

from piccolo.columns import UUID, Integer, Text, Timestamptz
from piccolo.table import Table


class CustomerGroup(Table, tablename="customer_group"):
    """Groups of customers."""

    id = UUID(primary_key=True)
    name = Text()
    family = Text(null=True, default=None)
    points = Integer(default=0)
    description = Text(null=True, default=None)
    created_at = Timestamptz()
    created_by = UUID(null=True, default=None)
    updated_at = Timestamptz()
    updated_by = UUID(null=True, default=None)
    version = Integer(default=1)
    deleted_at = Timestamptz(null=True, default=None)


class GroupMember(Table, tablename="group_member"):
    """Which customer is in which group."""

    id = UUID(primary_key=True)
    customer_id = UUID()
    group_id = UUID()
