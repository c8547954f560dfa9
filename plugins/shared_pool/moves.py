"""Moving customers into pools and out of them, and letting in whom the pools are open to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from core import ChangeSet, Target
from plugins.shared_pool.rules import BOOK, Among, Ask, PoolRule

#: The source of the viewers that pools make.
SOURCE = "shared_pool"
BATCH = 5000

#: A team that was deleted lets nobody in.
_DIFFERENCE = """
with wanted as (
  select distinct m.customer_id, t.team_id, p.open_to_all as everyone
  from pool_member m join pool p on p.id = m.pool_id and p.deleted_at is null
  left join (pool_team t join team on team.id = t.team_id and team.deleted_at is null)
    on t.pool_id = p.id and not p.open_to_all
  where m.customer_id = any($1::uuid[]) and (p.open_to_all or t.team_id is not null)
), there as (
  select id, customer_id, team_id, everyone from customer_viewer
  where source = $2 and customer_id = any($1::uuid[])
)
select there.id as superfluous, wanted.customer_id, wanted.team_id, wanted.everyone
from wanted full join there on there.customer_id = wanted.customer_id and there.everyone = wanted.everyone
  and coalesce(there.team_id, $3) = coalesce(wanted.team_id, $3)
where there.id is null or wanted.customer_id is null
"""
_NOBODY = UUID(int=0)
_FREE = "select id from customer where id = any($1::uuid[]) order by id for update skip locked"


@dataclass
class Moves:
    """Which customers have come into a pool, gone from it, and could not be locked to come in now."""

    entered: list[UUID] = field(default_factory=list)
    left: list[UUID] = field(default_factory=list)
    lifted: int = 0
    put_off: list[UUID] = field(default_factory=list)


def writing(changes: ChangeSet) -> ChangeSet:
    """The change set as pools write to it: bound by no permission, but by what always holds."""
    return replace(changes.system(), guarded=True)


def batches(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    """Ids in parts that one statement is given at most."""
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))


async def let_in(changes: ChangeSet, customers: Sequence[UUID], *, opened: bool = False) -> None:
    """Make the viewers of customers those whom the pools they are in are open to.

    Where a pool was `opened`, or closed, nobody else moves its customers meanwhile, whichever pool they come from: both
    would go by what the other one changes.
    """
    own = writing(changes)
    lock = f"select from customer where id = any($1::uuid[]) order by id for {'update' if opened else 'share'}"
    for part in batches(sorted(set(customers))):
        await changes.connection.execute(lock, list(part))
        rows = await changes.connection.fetch(_DIFFERENCE, list(part), SOURCE, _NOBODY)
        if gone := [row["superfluous"] for row in rows if row["superfluous"]]:
            await own.delete("CustomerViewer", Target(ids=tuple(gone)))
        new = [
            {
                "customerId": str(row["customer_id"]),
                "teamId": str(row["team_id"]) if row["team_id"] else None,
                "everyone": row["everyone"],
                "source": SOURCE,
            }
            for row in rows
            if not row["superfluous"]
        ]
        if new:
            await own.create("CustomerViewer", new)


async def enter(changes: ChangeSet, pool: UUID, customers: Sequence[UUID], *, by_rule: bool) -> int:
    """Move live, locked customers that are not in it into a pool; returns how many came in."""
    if not customers:
        return 0
    own = writing(changes)
    held = await changes.connection.fetchrow(
        "select owner_on_entry from pool where id = $1 and deleted_at is null for share", pool
    )
    if held is None:
        return 0
    since = changes.context.now
    made = 0
    for part in batches(customers):
        await _delete(own, "PoolAbsence", pool, part)
        rows = [
            {"poolId": str(pool), "customerId": str(customer), "byRule": by_rule, "since": since} for customer in part
        ]
        # In the pool first: what follows from losing the owner already finds it there.
        made += len(await own.create("PoolMember", rows, lambda _: ("input", "target")))
        if held["owner_on_entry"] == "CLEAR":
            await own.update("Customer", Target(ids=tuple(part)), {"ownerId": None})
    return made


async def stay_away(changes: ChangeSet, pools: Sequence[UUID], customers: Sequence[UUID]) -> None:
    """Keep the rules of pools from moving customers in again as long as they go on holding."""
    statement = (
        "select p.id, c.id from pool p cross join unnest($2::uuid[]) as c(id) "
        "where p.id = any($1::uuid[]) and (p.rule is not null or p.waiting_days is not null) and not exists "
        "(select from pool_absence a where a.pool_id = p.id and a.customer_id = c.id)"
    )
    for part in batches(customers):
        rows = await changes.connection.fetch(statement, list(pools), list(part))
        since = changes.context.now
        absent = [{"poolId": str(pool), "customerId": str(customer), "since": since} for pool, customer in rows]
        if absent:
            await writing(changes).create("PoolAbsence", absent)


async def leave(changes: ChangeSet, pool: UUID, customers: Sequence[UUID]) -> int:
    """Move locked customers out of a pool; returns how many were in it."""
    if not customers:
        return 0
    # Whom the pool is open to must not change meanwhile: it would let in whom this no longer sees.
    await changes.connection.execute("select from pool where id = $1 for share", pool)
    return sum([await _delete(writing(changes), "PoolMember", pool, part) for part in batches(customers)])


async def _delete(own: ChangeSet, record: str, pool: UUID, customers: Sequence[UUID]) -> int:
    table = {"PoolMember": "pool_member", "PoolAbsence": "pool_absence"}[record]
    statement = f"select id from {table} where pool_id = $1 and customer_id = any($2::uuid[]) for update"
    rows = await own.connection.fetch(statement, pool, list(customers))
    if rows:
        await own.delete(record, Target(ids=tuple(row["id"] for row in rows)))
    return len(rows)


async def rules(changes: ChangeSet) -> list[PoolRule]:
    """The pools whose rules are on, as the transaction sees them."""
    return await BOOK.read(changes)


async def due(changes: ChangeSet, pool: PoolRule, ask: Ask, most: int) -> tuple[list[UUID], int]:
    """Whom of all customers a pool's rule would move by now, `most` at most, and how many they are in all."""
    if ask is Ask.LEAVE and not pool.values["releaseOnExit"]:
        return [], 0
    text, conditions = pool.statement(ask, Among.ALL, changes.policy.catalog, lock=False)
    rows = await changes.connection.fetch(text, *conditions.bind(changes.context, {"most": most}))
    found = [row[1] for row in rows]
    if len(found) < most:
        return found, len(found)
    counting = conditions.bind(changes.context, {"most": None})
    return found, await changes.connection.fetchval(f"select count(*) from ({text}) x", *counting)


