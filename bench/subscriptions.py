"""Subscriptions: many receivers, a stream of changes, and whether each is told exactly what he may see, and how soon.

    python -m bench.subscriptions [--receivers 500] [--rate 50] [--seconds 20] [--people 500]

The receivers are the demo's accounts, several times over, and so many people besides, each a salesperson with customers
of his own. Half of them lose their connection half-way and go on from their last cursor. Prints the latencies from the
answer of a mutation to its event, and exits where an event was lost, told twice or told to the wrong receiver.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench import servers
from bench.servers import ROOT, post

QUERY = """subscription($since: String) { customerChanged(since: $since) {
  id changeSetId cursor customer { id name phone owner { displayName } } } }"""
UPDATE = """mutation($id: ID!, $text: String!) {
  customerUpdate(input: {id: $id, description: $text}) { changeSet { id } } }"""
LOGIN = """mutation($login: String!, $password: String!) {
  login(input: {login: $login, password: $password}) { accessToken userErrors { message } } }"""
HIRE = """mutation($login: String!) {
  userCreate(input: {login: $login, displayName: $login}) { user { id } userErrors { message } } }"""
APPOINT = """mutation($id: ID!, $role: ID!) {
  userRolesSet(input: {id: $id, roleIds: [$role]}) { userErrors { message } } }"""
KEY = """mutation($id: ID!) {
  apiKeyCreate(input: {name: "bench", allowed: ["*:*"], userId: $id}) { key userErrors { message } } }"""
GIVE = """mutation($id: ID!, $owner: ID!) {
  customerUpdate(input: {id: $id, ownerId: $owner}) { userErrors { message } } }"""
SAMPLE = 200
TEXT, PING, PONG = 1, 9, 10


class Line(asyncio.Protocol):
    """One WebSocket, read as cheaply as can be: what it is told is kept with the time, and looked at later.

    What is measured is the server; a client that parsed thousands of events a second would keep it waiting.
    """

    def __init__(self, port: int, token: str, since: str) -> None:
        self.told: list[tuple[float, bytes]] = []
        self.closed = False
        self._port = port
        self._token = token
        self._since = since
        self._buffer = bytearray()
        self._upgraded = False

    @classmethod
    async def open(cls, port: int, token: str, since: str) -> Line:
        _, line = await asyncio.get_running_loop().create_connection(lambda: cls(port, token, since), "127.0.0.1", port)
        return line

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(
            b"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n"
            b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
            % (self._port, base64.b64encode(random.randbytes(16)))
        )

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        buffer = self._buffer
        buffer += data
        if not self._upgraded:
            if (end := buffer.find(b"\r\n\r\n")) < 0:
                return
            if b" 101 " not in buffer[:end]:
                sys.exit(f"no WebSocket: {bytes(buffer)!r}")
            self._upgraded = True
            del buffer[: end + 4]
            self._say({"type": "connection_init", "payload": {"authorization": f"Bearer {self._token}"}})
            payload = {"query": QUERY, "variables": {"since": self._since}}
            self._say({"id": "1", "type": "subscribe", "payload": payload})
        while (frame := _frame(buffer)) is not None:
            opcode, message = frame
            if opcode == TEXT:
                self.told.append((now, message))
            elif opcode == PING:
                self._send(PONG, message)

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed = True

    def close(self) -> None:
        self._transport.abort()

    def events(self) -> Iterator[tuple[float, dict[str, Any]]]:
        """The events it was told, and when each came; exits where it was told something else."""
        for at, message in self.told:
            told = json.loads(message)
            if told["type"] == "next":
                yield at, told["payload"]["data"]["customerChanged"]
            elif told["type"] not in ("connection_ack", "ping"):
                sys.exit(f"a receiver was told {message[:300]!r}")

    def cursor(self) -> str | None:
        """Where the last event left off."""
        for _, message in reversed(self.told):
            told = json.loads(message)
            if told["type"] == "next":
                found: str = told["payload"]["data"]["customerChanged"]["cursor"]
                return found
        return None

    def _say(self, message: dict[str, Any]) -> None:
        self._send(TEXT, json.dumps(message).encode())

    def _send(self, opcode: int, message: bytes) -> None:
        # Clients have to mask what they send; a mask of zeros leaves it as it is.
        size = len(message)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self._transport.write(bytes([0x80 | opcode]) + length + bytes(4) + message)


def _frame(buffer: bytearray) -> tuple[int, bytes] | None:
    """Take the next frame from the front of a buffer: its opcode and what it holds; None until it has come whole."""
    if len(buffer) < 2:
        return None
    size, begin = buffer[1], 2
    if size == 126:
        size, begin = int.from_bytes(buffer[2:4], "big"), 4
    elif size == 127:
        size, begin = int.from_bytes(buffer[2:10], "big"), 10
    if len(buffer) < begin + size:
        return None
    found = buffer[0] & 0x0F, bytes(buffer[begin : begin + size])
    del buffer[: begin + size]
    return found


@dataclass
class Receiver:
    """One subscriber. `lines` are his connections one after the other: each goes on where the one before it ended."""

    login: str
    token: str
    port: int
    since: str
    lines: list[Line] = field(default_factory=list)

    async def connect(self) -> None:
        self.lines.append(await Line.open(self.port, self.token, self.since))

    async def come_back(self) -> None:
        """Lose the connection, and go on after the last event that came."""
        self.lines[-1].close()
        self.since = self.lines[-1].cursor() or self.since
        await asyncio.sleep(random.uniform(0, 2))
        await self.connect()

    def got(self) -> dict[tuple[str, str], list[float]]:
        """The times at which he was told of each change, by customer and change set."""
        found: dict[tuple[str, str], list[float]] = {}
        for line in self.lines:
            for at, event in line.events():
                found.setdefault((event["id"], event["changeSetId"]), []).append(at)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--receivers", type=int, default=500)
    parser.add_argument("--rate", type=int, default=50, help="changes a second")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--people", type=int, default=0, help="receivers besides the demo's accounts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as folder:
        server = servers.ours(Path(folder), 2000, pin=False)
        try:
            server.wait()
            accounts = json.loads((Path(folder) / "demo.json").read_text())["accounts"]
            before = server.cpu()
            found = uvloop.run(measure(options, server.url, accounts))
            found["server CPU us per event"] = round((server.cpu() - before) / found["events"] * 1e6, 1)
            print(f"{'server CPU us per event':<30}{found['server CPU us per event']:>12}")
        finally:
            server.stop()
    results = ROOT / "results"
    results.mkdir(exist_ok=True)
    (results / "subscriptions.json").write_text(json.dumps(found, indent=1))


def ask(url: str, token: str, query: str, **variables: Any) -> Any:
    answer = post(url, json.dumps({"query": query, "variables": variables}).encode(), f"Bearer {token}")
    if "errors" in answer:
        sys.exit(f"asked in vain: {answer['errors']}")
    (found,) = answer["data"].values()
    if isinstance(found, dict) and found.get("userErrors"):
        sys.exit(f"asked in vain: {found['userErrors']}")
    return found


async def measure(options: argparse.Namespace, url: str, accounts: list[dict[str, str]]) -> dict[str, Any]:
    admin = accounts[0]["token"]
    listed = ask(url, admin, f"{{ customers(first: {SAMPLE}) {{ nodes {{ id }} }} }}")
    ids = [n["id"] for n in listed["nodes"]]
    accounts = hired(url, accounts[0], ids, options.people) + accounts
    before = sights(url, accounts, ids)
    since = ask(url, admin, "{ eventsCursor }")
    port = urlsplit(url).port or 80
    receivers = [
        Receiver(a["login"], a["token"], port, since)
        for a in (accounts[i % len(accounts)] for i in range(options.receivers))
    ]
    for i, receiver in enumerate(receivers):
        await receiver.connect()
        if i % 25 == 24:
            await asyncio.sleep(0.2)
    await asyncio.sleep(2)
    written = await _write(options, url, admin, ids, receivers[1::2])
    await asyncio.sleep(5)
    if gone := sum(receiver.lines[-1].closed for receiver in receivers):
        sys.exit(f"{gone} receivers were cut off")
    return _report(options, receivers, (before, sights(url, accounts, ids)), written)


def hired(url: str, admin: dict[str, str], ids: list[str], number: int) -> list[dict[str, str]]:
    """So many salespeople with keys, who own the customers among them."""
    # Keys are given by whoever has signed in, not by keys.
    token = ask(url, "", LOGIN, login=admin["login"], password=admin["password"])["accessToken"]
    roles = ask(url, token, '{ roles(where: {name: {eq: "Salesperson"}}) { nodes { id } } }')["nodes"]
    people, made = [], []
    for n in range(number):
        login = f"person{n}"
        id_ = ask(url, token, HIRE, login=login)["user"]["id"]
        ask(url, token, APPOINT, id=id_, role=roles[0]["id"])
        people.append(id_)
        made.append({"login": login, "token": ask(url, token, KEY, id=id_)["key"]})
    for n, id_ in enumerate(ids if people else ()):
        ask(url, token, GIVE, id=id_, owner=people[n % len(people)])
    return made


def sights(url: str, accounts: list[dict[str, str]], ids: list[str]) -> dict[str, set[str]]:
    """Which of some customers each account sees, by login: the demo's own jobs may change it at any time."""
    query = "query($ids: [ID!]!) { customers(first: 200, where: {id: {in: $ids}}) { nodes { id } } }"
    return {a["login"]: {n["id"] for n in ask(url, a["token"], query, ids=ids)["nodes"]} for a in accounts}


