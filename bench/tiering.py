"""Tiering: full passes and single changes against the same work written by hand, in one run.

    python -m bench.tiering [--rows N] [--share PERCENT] [--repeat N] [--first]

A pass over all customers in which a share of them moves, against one hand-written UPDATE with the same conditions that
also writes the journal; a pass in which nobody moves, against the bare SELECT; and one change of a customer, of a field
that rules read and of one that they do not, with four tiers against none. Prints seconds or milliseconds, and ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg

from core.changes import ChangeSet
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.features import Features
from core.grants import SYSTEM
from core.migrate import migrate_workspace
from core.piccolo_app import APP_CONFIG
from core.plugins import PluginRegistry
from core.rows import new_id
from core.schema.execute import run as execute
from core.schema.mutate import Mutator
from core.settings import Settings
from core.workspaces import Workspaces
from plugins.tiering.evaluation import move_all
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
SELECT = f"""select * from (select c.id as customer, m.id as member, m.tier_id as old, {RANK} as best from customer c
 left join tier_member m on m.customer_id = c.id left join tier t on t.id = m.tier_id and t.deleted_at is null
 where c.deleted_at is null and m.pinned is not true) x where best is not null"""
UPDATE = f"""with moved as (
 update tier_member m set tier_id = t.id, since = now(), source = 'RULE'
 from ({SELECT}) x join tier t on t.rank = x.best
 where m.id = x.member returning m.id, m.tier_id, m.since, x.old)
insert into change (change_set_id, record_type, record_id, action, version, before, after)
select $1, 'TierMember', id, 'UPDATE', 1, jsonb_build_object('tierId', old),
  jsonb_build_object('tierId', tier_id, 'since', since) from moved"""
FIRST = f"""with made as (
 insert into tier_member (id, customer_id, tier_id, since, source)
 select gen_random_uuid(), x.customer, t.id, now(), 'RULE' from ({SELECT}) x join tier t on t.rank = x.best
 where x.member is null returning id, customer_id, tier_id, since)
insert into change (change_set_id, record_type, record_id, action, version, before, after)
select $1, 'TierMember', id, 'CREATE', 1, null,
  jsonb_build_object('customerId', customer_id, 'tierId', tier_id, 'since', since, 'source', 'RULE', 'pinned', false)
from made"""
FILL = """
insert into customer (id, code, name, kind, email, level, province, source, created_at, updated_at)
select gen_random_uuid(), 'C' || n, 'Khách hàng ' || n, case when n % 3 = 0 then 'ORGANISATION' else 'PERSON' end,
  case when n % 4 > 0 then 'c' || n || '@example.vn' end, (array['A','B','C','D','VIP'])[1 + (n * 7919) % 5],
  (array['Hà Nội','Đà Nẵng','Huế','Cần Thơ','Nha Trang','Vinh','Hải Phòng'])[1 + (n * 104729) % 7],
  'bench', now() - (n % 1000)::int * interval '1 day', now()
from generate_series(1, $1::bigint) n
"""
DEALS = """
insert into opportunity (id, customer_id, name, amount, outcome, created_at, updated_at)
select gen_random_uuid(), id, name, (random() * 1000)::numeric(10, 2),
  (array['OPEN','WON','LOST'])[1 + floor(random() * 3)], now(), now() from customer where random() < 0.3
