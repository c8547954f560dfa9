"""Tiering: full passes and single changes against the same work written by hand, in one run.

    python -m bench.tiering [--rows N] [--data FOLDER] [--share PERCENT] [--repeat N] [--first]

A pass over all customers in which a share of them moves, against one hand-written UPDATE with the same conditions that
also writes the journal; a pass in which nobody moves, against the bare SELECT; and one change of a customer, of a field
that rules read and of one that they do not, with four tiers against none. Prints seconds or milliseconds, and ratios.
With `--data` what was loaded is kept and used again.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from bench.base import Base, base
from core.changes import ChangeSet
from core.context import RequestContext
from core.grants import SYSTEM
from core.rows import new_id
from plugins.tiering.evaluation import BATCH, CHUNK, due, evaluate
from plugins.tiering.settings import Settings as Tiering

TIERS = (
    ("Đồng", {}),
    ("Bạc", {"level": {"in": ["A", "VIP"]}, "kind": {"eq": "PERSON"}}),
    (
        "Vàng",
        {
            "or": [
                {"level": {"eq": "VIP"}},
                {"opportunities": {"some": {"amount": {"gte": "900"}, "outcome": {"eq": "WON"}}}},
            ]
        },
    ),
    ("Kim cương", {"level": {"eq": "VIP"}, "province": {"in": ["Hà Nội", "Đà Nẵng"]}, "email": {"isNull": False}}),
)
#: The same conditions, as somebody would write them who knows the tables.
RANK = """case
 when coalesce(t.rank, 0) < 4 and c.level = 'VIP' and c.province in ('Hà Nội', 'Đà Nẵng') and c.email is not null then 4
 when coalesce(t.rank, 0) < 3 and (c.level = 'VIP' or exists (select from opportunity o where o.customer_id = c.id
   and o.deleted_at is null and o.amount >= 900 and o.outcome = 'WON')) then 3
 when coalesce(t.rank, 0) < 2 and c.level in ('A', 'VIP') and c.kind = 'PERSON' then 2
 when coalesce(t.rank, 0) < 1 then 1 end"""
SELECT = f"""select * from (select c.id as customer, m.id as member, m.tier_id as old, m.since, {RANK} as best
 from customer c
 left join tier_member m on m.customer_id = c.id left join tier t on t.id = m.tier_id and t.deleted_at is null
 where c.deleted_at is null and m.pinned is not true) x where best is not null"""
UPDATE = f"""with moved as (
 update tier_member m set tier_id = t.id, since = now(), source = 'RULE'
 from ({SELECT}) x join tier t on t.rank = x.best
 where m.id = x.member returning m.id, m.tier_id, m.since, x.old, x.since as was)
insert into change (change_set_id, record_type, record_id, action, version, before, after)
select $1, 'TierMember', id, 'UPDATE', 1, jsonb_build_object('tierId', old, 'since', was),
  jsonb_build_object('tierId', tier_id, 'since', since) from moved"""
FIRST = f"""with made as (
 insert into tier_member (id, customer_id, tier_id, since, source)
 select gen_random_uuid(), x.customer, t.id, now(), 'RULE' from ({SELECT}) x join tier t on t.rank = x.best
 where x.member is null returning id, customer_id, tier_id, since)
insert into change (change_set_id, record_type, record_id, action, version, before, after)
select $1, 'TierMember', id, 'CREATE', 1, null,
  jsonb_build_object('customerId', customer_id, 'tierId', tier_id, 'since', since, 'source', 'RULE', 'pinned', false)
from made"""
#: What a pass has left in the journal, but for the times.
DIGEST = """select count(*), md5(string_agg(record_id || action || (before - 'since') || (after - 'since')
  || (before ? 'since') || (after ? 'since'), ',' order by record_id))
  from change where change_set_id = any($1::uuid[])"""
DEALS = """
insert into opportunity (id, customer_id, name, amount, outcome, created_at, updated_at)
select gen_random_uuid(), id, name, (random() * 1000)::numeric(10, 2),
  (array['OPEN','WON','LOST'])[1 + floor(random() * 3)], now(), now() from customer where random() < 0.3
"""
CHANGE = "mutation($id: ID!, $v: String!) { customerUpdate(input: {id: $id, %s: $v}) { customer { id } } }"


@dataclass
class Bench:
    """Times what is done to a workspace."""

    base: Base

    async def timed(self, work: Callable[[asyncpg.Connection], Awaitable[Any]], *, keep: bool = False) -> float:
        """Seconds of some work in a transaction, which is rolled back unless it is to be kept."""
        async with self.base.database.connection(self.base.workspace) as connection:
            await connection.execute("set statement_timeout = 0")
            transaction = connection.transaction()
            await transaction.start()
            started = time.perf_counter()
            await work(connection)
            seconds = time.perf_counter() - started
            await (transaction.commit() if keep else transaction.rollback())
        return seconds

    async def full_pass(self, connection: asyncpg.Connection) -> list[UUID]:
        """Have everybody looked at, as the job does it but in one transaction; returns the change sets' ids."""
        composition = await self.base.features.composition(self.base.workspace)

        def change_set() -> ChangeSet:
            context = RequestContext(self.base.workspace, self.base.actor)
            return ChangeSet(connection, context, composition.policy(SYSTEM), composition.hooks, "RULE", "tiering.pass")

        done = []
        while True:
            ids = await due(change_set(), Tiering())
            for start in range(0, len(ids), BATCH):
                changes = change_set()
                await evaluate(changes, Tiering(), ids[start : start + BATCH])
                await changes.finish()
                done.append(changes.id)
            if len(ids) < CHUNK:
                return done

    async def demand_alike(self, statement: str) -> int:
        """Do the same pass in both ways. Returns how many moved; raises AssertionError where they are not the same."""
        found: list[Any] = []

        async def ours(connection: asyncpg.Connection) -> None:
            found.append(await connection.fetchrow(DIGEST, await self.full_pass(connection)))

        async def theirs(connection: asyncpg.Connection) -> None:
            id_ = new_id()
            await connection.execute(statement, id_)
            found.append(await connection.fetchrow(DIGEST, [id_]))

        await self.timed(ours)
        await self.timed(theirs)
        assert found[0] == found[1], found
        moved: int = found[0][0]
        return moved

    async def changes(self, field: str, ids: list[str], values: tuple[str, str]) -> list[float]:
        """Milliseconds of one change each."""
        found = []
        for i, id_ in enumerate(ids):
            started = time.perf_counter()
            await self.base.ask(CHANGE % field, id=id_, v=values[i % 2])
            found.append((time.perf_counter() - started) * 1000)
        return found


