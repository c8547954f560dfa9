"""Which rows the clock alone may have turned: what a recurring pass looks at instead of all rows.

The answer of a rule changes without a write only where a date or time has come into one of its periods, or left it.
Between two passes that are those in the stretch that the period's beginning or end has moved over: a range, which an
index on the date finds.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from core.context import RequestContext
from core.periods import bounds
from core.predicate import (
    FALSE,
    TRUE,
    Always,
    And,
    Compare,
    Linked,
    LinkedAny,
    Not,
    Operand,
    Or,
    Predicate,
    Related,
    RelatedAll,
    RelatedCount,
    Within,
    all_of,
    any_of,
)
from core.records import Field, Kind

#: The variable that says since when: a time in UTC.
SINCE = "since"


def turning(predicate: Predicate) -> Predicate:
    """The rows for which the clock may have changed a predicate's answer since the time in the variable `since`.

    They are no fewer than those for which it has. Expressions that do not say what they read may always have changed.
    """
    match predicate:
        case Within():
            return any_of(_passed(predicate, 0), _passed(predicate, 1))
        case And(parts) | Or(parts):
            return any_of(*map(turning, parts))
        case Not(part):
            return turning(part)
        case Linked(part=part):
            inner = turning(part)
            return inner if inner == FALSE else replace(predicate, part=inner, guarded=False)
        case Related(relation, _, part) | RelatedCount(relation, part):
            inner = turning(part)
            return inner if inner == FALSE else Related(relation, "some", inner, guarded=False)
        case Compare(field=read) if _opaque(read):
            return TRUE
        case Always() | Compare() | LinkedAny() | RelatedAll():
            return FALSE


def _opaque(read: Field) -> bool:
    return read.sql is not None and read.sql("t1") != read.sql("t2")


def _passed(within: Within, which: int) -> Predicate:
    """The dates that one end of a period has moved over."""
    low = Operand(lambda v, c: _bound(within, which, v, c, v[SINCE]))
    high = Operand(lambda v, c: _bound(within, which, v, c, c.now))
    return all_of(Compare(within.field, "gte", low), Compare(within.field, "lte", high))


def _bound(within: Within, which: int, variables: dict[str, Any], context: RequestContext, now: datetime) -> Any:
    count = 1 if within.count is None else within.count.source(variables, context)
    zone = context.workspace.time_zone
    at = bounds(now, zone, within.period, within.unit, count)[which]
    return at.astimezone(ZoneInfo(zone)).date() if within.field.kind is Kind.DATE else at
