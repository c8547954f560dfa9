"""Start and size: from a cold start to the first answer, the memory of a server, and what a feature set costs.

    python -m bench.start [--workspaces N] [--sets N]

Prints a table and writes bench/results/start.json. N workspaces share one feature set; each is asked once.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench import servers
from bench.questions import LIST
from bench.servers import ROOT, Server, free_port
from core.apikeys import issue_api_key
from core.commands.console import Deployment, deployment
from core.commands.setup import set_up
from core.contributions import Chosen, FeatureSet, compose
from core.features import Features, core_operations
from core.settings import Settings

MB = 1_000_000
ROUNDS = 5
ASK = json.dumps({"query": "{ customers(first: 3) { nodes { code name } } }"}).encode()
BODY = json.dumps({"query": LIST.graphql, "operationName": "Q2", "variables": {"first": 50}}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspaces", type=int, default=100)
    parser.add_argument("--sets", type=int, default=10, help="how many distinct feature sets are composed")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as folder:
        data = Path(folder)
        found |= _starts(data)
        found |= asyncio.run(_within(data, options.workspaces, options.sets))
    for name, value in found.items():
        print(f"{name:<60}{value:>12}")
    results = ROOT / "results"
    results.mkdir(exist_ok=True)
    (results / "start.json").write_text(json.dumps(found, indent=1))


def _starts(data: Path) -> dict[str, Any]:
    """A demo's server holds the database up; others start beside it and are asked."""
    demo = servers.ours(data, 2000)
    try:
        demo.wait()
        token = json.loads((data / "demo.json").read_text())["accounts"][0]["token"]
        header = f"Bearer {token}"
        seconds, idle, loaded = [], 0.0, 0.0
        for _ in range(ROUNDS):
            began = time.perf_counter()
            with _serving(data) as server:
                answer = servers.post(server.url, ASK, header)
                seconds.append(time.perf_counter() - began)
                assert len(answer["data"]["customers"]["nodes"]) == 3
                time.sleep(1)
                idle = _memory(server)
                for _ in range(2000):
                    servers.post(server.url, BODY, header)
                loaded = _memory(server)
    finally:
        demo.stop()
    began = time.perf_counter()
    again = servers.ours(data, 2000)
    try:
        again.wait()
        second = time.perf_counter() - began
    finally:
        again.stop()
    return {
        "cold start of a server to its first answer, database up, s": round(statistics.median(seconds), 2),
        "second start of a demo, database down, s": round(second, 2),
        "idle memory with one workspace, MB": round(idle),
        "memory after 2,000 lists of 50, MB": round(loaded),
    }


@contextmanager
def _serving(data: Path) -> Iterator[Server]:
    port = free_port()
    env = {"CRM_DATA_DIR": str(data), "CRM_LOG_LEVEL": "warning", "CRM_WORKER_INSIDE": "false", "CRM_PORT": str(port)}
    server = Server("ours", [str(Path(sys.executable).parent / "crm"), "serve"], port, env)
    try:
        _until(server)
        yield server
    finally:
        server.stop()


def _until(server: Server) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", server.port), 1).close()
        except OSError:
            if server.process.poll() is not None:
                sys.exit(Path(server.log.name).read_text()[-2000:])
            time.sleep(0.005)
        else:
            return


def _memory(server: Server) -> float:
    """The server's own memory, what it shares with others counted in part, in MB."""
    return float(psutil.Process(server.process.pid).memory_full_info().pss / MB)


async def _within(data: Path, workspaces: int, sets: int) -> dict[str, Any]:
    async with deployment(Settings.load(data_dir=data)) as opened:
        return _composing(opened.features, sets) | await _many(opened, data, workspaces)


async def _many(opened: Deployment, data: Path, number: int) -> dict[str, Any]:
    """Make workspaces of one feature set, and ask one server for each."""
    began = time.perf_counter()
    tokens = {f"w{i}": await _make(opened, f"w{i}") for i in range(number)}
    made = time.perf_counter() - began
    with _serving(data) as server:
        began = time.perf_counter()
        for slug, token in tokens.items():
            url = server.url.replace("/graphql", f"/w/{slug}/graphql")
            answer = await asyncio.to_thread(servers.post, url, ASK, f"Bearer {token}")
            assert answer["data"] == {"customers": {"nodes": []}}
        asked = time.perf_counter() - began
        used = _memory(server)
        async with opened.database.admin() as c:
            connections = await c.fetchval(
                "select count(*) from pg_stat_activity where backend_type = 'client backend'"
            )
    return {
        f"making one of {number} workspaces with all plugins, ms": round(made / number * 1000),
        f"first answer of each of {number} workspaces, ms": round(asked / number * 1000),
        f"memory with {number} workspaces of one feature set, MB": round(used),
        f"connections with {number} workspaces (at most {opened.settings.max_connections} a process)": connections,
    }


async def _make(opened: Deployment, slug: str) -> str:
    """A workspace with all plugins and one user; returns his key."""
    workspace = await opened.workspaces.create(slug)
    await set_up(opened, workspace)
    async with opened.database.transaction(workspace) as c:
        user = await c.fetchval(
            "insert into app_user (id, login, display_name) values (gen_random_uuid(), 'a', 'A') returning id"
        )
        await c.execute(
            "insert into user_role (id, user_id, role_id) select gen_random_uuid(), $1, id from role"
            " where name = 'Admin'",
            user,
        )
        token = await issue_api_key(c, user, "bench")
    for name in opened.features.registry.plugins:
        await opened.features.enable(workspace, name)
    await opened.database.forget(workspace)
    return token


def _composing(features: Features, number: int) -> dict[str, Any]:
    """Compose feature sets that differ in a version, in this process."""
    registry, operations = features.registry, core_operations(features)
    process = psutil.Process(os.getpid())
    seconds: list[float] = []
    kept = []
    alone = _timed(lambda: compose(FeatureSet(), registry, operations), [])
    gc.collect()
    before = process.memory_info().rss
    for i in range(number):
        chosen = tuple(Chosen(p.name, p.manifest.version) for p in registry.plugins.values())
        feature_set = FeatureSet((*chosen[:-1], Chosen(chosen[-1].name, f"{chosen[-1].version}+{i}")))
        kept.append(_timed(lambda f=feature_set: compose(f, registry, operations), seconds))
    gc.collect()
    each = (process.memory_info().rss - before) / number / MB
    assert len({id(k) for k in kept}) == number
    assert not alone.left_out
    return {
        f"composing core and {len(registry.plugins)} plugins, s": round(statistics.median(seconds), 2),
        f"memory of one of {number} distinct feature sets, MB": round(each, 1),
    }


def _timed(work: Any, seconds: list[float]) -> Any:
    began = time.perf_counter()
    done = work()
    seconds.append(time.perf_counter() - began)
    return done


if __name__ == "__main__":
    main()