async def follow(
    changes: ChangeSet,
    pool: PoolRule,
    among: Among,
    *,
    ids: Sequence[UUID] = (),
    since: datetime | None = None,
    most: int | None = None,
    locked: bool = True,
) -> Moves:
    """Follow a pool's rule for some customers: end absences, release, move in; of each `most` at most.

    Customers that are given by id are locked already, unless that is not `locked`: whoever ties a record to a customer
    shares its lock with others who do, and two who both wanted it for themselves would wait for each other.
    """
    moves = Moves()

    async def asked(ask: Ask, among: Among, ids: Sequence[UUID]) -> list[Any]:
        text, conditions = pool.statement(ask, among, changes.policy.catalog)
        variables: dict[str, Any] = {"ids": list(ids), "since": since, "most": most}
        rows: list[Any] = await changes.connection.fetch(text, *conditions.bind(changes.context, variables))
        return rows

    async def found(ask: Ask) -> list[Any]:
        rows = await asked(ask, among, ids)
        if among is Among.IDS or not rows:
            return rows
        # Others may have written while this waited for its locks: those who are locked now are looked at again.
        return await asked(ask, Among.IDS, [row[1] for row in rows])

    if over := await found(Ask.LIFT):
        await writing(changes).delete("PoolAbsence", Target(ids=tuple(row[0] for row in over)))
        moves.lifted = len(over)
    if pool.values["releaseOnExit"]:
        moves.left = [row[1] for row in await found(Ask.LEAVE)]
        await leave(changes, pool.id, moves.left)
    moves.entered = [row[1] for row in await found(Ask.ENTER)]
    if moves.entered and not locked and pool.values["ownerOnEntry"] == "CLEAR":
        free = {row["id"] for row in await changes.connection.fetch(_FREE, moves.entered)}
        moves.put_off = [id_ for id_ in moves.entered if id_ not in free]
        moves.entered = [row[1] for row in await asked(Ask.ENTER, Among.IDS, sorted(free))]
    await enter(changes, pool.id, moves.entered, by_rule=True)
    return moves