"""
CHANGE = "mutation($id: ID!, $v: String!) { customerUpdate(input: {id: $id, %s: $v}) { customer { id } } }"


class Bench:
    def __init__(self, database: Database, features: Features, workspace: Workspace) -> None:
        self.database = database
        self.features = features
        self.workspace = workspace
        self.actor = Actor(ActorKind.SYSTEM, SYSTEM)

    async def timed(self, work: Callable[[asyncpg.Connection], Awaitable[Any]], *, keep: bool = False) -> float:
        """Seconds of some work in a transaction, which is rolled back unless it is to be kept."""
        async with self.database.connection(self.workspace) as connection:
            await connection.execute("set statement_timeout = 0")
            transaction = connection.transaction()
            await transaction.start()
            started = time.perf_counter()
            await work(connection)
            seconds = time.perf_counter() - started
            await (transaction.commit() if keep else transaction.rollback())
        return seconds

    async def full_pass(self, connection: asyncpg.Connection) -> int:
        composition = await self.features.composition(self.workspace)
        context = RequestContext(self.workspace, self.actor)
        policy = composition.policy(SYSTEM)
        changes = ChangeSet(connection, context, policy, composition.hooks, "RULE", "tiering.pass")
        moved = await move_all(changes, Tiering())
        await changes.finish()
        return moved

    async def ask(self, query: str, **variables: Any) -> None:
        pool = self.database.pool(self.workspace)
        answer = await execute(
            await self.features.composition(self.workspace),
            RequestContext(self.workspace, self.actor),
            lambda text, values: pool.fetchval(text, *values),
            query,
            variables,
            mutate=Mutator(lambda: self.database.transaction(self.workspace)),
        )
        assert b'"errors"' not in answer.body, answer.body

    async def changes(self, field: str, ids: list[str], values: tuple[str, str]) -> list[float]:
        """Milliseconds of one change each."""
        found = []
        for i, id_ in enumerate(ids):
            started = time.perf_counter()
            await self.ask(CHANGE % field, id=id_, v=values[i % 2])
            found.append((time.perf_counter() - started) * 1000)
        return found


async def _fill(bench: Bench, rows: int) -> None:
    pool = bench.database.pool(bench.workspace)
    async with bench.database.transaction(bench.workspace, statement_timeout_ms=0) as connection:
        await connection.execute("select setseed(0.5)")
        await connection.execute(FILL, rows)
        await connection.execute(DEALS)
    for rank, (name, rule) in enumerate(TIERS, 1):
        await pool.execute(
            "insert into tier (id, name, rank, auto, rule) values ($1, $2, $3, true, $4)", new_id(), name, rank, rule
        )
    async with bench.database.transaction(bench.workspace, statement_timeout_ms=0) as connection:
        await connection.execute("analyze")


async def _lower(bench: Bench, share: float) -> None:
    """Put a share of the customers who have a higher tier than the lowest one rank down."""
    async with bench.database.transaction(bench.workspace, statement_timeout_ms=0) as connection:
        await connection.execute(
            "update tier_member m set tier_id = l.id from tier t join tier l on l.rank = t.rank - 1 where m.id in "
            "(select m.id from tier_member m join tier t on t.id = m.tier_id where t.rank > 1 order by md5(m.id::text) "
            "limit (select count(*) * $1::float8 from customer)::bigint) and t.id = m.tier_id",
            share,
        )
    async with bench.database.connection(bench.workspace) as connection:
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

    ours, theirs = [], []
    for _ in range(repeat):
        theirs.append(await bench.timed(by_hand))
        ours.append(await bench.timed(bench.full_pass))
    _line(f"pass, {share:.0%} move", ours, theirs)
    await bench.timed(bench.full_pass, keep=True)
    async with bench.database.connection(bench.workspace) as connection:
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
    pool = bench.database.pool(bench.workspace)
    ids = [str(r[0]) for r in await pool.fetch("select id from customer order by md5(id::text) limit $1", number)]
    for field, values in (("level", ("C", "D")), ("source", ("web", "shop"))):
        took: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(3):
            for on in (True, False):
                await (bench.features.enable if on else bench.features.disable)(bench.workspace, "tiering")
                await bench.changes(field, ids[:50], values)
                took[on] += await bench.changes(field, ids, values)
        on_, off = statistics.median(took[True]), statistics.median(took[False])
        read = "read by rules" if field == "level" else "not read by rules"
        print(f"one change, {read:22} {on_:9.3f} ms   without {off:9.3f} ms   adds {on_ - off:6.3f} ms", flush=True)
    await bench.features.enable(bench.workspace, "tiering")


async def run(rows: int, share: float, repeat: int, *, first: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="tiering-bench-") as folder:
        database = await Database.open(Settings.load(data_dir=Path(folder), secret="s" * 40, log_level="warning"))
        try:
            workspace = await Workspaces(database).create("bench")
            await migrate_workspace(database, workspace, [APP_CONFIG])
            features = Features(database, registry=PluginRegistry.discover(["plugins.tiering"]))
            await features.enable(workspace, "tiering")
            bench = Bench(database, features, workspace)
            await _fill(bench, rows)
            print(f"{rows} customers, {len(TIERS)} tiers", flush=True)
            await _singles(bench, 300)
            await _passes(bench, repeat, share, first=first)
            await features.close()
        finally:
            await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--share", type=float, default=5, help="percent of the customers that move")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--first", action="store_true", help="also the first pass, in which everybody moves")
    given = parser.parse_args()
    asyncio.run(run(given.rows, given.share / 100, given.repeat, first=given.first))


if __name__ == "__main__":
    main()
