"""Whether a server stays as it is under 200,000 good and hostile requests: `python -m bench.endurance [--requests N]`.

Its memory after the first fifth, when the caches are full, and its latency before and after are compared. Exits with 1
where the memory left its band of 10 %, an answer was not what it had to be, or the latency has doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench.servers import Server, ours

CONNECTIONS = 16
BAND = 0.10
#: The kinds of request that are answered without errors.
GOOD = {"list", "totals", "rename", "upload", "new document", "new operation name"}
LIST = (
    "query List($n: Int) { customers(first: $n) { totalCount nodes { id code name owner { displayName } "
    "contacts(first: 3) { nodes { name } } } } }"
)
TOTALS = "{ opportunitiesAggregate(groupBy: [{field: STAGE}]) { count groups { key { stage } count sum { amount } } } }"
RENAME = (
    "mutation($id: ID!, $n: String) "
    "{ customerUpdate(input: {id: $id, name: $n}) { customer { id } userErrors { code } } }"
)
ALIASES = "{" + " ".join(f"a{i}: customers {{ totalCount }}" for i in range(100)) + "}"
UPLOAD = "mutation($f: Upload!) { fileUpload(input: {file: $f}) { file { id url } } }"


class Mix:
    """Makes requests: two of three are what a frontend asks, the others what nobody should."""

    def __init__(self, token: str, ids: list[str], seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.ids = ids
        self.headers = f"Host: bench\r\nAuthorization: Bearer {token}\r\n"
        self.kinds: list[tuple[int, str, Callable[[], bytes]]] = [
            (40, "list", lambda: self.post(LIST, n=self.random.randint(1, 30))),
            (15, "totals", lambda: self.post(TOTALS)),
            (8, "rename", lambda: self.post(RENAME, id=self.random.choice(self.ids), n=self.word())),
            (2, "upload", lambda: self.form(self.random.randbytes(2000))),
            (3, "new document", lambda: self.post(f"{{ {self.word()}: customers(first: 1) {{ totalCount }} }}")),
            (3, "new operation name", lambda: self.post(f"query {self.word()} {{ __typename }}")),
            (3, "unknown field", lambda: self.post(f"{{ {self.word()} }}")),
            (3, "bad syntax", lambda: self.post("{ customers(" + self.word())),
            (3, "deep", lambda: self.post("{ customers " + "{ nodes { owner { id " * 60 + "} } }" * 60 + "}")),
            (3, "aliases", lambda: self.post(ALIASES)),
            (2, "doubled fragments", lambda: self.post(doubled(20))),
            (3, "new hash", self.unknown_hash),
            (2, "no JSON", lambda: self.raw(b'{"query": ' + self.random.randbytes(50))),
            (1, "brackets", lambda: self.raw(b"[" * 100_000)),
            (2, "bad token", lambda: self.post(LIST, token=self.word())),
            (2, "forged token", lambda: self.post(LIST, token=f"crm_{self.hex()[:32]}_{self.word()}")),
            (1, "unknown workspace", lambda: self.raw(b"{}", path=f"/w/{self.word()}/graphql")),
            (1, "forged link", self.forged_link),
            (1, "bad form", lambda: self.form(b"x", "query")),
            (1, "wrong variable", lambda: self.post(LIST, n=self.word())),
            (1, "too large", lambda: self.head("POST", "/graphql", "application/json", 50_000_000)),
        ]  # fmt: skip
        self.weights = [kind[0] for kind in self.kinds]

    def next(self) -> tuple[str, bytes]:
        _, name, make = self.random.choices(self.kinds, self.weights)[0]
        return name, make()

    def word(self) -> str:
        return "w" + self.hex()[:16]

    def hex(self) -> str:
        return self.random.randbytes(32).hex()

    def head(self, method: str, path: str, type_: str, length: int, token: str = "") -> bytes:
        headers = f"Host: bench\r\nAuthorization: Bearer {token}\r\n" if token else self.headers
        preflight = "graphql-require-preflight: 1\r\n"
        return (
            f"{method} {path} HTTP/1.1\r\n{headers}{preflight}Content-Type: {type_}\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    def raw(self, body: bytes, path: str = "/graphql", type_: str = "application/json", token: str = "") -> bytes:
        return self.head("POST", path, type_, len(body), token) + body

    def get(self, path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\n{self.headers}\r\n".encode()

    def send(self, body: Any, token: str = "") -> bytes:
        return self.raw(json.dumps(body).encode(), token=token)

    def post(self, query: str, token: str = "", **variables: Any) -> bytes:
        return self.send({"query": query, "variables": variables}, token)

    def unknown_hash(self) -> bytes:
        return self.send({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": self.hex()}}})

    def forged_link(self) -> bytes:
        return self.get(f"/files/default/{self.ids[0]}?expires=9999999999&signature={self.word()}")

    def form(self, file: bytes, place: str = "variables.f") -> bytes:
        parts = (
            ('name="operations"', json.dumps({"query": UPLOAD, "variables": {"f": None}}).encode()),
            ('name="map"', json.dumps({"0": [place]}).encode()),
            ('name="0"; filename="a.bin"', file),
        )
        body = b"".join(
            b"--b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (head.encode(), part) for head, part in parts
        )
        return self.raw(body + b"--b--\r\n", type_="multipart/form-data; boundary=b")


def doubled(levels: int) -> str:
    """A short document in which each fragment spreads the next one twice."""
    fragments = [f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}" for i in range(levels)]
    return " ".join(["{ ...F0 }", *fragments, f"fragment F{levels} on Query {{ __typename }}"])


class Connection:
    """One connection that is kept, and made anew where the server has closed it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        if self.writer is None or self.writer.is_closing():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self.writer.close()
            self.writer = None
        return int(lines[0].split()[1]), body


