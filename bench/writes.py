"""Writes: bulk change sets against bare SQL with the same rows, in one run, on tables with the same indexes.

    python -m bench.writes [--rows N] [--profile create|update|delete]

Prints seconds, processor seconds here and in PostgreSQL, and the ratios to the bare SQL (COPY into a temporary
table, then one INSERT … SELECT, one UPDATE or one DELETE mark, without checks and journal).
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

import asyncpg

from core.changes import ChangeSet, Target
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.features import Features
from core.grants import SYSTEM
from core.migrate import migrate_workspace
from core.piccolo_app import APP_CONFIG
from core.plugins import PluginRegistry
from core.rows import new_id
from core.schema.composition import Composition
from core.settings import Settings
from core.workspaces import Workspaces

COLUMNS = [
    "id",
    "code",
    "name",
    "kind",
    "email",
    "phone",
    "tax_code",
    "registered_address",
    "country",
    "province",
    "district",
    "ward",
    "website",
    "description",
    "source",
    "level",
    "tags",
]
FAMILIES = ["Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Huỳnh", "Phan", "Vũ"]
GIVEN = ["An", "Bình", "Châu", "Dũng", "Giang", "Hà", "Hải", "Hạnh", "Hùng", "Hương"]

#: Seconds and processor seconds of what was timed.
Times = dict[str, tuple[float, float]]


def people(number: int) -> list[dict[str, Any]]:
    """New customers as an import hands them over, by field name."""
    return [
        {
            "code": f"NK{i:07d}",
            "name": f"{FAMILIES[i % 8]} {GIVEN[i * 7 % 10]} {GIVEN[i * 13 // 10 % 10]} {i}",
            "kind": "PERSON",
            "email": f"khach{i * 7919 % 1_000_003}@example.vn",
            "phone": f"09{i * 7919 % 100_000_000:08d}",
            "taxCode": f"{i * 104_729 % 10_000_000_000:010d}",
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
        for i in range(number)
    ]


class Waiting:
    """Adds up the time between a statement's sending and its answer."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.by: dict[str, float] = {}

    def around(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def timed(connection: Any, query: str, *arguments: Any, **more: Any) -> Any:
            begun = time.perf_counter()
            try:
                return await method(connection, query, *arguments, **more)
            finally:
                took = time.perf_counter() - begun
                self.seconds += took
                self.by[query[:60]] = self.by.get(query[:60], 0.0) + took

        return timed


def cpu(pid: int) -> float:
    """The processor seconds that a process has used, which do not depend on what else the machine does."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def timed(what: str, connection: Any, times: Times, profile: str = "") -> AsyncIterator[None]:
    """Time a block on a connection: seconds, and processor seconds of this process and of PostgreSQL's."""
    waiting = Waiting()
    methods = {name: waiting.around(getattr(asyncpg.Connection, name)) for name in ("execute", "fetch", "fetchval")}
    profiler = cProfile.Profile() if profile and what.endswith(profile) else None
    server = connection.get_server_pid()
    with patch.multiple(asyncpg.Connection, **methods), profiler or nullcontext():
        begun, mine, theirs = time.perf_counter(), time.process_time(), cpu(server)
        yield
        wall, mine, theirs = time.perf_counter() - begun, time.process_time() - mine, cpu(server) - theirs
    times[what] = wall, mine + theirs
    bare, bare_cpu = times.get(what.replace("change set", "bare"), times[what])
    print(
        f"{what:18} {wall:6.2f} s  cpu: python {mine:6.2f}, postgres {theirs:6.2f}  "
        f"to bare: {wall / bare:5.2f}, cpu {(mine + theirs) / bare_cpu:5.2f}",
        flush=True,
    )
    if profiler is not None:
        for query, seconds in sorted(waiting.by.items(), key=lambda pair: -pair[1])[:12]:
            print(f"  {seconds:6.2f}  {query}")
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


async def bare(database: Database, workspace: Workspace, rows: list[dict[str, Any]], times: Times) -> None:
    """The same in plain SQL."""
    names = [c for c in COLUMNS if c != "id"]
    by_column = {"taxCode": "tax_code", "registeredAddress": "registered_address"}
    records = [(new_id(), *(r[{v: k for k, v in by_column.items()}.get(c, c)] for c in names)) for r in rows]
    columns = ", ".join(COLUMNS)
    async with (
        database.transaction(workspace, statement_timeout_ms=0) as connection,
        timed("bare create", connection, times),
    ):
        await connection.execute(f"create temp table staged on commit drop as select {columns} from customer limit 0")
        await connection.copy_records_to_table("staged", records=records, columns=COLUMNS)
        await connection.execute(f"insert into customer ({columns}) select {columns} from staged")
    async with (
        database.transaction(workspace, statement_timeout_ms=0) as connection,
        timed("bare update", connection, times),
    ):
        await connection.execute("update customer set level = 'VIP', version = version + 1, updated_at = now()")
    async with (
        database.transaction(workspace, statement_timeout_ms=0) as connection,
        timed("bare delete", connection, times),
    ):
        await connection.execute("update customer set deleted_at = now(), version = version + 1, updated_at = now()")


async def change_sets(
    database: Database,
    workspace: Workspace,
    composition: Composition,
    rows: list[dict[str, Any]],
    times: Times,
    profile: str,
) -> None:
    """The same by change sets: checked, journaled, undoable."""
    ids: list[UUID] = []

    @asynccontextmanager
    async def change_set(what: str) -> AsyncIterator[ChangeSet]:
        actor = Actor(ActorKind.SYSTEM, SYSTEM)
        context = RequestContext(workspace, actor, now=datetime.now(UTC))
        async with (
            database.transaction(workspace, statement_timeout_ms=0) as connection,
            timed(what, connection, times, profile),
        ):
            changes = ChangeSet(connection, context, composition.policy(SYSTEM), composition.hooks)
            yield changes
            await changes.finish()

    async with change_set("change set create") as changes:
        ids += await changes.create("Customer", rows)
    async with change_set("change set update") as changes:
        await changes.update("Customer", Target(ids=tuple(ids)), {"level": "VIP"})
    async with change_set("change set delete") as changes:
        await changes.delete("Customer", Target(ids=tuple(ids)))


async def run(number: int, profile: str) -> None:
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as folder:
        database = await Database.open(Settings.load(data_dir=Path(folder), secret="s" * 40, log_level="warning"))
        features = Features(database, registry=PluginRegistry.discover([]))
        try:
            rows, times = people(number), Times()
            made = []
            for slug in ("bare", "written"):
                made.append(await Workspaces(database).create(slug))
                await migrate_workspace(database, made[-1], [APP_CONFIG])
            await bare(database, made[0], rows, times)
            await change_sets(database, made[1], await features.composition(made[1]), rows, times, profile)
        finally:
            await features.close()
            await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--profile", choices=("create", "update", "delete"), default="")
    given = parser.parse_args()
    asyncio.run(run(given.rows, given.profile))
