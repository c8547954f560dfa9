"""Start and size: from a cold start to the first answer, the memory of a server, and what a feature set costs.

    python -m bench.start [--sets N]

Prints a table and writes bench/results/start.json.
"""

from __future__ import annotations

import argparse
import asyncio
import compileall
import gc
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from bench import servers
from bench.questions import LIST
from bench.servers import ROOT
from core.commands.console import deployment
from core.contributions import Chosen, FeatureSet, compose
from core.features import Features, core_operations
from core.settings import Settings

MB = 1_000_000
ROUNDS = 5
ASK = json.dumps({"query": "{ customers(first: 3) { nodes { code name } } }"}).encode()
BODY = json.dumps({"query": LIST.graphql, "operationName": "Q2", "variables": {"first": 50}}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=20, help="how many distinct feature sets are composed")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as folder:
        data = Path(folder)
        found |= _starts(data)
        found |= asyncio.run(_within(data, options.sets))
    for name, value in found.items():
        print(f"{name:<60}{value:>12}")
    results = ROOT / "results"
    results.mkdir(exist_ok=True)
    (results / "start.json").write_text(json.dumps(found, indent=1))


def _starts(data: Path) -> dict[str, Any]:
    """A demo's server holds the database up; others start beside it, compiled as an installed one is, and are asked."""
    for package in ("core", "plugins"):
        compileall.compile_dir(ROOT.parent / package, quiet=1)
    demo = servers.ours(data, 2000)
    try:
        demo.wait()
        token = json.loads((data / "demo.json").read_text())["accounts"][0]["token"]
        header = f"Bearer {token}"
        seconds, idle, loaded = [], 0.0, 0.0
        for _ in range(ROUNDS):
            began = time.perf_counter()
            with servers.serving(data, CRM_WORKER_INSIDE="false") as server:
                answer = servers.post(server.url, ASK, header)
                seconds.append(time.perf_counter() - began)
                assert len(answer["data"]["customers"]["nodes"]) == 3
                time.sleep(1)
                idle = server.memory()
                for _ in range(2000):
                    servers.post(server.url, BODY, header)
                loaded = server.memory()
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


async def _within(data: Path, sets: int) -> dict[str, Any]:
    async with deployment(Settings.load(data_dir=data)) as opened:
        return _composing(opened.features, sets)


def _composing(features: Features, number: int) -> dict[str, Any]:
    """Compose feature sets that differ in a version, in this process."""
    registry, operations = features.registry, core_operations(features)
    process = psutil.Process(os.getpid())
    seconds: list[float] = []
    kept = []
    alone = _timed(lambda: compose(FeatureSet(), registry, operations), [])
    gc.collect()
    before = process.memory_info().rss
    memory = {}
    for i in range(1, number + 1):
        chosen = tuple(Chosen(p.name, p.manifest.version) for p in registry.plugins.values())
        feature_set = FeatureSet((*chosen[:-1], Chosen(chosen[-1].name, f"{chosen[-1].version}+{i}")))
        kept.append(_timed(lambda f=feature_set: compose(f, registry, operations), seconds))
        if i in (1, 10, number):
            gc.collect()
            memory[f"memory of {i} distinct feature sets, MB"] = round((process.memory_info().rss - before) / MB, 1)
    assert len({id(k) for k in kept}) == number
    assert not alone.left_out
    return {f"composing core and {len(registry.plugins)} plugins, s": round(statistics.median(seconds), 2), **memory}


def _timed(work: Any, seconds: list[float]) -> Any:
    began = time.perf_counter()
    done = work()
    seconds.append(time.perf_counter() - began)
    return done


if __name__ == "__main__":
    main()
