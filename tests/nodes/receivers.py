"""Subscribers that go on from their last cursor at another server whenever theirs was killed."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.nodes.callers import SLUG, Fleet
from tests.nodes.processes import Process

QUERY = """subscription($since: String) { customerChanged(since: $since) {
  action id changeSetId cursor customer { name } } }"""
GONE = (OSError, ConnectionClosed, InvalidHandshake, EOFError, httpx.TransportError)


@dataclass
class Receiver:
    """One subscriber, over a WebSocket or by server-sent events; `got` counts what it was told, by (id, change set).

    `refetched` are the cursors at which it was told to fetch everything again, as after a long absence.
    """

    fleet: Fleet
    since: str
    socket: bool
    got: Counter[tuple[str, str]] = field(default_factory=Counter)
    resumed: int = 0
    refetched: list[str] = field(default_factory=list)

    async def follow(self) -> None:
        """Subscribe until cancelled."""
        while True:
            server, began = self.fleet.next(), time.monotonic()
            try:
                await (self._by_socket(server) if self.socket else self._by_stream(server))
                reason = "ended"
            except GONE as error:
                reason = f"{type(error).__name__}: {error}"
            if not server.away(began, time.monotonic()):
                self.fleet.faults.append(f"a subscription to {server.name} broke off: {reason}")
            self.resumed += 1
            await asyncio.sleep(0.05)

    async def _by_socket(self, server: Process) -> None:
        url = f"ws://127.0.0.1:{server.port}/w/{SLUG}/graphql"
        async with connect(url, subprotocols=["graphql-transport-ws"], ping_interval=None) as wire:  # type: ignore[list-item]
            payload = {"authorization": f"Bearer {self.fleet.token}"}
            await wire.send(json.dumps({"type": "connection_init", "payload": payload}))
            await wire.recv()
            asked = {"query": QUERY, "variables": {"since": self.since}}
            await wire.send(json.dumps({"id": "1", "type": "subscribe", "payload": asked}))
            async for text in wire:
                message = json.loads(text)
                if message["type"] == "ping":
                    await wire.send('{"type": "pong"}')
                elif message["type"] == "next":
                    self._take(message["payload"])
                else:
                    self.fleet.faults.append(f"a subscription was told {text[:200]!r}")

    async def _by_stream(self, server: Process) -> None:
        url = f"http://127.0.0.1:{server.port}/w/{SLUG}/graphql"
        headers = {"accept": "text/event-stream", "authorization": f"Bearer {self.fleet.token}"}
        asked = {"query": QUERY, "variables": {"since": self.since}}
        async with (
            httpx.AsyncClient(timeout=httpx.Timeout(10, read=60)) as client,
            client.stream("POST", url, json=asked, headers=headers) as answer,
        ):
            async for line in answer.aiter_lines():
                if line.startswith("data: ") and line != "data: ":
                    self._take(json.loads(line.removeprefix("data: ")))

    def _take(self, payload: dict[str, Any]) -> None:
        if "errors" in payload:
            self.fleet.faults.append(f"a subscription was told {payload['errors']}")
            return
        event = payload["data"]["customerChanged"]
        if event["action"] == "REFETCH":
            self.refetched.append(event["cursor"])
        else:
            self.got[event["id"], event["changeSetId"]] += 1
        self.since = event["cursor"]
