"""Dedupe on a big base: what the check adds to one create, and the report against GROUP BY written by hand.

    python -m bench.dedupe [--customers N] [--creates N]

Loads the customers by SQL into a scratch workspace, lets the job make the keys of phone, email and tax code, and
measures, in turns: one create without and with the plugin, on the same base, and pages of `duplicateClusters` to the
end against `group by … having count(*) > 1` over the customers' own column. Prints medians and ratios.
Indexes of text search, which take most of the time to load and are the same for both, are left out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.duplicates import Shop
from core.attempt import Attempts, Order
from core.commands.console import run
from core.database import Database
from core.features import Features
from core.plugins import PluginRegistry
from core.settings import Settings

LOAD = """
insert into customer (id, code, name, kind, phone, email, tax_code, created_at)
select ('00000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'S' || i, 'Khách hàng số ' || i, 'PERSON',
  '09' || lpad(((i - (i % 100 = 0)::integer)::bigint * 7919 % 100000000)::text, 8, '0'),
  'k' || i || '@congty' || i % 97 || '.vn', lpad((i::bigint * 104729 % 10000000000)::text, 10, '1'), now()
from generate_series($1::integer, $2::integer) i"""
TRIGRAMS = """select indexname from pg_indexes where schemaname = current_schema() and tablename = 'customer'
  and indexdef like '%gin_trgm_ops%'"""
CRITERION = """mutation($fields: [String!]!) { duplicateCriterionCreate(input: {fields: $fields}) {
  duplicateCriterion { id } userErrors { message } } }"""
CREATE = """mutation($input: CustomerCreateInput!) { customerCreate(input: $input) {
  customer { id } userErrors { message } } }"""
CLUSTERS = """query($id: ID!, $after: String) { duplicateClusters(criterionId: $id, first: 200, after: $after) {
  nodes { key count } pageInfo { hasNextPage endCursor } } }"""
BY_HAND = """select json_agg(g) from (select phone, count(*) from customer
  where deleted_at is null and phone is not null group by phone having count(*) > 1 order by phone) g"""


async def _load(shop: Shop, customers: int) -> None:
    async with shop.database.connection(shop.workspace) as connection:
        await connection.execute("set statement_timeout = 0")
        for name in await connection.fetch(TRIGRAMS):
            await connection.execute(f"drop index {name[0]}")
        for start in range(1, customers + 1, 100_000):
            await connection.execute(LOAD, start, min(start + 99_999, customers))
            print(f"\rloaded {min(start + 99_999, customers):,} of {customers:,}", end="", flush=True)
        await connection.execute("vacuum (analyze) customer")
        await connection.execute("reset statement_timeout")
    print()


async def _build(shop: Shop) -> None:
    """Do the jobs that wait, as a worker does."""
    pool = shop.database.pool(shop.workspace)
    attempts = Attempts(shop.database, shop.features, 60)
    for row in await pool.fetch("select id from job where status = 'QUEUED' order by created_at"):
        await attempts.make(Order(shop.workspace, row["id"], None))
    found = await pool.fetch("select status, error from job where status <> 'DONE'")
    if found:
        raise SystemExit([dict(row) for row in found])


async def _creates(shops: dict[str, Shop], number: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in shops}
    warm = 50
    for i in range(number + warm):
        for j, (name, shop) in enumerate(shops.items()):
            n = (i * 2 + j) * 31
            given = {
                "kind": "PERSON",
                "name": f"Mới {n}",
                "phone": f"08{n:08}",
                "email": f"moi{n}@x.vn",
                "taxCode": f"9{n * 13:09}",
            }
            began = perf_counter()
            done = await shop.ask(CREATE, input=given)
            if i >= warm:
                took[name].append(perf_counter() - began)
            if done["userErrors"]:
                raise SystemExit(done["userErrors"])
    return took


async def _report(shop: Shop, criterion: str) -> tuple[float, int]:
    began, found, after = perf_counter(), 0, None
    while True:
        page = await shop.ask(CLUSTERS, id=criterion, after=after)
        found += len(page["nodes"])
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return perf_counter() - began, found


async def _by_hand(shop: Shop) -> float:
    began = perf_counter()
    await shop.database.pool(shop.workspace).fetchval(BY_HAND)
    return perf_counter() - began


async def measure(customers: int, creates: int) -> dict[str, Any]:
    """Measure everything once; times in seconds."""
    with tempfile.TemporaryDirectory(prefix="crm-dedupe-") as folder:
        settings = Settings.load(data_dir=Path(folder), log_level="error", statement_timeout_ms=600_000)
        database = await Database.open(settings)
        try:
            return await _measure(database, customers, creates)
        finally:
            await database.close()


async def _measure(database: Database, customers: int, creates: int) -> dict[str, Any]:
    shop = await Shop.open(database, "big")
    await _load(shop, customers)
    began = perf_counter()
    criteria = []
    for field in ("phone", "email", "taxCode"):
        made = await shop.ask(CRITERION, fields=[field])
        criteria.append(made["duplicateCriterion"]["id"])
    await _build(shop)
    built = perf_counter() - began
    print(f"keys of 3 criteria made in {built:.1f} s ({3 * customers / built:,.0f} a second)")
    bare = Shop(database, Features(database, registry=PluginRegistry.discover([])), shop.workspace)
    took = await _creates({"without": bare, "with": shop}, creates)
    medians = {name: statistics.median(times) for name, times in took.items()}
    added = medians["with"] - medians["without"]
    print(f"one create: {medians['without'] * 1e3:.2f} ms without, {medians['with'] * 1e3:.2f} ms with dedupe")
    print(f"the check adds {added * 1e3:.2f} ms at the median of {creates}")
    turns = [(await _by_hand(shop), *(await _report(shop, criteria[0]))) for _ in range(3)]
    hand, report = (statistics.median(t[i] for t in turns) for i in (0, 1))
    print(f"report: {report:.2f} s for all {turns[0][2]:,} clusters, page by page; GROUP BY by hand: {hand:.2f} s")
    print(f"report / by hand = {report / hand:.2f}")
    await shop.features.close()
    await bare.features.close()
    return {"added": added, "report": report / hand, "built": built, **medians}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--creates", type=int, default=500)
    given = parser.parse_args()
    # As every command runs.
    run(measure(given.customers, given.creates))


if __name__ == "__main__":
    main()
