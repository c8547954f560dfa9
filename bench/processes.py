"""Processes: what a second server process adds, where cores allow.

    python -m bench.processes [--customers N] [--seconds S] [--rounds R]

Puts the same load on one and on two processes of `crm serve` in interleaved rounds, bound to no core. Prints requests
per second, processor ms of the servers per request and the ratio; writes bench/results/processes.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from bench import servers
from bench.facts import bodies, gather
from bench.questions import LIST, POINT
from bench.servers import ROOT, Server, free_port

NUMBERS = (1, 2)
CONNECTIONS = 32


class Serving(Server):
    """`crm serve` with so many processes."""

    def __init__(self, data: Path, number: int) -> None:
        port = free_port()
        env = {"CRM_DATA_DIR": str(data), "CRM_LOG_LEVEL": "warning", "CRM_WORKER_INSIDE": "false"}
        env |= {"CRM_PORT": str(port), "CRM_RATE_LIMIT_REQUESTS": "0"}
        command = [str(Path(sys.executable).parent / "crm"), "serve", "--workers", str(number)]
        super().__init__(f"{number}", command, port, env, pin=False)

    def cpu(self) -> float:
        of = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        return sum(sum(p.cpu_times()[:2]) for p in of if p.name() != "postgres")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    servers.need_wrk()
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as folder:
        rows = run(Path(folder), options)
    (ROOT / "results").mkdir(exist_ok=True)
    (ROOT / "results" / "processes.json").write_text(json.dumps({"cores": os.cpu_count(), "rows": rows}, indent=1))


def answering(server: Server, authorization: str) -> None:
    """Wait until its processes answer: the port is open before they are."""
    server.wait()
    for _ in range(300):
        try:
            servers.post(server.url, b'{"query": "{ __typename }"}', authorization)
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"{server.name} does not answer: {Path(server.log.name).read_text()[-2000:]}")


def run(data: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    demo = servers.ours(data, options.customers)
    started = [demo]
    rows = []
    try:
        demo.wait()
        _, _, (facts, *_) = asyncio.run(gather(data))
        started += [Serving(data, number) for number in NUMBERS]
        for server in started[1:]:
            answering(server, facts.authorization)
        print(f"{os.cpu_count()} cores for the servers, PostgreSQL and the load together; {CONNECTIONS} connections")
        print(f"{'question':<34}{'one':>9}{'two':>9}{'ratio':>7}{'one, ms':>9}{'two, ms':>9}")
        for question in (POINT, LIST):
            asked = bodies(question, facts, "ours")
            found: dict[str, list[servers.Sample]] = {"1": [], "2": []}
            for round_ in range(options.rounds + 1):
                for server in started[1:] if round_ % 2 else reversed(started[1:]):
                    sample = servers.load(server, asked, facts.authorization, CONNECTIONS, options.seconds, pin=False)
                    if round_:
                        found[server.name].append(sample)
            one, two = (statistics.median(s.rps for s in found[n]) for n in ("1", "2"))
            ratio = statistics.median(b.rps / a.rps for a, b in zip(found["1"], found["2"], strict=True))
            cpu = [statistics.median(s.cpu_ms for s in found[n]) for n in ("1", "2")]
            print(f"{question.title:<34}{one:>9.0f}{two:>9.0f}{ratio:>7.2f}{cpu[0]:>9.3f}{cpu[1]:>9.3f}")
            rows.append({"question": question.name, "one": one, "two": two, "ratio": ratio, "cpu_ms": cpu})
    finally:
        for server in reversed(started):
            server.stop()
    return rows


if __name__ == "__main__":
    main()
