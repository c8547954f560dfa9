"""`<Type>Where` arguments become predicates.

Two keys on one level mean AND; `{}` matches everything; an empty list, an operator input without operators and a
null where a condition is expected match nothing, so that a condition that was lost never means "all rows".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from asyncpg.pgproto import pgproto

from core.arguments import Argument
from core.catalog import Record
from core.errors import BadInput, LimitExceeded
from core.policy import Policy
from core.predicate import (
    FALSE,
    TRUE,
    Always,
    Compare,
    Linked,
    Not,
    Operand,
    Predicate,
    Related,
    RelatedCount,
    Within,
    all_of,
    any_of,
)
from core.records import Field, Kind, ToMany

#: How many digits a number in a condition may have before its point, or zeros after it.
MOST_DIGITS = 1000

#: How many input objects one condition may be made of.
MOST_CONDITIONS = 500

_SIGNS = (("from", "gte"), ("to", "lte"))


def condition(argument: Argument, record: Record, policy: Policy) -> Predicate:
    """The predicate a `where` stands for, as an actor may ask it.

    Raises Forbidden where it uses a field that the actor may not read, BadInput where a value cannot be meant,
    LimitExceeded where it has more than `MOST_CONDITIONS` parts.
    """
    if _parts(argument) > MOST_CONDITIONS:
        raise LimitExceeded(f"a condition has at most {MOST_CONDITIONS} parts")
    return _condition(argument, record, policy)


def _parts(argument: Argument) -> int:
    """How many input objects a condition is made of, wherever they were written."""
    return bool(argument.keys) + sum(_parts(a) for _, a in argument) + sum(map(_parts, argument.items or ()))


def _condition(argument: Argument, record: Record, policy: Policy) -> Predicate:
    if argument.is_null:
        return FALSE
    parts: list[Predicate] = []
    for key, value in argument:
        if key in ("and", "or"):
            members = [_condition(item, record, policy) for item in value.items or ()]
            combine = all_of if key == "and" else any_of
            parts.append(combine(*members) if members else FALSE)
        elif key == "not":
            parts.append(Not(_condition(value, record, policy)) if not value.is_null else FALSE)
        elif key in record.filters:
            for required in record.filters[key].requires:
                policy.demand_readable(record, required)
            parts.append(record.filters[key].predicate(value, policy.catalog) if not value.is_null else FALSE)
        elif key in record.to_one:
            relation = record.to_one[key]
            policy.demand_readable(record, relation.key.name)
            target = policy.catalog[relation.target]
            parts.append(Linked(relation, _condition(value, target, policy)))
        elif key in record.to_many:
            parts.append(_related(value, record.to_many[key], policy))
        else:
            policy.demand_readable(record, key)
            parts.append(field_condition(value, record.fields[key]))
    return all_of(*parts)


def _related(argument: Argument, relation: ToMany, policy: Policy) -> Predicate:
    target = policy.catalog[relation.target]
    link = target.by_column().get(relation.column) if not relation.through else None
    if link is not None:
        policy.demand_readable(target, link.name)
    parts: list[Predicate] = []
    for key, value in argument:
        if key == "count":
            parts.append(_counted(value, relation))
        else:
            # None or every one of them satisfying a condition that was lost would be all rows.
            found = Related(relation, key, _condition(value, target, policy))
            parts.append(FALSE if value.is_null else found)
    return all_of(*parts) if parts else FALSE


def _counted(argument: Argument, relation: ToMany) -> Predicate:
    """A condition on how many there are, which is never null."""
    parts = [_count(operator, value, relation) for operator, value in argument]
    return all_of(*parts) if parts else FALSE


def _count(operator: str, value: Argument, relation: ToMany) -> Predicate:
    if value.is_null:
        return FALSE
    if operator == "isNull":
        return Always(not value.choice)
    if operator == "between":
        return _between(value, lambda sign, bound: RelatedCount(relation, TRUE, sign, bound.operand))
    return RelatedCount(relation, TRUE, operator, value.operand)


def _between(value: Argument, compare: Callable[[str, Argument], Predicate]) -> Predicate:
    """Both comparisons of a range, or the one whose bound was given; a null bound matches nothing."""
    bounds = [(sign, bound) for name, sign in _SIGNS if (bound := value.get(name)) is not None]
    if not bounds or any(bound.is_null for _, bound in bounds):
        return FALSE
    return all_of(*(compare(sign, bound) for sign, bound in bounds))


def field_condition(argument: Argument, field: Field) -> Predicate:
    """The predicate that operators on a field, such as an `IntFilter`'s, stand for; who may ask it is not checked."""
    parts = [_operator(operator, value, field) for operator, value in argument]
    return all_of(*parts) if parts else FALSE


def _operator(operator: str, value: Argument, field: Field) -> Predicate:
    if value.is_null:
        return FALSE
    if operator == "isNull":
        return Compare(field, "isNull" if value.choice else "notNull")
    if operator == "between":
        return _between(value, lambda sign, bound: Compare(field, sign, scalar(bound, field)))
    if operator == "within":
        return _within(value, field)
    if value.items is not None:
        names = [item.choice for item in value.items]
        return Compare(field, operator, Operand(lambda _v, _c: names, ("constant", tuple(names))))
    return Compare(field, operator, scalar(value, field))


def _within(argument: Argument, field: Field) -> Predicate:
    for period, value in argument:
        if value.is_null:
            return FALSE
        if period in ("last", "next"):
            count, unit = value.get("count"), value.get("unit")
            if count is None or unit is None:
                return FALSE
            return Within(field, period, unit.choice, count.operand)
        return Within(field, period, value.choice)
    return FALSE


def scalar(argument: Argument, field: Field) -> Operand:
    """The operand of a scalar argument, or of a list of them, as the database takes values of the field's kind."""
    read = _READERS.get(field.kind)
    if read is None:
        return argument.operand

    def change(value: Any) -> Any:
        return [read(v) for v in value] if isinstance(value, list | tuple) else read(value)

    return argument.operand.map(change, field.kind.name)


def _uuid(value: Any) -> UUID:
    if (found := uuid_or_none(value)) is None:
        raise BadInput("an id in a condition is not a UUID")
    return found


def _number(value: Decimal) -> Decimal:
    # The wire format of numbers wraps around silently beyond its range.
    if not value.is_finite() or abs(value.adjusted()) > MOST_DIGITS:
        raise BadInput("a number in a condition is out of range")
    return value


def _instant(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


_READERS: Mapping[Kind, Callable[[Any], Any]] = {Kind.ID: _uuid, Kind.DECIMAL: _number, Kind.DATETIME: _instant}


def uuid_or_none(value: Any) -> UUID | None:
    """An id as a UUID; None for text that cannot be the id of any record."""
    try:
        # It is a `uuid.UUID`, read from text ten times as fast.
        found: UUID = pgproto.UUID(str(value))
    except ValueError:
        return None
    return found
