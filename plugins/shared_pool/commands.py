"""Filling pools by hand, opening them to teams, and following their rules at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from core import (
    Argument,
    Call,
    Conditions,
    Member,
    Mutation,
    ObjectType,
    Payload,
    Records,
    Refused,
    Target,
    UserError,
    bulk_size,
    bulk_target,
    constant,
    enqueue,
    one_target,
    text,
    uuid_or_none,
)
from plugins.shared_pool.claims import PACKAGE
from plugins.shared_pool.jobs import PASS_JOB, asked_for
from plugins.shared_pool.moves import due, enter, follow, leave, rules, stay_away
from plugins.shared_pool.rules import Among, Ask, PoolRule
from plugins.shared_pool.settings import Settings

SHOWN = 200


async def _pool(call: Call) -> Any:
    """The pool that `poolId` names, as far as it may be read. Raises Refused where there is none."""
    conditions = Conditions(call.policy)
    table, where = conditions.source(call.policy.scope("Pool"), "p")
    where.append(f"p.id = {conditions.operand(constant(uuid_or_none(call.input['poolId'])), 'uuid')}")
    statement = f"select p.id, p.owner_on_entry from {table} where {' and '.join(where)} for share of p"
    row = await call.changes.connection.fetchrow(statement, *conditions.bind(call.context))
    if row is None:
        raise _unknown(call, call.input["poolId"], ("input", "poolId"))
    return row


def _unknown(call: Call, given: str, path: tuple[str | int, ...]) -> Refused:
    message = text("pool_unknown", call.context.locale, PACKAGE)
    return Refused([UserError(path, "NOT_FOUND", message, {"id": given})])


async def _add(call: Call) -> Payload:
    customer = call.policy.catalog["Customer"]
    ids = await call.changes.reached("Customer", bulk_target(call, customer), "share")
    pool = await _pool(call)
    if pool["owner_on_entry"] == "CLEAR":
        # It takes them from their owners, too.
        target = Target(ids=tuple(ids), path=("input", "target"))
        ids = await call.changes.reached("Customer", target, "transfer")
    members = set(await _members(call, pool["id"], ids))
    added = await enter(call.changes, pool["id"], [id_ for id_ in ids if id_ not in members], by_rule=False)
    return _counted(call, ids, added=added)


async def _remove(call: Call) -> Payload:
    customer = call.policy.catalog["Customer"]
    ids = await call.changes.reached("Customer", bulk_target(call, customer), "share")
    pool = await _pool(call)
    members = await _members(call, pool["id"], ids)
    await stay_away(call.changes, [pool["id"]], members)
    removed = await leave(call.changes, pool["id"], members)
    return _counted(call, ids, removed=removed)


async def _members(call: Call, pool: UUID, ids: Sequence[UUID]) -> list[UUID]:
    """Those of some customers that are in a pool."""
    statement = "select customer_id from pool_member where pool_id = $1 and customer_id = any($2::uuid[])"
    return [row["customer_id"] for row in await call.changes.connection.fetch(statement, pool, ids)]


def _counted(call: Call, ids: Sequence[UUID], **counts: int) -> Payload:
    counted = {"customers": len(ids), **counts, "skipped": len(call.changes.errors)}
    return Payload({"counts": counted, "customers": Records("Customer", ids[:SHOWN])})


async def _teams(call: Call) -> Payload:
    (pool,) = await call.changes.reached("Pool", one_target(call, call.policy.catalog["Pool"]), "update") or (None,)
    if pool is None:
        return Payload()
    wanted = dict.fromkeys(uuid_or_none(id_) or UUID(int=0) for id_ in call.input["teamIds"])
    rows = await call.changes.connection.fetch("select id, team_id from pool_team where pool_id = $1", pool)
    there = {row["team_id"]: row["id"] for row in rows}
    if gone := [id_ for team, id_ in there.items() if team not in wanted]:
        await call.changes.delete("PoolTeam", Target(ids=tuple(gone)))
    new = [{"poolId": str(pool), "teamId": str(team)} for team in wanted if team not in there]
    if new:
        await call.changes.create("PoolTeam", new, lambda _: ("input", "teamIds"))
    return Payload({"pool": Records("Pool", [pool], single=True)})


async def _evaluate(settings: Settings, call: Call) -> Payload:
    given = call.input.get("poolIds")
    wanted = None if given is None else {uuid_or_none(id_) for id_ in given}
    ids = tuple(sorted(id_ for id_ in wanted if id_)) if wanted is not None else None
    if ids is not None:
        await call.changes.reached("Pool", Target(ids=ids, path=("input", "poolIds")), "read", shared=True)
    pools = [pool for pool in await rules(call.changes) if wanted is None or pool.id in wanted]
    most = max(settings.at_once, SHOWN) + 1
    asked = [[await due(call.changes, pool, ask, most) for ask in (Ask.ENTER, Ask.LEAVE)] for pool in pools]
    if sum(number for both in asked for _, number in both) > settings.at_once:
        job = None
        if not call.dry_run:
            later = asked_for([pool.id for pool in pools])
            job = await enqueue(call.changes.connection, call.context.workspace, PASS_JOB, later, None)
        shown = [_moves(pool, *both) for pool, both in zip(pools, asked, strict=True)]
        return Payload({"moves": shown, "job": Records("Job", [job], single=True) if job else None})
    moved = []
    for pool in pools:
        done = await follow(call.changes, pool, Among.ALL)
        moved.append(_moves(pool, (done.entered, len(done.entered)), (done.left, len(done.left))))
    return Payload({"moves": moved})


def _moves(pool: PoolRule, entered: tuple[Sequence[UUID], int], left: tuple[Sequence[UUID], int]) -> dict[str, Any]:
    return {
        "pool": Records("Pool", [pool.id], single=True),
        "entered": entered[1],
        "left": left[1],
        "customersEntered": Records("Customer", entered[0][:SHOWN]),
        "customersLeft": Records("Customer", left[0][:SHOWN]),
    }


_INPUT = (
    Argument("target", "CustomerTarget!", "Which customers."),
    Argument("poolId", "ID!", "The pool."),
    Argument("errorPolicy", "ErrorPolicy", "What happens when some customers fail; nothing is changed by default."),
)
_PAYLOAD = (
    Member("counts", "JSON!", "How many customers were targeted, added or removed, and skipped."),
    Member("customers", "[Customer!]!", "The first 200 of the customers, as far as you may still see them."),
)

MOVES = ObjectType(
    "PoolMoves",
    "Whom a pool's rule has moved.",
    (
        Member("pool", "Pool!", "The pool."),
        Member("entered", "Int!", "How many customers came in, or are to come in by the job."),
        Member("left", "Int!", "How many customers were released, or are to be by the job."),
        Member("customersEntered", "[Customer!]!", "The first 200 of those who came in, as far as you may see them."),
        Member("customersLeft", "[Customer!]!", "The first 200 of those released, as far as you may see them."),
    ),
)


def mutations(settings: Settings) -> tuple[Mutation, ...]:
    """Filling pools by hand, and following rules, under a workspace's settings."""
    return (
        Mutation(
            "customersPoolAdd",
            "Puts customers into a pool by hand; where it clears owners, that needs the permission to transfer them, "
            "too.",
            _add,
            _INPUT,
            _PAYLOAD,
            "Customer",
            "share",
            size=bulk_size("Customer", "share"),
        ),
        Mutation(
            "customersPoolRemove",
            "Takes customers out of a pool; its rule does not move them in again as long as it goes on holding for "
            "them.",
            _remove,
            _INPUT,
            _PAYLOAD,
            "Customer",
            "share",
            size=bulk_size("Customer", "share"),
        ),
        Mutation(
            "poolTeamsSet",
            "Says which teams a pool is open to; that counts where it is not open to all.",
            _teams,
            (Argument("id", "ID!", "The pool."), Argument("teamIds", "[ID!]!", "The teams, in place of those before.")),
            (Member("pool", "Pool", "The pool, null where it was refused."),),
            "Pool",
            "update",
        ),
        Mutation(
            "poolsEvaluate",
            "Follows the rules of pools for all customers, now, or by a job where they move many; with `dryRun` it "
            "says whom they would move.",
            partial(_evaluate, settings),
            (Argument("poolIds", "[ID!]", "Which pools; all when left out."),),
            (
                Member("moves", "[PoolMoves!]!", "What became of it, pool by pool, of those whose rules are on."),
                Member("job", "Job", "The job that moves them, where they are many."),
            ),
            "Pool",
            "update",
        ),
    )
