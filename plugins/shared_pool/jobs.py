"""Recurring passes: customers whose waiting time is over are moved in every hour, all are looked at again at night.

Rule: performance and product.md: what only the clock changes is honoured without looking at rows that it cannot have
changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from core import JobContext, JobType, uuid_or_none
from plugins.shared_pool.moves import BATCH, follow, rules
from plugins.shared_pool.rules import Among, PoolRule
from plugins.shared_pool.settings import Settings

PASS_JOB = "shared_pool.pass"  # noqa: S105 - a kind of job
FULL_JOB = "shared_pool.full_pass"

#: Clocks of several servers differ, and a change may have been committed a little after its time.
OVERLAP = timedelta(minutes=10)

_LAST = "select at from pool_pass where pool_id = $1"
_LOCKED = "select id from customer where id = any($1::uuid[]) and deleted_at is null order by id for update"
_PASSED = """
insert into pool_pass (pool_id, at) select id, $2 from pool where id = $1
on conflict (pool_id) do update set at = greatest(pool_pass.at, excluded.at)
"""


async def _run(job: JobContext, among: Among) -> Mapping[str, Any]:
    moved = {"entered": 0, "left": 0}
    async with job.change_set() as changes:
        pools = await rules(changes)
    if wanted := job.input.get("pools"):
        pools = [pool for pool in pools if pool.id in {uuid_or_none(id_) for id_ in wanted}]
    ids = [id_ for id_ in map(uuid_or_none, job.input.get("customers", ())) if id_]
    for i, pool in enumerate(pools):
        if ids:
            await _follow_some(job, pool, ids, moved)
        else:
            await _follow(job, pool, among, moved, (i + 1) / len(pools))
    return {"pools": len(pools), **moved}


async def _follow(job: JobContext, pool: PoolRule, among: Among, moved: dict[str, int], done: float) -> None:
    """Follow one pool's rule, a batch in a change set, until it moves nobody any more."""
    async with job.connection() as connection:
        last: datetime | None = await connection.fetchval(_LAST, pool.id)
    if last is None:
        among = Among.ALL
    elif among is Among.CLOCK and not pool.footprint.recurring:
        return
    since = last and last - OVERLAP
    while True:
        async with job.change_set(source="RULE", reason=pool.name, fraction=done, counts=moved) as changes:
            current = {p.id: p for p in await rules(changes)}.get(pool.id)
            if current is None:
                return
            moves = await follow(changes, current, among, since=since, most=BATCH)
            moved["entered"] += len(moves.entered)
            moved["left"] += len(moves.left)
            if max(len(moves.entered), len(moves.left), moves.lifted) < BATCH:
                await changes.connection.execute(_PASSED, pool.id, changes.context.now)
                return


async def _follow_some(job: JobContext, pool: PoolRule, ids: Sequence[UUID], moved: dict[str, int]) -> None:
    """Follow one pool's rule for customers that could not be locked when they were written to."""
    async with job.change_set(source="RULE", reason=pool.name, counts=moved) as changes:
        locked = await changes.connection.fetch(_LOCKED, ids)
        moves = await follow(changes, pool, Among.IDS, ids=[row["id"] for row in locked])
        moved["entered"] += len(moves.entered)
        moved["left"] += len(moves.left)


async def _pass(job: JobContext) -> Mapping[str, Any]:
    # Asked for because of a change: everybody may be concerned.
    return await _run(job, Among.ALL if "pools" in job.input else Among.CLOCK)


async def _full_pass(job: JobContext) -> Mapping[str, Any]:
    return await _run(job, Among.ALL)


def job_types(settings: Settings) -> Sequence[JobType]:
    """The passes, due when the workspace's settings say."""
    return (
        JobType(
            PASS_JOB,
            "Moves customers into pools, and out of them, for which time alone has made the difference.",
            _pass,
            schedule=settings.pass_schedule,
        ),
        JobType(
            FULL_JOB,
            "Follows the rules of all pools for all customers.",
            _full_pass,
            schedule=settings.full_pass_schedule,
        ),
    )


def asked_for(pools: Sequence[UUID], customers: Sequence[UUID] = ()) -> dict[str, Any]:
    """The input of a pass for the sake of a change: of some pools, and of some customers or all."""
    some = {"customers": [str(customer) for customer in customers]} if customers else {}
    return {"pools": [str(pool) for pool in pools], **some}
