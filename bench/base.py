"""A workspace of very many customers for the plugins' benchmarks, kept where a folder is given for it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.errors import NotFound
from core.features import Features
from core.grants import SYSTEM
from core.migrate import migrate_workspace
from core.piccolo_app import APP_CONFIG
from core.plugins import PluginRegistry
from core.schema.execute import run
from core.schema.mutate import Mutator
from core.settings import Settings
from core.workspaces import Workspaces

#: Indexes of text search: they take most of the time to load, and no benchmark of these asks for text.
TRIGRAMS = """select indexname from pg_indexes where schemaname = current_schema() and indexdef like '%gin_trgm_ops%'
  and tablename in ('customer', 'opportunity')"""
CUSTOMERS = """
insert into customer (id, code, name, kind, email, level, province, source, created_at, updated_at)
select gen_random_uuid(), 'C' || n, 'Khách hàng ' || n, case when n % 3 = 0 then 'ORGANISATION' else 'PERSON' end,
  case when n % 4 > 0 then 'c' || n || '@example.vn' end, (array['A','B','C','D','VIP'])[1 + (n * 7919) % 5],
  (array['Hà Nội','Đà Nẵng','Huế','Cần Thơ','Nha Trang','Vinh','Hải Phòng'])[1 + (n * 104729) % 7],
  'bench', now() - (n % 1000)::int * interval '1 day', now()
from generate_series($1::bigint, $2::bigint) n
"""


@dataclass
class Base:
    """A workspace, asked in process as the system."""

    database: Database
    features: Features
    workspace: Workspace
    fresh: bool
    actor: Actor = field(default_factory=lambda: Actor(ActorKind.SYSTEM, SYSTEM))

    async def ask(self, query: str, **variables: Any) -> bytes:
        """The answer to an operation. Raises SystemExit for one that was refused."""
        pool = self.database.pool(self.workspace)
        answer = await run(
            await self.features.composition(self.workspace),
            RequestContext(self.workspace, self.actor),
            lambda text, values: pool.fetchval(text, *values),
            query,
            variables,
            mutate=Mutator(lambda: self.database.transaction(self.workspace)),
        )
        if b'"errors"' in answer.body:
            raise SystemExit(orjson.loads(answer.body)["errors"])
        return answer.body

    async def fill(self, rows: int, *more: str) -> None:
        """Load customers, and what further statements make of them."""
        async with self.database.connection(self.workspace) as connection:
            await connection.execute("set statement_timeout = 0")
            for name in await connection.fetch(TRIGRAMS):
                await connection.execute(f"drop index {name[0]}")
            for start in range(1, rows + 1, 100_000):
                await connection.execute(CUSTOMERS, start, min(start + 99_999, rows))
                print(f"\rloaded {min(start + 99_999, rows):,} of {rows:,} customers", end="", flush=True)
            print()
            await connection.execute("select setseed(0.5)")
            for statement in more:
                await connection.execute(statement)
            await connection.execute("vacuum (analyze)")
            await connection.execute("reset statement_timeout")


def _settings(folder: Path) -> Settings:
    return Settings.load(data_dir=folder, secret="s" * 40, log_level="error", statement_timeout_ms=600_000)


@asynccontextmanager
async def base(plugin: str, data: Path | None = None) -> AsyncIterator[Base]:
    """A workspace with a plugin; in a folder that is kept, or in one that is deleted at the end.

    It is `fresh` where nothing was loaded into it before.
    """
    with tempfile.TemporaryDirectory(prefix=f"bench-{plugin}-") as scratch:
        folder = scratch if data is None else data
        database = await Database.open(_settings(Path(folder)))
        features = Features(database, registry=PluginRegistry.discover([f"plugins.{plugin}"]))
        try:
            spaces, fresh = Workspaces(database), False
            try:
                workspace = await spaces.get(plugin)
            except NotFound:
                workspace, fresh = await spaces.create(plugin), True
                await migrate_workspace(database, workspace, [APP_CONFIG])
                await features.enable(workspace, plugin)
            yield Base(database, features, workspace, fresh)
        finally:
            await features.close()
            await database.close()
