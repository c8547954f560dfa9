"""Moving, adding and removing customers in bulk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from uuid import UUID

from core import (
    Argument,
    Call,
    Compare,
    EnumType,
    Member,
    Mutation,
    Payload,
    Records,
    Refused,
    Target,
    UserError,
    bulk_size,
    bulk_target,
    constant,
    text,
    uuid_or_none,
)

BATCH = 5000
SHOWN = 200

SCOPE = EnumType(
    "GroupMoveScope",
    "Which of a customer's groups a move replaces.",
    {"FAMILY": "Those in the families of the new groups.", "ALL": "All of them."},
)

_DOOMED = """
select m.id, m.group_id from group_member m join customer_group g on g.id = m.group_id
where m.customer_id = any($1::uuid[]) and m.group_id <> all($2::uuid[])
  and ($3 or g.family_fold in (select n.family_fold from customer_group n where n.id = any($2::uuid[])))
"""
_LISTED = """
select id, customer_id, group_id from group_member
where customer_id = any($1::uuid[]) and group_id = any($2::uuid[])
"""


@dataclass
class _Done:
    """What a command did: the customers it looked at, and how many memberships it made and ended."""

    customers: list[UUID]
    added: int = 0
    removed: int = 0

    def batches(self) -> Iterator[list[UUID]]:
        for start in range(0, len(self.customers), BATCH):
            yield self.customers[start : start + BATCH]


Command = Callable[[Call, _Done, list[UUID]], Awaitable[None]]


def _running(command: Command) -> Callable[[Call], Awaitable[Payload]]:
    async def run(call: Call) -> Payload:
        groups = await _groups(call)
        target = bulk_target(call, call.policy.catalog["Customer"])
        done = _Done(await call.changes.reached("Customer", target, "update"))
        await command(call, done, groups)
        counts = {
            "customers": len(done.customers),
            "added": done.added,
            "removed": done.removed,
            "skipped": len(call.changes.errors),
        }
        return Payload({"counts": counts, "customers": Records("Customer", done.customers[:SHOWN])})

    return run


async def _groups(call: Call) -> list[UUID]:
    """The groups that `groupIds` names, locked. Raises Refused where some do not exist or may not be read."""
    given: Sequence[str] = call.input["groupIds"]
    path = ("input", "groupIds")
    ids = [uuid_or_none(i) for i in given]
    if None in ids:
        label = call.policy.catalog["Group"].type.labels.get(call.context.locale, "Group")
        message = text("not_found", call.context.locale, record=label)
        raise Refused(
            [UserError(path, "NOT_FOUND", message, {"id": i}) for i, known in zip(given, ids, strict=True) if not known]
        )
    return await call.changes.reached("Group", Target(ids=tuple(i for i in ids if i), path=path), "read", shared=True)


async def _add(call: Call, done: _Done, groups: list[UUID]) -> None:
    for customers in done.batches():
        there = {(c, g) for _, c, g in await call.changes.connection.fetch(_LISTED, customers, groups)}
        rows = [{"customerId": str(c), "groupId": str(g)} for c in customers for g in groups if (c, g) not in there]
        done.added += len(await call.changes.create("GroupMember", rows, lambda _: ("input", "target")))


async def _remove(call: Call, done: _Done, groups: list[UUID]) -> None:
    for customers in done.batches():
        rows = await call.changes.connection.fetch(_LISTED, customers, groups)
        done.removed += await _end(call, [row["id"] for row in rows])


async def _move(call: Call, done: _Done, groups: list[UUID]) -> None:
    everything = call.input["scope"] == "ALL"
    for customers in done.batches():
        rows = await call.changes.connection.fetch(_DOOMED, customers, groups, everything)
        left = await _readable(call, {row["group_id"] for row in rows})
        done.removed += await _end(call, [row["id"] for row in rows if row["group_id"] in left])
    await _add(call, done, groups)


async def _readable(call: Call, groups: AbstractSet[UUID]) -> AbstractSet[UUID]:
    """Those of some groups that the actor may read, locked: of others he can move nobody out."""
    named = Compare(call.policy.catalog["Group"].fields["id"], "in", constant(sorted(groups)))
    found = await call.changes.reached("Group", Target(predicate=named), "read", shared=True) if groups else ()
    return set(found)


async def _end(call: Call, members: Sequence[UUID]) -> int:
    return len(await call.changes.delete("GroupMember", Target(ids=tuple(members)))) if members else 0


_INPUT = (
    Argument("target", "CustomerTarget!", "Which customers."),
    Argument("groupIds", "[ID!]!", "The groups."),
    Argument("errorPolicy", "ErrorPolicy", "What happens when some customers fail; nothing is changed by default."),
)
_PAYLOAD = (
    Member("counts", "JSON!", "How many customers, memberships added and removed, and faults skipped."),
    Member("customers", "[Customer!]!", "The first 200 of the customers."),
)


def _mutation(name: str, description: str, command: Command, more: tuple[Argument, ...] = ()) -> Mutation:
    given = (*_INPUT, *more)
    size = bulk_size("Customer", "update")
    return Mutation(name, description, _running(command), given, _PAYLOAD, "Customer", "update", size=size)


MUTATIONS = (
    _mutation(
        "customersGroupsMove",
        "Puts customers into groups in place of those they are in; with no groups and the scope ALL, into none.",
        _move,
        (Argument("scope", "GroupMoveScope!", "Which groups are replaced.", "FAMILY"),),
    ),
    _mutation("customersGroupsAdd", "Puts customers into groups, beside those they are in.", _add),
    _mutation("customersGroupsRemove", "Takes customers out of groups.", _remove),
)
