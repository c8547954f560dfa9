"""`pool` in `CustomerWhere`: in one of some pools, outside all of them, or in any pool at all.

Only pools that may be read count, and no deleted ones; an empty list matches nothing.
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
    Linked,
    Not,
    Predicate,
    Related,
    ToMany,
    all_of,
    uuid_or_none,
)

_MEMBERS = ToMany("poolMembers", "PoolMember", "customer_id", "Its memberships.", filterable=False, exposed=False)
_TRUE = Field("true", Kind.BOOL, "True.", sql=lambda _alias: "true")


def _mode(name: str, description: str) -> Any:
    return strawberry.field(name=name, default=strawberry.UNSET, description=description)


@strawberry.input(description="A condition on the pools a customer is in; several modes mean all of them.")
class CustomerPoolFilter:
    """The modes of the filter."""

    in_: list[strawberry.ID] | None = _mode("in", "In at least one of these pools, by id. Empty matches nothing.")
    not_in: list[strawberry.ID] | None = _mode("notIn", "In none of these pools, by id. Empty matches nothing.")
    any_: bool | None = _mode("any", "Whether it is in any pool at all.")


def predicate(argument: GivenArgument, catalog: Catalog) -> Predicate:
    """The customers that a `pool` condition means."""
    parts = [_matching(mode, given, catalog) for mode, given in argument]
    return all_of(*parts) if parts else FALSE


def _matching(mode: str, given: GivenArgument, catalog: Catalog) -> Predicate:
    if given.is_null:
        return FALSE
    member = catalog["PoolMember"]
    readable = Linked(member.to_one["pool"], TRUE)
    if mode == "any":
        return Related(_MEMBERS, "some" if given.choice else "none", readable, guarded=False)
    ids = given.operand.map(_ids, "pools")
    listed = Related(_MEMBERS, "some", all_of(Compare(member.fields["poolId"], "in", ids), readable), guarded=False)
    if mode == "in":
        return listed
    return all_of(Compare(_TRUE, "eq", ids.map(bool, "any")), Not(listed))


def _ids(values: Sequence[str]) -> list[UUID | None]:
    """An id that cannot be one is that of a pool nobody is in."""
    return [uuid_or_none(v) for v in values]


POOL = Filter("pool", "Condition on the pools the customer is in.", CustomerPoolFilter, predicate, refers="Pool")
