"""`groups` in `CustomerWhere`: in all, in one, outside one or in none of a list of groups.

Ids of groups that are unknown, deleted or not to be read are ids of groups that nobody is in; an empty list matches
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import strawberry

from core import (
    FALSE,
    TRUE,
    Catalog,
    Compare,
    Field,
    Filter,
    GivenArgument,
    Kind,
    LinkedAny,
    Not,
    Operand,
    Predicate,
    Related,
    RelatedAll,
    ToMany,
    all_of,
    uuid_or_none,
)

_MEMBERS = ToMany("groupMembers", "GroupMember", "customer_id", "Its memberships.", filterable=False, exposed=False)
_TRUE = Field("true", Kind.BOOL, "True.", sql=lambda _alias: "true")


def _mode(name: str, description: str) -> Any:
    return strawberry.field(name=name, default=strawberry.UNSET, description=f"{description} Empty matches nothing.")


@strawberry.input(description="A condition on the groups of a customer, by their ids; several modes mean all of them.")
class CustomerGroupsFilter:
    """The modes of the filter."""

    and_: list[strawberry.ID] | None = _mode("and", "In all of these groups.")
    or_: list[strawberry.ID] | None = _mode("or", "In at least one of these groups.")
    not_: list[strawberry.ID] | None = _mode("not", "Outside at least one of these groups.")
    none: list[strawberry.ID] | None = _mode("none", "In none of these groups.")


def predicate(argument: GivenArgument, catalog: Catalog) -> Predicate:
    """The customers that a `groups` condition means."""
    parts = [_matching(mode, given, catalog) for mode, given in argument]
    return all_of(*parts) if parts else FALSE


def _matching(mode: str, given: GivenArgument, catalog: Catalog) -> Predicate:
    if given.is_null:
        return FALSE
    member = catalog["GroupMember"]
    ids = given.operand.map(_distinct, "groups")
    # Guarded: only groups that may be read count, and no deleted ones.
    listed = LinkedAny(member.to_one["group"], ids)
    every = RelatedAll(_MEMBERS, member.to_one["group"], ids)
    match mode:
        case "and":
            return every
        case "or":
            return Related(_MEMBERS, "some", listed)
        case "not":
            return all_of(_given(given.operand), Not(every))
        case "none":
            return all_of(_given(given.operand), Related(_MEMBERS, "none", listed))
    return FALSE


def _given(ids: Operand) -> Predicate:
    """True where the list has any ids: to be in none of no groups matches nothing."""
    if ids.most is not None:
        return TRUE if ids.most else FALSE
    return Compare(_TRUE, "eq", ids.map(bool, "any"))


def _distinct(ids: Sequence[str]) -> list[UUID | None]:
    """Each id once; an id that cannot be one is a group nobody is in."""
    return list(dict.fromkeys(uuid_or_none(i) for i in ids))


GROUPS = Filter(
    "groups", "Condition on the groups the customer is in.", CustomerGroupsFilter, predicate, refers="Group"
)
