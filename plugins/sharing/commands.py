"""Splitting a transfer among several users.

Rule: equal shares in the order given, the whole remainder to the last one: 10 among 3 are 3, 3, 4, and 2 among 3 are
0, 0, 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from core import (
    Argument,
    Call,
    Member,
    Mutation,
    ObjectType,
    Payload,
    Refused,
    Target,
    UserError,
    bulk_size,
    bulk_target,
    give,
    text,
    uuid_or_none,
)
from plugins.sharing.settings import Settings

PACKAGE = "plugins.sharing"


def shares(total: int, among: int) -> list[int]:
    """How many each of `among` receivers gets: equally many, and the last one the whole remainder too."""
    each = total // among
    return [each] * (among - 1) + [total - each * (among - 1)]


async def _split(call: Call, settings: Settings) -> Payload:
    paths = _receivers(call, settings)
    customer = call.policy.catalog["Customer"]
    target = bulk_target(call, customer)
    found = set(await call.changes.reached("Customer", target, "transfer"))
    there = set(await call.changes.reached("User", Target(ids=tuple(paths), paths=paths), "read", shared=True))
    owners = [owner for owner in paths if owner in there]
    if len(owners) < len(paths):
        # A share for nobody cannot be skipped: the others would get more than was asked for.
        raise Refused(call.changes.errors)
    # By ids in the order they were given, by a condition in the order in which they were created.
    ids = [id_ for id_ in target.ids if id_ in found] if target.predicate is None else sorted(found)
    sizes = shares(len(ids), len(owners))
    receiver = dict(zip(ids, (o for o, n in zip(owners, sizes, strict=True) for _ in range(n)), strict=True))
    chosen = Target(ids=tuple(ids), path=("input", "target"), paths=target.paths)
    keep = bool(call.input.get("keepPreviousOwnerAsViewer"))
    given = await give(call.changes, customer, chosen, receiver.__getitem__, keep=keep)
    counts = dict.fromkeys(owners, 0)
    for id_ in given:
        counts[receiver[id_]] += 1
    return Payload(
        {
            "shares": [{"userId": str(owner), "customers": counts[owner]} for owner in owners],
            "counts": {"customers": len(given), "skipped": len(call.changes.failed)},
        }
    )


def _receivers(call: Call, settings: Settings) -> dict[UUID, tuple[str | int, ...]]:
    """The users that `ownerIds` names, in order, each with his place. Raises Refused where they cannot be receivers."""
    given: Sequence[str] = call.input["ownerIds"]
    locale, path = call.context.locale, ("input", "ownerIds")
    if not 2 <= len(given) <= settings.max_receivers:
        limits = {"minimum": 2, "maximum": settings.max_receivers}
        raise Refused([UserError(path, "OUT_OF_RANGE", text("receivers", locale, PACKAGE, **limits), limits)])
    owners: dict[UUID, tuple[str | int, ...]] = {}
    errors = []
    for i, one in enumerate(given):
        owner = uuid_or_none(one)
        if owner is None:
            errors.append(UserError((*path, i), "NOT_FOUND", text("receiver_unknown", locale, PACKAGE), {"id": one}))
        elif owner in owners:
            errors.append(UserError((*path, i), "DUPLICATE", text("receiver_twice", locale, PACKAGE), {"id": one}))
        else:
            owners[owner] = (*path, i)
    if errors:
        raise Refused(errors)
    return owners


SHARE = ObjectType(
    "TransferShare",
    "How many customers one of the receivers of a split transfer got.",
    (
        Member("userId", "ID!", "The receiver."),
        Member("customers", "Int!", "How many customers he owns by it."),
    ),
)


def split_mutation(settings: Settings) -> Mutation:
    """`customersTransferSplit` with the workspace's limits."""
    return Mutation(
        "customersTransferSplit",
        "Transfers customers to several users in equal shares, in the order given, the remainder to the last one.",
        lambda call: _split(call, settings),
        (
            Argument("target", "CustomerTarget!", "Which; split in the order of the ids, or of their creation."),
            Argument("ownerIds", "[ID!]!", "The new owners, two or more."),
            Argument(
                "keepPreviousOwnerAsViewer", "Boolean", "Whether previous owners may still see them; false by default."
            ),
            Argument("errorPolicy", "ErrorPolicy", "What happens when some fail; nothing is changed by default."),
        ),
        (
            Member("shares", "[TransferShare!]!", "What each receiver got, in the order given."),
            Member("counts", "JSON!", "How many customers were transferred and skipped."),
        ),
        "Customer",
        "transfer",
        size=bulk_size("Customer", "transfer"),
    )
