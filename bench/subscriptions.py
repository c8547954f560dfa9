"""Subscriptions: many receivers, a stream of changes, and whether each is told exactly what he may see, and how soon.

    python -m bench.subscriptions [--receivers 500] [--rate 50] [--seconds 20]

Half of the receivers lose their connection half-way and go on from their last cursor. Prints the latencies from the
answer of a mutation to its event, and exits where an event was lost, told twice or told to the wrong receiver.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from bench import servers
from bench.servers import ROOT, post

QUERY = """subscription($since: String) { customerChanged(since: $since) {
  id changeSetId cursor customer { id name phone owner { displayName } } } }"""
UPDATE = """mutation($id: ID!, $text: String!) {
  customerUpdate(input: {id: $id, description: $text}) { changeSet { id } } }"""
SAMPLE = 200


@dataclass
class Receiver:
    """One subscriber on a socket of its own; `got` has (customer, change set) and when it came."""

    login: str
    token: str
    url: str
    since: str
    got: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    socket: Any = None

    async def follow(self) -> None:
        async with connect(self.url, subprotocols=["graphql-transport-ws"], ping_interval=None) as self.socket:  # type: ignore[list-item]
            init = {"type": "connection_init", "payload": {"authorization": f"Bearer {self.token}"}}
            await self.socket.send(json.dumps(init))
            await self.socket.recv()
            payload = {"query": QUERY, "variables": {"since": self.since}}
            await self.socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            self.ready.set()
            async for message in self.socket:
                now = time.perf_counter()
                told = json.loads(message)
                if told["type"] == "ping":
                    await self.socket.send('{"type": "pong"}')
                    continue
                if told["type"] != "next":
                    sys.exit(f"{self.login} was told {message[:300]!r}")
                event = told["payload"]["data"]["customerChanged"]
                self.got.setdefault((event["id"], event["changeSetId"]), []).append(now)
                self.since = event["cursor"]

    async def stay(self, breaks: asyncio.Event | None) -> None:
        """Follow, and where it is to break off, do so once and go on from the last cursor."""
        task = asyncio.create_task(self.follow())
        if breaks is not None:
            await breaks.wait()
            await self.socket.close()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(random.uniform(0, 2))
            task = asyncio.create_task(self.follow())
        await task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--receivers", type=int, default=500)
    parser.add_argument("--rate", type=int, default=50, help="changes a second")
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as folder:
        server = servers.ours(Path(folder), 2000)
        try:
            server.wait()
            accounts = json.loads((Path(folder) / "demo.json").read_text())["accounts"]
            before = server.cpu()
            found = asyncio.run(measure(options, server.url, accounts))
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
    return found


async def measure(options: argparse.Namespace, url: str, accounts: list[dict[str, str]]) -> dict[str, Any]:
    admin = accounts[0]["token"]
    listed = ask(url, admin, f"{{ customers(first: {SAMPLE}) {{ nodes {{ id }} }} }}")
    ids = [n["id"] for n in listed["nodes"]]
    before = sights(url, accounts, ids)
    since = ask(url, admin, "{ eventsCursor }")
    socket_url = url.replace("http", "ws", 1)
    receivers = [
        Receiver(a["login"], a["token"], socket_url, since)
        for a in (accounts[i % len(accounts)] for i in range(options.receivers))
    ]
    breaks = asyncio.Event()
    tasks = []
    for i, receiver in enumerate(receivers):
        tasks.append(asyncio.create_task(receiver.stay(breaks if i % 2 else None)))
        if i % 25 == 24:
            await asyncio.sleep(0.2)
    await asyncio.gather(*(r.ready.wait() for r in receivers))
    await asyncio.sleep(2)
    written = await _write(options, url, admin, ids, breaks)
    await asyncio.sleep(8)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return _report(options, receivers, (before, sights(url, accounts, ids)), written)


def sights(url: str, accounts: list[dict[str, str]], ids: list[str]) -> dict[str, set[str]]:
    """Which of some customers each account sees, by login: the demo's own jobs may change it at any time."""
    query = "query($ids: [ID!]!) { customers(first: 200, where: {id: {in: $ids}}) { nodes { id } } }"
    return {a["login"]: {n["id"] for n in ask(url, a["token"], query, ids=ids)["nodes"]} for a in accounts}


async def _write(
    options: argparse.Namespace, url: str, token: str, ids: list[str], breaks: asyncio.Event
) -> dict[tuple[str, str], float]:
    """Change customers at the rate asked for; returns when each change was answered, by customer and change set."""
    written: dict[tuple[str, str], float] = {}
    dice = random.Random(7)

    async def change(number: int) -> None:
        id_ = dice.choice(ids)
        done = await asyncio.to_thread(ask, url, token, UPDATE, id=id_, text=f"change {number}")
        written[id_, done["changeSet"]["id"]] = time.perf_counter()

    began = time.perf_counter()
    running = []
    total = options.rate * options.seconds
    for number in range(total):
        await asyncio.sleep(max(0.0, began + number / options.rate - time.perf_counter()))
        running.append(asyncio.create_task(change(number)))
        if number == total // 2:
            breaks.set()
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
    for i, receiver in enumerate(receivers):
        before, after = (s[receiver.login] for s in seen)
        # The demo's own jobs write, too.
        got = {key for key in receiver.got if key in written}
        faults["lost"] += len({key for key in written if key[0] in before & after} - got)
        faults["told to the wrong receiver"] += len(got - {key for key in written if key[0] in before | after})
        faults["told twice"] += sum(len(times) > 1 for times in receiver.got.values())
        if not i % 2:
            late += [times[0] - written[key] for key, times in receiver.got.items() if key in written]
    late.sort()
    found = {
        "receivers": options.receivers,
        "changes a second": options.rate,
        "events": sum(len(r.got) for r in receivers),
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
