"""`<Type>Where` arguments become predicates.

Two keys on one level mean AND; `{}` matches everything; an empty list, an operator input without operators and a
null where a condition is expected match nothing, so that a condition that was lost never means "all rows".
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from core.arguments import Argument
from core.errors import BadInput
from core.policy import Policy
from core.predicate import (
    FALSE,
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
from core.records import Field, Kind, Record, ToMany


def condition(argument: Argument, record: Record, policy: Policy) -> Predicate:
    """The predicate a `where` stands for, as an actor may ask it.

    Raises Forbidden where it uses a field that the actor may not read, BadInput where a value cannot be meant.
    """
    if argument.is_null:
        return FALSE
    parts: list[Predicate] = []
    for key, value in argument:
        if key in ("and", "or"):
            members = [condition(item, record, policy) for item in value.items or ()]
            combine = all_of if key == "and" else any_of
            parts.append(combine(*members) if members else FALSE)
        elif key == "not":
            parts.append(Not(condition(value, record, policy)) if not value.is_null else FALSE)
        elif key in record.filters:
            parts.append(record.filters[key].predicate(value, policy.catalog) if not value.is_null else FALSE)
        elif key in record.to_one:
            relation = record.to_one[key]
            policy.demand_readable(record, relation.key.name)
            target = policy.catalog[relation.target]
            parts.append(Linked(relation, condition(value, target, policy)))
        elif key in record.to_many:
            parts.append(_related(value, record.to_many[key], policy))
        else:
            policy.demand_readable(record, key)
            parts.append(_operators(value, record.fields[key]))
    return all_of(*parts)


def _related(argument: Argument, relation: ToMany, policy: Policy) -> Predicate:
    target = policy.catalog[relation.target]
    parts: list[Predicate] = []
    for key, value in argument:
        if key == "count":
            for operator, operand in value:
                if operand.is_null:
                    parts.append(FALSE)
                elif operator == "between":
                    for bound, sign in (("from", "gte"), ("to", "lte")):
                        limit = operand.get(bound)
                        if limit is not None and not limit.is_null:
                            parts.append(RelatedCount(relation, all_of(), sign, limit.operand))
                else:
                    parts.append(RelatedCount(relation, all_of(), operator, operand.operand))
        else:
            parts.append(Related(relation, key, condition(value, target, policy)))
    return all_of(*parts) if parts else FALSE


def _operators(argument: Argument, field: Field) -> Predicate:
    parts = [_operator(operator, value, field) for operator, value in argument]
    return all_of(*parts) if parts else FALSE


def _operator(operator: str, value: Argument, field: Field) -> Predicate:
    if value.is_null:
        return FALSE
    if operator == "isNull":
        return Compare(field, "isNull" if value.choice else "notNull")
    if operator == "between":
        bounds = [(name, value.get(name)) for name in ("from", "to")]
        given = [(name, bound) for name, bound in bounds if bound is not None]
        if not given or any(bound.is_null for _, bound in given):
            return FALSE
        signs = {"from": "gte", "to": "lte"}
        return all_of(*(Compare(field, signs[name], scalar(bound, field)) for name, bound in given))
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
    """The operand of a scalar argument; ids become UUIDs when the statement runs."""
    if field.kind is Kind.ID:
        return argument.operand.map(_uuids, "uuid")
    return argument.operand


def _uuids(value: Any) -> Any:
    try:
        if isinstance(value, list | tuple):
            return [UUID(str(v)) for v in value]
        return UUID(str(value))
    except ValueError:
        raise BadInput("an id in a condition is not a UUID") from None


def uuid_or_none(value: Any) -> UUID | None:
    """An id as a UUID; None for text that cannot be the id of any record."""
    try:
        return UUID(str(value))
    except ValueError:
        return None
