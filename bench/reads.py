"""Reads: our server against the same SQL written by hand, in interleaved rounds, answers compared first.

    python -m bench.reads [--customers N] [--seconds S] [--rounds R] [--smoke]

Needs `wrk` on the PATH (a Debian package), except with --smoke, which only compares answers. Prints a table and
writes bench/results/reads.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.questions import QUESTIONS, Question
from core.database import Database
from core.settings import Settings
from core.workspaces import Workspaces

ROOT = Path(__file__).parent
CONNECTIONS = (1, 16)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


class Server:
    """A server process, pinned to the first core, and its address."""

    def __init__(self, name: str, command: list[str], port: int, env: dict[str, str]) -> None:
        pin = ["taskset", "-c", "0"] if os.cpu_count() != 1 and shutil.which("taskset") else []
        self.name = name
        self.url = f"http://127.0.0.1:{port}/graphql"
        self.log = tempfile.NamedTemporaryFile("w+", suffix=f".{name}.log")  # noqa: SIM115 - lives as long as we do
        self.process = subprocess.Popen(
            pin + command, env={**os.environ, **env}, stdout=self.log, stderr=subprocess.STDOUT
        )

    def wait(self, port: int, seconds: float = 900) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                sys.exit(f"{self.name} ended: {Path(self.log.name).read_text()[-2000:]}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.2)
            else:
                return
        sys.exit(f"{self.name} did not start")

    def cpu(self) -> float:
        """The processor seconds that the process has used, which do not depend on what else the machine does."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def post(url: str, body: bytes, authorization: str) -> Any:
    headers = {"content-type": "application/json", "authorization": authorization}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as response:
        return json.loads(response.read())


async def facts(settings: Settings) -> tuple[str, str, list[str], list[str]]:
    """Where the limit connects, and ids to ask for."""
    database = await Database.open(settings)
    try:
        workspace = await Workspaces(database).get("default")
        async with database.connection(workspace) as c:
            ids = [str(r[0]) for r in await c.fetch("select id from customer where deleted_at is null limit 2000")]
            owners = [
                str(r[0])
                for r in await c.fetch("select owner_id from customer where owner_id is not null group by 1 limit 20")
            ]
        return database.dsn, workspace.schema, ids, owners
    finally:
        await database.close()


def bodies(question: Question, ids: list[str], owners: list[str]) -> list[bytes]:
    values: dict[str, list[dict[str, Any]]] = {
        "q1": [{"id": i} for i in ids],
        "q2": [{"first": 50}],
        "q3": [{"owner": o} for o in owners],
    }
    return [
        json.dumps({"query": question.graphql, "operationName": question.name.upper(), "variables": v}).encode()
        for v in values[question.name]
    ]


def measure(
    server: Server, lines: list[bytes], authorization: str, connections: int, seconds: int
) -> tuple[float, float]:
    """Requests per second, and processor milliseconds of the server per request."""
    with tempfile.TemporaryDirectory() as folder:
        asked, result = Path(folder) / "bodies", Path(folder) / "result"
        asked.write_bytes(b"\n".join(lines) + b"\n")
        env = {"BODIES": str(asked), "RESULT": str(result), "AUTHORIZATION": authorization}
        pin = ["taskset", "-c", "1"] if (os.cpu_count() or 1) > 1 else []
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(ROOT / "load.lua")]
        before = server.cpu()
        subprocess.run([*pin, *command, server.url], env={**os.environ, **env}, check=True, capture_output=True)
        used = server.cpu() - before
        found = json.loads(result.read_text())
    if found["errors"]:
        sys.exit(f"{server.name} answered {found['errors']} errors")
    return found["requests"] / (found["micros"] / 1e6), used / found["requests"] * 1000


