"""Switching plugins under load: how soon a second process shows it, and whether a request is dropped.

    python -m bench.switching [--clients 20]

Two server processes share one database, with half of the clients each. Plugins are switched on through the first in
combinations that neither has composed before, and the schema of the second is looked at until it has changed. Prints
the seconds from the answer of the mutation to the change, and exits where a client was refused.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.endurance import Connection
from bench.servers import ROOT, Server, free_port, ours

LIST = "{ customers(first: 20) { nodes { id name owner { displayName } } } }"
ENABLE = "mutation($name: String!) { done: pluginEnable(input: {name: $name}) { userErrors { message } } }"
DISABLE = "mutation($name: String!) { done: pluginDisable(input: {name: $name}) { userErrors { message } } }"
SHOWN = '{ __type(name: "Query") { fields { name } } }'
#: What is switched, one after the other: no combination comes twice before it is forgotten.
STEPS = ("-tiering", "-groups", "-shared_pool", "-dedupe", "+groups", "+tiering", "-groups", "+shared_pool", "+groups",
         "-tiering", "+dedupe", "-shared_pool", "+tiering")  # fmt: skip


def request(token: str, query: str, **variables: Any) -> bytes:
    body = json.dumps({"query": query, "variables": variables}).encode()
    head = "POST /graphql HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def ask(connection: Connection, token: str, query: str, **variables: Any) -> Any:
    _, body = await connection.ask(request(token, query, **variables))
    answer = json.loads(body)
    if "errors" in answer:
        sys.exit(f"asked in vain: {answer['errors']}")
    return answer["data"]


async def shown(connection: Connection, token: str) -> list[str]:
    return [f["name"] for f in (await ask(connection, token, SHOWN))["__type"]["fields"]]


async def measure(first: Server, second: Server, token: str, clients: int) -> dict[str, Any]:
    answers: Counter[bool] = Counter()
    stopped = asyncio.Event()

    async def client(port: int) -> None:
        connection, question = Connection(port), request(token, LIST)
        while not stopped.is_set():
            status, body = await connection.ask(question)
            answers[status == 200 and b'"errors"' not in body] += 1

    tasks = [asyncio.create_task(client((first, second)[i % 2].port)) for i in range(clients)]
    here, there = Connection(first.port), Connection(second.port)
    late = []
    for step in STEPS:
        await asyncio.sleep(1)
        before = await shown(there, token)
        done = await ask(here, token, ENABLE if step[0] == "+" else DISABLE, name=step[1:])
        if faults := done["done"]["userErrors"]:
            sys.exit(f"not switched: {faults}")
        began = time.perf_counter()
        while await shown(there, token) == before:
            if time.perf_counter() - began > 10:
                sys.exit(f"{step} did not show")
            await asyncio.sleep(0.005)
        late.append(time.perf_counter() - began)
        print(f"{step:<14} {late[-1]:.2f} s", flush=True)
    stopped.set()
    await asyncio.gather(*tasks)
    return {
        "clients": clients,
        "answers": answers[True],
        "refused": answers[False],
        "median s": round(statistics.median(late), 2),
        "most s": round(max(late), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as folder:
        first = ours(Path(folder), 200, pin=False)
        try:
            first.wait()
            command = [str(Path(sys.executable).parent / "crm"), "serve"]
            env = {"CRM_DATA_DIR": folder, "CRM_PORT": str(free_port()), "CRM_LOG_LEVEL": "warning"}
            env |= {"CRM_DEFAULT_WORKSPACE": "default", "CRM_RATE_LIMIT_REQUESTS": "100000000"}
            second = Server("second", command, int(env["CRM_PORT"]), env, pin=False)
            try:
                second.wait()
                accounts = json.loads((Path(folder) / "demo.json").read_text())["accounts"]
                found = asyncio.run(measure(first, second, accounts[0]["token"], options.clients))
            finally:
                second.stop()
        finally:
            first.stop()
    for name, value in found.items():
        print(f"{name:<14}{value:>10}")
    results = ROOT / "results"
    results.mkdir(exist_ok=True)
    (results / "switching.json").write_text(json.dumps(found, indent=1))
    if found["refused"] or found["most s"] > 1:
        sys.exit("a request was refused, or a change took longer than a second to show")


if __name__ == "__main__":
    main()
