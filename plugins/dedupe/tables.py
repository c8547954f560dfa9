"""The plugin's tables, as Piccolo sees them; their SQL is in the migrations."""

from __future__ import annotations

from piccolo.columns import UUID, Array, Boolean, Integer, Numeric, Text, Timestamptz
from piccolo.table import Table


class DedupeCriterion(Table, tablename="dedupe_criterion"):
    """By what customers are duplicates, and how far its keys are."""

    id = UUID(primary_key=True)
    name = Text(null=True, default=None)
    fields = Array(base_column=Text())
    exact = Array(base_column=Text(), null=True, default=None)
    effect = Text()
    in_contacts = Boolean(default=True)
    set_id = Integer()
    status = Text(default="BUILDING")
    progress = Numeric(null=True, default=None)
    made_with = Text(default="")
    created_at = Timestamptz()
    created_by = UUID(null=True, default=None)
    updated_at = Timestamptz()
    updated_by = UUID(null=True, default=None)
    version = Integer(default=1)
    deleted_at = Timestamptz(null=True, default=None)


class DedupeKey(Table, tablename="dedupe_key"):
    """What customers and their contacts have, by criterion; `free` ones found nobody else with it."""

    set_id = Integer(primary_key=True)
    key = Text()
    customer_id = UUID()
    contact_id = UUID(null=True, default=None)
    live = Boolean(default=True)
    free = Boolean(default=False)


class DedupeDismissal(Table, tablename="dedupe_dismissal"):
    """Which customers are no duplicates of which, both ways round."""

    id = UUID(primary_key=True)
    customer_id = UUID()
    other_id = UUID()