def compare(ours: Server, limit: Server, asked: dict[str, list[bytes]], authorization: str) -> None:
    """Both must answer the same, else there is nothing to measure."""
    for question in QUESTIONS:
        for body in asked[question.name][:25]:
            mine, theirs = (post(s.url, body, authorization)["data"] for s in (ours, limit))
            if mine != theirs:
                shown = "\n".join(json.dumps(answer)[:1500] for answer in (mine, theirs))
                sys.exit(f"{question.name}: the answers differ:\n{shown}")
    print(f"answers equal for {len(QUESTIONS)} questions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", default="", help="a data folder to keep; a temporary one when left out")
    parser.add_argument("--smoke", action="store_true", help="compare the answers and measure nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as temporary:
        run(options, Path(options.data or temporary))


def run(options: argparse.Namespace, data: Path) -> None:
    ports = free_port(), free_port()
    env = {"CRM_DATA_DIR": str(data), "PORT": str(ports[0]), "CUSTOMERS": str(options.customers)}
    crm = str(Path(sys.executable).parent / "crm")
    ours = Server("ours", [crm, "demo"], ports[0], env | {"CRM_LOG_LEVEL": "warning"})
    limit = None
    try:
        ours.wait(ports[0])
        account = json.loads((data / "demo.json").read_text())["accounts"][0]
        dsn, schema, ids, owners = asyncio.run(facts(Settings.load(data_dir=data)))
        command = [sys.executable, "-m", "uvicorn", "bench.limit:app", "--port", str(ports[1]), "--log-level", "error"]
        command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        limit = Server("limit", command, ports[1], {"LIMIT_DSN": dsn, "LIMIT_SCHEMA": schema})
        limit.wait(ports[1])
        asked = {q.name: bodies(q, ids, owners) for q in QUESTIONS}
        authorization = f"Bearer {account['token']}"
        compare(ours, limit, asked, authorization)
        if not options.smoke:
            report(options, ours, limit, asked, authorization)
    finally:
        for server in (limit, ours):
            if server is not None:
                server.stop()


def report(
    options: argparse.Namespace, ours: Server, limit: Server, asked: dict[str, list[bytes]], authorization: str
) -> None:
    if not shutil.which("wrk"):
        sys.exit("wrk is needed to measure: apt-get install wrk")
    found: dict[tuple[str, int, str], list[tuple[float, float]]] = {}
    for server in (ours, limit):
        for question in QUESTIONS:
            measure(server, asked[question.name], authorization, 16, 1)
    for round_ in range(options.rounds):
        for question in QUESTIONS:
            for connections in CONNECTIONS:
                for server in (ours, limit) if round_ % 2 else (limit, ours):
                    sample = measure(server, asked[question.name], authorization, connections, options.seconds)
                    found.setdefault((question.name, connections, server.name), []).append(sample)
    rows = []
    print(f"{'':<68}{'requests/s':>18}{'':>7}{'server CPU ms':>16}")
    print(f"{'question':<62}{'conns':>6}{'limit':>9}{'ours':>9}{'ratio':>7}{'limit':>8}{'ours':>8}")
    for question in QUESTIONS:
        for connections in CONNECTIONS:
            mine, theirs = (found[question.name, connections, n] for n in ("ours", "limit"))
            ratio = statistics.median(a[0] / b[0] for a, b in zip(mine, theirs, strict=True))
            row: dict[str, Any] = {"question": question.name, "connections": connections, "ratio": round(ratio, 3)}
            for name, samples in (("ours", mine), ("limit", theirs)):
                row[name] = round(statistics.median(s[0] for s in samples))
                row[f"{name}_cpu_ms"] = round(statistics.median(s[1] for s in samples), 3)
            rows.append(row)
            title = f"{question.name} {question.title}"
            print(
                f"{title:<62}{connections:>6}{row['limit']:>9}{row['ours']:>9}{ratio:>7.2f}"
                f"{row['limit_cpu_ms']:>8.3f}{row['ours_cpu_ms']:>8.3f}"
            )
    results = ROOT / "results"
    results.mkdir(exist_ok=True)
    (results / "reads.json").write_text(json.dumps({"customers": options.customers, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
