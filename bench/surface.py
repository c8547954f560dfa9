"""The surface: what a read pays for everything that stands between the internet and the core.

    python -m bench.surface [--customers N] [--seconds S] [--rounds R] [--data FOLDER]

The same questions to the core alone (`bench.bare`) and to `crm serve` with all of its surface on: the access log, rate
limits of requests and of cost, limits of documents, allowed hosts, CORS, metrics. Interleaved rounds at 1 and 16
connections; prints medians and ratios, writes bench/results/surface.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import servers
from bench.facts import bodies, gather
from bench.questions import DEEP, LIST, POINT
from bench.servers import ROOT, Sample, Server, free_port

CONNECTIONS = (1, 16)
#: Everything that a deployment can switch on, with limits that one actor who puts on all the load does not meet.
ALL_ON = {
    "CRM_LOG_LEVEL": "info",
    "CRM_LOG_FORMAT": "json",
    "CRM_RATE_LIMIT_REQUESTS": "100000000",
    "CRM_RATE_LIMIT_COST": "1000000000",
    "CRM_ALLOWED_HOSTS": "127.0.0.1,*.example.com",
    "CRM_CORS_ORIGINS": "https://app.example.com",
    "CRM_KEEP_ANSWERS": "true",
    "CRM_WORKER_INSIDE": "false",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", default="", help="a data folder to keep; a temporary one when left out")
    options = parser.parse_args()
    servers.need_wrk()
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as temporary:
        rows = run(Path(options.data or temporary), options)
    (ROOT / "results").mkdir(exist_ok=True)
    (ROOT / "results" / "surface.json").write_text(json.dumps({"customers": options.customers, "rows": rows}, indent=1))


def bare(data: Path) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.bare:app", "--port", str(port), "--log-level", "error"]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--no-server-header"]
    env = {"CRM_DATA_DIR": str(data), "CRM_LOG_LEVEL": "warning", "CRM_WORKER_INSIDE": "false"}
    return Server("core", command, port, env)


def run(data: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    demo = servers.ours(data, options.customers)
    core = None
    try:
        demo.wait()
        _, _, (facts, *_) = asyncio.run(gather(data))
        core = bare(data)
        core.wait()
        with servers.serving(data, **ALL_ON) as whole:
            found: dict[tuple[str, int, str], list[Sample]] = {}
            asked = {q.name: bodies(q, facts, "ours") for q in (POINT, LIST, DEEP)}
            for name, texts in asked.items():
                one, other = (servers.post(s.url, texts[0], facts.authorization) for s in (core, whole))
                if one["data"] != other["data"] or not one["data"]:
                    sys.exit(f"{name}: the core and the whole server answer differently")
            for round_ in range(options.rounds + 1):
                for name, texts in asked.items():
                    for connections in CONNECTIONS:
                        for server in (core, whole) if round_ % 2 else (whole, core):
                            sample = servers.load(server, texts, facts.authorization, connections, options.seconds)
                            if round_:
                                found.setdefault((name, connections, server.name), []).append(sample)
    finally:
        if core is not None:
            core.stop()
        demo.stop()
    print(f"{'question':<10}{'conns':>6}{'core':>9}{'whole':>9}{'ratio':>7}{'core, ms':>10}{'whole, ms':>10}")
    return [row(q.name, c, found) for q in (POINT, LIST, DEEP) for c in CONNECTIONS]


def row(name: str, connections: int, found: dict[tuple[str, int, str], list[Sample]]) -> dict[str, Any]:
    """One line of the table: the ratio is the median of the rounds' ratios; ms are the processor's per request."""
    core, whole = found[name, connections, "core"], found[name, connections, "ours"]
    ratio = statistics.median(b.rps / a.rps for a, b in zip(core, whole, strict=True))
    rps = [statistics.median(s.rps for s in samples) for samples in (core, whole)]
    cpu = [statistics.median(s.cpu_ms for s in samples) for samples in (core, whole)]
    print(f"{name:<10}{connections:>6}{rps[0]:>9.0f}{rps[1]:>9.0f}{ratio:>7.2f}{cpu[0]:>10.3f}{cpu[1]:>10.3f}")
    return {"question": name, "connections": connections, "rps": rps, "ratio": round(ratio, 3), "cpu_ms": cpu}


if __name__ == "__main__":
    main()