async def _fill(opened: Base, rows: int) -> None:
    await opened.fill(rows, DEALS)
    pool = opened.database.pool(opened.workspace)
    for rank, (name, rule) in enumerate(TIERS, 1):
        await pool.execute(
            "insert into tier (id, name, rank, auto, rule) values ($1, $2, $3, true, $4)", new_id(), name, rank, rule
        )


async def _lower(bench: Bench, share: float) -> None:
    """Put a share of the customers who have a higher tier than the lowest one rank down."""
    async with bench.base.database.transaction(bench.base.workspace, statement_timeout_ms=0) as connection:
        await connection.execute(
            "update tier_member m set tier_id = l.id from tier t join tier l on l.rank = t.rank - 1 where m.id in "
            "(select m.id from tier_member m join tier t on t.id = m.tier_id where t.rank > 1 order by md5(m.id::text) "
            "limit (select count(*) * $1::float8 from customer)::bigint) and t.id = m.tier_id",
            share,
        )
    async with bench.base.database.connection(bench.base.workspace) as connection:
        await connection.execute("vacuum analyze tier_member")


def _line(name: str, ours: list[float], theirs: list[float], unit: str = "s") -> None:
    one, other = statistics.median(ours), statistics.median(theirs)
    print(f"{name:34} {one:9.3f} {unit}   by hand {other:9.3f} {unit}   ratio {one / other:5.2f}", flush=True)


async def _passes(bench: Bench, repeat: int, share: float, *, first: bool) -> None:
    async def by_hand_first(connection: asyncpg.Connection) -> None:
        await connection.execute(FIRST, new_id())

    if first:
        ours, theirs = [await bench.timed(bench.full_pass)], [await bench.timed(by_hand_first)]
        _line("first pass, everybody moves", ours, theirs)
    await bench.timed(by_hand_first, keep=True)
    await _lower(bench, share)

    async def by_hand(connection: asyncpg.Connection) -> None:
        await connection.execute(UPDATE, new_id())

    moved = await bench.demand_alike(UPDATE)
    ours, theirs = [], []
    for _ in range(repeat):
        theirs.append(await bench.timed(by_hand))
        ours.append(await bench.timed(bench.full_pass))
    _line(f"pass, {moved:,} move", ours, theirs)
    await bench.timed(bench.full_pass, keep=True)
    async with bench.base.database.connection(bench.base.workspace) as connection:
        await connection.execute("vacuum analyze tier_member")

    async def select(connection: asyncpg.Connection) -> None:
        assert await connection.fetch(SELECT) == []

    ours, theirs = [], []
    for _ in range(repeat * 2):
        theirs.append(await bench.timed(select))
        ours.append(await bench.timed(bench.full_pass))
    _line("pass, nobody moves", ours, theirs)


async def _singles(bench: Bench, number: int) -> None:
    """The same changes with the plugin on and off, in turns, so that both see the same machine."""
    pool = bench.base.database.pool(bench.base.workspace)
    ids = [str(r[0]) for r in await pool.fetch("select id from customer order by md5(id::text) limit $1", number)]
    for field, values in (("level", ("C", "D")), ("source", ("web", "shop"))):
        took: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(3):
            for on in (True, False):
                await (bench.base.features.enable if on else bench.base.features.disable)(
                    bench.base.workspace, "tiering"
                )
                await bench.changes(field, ids[:50], values)
                took[on] += await bench.changes(field, ids, values)
        on_, off = statistics.median(took[True]), statistics.median(took[False])
        read = "read by rules" if field == "level" else "not read by rules"
        print(f"one change, {read:22} {on_:9.3f} ms   without {off:9.3f} ms   adds {on_ - off:6.3f} ms", flush=True)
    await bench.base.features.enable(bench.base.workspace, "tiering")


async def run(rows: int, data: Path | None, share: float, repeat: int, *, first: bool) -> None:
    async with base("tiering", data) as opened:
        if opened.fresh:
            await _fill(opened, rows)
        bench = Bench(opened)
        number = await opened.database.pool(opened.workspace).fetchval("select count(*) from customer")
        print(f"{number:,} customers, {len(TIERS)} tiers", flush=True)
        await _singles(bench, 300)
        await _passes(bench, repeat, share, first=first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, help="a folder to keep what was loaded in, for the next run")
    parser.add_argument("--share", type=float, default=5, help="percent of the customers that move")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--first", action="store_true", help="also the first pass, in which everybody moves")
    given = parser.parse_args()
    asyncio.run(run(given.rows, given.data, given.share / 100, given.repeat, first=given.first))


if __name__ == "__main__":
    main()
