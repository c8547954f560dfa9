"""Giving tiers by hand, and having the rules looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from uuid import UUID

from core import (
    Argument,
    Call,
    Member,
    Mutation,
    ObjectType,
    Payload,
    Records,
    Refused,
    Target,
    UserError,
    bulk_target,
    text,
    uuid_or_none,
)
from plugins.tiering.evaluation import due, evaluate, start_pass
from plugins.tiering.ladder import LADDER
from plugins.tiering.settings import Settings

PACKAGE = "plugins.tiering"
BATCH = 5000
SHOWN = 200

#: Who may give tiers by hand, and who may have the rules looked at.
SET = "tiering_set"
EVALUATE = "tiering_evaluate"
ABILITIES = {
    SET: "Give customers tiers by hand, pin them and let them go.",
    EVALUATE: "Have the rules of the tiers looked at, and see how many would move.",
}

TIER_MOVE = ObjectType(
    "TierMove",
    "How many customers go from a tier to another.",
    (
        Member("fromTier", "Tier", "The tier they have; null for none."),
        Member("toTier", "Tier", "The tier they go to; null for none."),
        Member("customers", "Int!", "How many."),
    ),
)

_MEMBERS = "select id, customer_id, tier_id, pinned from tier_member where customer_id = any($1::uuid[]) order by id"


async def _set(call: Call) -> Payload:
    tier, pin = await _tier(call), bool(call.input["pin"])
    if pin and tier is None:
        message = text("nothing_to_pin", call.context.locale, PACKAGE)
        raise Refused([UserError(("input", "pin"), "INVALID", message, {})])
    customers = await call.changes.reached("Customer", bulk_target(call, call.policy.catalog["Customer"]), "update")
    moved = 0
    for batch in _batches(customers):
        members = {r["customer_id"]: r for r in await call.changes.connection.fetch(_MEMBERS, batch)}
        moved += sum(1 for c in batch if (members[c]["tier_id"] if c in members else None) != tier)
        if tier is None:
            await call.changes.delete("TierMember", Target(ids=tuple(r["id"] for r in members.values())))
            continue
        values = {"tierId": tier, "pinned": pin, "since": call.context.now, "source": "HAND"}
        new = [{"customerId": c, **values} for c in batch if c not in members]
        await call.changes.create("TierMember", new, lambda _: ("input", "target"))
        other = tuple(r["id"] for r in members.values() if r["tier_id"] != tier)
        await call.changes.update("TierMember", Target(ids=other), values)
        same = tuple(r["id"] for r in members.values() if r["tier_id"] == tier)
        await call.changes.update("TierMember", Target(ids=same), {"pinned": pin})
    return _payload(call, customers, {"moved": moved})


async def _tier(call: Call) -> UUID | None:
    """The tier that `tierId` names, locked. Raises Refused where there is none that may be read."""
    given = call.input.get("tierId")
    if given is None:
        return None
    path = ("input", "tierId")
    target = Target(ids=(uuid_or_none(given) or UUID(int=0),), path=path)
    found = await call.changes.reached("Tier", target, "read", shared=True)
    if not found:
        raise Refused(call.changes.errors)
    return found[0]


async def _unpin(settings: Settings, call: Call) -> Payload:
    customers = await call.changes.reached("Customer", bulk_target(call, call.policy.catalog["Customer"]), "update")
    free: list[UUID] = []
    for batch in _batches(customers):
        pinned = [r for r in await call.changes.connection.fetch(_MEMBERS, batch) if r["pinned"]]
        await call.changes.update("TierMember", Target(ids=tuple(r["id"] for r in pinned)), {"pinned": False})
        free += [r["customer_id"] for r in pinned]
    moved = 0
    if len(free) > settings.at_once:
        await start_pass(call.changes)
    elif free:
        moved = await evaluate(call.changes, settings, free, locked=True)
    return _payload(call, customers, {"unpinned": len(free), "moved": moved})


async def _evaluate(settings: Settings, call: Call) -> Payload:
    ladder = await LADDER.read(call.changes)
    counts = await ladder.counts(call.changes, down=settings.allow_downgrade)
    total = sum(counts.values())
    job = None
    if total > settings.at_once and not call.dry_run:
        job = await start_pass(call.changes)
    elif total:
        await evaluate(call.changes, settings, await due(call.changes, settings))
    moves = [
        {"fromTier": _shown(source), "toTier": _shown(target), "customers": count}
        for (source, target), count in sorted(counts.items(), key=lambda item: -item[1])
    ]
    return Payload({"moves": moves, "customers": total, "job": Records("Job", [job], single=True) if job else None})


def _shown(tier: UUID | None) -> Records | None:
    return None if tier is None else Records("Tier", [tier], single=True)


def _batches(customers: list[UUID]) -> Iterator[list[UUID]]:
    for start in range(0, len(customers), BATCH):
        yield customers[start : start + BATCH]


def _payload(call: Call, customers: list[UUID], counts: Mapping[str, int]) -> Payload:
    shown = {"customers": len(customers), **counts, "skipped": len(call.changes.errors)}
    return Payload({"counts": shown, "customers": Records("Customer", customers[:SHOWN])})


_TARGET = Argument("target", "CustomerTarget!", "Which customers.")
_POLICY = Argument(
    "errorPolicy", "ErrorPolicy", "What happens when some customers fail; nothing is changed by default."
)
_CUSTOMERS = Member("customers", "[Customer!]!", "The first 200 of the customers.")


def mutations(settings: Settings) -> tuple[Mutation, ...]:
    """The plugin's mutations, under a workspace's settings."""
    run: Callable[[Call], Awaitable[Payload]] = partial(_unpin, settings)
    counts = "How many customers were meant, how many {} and faults skipped."
    return (
        Mutation(
            "customersSetTier",
            "Gives customers a tier by hand, or none.",
            _set,
            (
                _TARGET,
                Argument("tierId", "ID", "The tier; null takes them out of theirs."),
                Argument("pin", "Boolean!", "Whether no rule moves them from then on.", False),
                _POLICY,
            ),
            (Member("counts", "JSON!", counts.format("went to another tier")), _CUSTOMERS),
            "Customer",
            "update",
            SET,
        ),
        Mutation(
            "customersUnpinTier",
            "Lets rules move customers again, at once where theirs already say so.",
            run,
            (_TARGET, _POLICY),
            (Member("counts", "JSON!", counts.format("were unpinned, moved")), _CUSTOMERS),
            "Customer",
            "update",
            SET,
        ),
        Mutation(
            "tiersEvaluate",
            "Looks at all customers and moves those whom the rules of tiers move; as a job where they are many. "
            "A dry run only says how many.",
            partial(_evaluate, settings),
            (),
            (
                Member("moves", "[TierMove!]!", "How many customers go from where to where."),
                Member("customers", "Int", "How many customers move in all."),
                Member("job", "Job", "The job that moves them, where they are many."),
            ),
            ability=EVALUATE,
        ),
    )