async def latency(port: int, request: bytes, times: int = 2000) -> list[float]:
    """Milliseconds of one request after the other."""
    connection = Connection(port)
    found = []
    for _ in range(times):
        began = time.perf_counter()
        await connection.ask(request)
        found.append((time.perf_counter() - began) * 1000)
    return sorted(found)


async def load(
    server: Server,
    mix: Mix,
    requests: int,
    outcomes: dict[str, Counter[tuple[int, bool]]],
    sizes: list[tuple[int, float]],
) -> None:
    """Send so many requests by all connections at once; note the server's memory 50 times."""
    process = psutil.Process(server.process.pid)
    done = 0

    async def one(connection: Connection) -> None:
        nonlocal done
        while done < requests:
            done += 1
            if done % (requests // 50) == 0:
                sizes.append((done, process.memory_info().rss / 1e6))
            name, request = mix.next()
            status, body = await connection.ask(request)
            good = status < 300 and b'"errors":' not in body
            outcomes.setdefault(name, Counter())[(status, good)] += 1

    await asyncio.gather(*(one(Connection(server.port)) for _ in range(CONNECTIONS)))


def shown(times: list[float]) -> str:
    return f"p50 {statistics.median(times):.2f} ms, p99 {times[len(times) * 99 // 100]:.2f} ms"


async def measure(server: Server, token: str, requests: int) -> bool:
    first = Mix(token, [])
    _, body = await Connection(server.port).ask(first.post("{ customers(first: 200) { nodes { id } } }"))
    mix = Mix(token, [node["id"] for node in json.loads(body)["data"]["customers"]["nodes"]])
    question = mix.post(LIST, n=20)
    await latency(server.port, question, 500)
    before = await latency(server.port, question)
    outcomes: dict[str, Counter[tuple[int, bool]]] = {}
    sizes: list[tuple[int, float]] = []
    began, cpu = time.perf_counter(), server.cpu()
    await load(server, mix, requests, outcomes, sizes)
    seconds, cpu = time.perf_counter() - began, server.cpu() - cpu
    after = await latency(server.port, question)
    warm = [size for at, size in sizes if at > requests / 5]
    middle = statistics.median(warm)
    spread = max(max(warm) / middle - 1, 1 - min(warm) / middle)
    growth = statistics.mean(warm[-5:]) / statistics.mean(warm[:5]) - 1
    for name, statuses in sorted(outcomes.items()):
        told = (f"{count} with {status}{'' if good else ' and errors'}" for (status, good), count in statuses.items())
        print(f"  {name:20} {', '.join(sorted(told))}")
    print(f"{requests:,} requests in {seconds:.0f} s, {cpu:.0f} s of the server's processor")
    print("memory, MB:", " ".join(f"{size:.0f}" for _, size in sizes))
    print(f"after the first fifth: {middle:.0f} MB +- {spread:.1%}, from its beginning to its end {growth:+.1%}")
    print(f"latency of the list before: {shown(before)}; after: {shown(after)}")
    failed = sum(
        count
        for name, statuses in outcomes.items()
        for (status, good), count in statuses.items()
        if status >= 500 or good != (name in GOOD)
    )
    print(f"answers that were not what they had to be: {failed}")
    return spread <= BAND and not failed and statistics.median(after) < 2 * statistics.median(before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--customers", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crm-endurance-") as folder:
        server = ours(Path(folder), given.customers, pin=False)
        try:
            server.wait()
            accounts = json.loads((Path(folder) / "demo.json").read_text())["accounts"]
            token = next(a["token"] for a in accounts if a["role"] == "admin")
            return 0 if asyncio.run(measure(server, token, given.requests)) else 1
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
