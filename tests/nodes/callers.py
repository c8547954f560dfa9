"""Clients that ask all servers in turn, and ask another where one was killed; what they were told is kept."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.nodes.processes import Process

SLUG = "nodes"
#: So many jobs are asked for at once, each of so many records, that both workers have some to do.
JOBS, JOB_RECORDS = 4, 150

FIND = """query($id: ID!, $words: String!) {
  customer(id: $id) { id name }
  customers(search: $words, first: 20) { totalCount nodes { id name owner { displayName } } } }"""
CREATE = """mutation($input: CustomerCreateInput!, $key: String!) {
  customerCreate(input: $input, idempotencyKey: $key) { customer { id name } changeSet { id } userErrors { code } } }"""
UPDATE = """mutation($input: CustomerUpdateInput!, $key: String!) {
  customerUpdate(input: $input, idempotencyKey: $key) { customer { id } changeSet { id } userErrors { code } } }"""
MANY = """mutation($records: [CustomerCreateInput!]!, $key: String!) {
  customersBulkCreate(input: {records: $records}, idempotencyKey: $key) { job { id } userErrors { code } } }"""


@dataclass
class Fleet:
    """The servers, as a balancer in front of them sees them: one after the other, the next where one is away.

    `faults` are answers and broken connections that no killed server explains.
    """

    servers: list[Process]
    token: str
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def __post_init__(self) -> None:
        self._turn = itertools.cycle(self.servers)
        self._client = httpx.AsyncClient(timeout=60, headers={"authorization": f"Bearer {self.token}"})

    def next(self) -> Process:
        return next(self._turn)

    async def ask(self, query: str, **variables: Any) -> Any:
        """The data of an operation's answer. Sent to another server as often as one was killed on the way."""
        first = time.monotonic()
        while True:
            server, began = self.next(), time.monotonic()
            url = f"http://127.0.0.1:{server.port}/w/{SLUG}/graphql"
            try:
                answer = await self._client.post(url, json={"query": query, "variables": variables})
            except httpx.TransportError as error:
                self.counts["broken off by a kill"] += not isinstance(error, httpx.ConnectError)
                if not server.away(began, time.monotonic()):
                    self.faults.append(f"{server.name}: {type(error).__name__} {error} after {query[:40]!r}")
                await asyncio.sleep(0.02)
                continue
            self.slowest = max(self.slowest, time.monotonic() - first)
            found = answer.json()
            if answer.status_code != 200 or "errors" in found:
                self.faults.append(f"{server.name}: {answer.status_code} {answer.text[:200]}")
                return None
            return found["data"]

    async def close(self) -> None:
        await self._client.aclose()


@dataclass
class Caller:
    """One client in a loop; `created` and `jobs` are what it was told was done, by its key."""

    number: int
    fleet: Fleet
    created: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)

    async def write(self, stop: asyncio.Event, pause: float) -> None:
        """Create customers and change them, each time with a key, so that it may be sent again; look them up."""
        for n in itertools.count():
            if stop.is_set():
                return
            key = f"{self.number}-{n}"
            given = {"name": f"Client {self.number} {n}", "kind": "PERSON", "source": key}
            if (made := await self._mutate(CREATE, f"create {key}", given)) is not None:
                self.created[key] = made["customer"]
                await self._find(made["customer"])
                change = {"id": made["customer"]["id"], "level": "seen"}
                if (done := await self._mutate(UPDATE, f"change {key}", change)) is not None:
                    self.changed[key] = done["changeSet"]["id"]
            await asyncio.sleep(pause)

    async def start_jobs(self, stop: asyncio.Event, pause: float) -> None:
        """Ask for bulk changes that are done as jobs and that would double if they were done twice."""
        for n in itertools.count():
            if stop.is_set():
                return
            await asyncio.gather(*(self._start_job(f"job {n}-{i}") for i in range(JOBS)))
            await asyncio.sleep(pause)

    async def _start_job(self, key: str) -> None:
        records = [{"name": f"{key} {i}", "kind": "PERSON", "source": key} for i in range(JOB_RECORDS)]
        data = await self.fleet.ask(MANY, records=records, key=key)
        self.fleet.counts["jobs asked for"] += 1
        if data is not None:
            self.jobs[key] = data["customersBulkCreate"]["job"]["id"]

    async def _mutate(self, mutation: str, key: str, given: dict[str, Any]) -> Any:
        data = await self.fleet.ask(mutation, input=given, key=key)
        self.fleet.counts["mutations"] += 1
        if data is None:
            return None
        (done,) = data.values()
        if done["userErrors"]:
            self.fleet.faults.append(f"{key}: {done['userErrors']}")
            return None
        return done

    async def _find(self, customer: dict[str, Any]) -> None:
        """What one server has answered to be there, the next one finds."""
        data = await self.fleet.ask(FIND, id=customer["id"], words=customer["name"])
        self.fleet.counts["queries"] += 1
        if data is not None and (data["customer"] != customer or data["customers"]["totalCount"] < 1):
            self.fleet.faults.append(f"{customer} was answered and is not found: {data}")
