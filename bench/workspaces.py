"""Many workspaces in one deployment: what making and asking each costs, in time, memory and connections.

    python -m bench.workspaces [--workspaces 1000] [--connections 40] [--at-once 32]

Each is created, migrated, given three plugins and a user, and then asked once by clients of which so many ask at once.
Every process may open so many connections for its workspaces; they are counted all the time, and the run fails where
there ever were more. Prints a table and writes bench/results/workspaces.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from bench import servers
from bench.servers import ROOT, Server
from core import embedded
from core.apikeys import issue_api_key
from core.commands.console import Deployment, deployment
from core.commands.setup import set_up
from core.context import Workspace
from core.doctor.server import OWN
from core.settings import Settings

MB = 1_000_000
PLUGINS = ("groups", "dedupe", "tiering")
ASK = json.dumps({"query": "{ customers(first: 3) { totalCount nodes { code name } } }"}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspaces", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=40, help="CRM_MAX_CONNECTIONS of every process")
    parser.add_argument("--at-once", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as folder:
        settings = Settings.load(data_dir=Path(folder), max_connections=options.connections)
        server = embedded.start(settings.data_dir)
        try:
            found = asyncio.run(measure(settings, server.dsn, options.workspaces, options.at_once))
        finally:
            server.stop()
        for name, value in found.items():  # taking the files of so many tables away takes its time
            print(f"{name:<70}{value:>12}", flush=True)
    results = ROOT / "results"
    results.mkdir(exist_ok=True)
    (results / "workspaces.json").write_text(json.dumps(found, indent=1))


@dataclass
class Connections:
    """Most connections that others had open at a moment."""

    most: int = 0


@asynccontextmanager
async def counted(dsn: str, limit: int) -> AsyncIterator[Connections]:
    """Count the connections during the block, 50 times a second; exits where there were more than `limit`."""
    found, connection = Connections(), await asyncpg.connect(dsn)

    async def count() -> None:
        while True:
            others = "select count(*) - 1 from pg_stat_activity where backend_type = 'client backend'"
            found.most = max(found.most, await connection.fetchval(others))
            await asyncio.sleep(0.02)

    task = asyncio.create_task(count())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await connection.close()
    if found.most > limit:
        sys.exit(f"{found.most} connections were open, {limit} are allowed")


async def measure(settings: Settings, dsn: str, number: int, at_once: int) -> dict[str, Any]:
    allowed = settings.max_connections + OWN
    async with counted(dsn, allowed) as making, deployment(settings) as opened:
        made: dict[str, float] = {"created": 0.0, "enabled": 0.0}
        began, tokens = time.perf_counter(), {}
        for i in range(number):
            tokens[f"w{i}"] = await _make(opened, f"w{i}", made)
        seconds = time.perf_counter() - began
        own = psutil.Process(os.getpid()).memory_info().rss / MB
    async with counted(dsn, allowed) as asking:
        with servers.serving(settings.data_dir, CRM_MAX_CONNECTIONS=str(settings.max_connections)) as server:
            empty = server.memory()
            first = await _ask(server, tokens, at_once)
            again = await _ask(server, tokens, at_once)
            used = server.memory()
    return {
        f"making {number} workspaces with {len(PLUGINS)} plugins each, s": round(seconds),
        "of which each: created and migrated, ms": round(made["created"] / number * 1000),
        "of which each: three plugins switched on, ms": round(made["enabled"] / number * 1000),
        "memory of the process that made them, MB": round(own),
        f"connections while they were made, at most ({allowed} allowed)": making.most,
        f"the first question to each, {at_once} at once, s": round(first, 1),
        "the second question to each, s": round(again, 1),
        "memory of the server before any was asked, MB": round(empty),
        "memory of the server when each had been asked twice, MB": round(used),
        f"connections while they were asked, at most ({allowed} allowed)": asking.most,
    }


async def _make(opened: Deployment, slug: str, made: dict[str, float]) -> str:
    """A workspace with some plugins and one user; returns his key."""
    began = time.perf_counter()
    workspace = await opened.workspaces.create(slug)
    await set_up(opened, workspace)
    middle = time.perf_counter()
    for name in PLUGINS:
        await opened.features.enable(workspace, name)
    made["created"] += middle - began
    made["enabled"] += time.perf_counter() - middle
    return await user(opened, workspace)


async def user(opened: Deployment, workspace: Workspace) -> str:
    """An administrator of a workspace; returns his key."""
    async with opened.database.transaction(workspace) as c:
        id_ = await c.fetchval(
            "insert into app_user (id, login, display_name) values (gen_random_uuid(), 'a', 'A') returning id"
        )
        await c.execute(
            "insert into user_role (id, user_id, role_id) select gen_random_uuid(), $1, id from role"
            " where name = 'Admin'",
            id_,
        )
        return await issue_api_key(c, id_, "bench")


async def _ask(server: Server, tokens: dict[str, str], at_once: int) -> float:
    """Ask every workspace once; returns how long all took."""

    async def ask(slug: str, token: str) -> None:
        url = server.url.replace("/graphql", f"/w/{slug}/graphql")
        answer = await asyncio.to_thread(servers.post, url, ASK, f"Bearer {token}")
        assert answer["data"] == {"customers": {"totalCount": 0, "nodes": []}}, answer

    began = time.perf_counter()
    await _in_turn(ask, tokens.items(), at_once)
    return time.perf_counter() - began


async def _in_turn(work: Callable[[str, str], Awaitable[None]], items: Iterable[tuple[str, str]], at_once: int) -> None:
    waiting = iter(list(items))

    async def take() -> None:
        for slug, token in waiting:
            await work(slug, token)

    await asyncio.gather(*(take() for _ in range(at_once)))


if __name__ == "__main__":
    main()
