"""Writes: change sets of 1, 100 and 100,000 records against bare SQL with the same rows, in one run.

    python -m bench.writes [--sizes 1,100,100000] [--profile create|update]

Four ways on four workspaces with the same indexes and the same base: COPY into a temporary table and one INSERT …
SELECT or UPDATE; executemany; change sets, checked and journaled; the same with dedupe (phone, email, tax code) and
four tiers on. Prints milliseconds (medians of interleaved rounds) and ratios to COPY, writes bench/results/writes.json.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from bench.servers import ROOT
from bench.tiering import TIERS
from core.changes import ChangeSet, Target
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.features import Features
from core.grants import SYSTEM
from core.migrate import migrate_workspace
from core.piccolo_app import APP_CONFIG
from core.plugins import PluginRegistry
from core.rows import new_id
from core.settings import Settings
from core.workspaces import Workspaces

BASE = 20_000
#: How often each size is measured: few records take so little time that many rounds are needed.
ROUNDS = {1: 200, 100: 30}
FAMILIES = ["Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Huỳnh", "Phan", "Vũ"]
GIVEN = ["An", "Bình", "Châu", "Dũng", "Giang", "Hà", "Hải", "Hạnh", "Hùng", "Hương"]
COLUMNS = {
    "code": "code",
    "name": "name",
    "kind": "kind",
    "email": "email",
    "phone": "phone",
    "taxCode": "tax_code",
    "registeredAddress": "registered_address",
    "country": "country",
    "province": "province",
    "district": "district",
    "ward": "ward",
    "website": "website",
    "description": "description",
    "source": "source",
    "level": "level",
    "tags": "tags",
}
NAMES = ", ".join(COLUMNS.values())
STAGED = f"select id, {NAMES} from customer"
UPDATE = "update customer set level = {level}, version = version + 1, updated_at = now()"

Row = dict[str, Any]
NUMBERS = count()


def people(number: int) -> list[Row]:
    """New customers as an import hands them over, by field name; no two of a run share a phone, email or tax code."""
    return [
        {
            "code": f"NK{i:07d}",
            "name": f"{FAMILIES[i % 8]} {GIVEN[i * 7 % 10]} {GIVEN[i * 13 // 10 % 10]} {i}",
            "kind": "PERSON",
            "email": f"khach{i * 7919 % 100_000_007}@example.vn",
            "phone": f"09{i * 7919 % 100_000_007:08d}",
            "taxCode": f"{i * 104_729 % 10_000_000_019:010d}",
            "registeredAddress": f"{i % 900} đường Lê Lợi, phường Bến Nghé",
            "country": "Việt Nam",
            "province": "Thành phố Hồ Chí Minh",
            "district": "Quận 1",
            "ward": "Bến Nghé",
            "website": f"https://khach{i}.example.vn",
            "description": "Gặp ở hội chợ, quan tâm gói dài hạn",
            "source": "Hội chợ",
            "level": "Mới",
            "tags": ["mới", "hội chợ"],
        }
        for i in (next(NUMBERS) for _ in range(number))
    ]


@dataclass
class Way:
    """One way to write, on a workspace of its own."""

    database: Database
    workspace: Workspace

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        async with self.database.transaction(self.workspace, statement_timeout_ms=0) as connection:
            yield connection

    async def create(self, rows: list[Row]) -> list[UUID]:
        raise NotImplementedError

    async def update(self, ids: list[UUID], level: str) -> None:
        raise NotImplementedError


class Copy(Way):
    """COPY into a temporary table, then one statement."""

    async def create(self, rows: list[Row]) -> list[UUID]:
        records = [(new_id(), *(row[name] for name in COLUMNS)) for row in rows]
        async with self.transaction() as connection:
            await connection.execute(
                f"create temp table staged on commit drop as select id, {NAMES} from customer limit 0"
            )
            await connection.copy_records_to_table("staged", records=records, columns=["id", *COLUMNS.values()])
            await connection.execute(f"insert into customer (id, {NAMES}) select id, {NAMES} from staged")
        return [record[0] for record in records]

    async def update(self, ids: list[UUID], level: str) -> None:
        async with self.transaction() as connection:
            await connection.execute(f"{UPDATE.format(level='$1')} where id = any($2)", level, ids)


class Many(Way):
    """One prepared statement, run for each row."""

    async def create(self, rows: list[Row]) -> list[UUID]:
        records = [(new_id(), *(row[name] for name in COLUMNS)) for row in rows]
        values = ", ".join(f"${i}" for i in range(1, len(COLUMNS) + 2))
        async with self.transaction() as connection:
            await connection.executemany(f"insert into customer (id, {NAMES}) values ({values})", records)
        return [record[0] for record in records]

    async def update(self, ids: list[UUID], level: str) -> None:
        async with self.transaction() as connection:
            await connection.executemany(f"{UPDATE.format(level='$1')} where id = $2", [(level, id_) for id_ in ids])


@dataclass
class Ours(Way):
    """Change sets."""

    features: Features

    @asynccontextmanager
    async def change_set(self) -> AsyncIterator[ChangeSet]:
        composition = await self.features.composition(self.workspace)
        async with self.transaction() as connection:
            context = RequestContext(self.workspace, Actor(ActorKind.SYSTEM, SYSTEM), now=datetime.now(UTC))
            changes = ChangeSet(connection, context, composition.policy(SYSTEM), composition.hooks)
            yield changes
            await changes.finish()

    async def create(self, rows: list[Row]) -> list[UUID]:
        async with self.change_set() as changes:
            return list(await changes.create("Customer", rows))

    async def update(self, ids: list[UUID], level: str) -> None:
        async with self.change_set() as changes:
            await changes.update("Customer", Target(ids=tuple(ids)), {"level": level})

    async def set_up(self) -> None:
        """Switch dedupe and tiering on, with three criteria and four tiers."""
        for plugin in ("dedupe", "tiering"):
            await self.features.enable(self.workspace, plugin)
        async with self.change_set() as changes:
            await changes.create("DuplicateCriterion", [{"fields": [f]} for f in ("phone", "email", "taxCode")])
            tiers = [{"name": n, "rank": i, "auto": True, "rule": rule} for i, (n, rule) in enumerate(TIERS, 1)]
            await changes.create("Tier", tiers)


async def measured(work: Callable[[], Awaitable[Any]], profile: bool) -> tuple[float, Any]:
    """Milliseconds of some work, and what it gave."""
    profiler = cProfile.Profile() if profile else None
    with profiler or nullcontext():
        begun = time.perf_counter()
        result = await work()
        took = (time.perf_counter() - begun) * 1000
    if profiler is not None:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    return took, result


async def compare(ways: Mapping[str, Way], size: int, profile: str) -> list[dict[str, Any]]:
    """Create and update so many records each way, in turn, as often as their number allows."""
    times: dict[tuple[str, str], list[float]] = {}
    for i in range(ROUNDS.get(size, 1)):
        for name, way in reversed(ways.items()) if i % 2 else ways.items():
            rows = people(size)
            shown = name == list(ways)[-1]
            took, ids = await measured(lambda way=way, rows=rows: way.create(rows), shown and profile == "create")
            times.setdefault(("create", name), []).append(took)
            took, _ = await measured(lambda way=way, ids=ids: way.update(ids, "VIP"), shown and profile == "update")
            times.setdefault(("update", name), []).append(took)
    first = next(iter(ways))
    rows_ = []
    for (action, name), found in sorted(times.items(), key=lambda item: item[0][0]):
        median, bare = statistics.median(found), statistics.median(times[action, first])
        rows_.append({"action": action, "records": size, "way": name, "ms": round(median, 2), "ratio": median / bare})
        print(f"{action:8}{size:>9,}  {name:<34}{median:>12,.2f} ms  {median / bare:>7.2f}", flush=True)
    return rows_


async def run(sizes: list[int], profile: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as folder:
        database = await Database.open(Settings.load(data_dir=Path(folder), secret="s" * 40, log_level="warning"))
        features = Features(database, registry=PluginRegistry.discover(["plugins.dedupe", "plugins.tiering"]))
        try:
            made = []
            for slug in ("copy", "many", "plain", "plugged"):
                made.append(await Workspaces(database).create(slug))
                await migrate_workspace(database, made[-1], [APP_CONFIG])
            plugged = Ours(database, made[3], features)
            await plugged.set_up()
            ways: dict[str, Way] = {
                "COPY, one statement": Copy(database, made[0]),
                "executemany": Many(database, made[1]),
                "change set": Ours(database, made[2], features),
                "change set, dedupe and tiers": plugged,
            }
            for way in ways.values():
                await way.create(people(BASE))
                async with database.connection(way.workspace) as connection:
                    await connection.execute("analyze")
            return [row for size in sizes for row in await compare(ways, size, profile)]
        finally:
            await features.close()
            await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1,100,100000")
    parser.add_argument("--profile", choices=("create", "update"), default="", help="of the change sets with plugins")
    given = parser.parse_args()
    found = asyncio.run(run([int(s) for s in given.sizes.split(",")], given.profile))
    (ROOT / "results").mkdir(exist_ok=True)
    (ROOT / "results" / "writes.json").write_text(json.dumps(found, indent=1))
