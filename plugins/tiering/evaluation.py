"""Moving customers: in the transaction of a change, or over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from core import Batch, ChangeSet, JobContext, JobType, Target, enqueue, retried
from plugins.tiering.ladder import LADDER, Move
from plugins.tiering.settings import Settings

KIND = "tiering.pass"
#: How many locks are taken for customers that are not locked themselves. Their rows cannot be: whoever ties a record to
#: a customer shares its lock already, and two who do would wait for each other.
MOST_LOCKS = 64
_LOCK = (
    "select pg_advisory_xact_lock(k) from "
    "(select hashtextextended('tier ' || id, 0) as k from unnest($1::uuid[]) id order by 1) x"
)

#: Two passes at once would move the same customers, and one of them in vain.
_ALONE = "select pg_advisory_xact_lock(hashtextextended(current_schema() || '.tiering.pass', 0))"

#: When the pass runs, in the workspace's time zone.
NIGHTLY = "30 2 * * *"
#: How many customers a pass finds at once, and how many of them it moves in one change set.
CHUNK = 100_000
BATCH = 5000

_UNMOVED = """
select m.id from tier_member m join unnest($1::uuid[], $2::uuid[]) given (id, tier) on given.id = m.id
where m.tier_id = given.tier
  and (not m.pinned or not exists (select from tier t where t.id = m.tier_id and t.deleted_at is null))
order by m.id for update of m
"""

#: What of a tier decides who has it.
_DECISIVE = frozenset({"auto", "rule", "rank"})


async def react(batch: Batch, changes: ChangeSet, settings: Settings) -> None:
    """Move those whom a written batch concerns: at once where they are few, else by a job."""
    if batch.record.name == "TierMember":
        return
    if batch.record.name == "Tier":
        if batch.action != "update" or any(row.changed & _DECISIVE for row in batch.rows):
            await start_pass(changes)
        return
    ladder = await LADDER.read(changes)
    if ladder.footprint is None or not ladder.footprint.concerned(batch):
        return
    ids = await ladder.footprint.affected(changes.connection, changes.policy.catalog, batch, settings.at_once)
    so_far = sum(changes.touched.get(batch.record.name, {}).values())
    if ids is None or so_far > settings.at_once or changes.undoes:
        # What is being undone may still put back what was moved with it, so it is looked at afterwards.
        await start_pass(changes)
    elif ids:
        await evaluate(changes, settings, sorted(ids), locked=batch.record.name == "Customer")


async def evaluate(changes: ChangeSet, settings: Settings, ids: Sequence[UUID], *, locked: bool = False) -> int:
    """Move those of some customers who are to move; returns how many. `locked` says that they are locked already.

    Else others who change what a few customers depend on wait here, and then see it all. Nobody waits for many: what
    two such changes do only together is found by the next pass.
    """
    ladder = await LADDER.read(changes)
    if not locked and len(ids) <= MOST_LOCKS:
        await changes.connection.execute(_LOCK, ids)
    moved = 0
    while ids:
        moves = await ladder.moves(changes, down=settings.allow_downgrade, ids=ids)
        there = await _unmoved(changes, [m for m in moves if m.member is not None])
        moved += await _move(changes, [m for m in moves if m.member is None], there)
        # Whom somebody else has moved meanwhile is looked at again: it may be from there that he is to move.
        ids = [m.customer for m in moves if m.member is not None and m.member not in there]
    return moved


async def _move(changes: ChangeSet, new: Sequence[Move], there: Mapping[Any, Move]) -> int:
    """Move customers, as the system does; returns how many."""
    system = changes.system()
    now = changes.context.now
    rows = [
        {"customerId": m.customer, "tierId": m.target, "pinned": False, "since": now, "source": "RULE"} for m in new
    ]
    made = len(await system.create("TierMember", rows)) if rows else 0
    out = tuple(member for member, m in there.items() if m.target is None)
    on = tuple(member for member, m in there.items() if m.target is not None)
    if on:
        made += len(
            await system.update(
                "TierMember",
                Target(ids=on),
                lambda row: {"tierId": there[row.id].target, "since": now, "source": "RULE", "pinned": False},
            )
        )
    if out:
        made += len(await system.delete("TierMember", Target(ids=out)))
    return made


async def _unmoved(changes: ChangeSet, moves: Sequence[Move]) -> dict[Any, Move]:
    """The moves of those whom nobody has moved or pinned meanwhile, by membership; these are locked."""
    if not moves:
        return {}
    found = await changes.connection.fetch(_UNMOVED, [m.member for m in moves], [m.source for m in moves])
    there = {r["id"] for r in found}
    return {m.member: m for m in moves if m.member in there}


async def start_pass(changes: ChangeSet) -> UUID:
    """Have all customers looked at once this change set is committed; returns the job's id."""
    started: dict[UUID, UUID] = changes.context.extra.setdefault(KIND, {})
    if changes.id not in started:
        started[changes.id] = await enqueue(changes.connection, changes.context.workspace, KIND, {}, None)
    return started[changes.id]


async def due(changes: ChangeSet, settings: Settings) -> list[UUID]:
    """Who is to move, of all customers; `CHUNK` at most."""
    ladder = await LADDER.read(changes)
    return [m.customer for m in await ladder.moves(changes, down=settings.allow_downgrade, most=CHUNK)]


async def run_pass(settings: Settings, job: JobContext) -> dict[str, Any]:
    """The job that looks at all customers. One that others like it wait behind leaves the work to them.

    Who is to move is found at once and moved batch by batch, as things stand by then: nobody waits for the whole pass.
    """
    async with job.connection() as connection:
        later = "select exists(select from job where kind = $1 and status = 'QUEUED' and not cancel_requested)"
        if await connection.fetchval(later, KIND):
            return {"moved": 0, "left": True}
    moved = 0
    while True:
        async with job.change_set(KIND) as changes:
            ids = await due(changes, settings)
        before = moved
        for start in range(0, len(ids), BATCH):
            moved += await _move_batch(settings, job, ids[start : start + BATCH], moved)
        # Where none of so many moved, something else keeps them: the next pass looks again.
        if len(ids) < CHUNK or moved == before:
            return {"moved": moved}


async def _move_batch(settings: Settings, job: JobContext, ids: Sequence[UUID], before: int) -> int:
    """Move some customers in a change set of their own, again where somebody else was quicker."""

    async def once() -> int:
        counts: dict[str, int] = {}
        async with job.change_set(KIND, source="RULE", counts=counts) as changes:
            await changes.connection.execute(_ALONE)
            moved = await evaluate(changes, settings, ids)
            counts["moved"] = before + moved
        return moved

    return await retried(once)


def pass_of(settings: Settings) -> JobType:
    """The nightly pass over all customers, which honours conditions on the clock; started by large changes, too."""
    description = "Moves customers to the tiers whose rules they satisfy."
    return JobType(KIND, description, partial(run_pass, settings), schedule=NIGHTLY)
