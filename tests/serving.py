"""A demo in a process of its own, and what tests do with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

CRM = Path(sys.executable).with_name("crm")
CUSTOMERS = 1200
PATIENCE = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(**values: Any) -> dict[str, str]:
    """The tests' environment without a developer's settings, but with the server to run on."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CRM_") or k == "CRM_POSTGRES_BIN"}
    return kept | {k: str(v) for k, v in values.items()}


def crm(folder: Path, *arguments: str, given: str = "", **values: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [CRM, *arguments],
        cwd=folder,
        env=environment(**values),
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def servers(folder: Path) -> list[int]:
    """The PostgreSQL servers whose data is in a folder."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if process.info["name"] == "postgres" and f"{folder}/" in command:
            found.append(process.pid)
    return found


@dataclass
class Demo:
    """`crm demo` in a folder."""

    folder: Path
    customers: int = CUSTOMERS
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def file(self) -> Path:
        return self.folder / ".crm" / "demo.json"

    @property
    def output(self) -> str:
        return (self.folder / "out").read_text() + (self.folder / "err").read_text()

    def start(self) -> Demo:
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [CRM, "demo"],
                cwd=self.folder,
                env=environment(PORT=self.port, CUSTOMERS=self.customers),
                stdout=out,
                stderr=err,
            )
        return self

    def until(self, text: str) -> Demo:
        """Wait until it has printed a text."""
        assert self.process is not None
        deadline = time.monotonic() + PATIENCE
        while text not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, f"no {text!r} in: {self.output}"
            time.sleep(0.02)
        return self

    def serve(self) -> Demo:
        return self.start().until("Ctrl-C stops it")

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def account(self, role: str) -> dict[str, str]:
        accounts = json.loads(self.file.read_text())["accounts"]
        return next(a for a in accounts if a["role"] == role)

    def ask(self, query: str, variables: Any = None, role: str = "admin", token: str | None = None) -> Any:
        """The answer to an operation, whatever its HTTP status."""
        body = json.dumps({"query": query, "variables": variables or {}}).encode()
        token = self.account(role)["token"] if token is None else token
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(json.loads(self.file.read_text())["url"], body, headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)
