"""What follows in pools from what was written, in the same transaction or, where it is much, by job."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from core import Batch, ChangeSet, enqueue
from plugins.shared_pool.jobs import FULL_JOB, PASS_JOB, asked_for
from plugins.shared_pool.moves import follow, let_in, rules
from plugins.shared_pool.rules import Among, whole
from plugins.shared_pool.settings import Settings

_RULE = frozenset({"rule", "waitingDays", "waitingField", "releaseOnExit"})
#: How many locks are taken for customers that are not locked themselves.
MOST_LOCKS = 64
_LOCK = (
    "select pg_advisory_xact_lock(k) from "
    "(select hashtextextended('shared_pool ' || id, 0) as k from unnest($1::uuid[]) id order by 1) x"
)
_POOLS = "select from pool where id = any($1::uuid[]) order by id for update"
_CUSTOMERS = "select customer_id from pool_member where pool_id = any($1::uuid[]) order by customer_id"


async def react(batch: Batch, changes: ChangeSet, settings: Settings) -> None:
    """Do what follows from a written batch."""
    match batch.record.name:
        case "PoolMember":
            await let_in(changes, [UUID((r.after or r.before or {})["customerId"]) for r in batch.rows])
        case "PoolTeam":
            await _reopen(changes, sorted({UUID((r.after or r.before or {})["poolId"]) for r in batch.rows}))
        case "Pool":
            await _pools(batch, changes)
        case _:
            await _follow(batch, changes, settings)


async def _pools(batch: Batch, changes: ChangeSet) -> None:
    ids = [(row.id, row.changed) for row in batch.rows if isinstance(row.id, UUID)]
    opened = [id_ for id_, changed in ids if batch.action in ("delete", "restore") or "openToAll" in changed]
    if opened and batch.action != "create":
        await _reopen(changes, opened)
    ruled = [
        row.id
        for row in batch.rows
        if isinstance(row.id, UUID) and whole(row.after or {}) and (batch.action == "restore" or row.changed & _RULE)
    ]
    if ruled and batch.action != "delete":
        await enqueue(changes.connection, changes.context.workspace, PASS_JOB, asked_for(ruled), None)


async def _reopen(changes: ChangeSet, pools: list[UUID]) -> None:
    """Let in, or no longer, those to whom pools are open by now."""
    await changes.connection.execute(_POOLS, pools)
    customers = [row["customer_id"] for row in await changes.connection.fetch(_CUSTOMERS, pools)]
    await let_in(changes, customers, opened=True)


async def _follow(batch: Batch, changes: ChangeSet, settings: Settings) -> None:
    """Follow the rules that a batch concerns, for the customers that it concerns.

    Others who change what a few customers depend on, but not these themselves, wait for each other, and then see it
    all. Nobody waits for many: what two such changes do only together is found by the next full pass.
    """
    connection, catalog = changes.connection, changes.policy.catalog
    later: set[UUID] = set()
    locked = batch.record.name == "Customer"
    for pool in await rules(changes):
        if not pool.footprint.concerned(batch):
            continue
        ids = await pool.footprint.affected(connection, catalog, batch, settings.at_once)
        if ids is None:
            later.add(pool.id)
        elif ids:
            if not locked and len(ids) <= MOST_LOCKS:
                await connection.execute(_LOCK, sorted(ids))
            moves = await follow(changes, pool, Among.IDS, ids=sorted(ids), locked=locked)
            if moves.put_off:
                some = asked_for([pool.id], moves.put_off)
                await enqueue(connection, changes.context.workspace, PASS_JOB, some, None)
    # Once for each pool, however many batches there are.
    asked: set[UUID] = changes.memory.setdefault("shared_pool.later", set())
    if new := sorted(later - asked):
        asked.update(new)
        await enqueue(connection, changes.context.workspace, PASS_JOB, asked_for(new), None)


async def catch_up(changes: ChangeSet, since: datetime | None) -> None:
    """After the plugin was off, everybody is looked at again, by job."""
    if since is not None:
        await enqueue(changes.connection, changes.context.workspace, FULL_JOB, {}, None)
