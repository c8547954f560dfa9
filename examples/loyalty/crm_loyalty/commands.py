"""Awarding and redeeming points, for one customer and for many."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

from core import (
    Argument,
    Call,
    Field,
    Kind,
    Member,
    Mutation,
    Payload,
    Records,
    Refused,
    UserError,
    bulk_size,
    bulk_target,
    check_value,
    one_target,
)

from crm_loyalty.settings import Settings

AWARD = "loyalty_award"
REDEEM = "loyalty_redeem"
ABILITIES = {AWARD: "Give customers points.", REDEEM: "Take points that customers spend."}

SHOWN = 200
_POINTS = Field("points", Kind.INT, "How many points.", required=True, minimum=1, maximum=1_000_000)


async def _one(kind: str, settings: Settings, call: Call) -> Payload:
    target = one_target(call, call.policy.catalog["Customer"], "customerId")
    customers = await call.changes.reached("Customer", target, "update")
    await _write(kind, settings, call, customers)
    return Payload({"customer": Records("Customer", customers, single=True)})


async def _many(kind: str, settings: Settings, call: Call) -> Payload:
    target = bulk_target(call, call.policy.catalog["Customer"])
    customers = await call.changes.reached("Customer", target, "update")
    entries = await _write(kind, settings, call, customers)
    counts = {"customers": len(customers), "entries": len(entries), "skipped": len(call.changes.errors)}
    return Payload({"counts": counts, "customers": Records("Customer", customers[:SHOWN])})


async def _write(kind: str, settings: Settings, call: Call, customers: Sequence[UUID]) -> list[UUID]:
    """Write the same points to each of some customers, who are locked; returns the entries."""
    points = call.input["points"]
    if problem := check_value(_POINTS, points, call.context.locale):
        code, message, params = problem
        raise Refused([UserError(("input", "points"), code, message, params)])
    values = {"kind": kind, "points": points if kind == "AWARD" else -points, "note": call.input.get("note")}
    if kind == "AWARD" and settings.expire_after_days is not None:
        values["expiresAt"] = call.context.now + timedelta(days=settings.expire_after_days)
    return await call.changes.create("LoyaltyEntry", [{"customerId": c, **values} for c in customers])


_GIVEN = (
    Argument("points", "Int!", "How many points, 1 or more."),
    Argument("note", "String", "What for."),
)
_CUSTOMER = Argument("customerId", "ID!", "The customer.")
_TARGET = Argument("target", "CustomerTarget!", "Which customers.")
_POLICY = Argument(
    "errorPolicy", "ErrorPolicy", "What happens when some customers fail; nothing is changed by default."
)
_ONE = (Member("customer", "Customer", "The customer as he is now, null where it was refused."),)
_MANY = (
    Member("counts", "JSON!", "How many customers were meant, entries written and faults skipped."),
    Member("customers", "[Customer!]!", "The first 200 of the customers."),
)


def mutations(settings: Settings) -> tuple[Mutation, ...]:
    """The plugin's mutations, under a workspace's settings."""

    def both(name: str, kind: str, ability: str, one: str, many: str) -> tuple[Mutation, Mutation]:
        run_one, run_many = partial(_one, kind, settings), partial(_many, kind, settings)
        given = (_TARGET, *_GIVEN, _POLICY)
        size = bulk_size("Customer", "update")
        return (
            Mutation(f"loyalty{name}", one, run_one, (_CUSTOMER, *_GIVEN), _ONE, "Customer", "update", ability),
            Mutation(f"loyaltyBulk{name}", many, run_many, given, _MANY, "Customer", "update", ability, size=size),
        )

    return (
        *both("Award", "AWARD", AWARD, "Gives a customer points.", "Gives customers points, each the same."),
        *both("Redeem", "REDEMPTION", REDEEM, "Takes points that a customer spends.", "Takes points from customers."),
    )
