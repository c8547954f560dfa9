"""Marking customers as no duplicates of each other, and taking that back."""

from __future__ import annotations

from itertools import permutations
from uuid import UUID

from core import Argument, BadInput, Call, Member, Mutation, Payload, Refused, Target, UserError, text, uuid_or_none
from plugins.dedupe.criteria import PACKAGE

MOST = 100

_THERE = """select id, customer_id, other_id from dedupe_dismissal
    where customer_id = any($1::uuid[]) and other_id = any($1::uuid[])"""
_PATH = ("input", "customerIds")


async def _customers(call: Call) -> list[UUID]:
    """The customers that are meant, locked. Raises Refused for fewer than two, or those that may not be changed."""
    given = call.input["customerIds"]
    if len(given) > MOST:
        raise BadInput(f"at most {MOST} customers can be marked at once")
    ids = dict.fromkeys(uuid_or_none(i) or UUID(int=0) for i in given)
    if len(ids) < 2:
        message = text("pair_needed", call.context.locale, PACKAGE)
        raise Refused([UserError(_PATH, "INVALID", message)])
    target = Target(ids=tuple(ids), path=_PATH)
    return await call.changes.reached("Customer", target, "update")


async def _dismiss(call: Call) -> Payload:
    ids = await _customers(call)
    rows = await call.changes.connection.fetch(_THERE, ids)
    there = {(row["customer_id"], row["other_id"]) for row in rows}
    new = [pair for pair in permutations(ids, 2) if pair not in there]
    await call.changes.create(
        "DuplicateDismissal", [{"customerId": str(one), "otherId": str(other)} for one, other in new], lambda _: _PATH
    )
    return Payload({"pairs": len(new) // 2})


async def _recall(call: Call) -> Payload:
    ids = await _customers(call)
    rows = await call.changes.connection.fetch(_THERE, ids)
    if rows:
        await call.changes.delete("DuplicateDismissal", Target(ids=tuple(row["id"] for row in rows), path=_PATH))
    return Payload({"pairs": len(rows) // 2})


_INPUT = (Argument("customerIds", "[ID!]!", f"The customers, at least two and at most {MOST}."),)

MUTATIONS = (
    Mutation(
        "duplicatesDismiss",
        "Marks customers as no duplicates of each other: they are neither reported nor blocked for what they share. "
        "Can be undone.",
        _dismiss,
        _INPUT,
        (Member("pairs", "Int", "How many pairs were newly marked."),),
        "Customer",
        "update",
    ),
    Mutation(
        "duplicatesRecall",
        "Takes back that customers are no duplicates of each other. Can be undone.",
        _recall,
        _INPUT,
        (Member("pairs", "Int", "How many pairs were marked."),),
        "Customer",
        "update",
    ),
)
