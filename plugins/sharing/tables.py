"""The plugin's tables, as Piccolo sees them; their SQL is in the migrations."""

from __future__ import annotations

from piccolo.columns import UUID, Boolean, Integer, Text, Timestamptz
from piccolo.table import Table


class SharingAct(Table, tablename="sharing_act"):
    """Who shared or gave how many customers, from whom and to whom; `through` is the plugin that did, if one did."""

    id = UUID(primary_key=True)
    change_set_id = UUID()
    action = Text()
    source = Text()
    through = Text(null=True, default=None)
    at = Timestamptz()
    by_id = UUID(null=True, default=None)
    from_id = UUID(null=True, default=None)
    to_user_id = UUID(null=True, default=None)
    to_team_id = UUID(null=True, default=None)
    to_everyone = Boolean(default=False)
    can_edit = Boolean(default=False)
    kept_as_viewer = Boolean(default=False)
    customer_count = Integer(default=0)


class SharingActCustomer(Table, tablename="sharing_act_customer"):
    """Which customers an act was about."""

    id = UUID(primary_key=True)
    act_id = UUID()
    customer_id = UUID()
