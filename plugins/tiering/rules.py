"""What tiers must satisfy."""

from __future__ import annotations

from core import Batch, ChangeSet, Fault, InvalidRule, Row, compile_rule, text

PACKAGE = "plugins.tiering"

#: What the rules themselves decide; a rule that reads it would chase its own tail.
_OWN_TYPES = frozenset({"Tier", "TierMember"})
_OWN_FIELDS = frozenset({"tierId", "tierPinned", "tierSince", "tierSource"})


def check_tiers(batch: Batch, changes: ChangeSet) -> list[Fault]:
    """An automatic tier has a rule, and no rule reads tiers."""
    faults = []
    for row in batch.rows:
        if row.changed & {"auto", "rule"} and row.after:
            if row.after.get("auto") and row.after.get("rule") is None:
                message = text("auto_without_rule", changes.context.locale, PACKAGE)
                faults.append(Fault(row, "REQUIRED", message, "rule", {"field": "rule"}))
            elif "rule" in row.changed and _reads_tiers(row, changes):
                message = text("rule_reads_tiers", changes.context.locale, PACKAGE)
                faults.append(Fault(row, "INVALID_RULE", message, "rule", {"field": "rule"}))
    return faults


def _reads_tiers(row: Row, changes: ChangeSet) -> bool:
    stored = (row.after or {}).get("rule")
    if stored is None:
        return False
    try:
        rule = compile_rule(changes.policy.catalog, "Customer", stored)
    except InvalidRule:
        return False  # core says so
    return any(
        type_ in _OWN_TYPES or (type_ == "Customer" and name in _OWN_FIELDS) for type_, name in rule.footprint.reads
    )