async def _write(
    options: argparse.Namespace, url: str, token: str, ids: list[str], breaking: list[Receiver]
) -> dict[tuple[str, str], float]:
    """Change customers at the rate asked for, and half-way have some receivers lose their connections.

    Returns when each change was answered, by customer and change set.
    """
    written: dict[tuple[str, str], float] = {}
    dice = random.Random(7)

    def change(id_: str, number: int) -> None:
        done = ask(url, token, UPDATE, id=id_, text=f"change {number}")
        written[id_, done["changeSet"]["id"]] = time.perf_counter()

    began = time.perf_counter()
    running = []
    total = options.rate * options.seconds
    for number in range(total):
        await asyncio.sleep(max(0.0, began + number / options.rate - time.perf_counter()))
        running.append(asyncio.create_task(asyncio.to_thread(change, dice.choice(ids), number)))
        if number == total // 2:
            running += [asyncio.create_task(receiver.come_back()) for receiver in breaking]
    await asyncio.gather(*running)
    print(f"{total} changes in {time.perf_counter() - began:.1f} s")
    return written


def _report(
    options: argparse.Namespace,
    receivers: list[Receiver],
    seen: tuple[dict[str, set[str]], dict[str, set[str]]],
    written: dict[tuple[str, str], float],
) -> dict[str, Any]:
    faults: Counter[str] = Counter()
    late: list[float] = []
    events = 0
    for i, receiver in enumerate(receivers):
        before, after = (s[receiver.login] for s in seen)
        # The demo's own jobs write, too.
        told = receiver.got()
        got = told.keys() & written.keys()
        faults["lost"] += len({key for key in written if key[0] in before & after} - got)
        faults["told to the wrong receiver"] += len(got - {key for key in written if key[0] in before | after})
        faults["told twice"] += sum(len(times) > 1 for times in told.values())
        if not i % 2:
            late += [times[0] - written[key] for key, times in told.items() if key in written]
        events += len(told)
    late.sort()
    found = {
        "receivers": options.receivers,
        "people": options.people,
        "changes a second": options.rate,
        "events": events,
        "p50 ms": round(late[len(late) // 2] * 1000, 1),
        "p99 ms": round(late[len(late) * 99 // 100] * 1000, 1),
        "most ms": round(late[-1] * 1000, 1),
        **{k: faults[k] for k in ("lost", "told twice", "told to the wrong receiver")},
    }
    for name, value in found.items():
        print(f"{name:<30}{value:>12}")
    if any(faults.values()):
        sys.exit("not everybody was told exactly what he may see")
    return found


if __name__ == "__main__":
    main()
