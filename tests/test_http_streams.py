"""Operations over WebSocket and as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from core.database import Database
from core.errors import DatabaseError
from core.events.subscription import Subscription
from core.http import events, socket
from core.settings import Settings
from tests.acceptance.client import Client, code, opened

COUNT = "query Count { customers { totalCount } }"
DATA = {"customers": {"totalCount": 0}}
CORS = "https://app.example"


@pytest.fixture(scope="module")
async def client(database: Database, settings: Settings) -> AsyncIterator[Client]:
    async with opened(database, settings, cors_origins=CORS) as opened_client:
        yield opened_client


class Wire:
    """The client's end of a socket; `closed` is the code it was closed with."""

    def __init__(self) -> None:
        self.to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.from_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(self, message: Any) -> None:
        text = message if isinstance(message, str) else orjson.dumps(message).decode()
        await self.to_server.put({"type": "websocket.receive", "text": text})

    async def event(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            return await self.from_server.get()

    async def next(self) -> Any:
        event = await self.event()
        assert event["type"] == "websocket.send", event
        return orjson.loads(event["text"])

    async def closed(self) -> int:
        event = await self.event()
        assert event["type"] == "websocket.close", event
        code_: int = event["code"]
        return code_


@asynccontextmanager
async def connected(
    client: Client, path: str = "/graphql", protocols: tuple[str, ...] = (socket.PROTOCOL,), **headers: str
) -> AsyncIterator[Wire]:
    wire = Wire()
    given = {"host": "crm.example", **headers}
    scope = {
        "type": "websocket",
        "path": path,
        "headers": [(k.encode(), v.encode()) for k, v in given.items()],
        "subprotocols": list(protocols),
        "client": ("127.0.0.1", 1),
    }
    await wire.to_server.put({"type": "websocket.connect"})
    task = asyncio.create_task(client.application(scope, wire.to_server.get, wire.from_server.put))
    try:
        yield wire
    finally:
        await wire.to_server.put({"type": "websocket.disconnect"})
        async with asyncio.timeout(5):
            await task


async def greet(client: Client, wire: Wire) -> None:
    assert (await wire.event()) == {"type": "websocket.accept", "subprotocol": socket.PROTOCOL}
    await wire.send({"type": "connection_init", "payload": {"authorization": f"Bearer {client.token}"}})
    assert await wire.next() == {"type": "connection_ack"}


def subscribe(id_: str, query: str, **members: Any) -> dict[str, Any]:
    return {"id": id_, "type": "subscribe", "payload": {"query": query, **members}}


async def test_a_query_over_a_socket(client: Client) -> None:
    async with connected(client) as wire:
        await greet(client, wire)
        await wire.send(subscribe("1", COUNT))
        answer = await wire.next()
        assert (answer["id"], answer["type"], answer["payload"]["data"]) == ("1", "next", DATA)
        assert await wire.next() == {"id": "1", "type": "complete"}
        await wire.send({"type": "ping"})
        assert await wire.next() == {"type": "pong"}


async def test_the_limits_and_codes_are_those_of_http(client: Client) -> None:
    async with connected(client) as wire:
        await greet(client, wire)
        for query, expected in [
            ("{", "GRAPHQL_PARSE_FAILED"),
            ("{ noSuchField }", "GRAPHQL_VALIDATION_FAILED"),
            ("{" + "customers { nodes { owner { " * 20 + "id" + "} } }" * 20 + "}", "LIMIT_EXCEEDED"),
            ("query($n: Int!) { customers(first: $n) { totalCount } }", "BAD_USER_INPUT"),
        ]:
            await wire.send(subscribe("1", query))
            answer = await wire.next()
            assert (answer["type"], answer["payload"][0]["extensions"]["code"]) == ("error", expected)
        await wire.send({"id": "1", "type": "subscribe", "payload": {"query": 5}})
        assert (await wire.next())["payload"][0]["extensions"]["code"] == "BAD_REQUEST"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("{oops", 4400),
        ('"text"', 4400),
        ("[]", 4400),
        ('{"type": 5}', 4400),
        ('{"type": "nonsense"}', 4400),
        ({"type": "connection_init"}, 4429),
        ({"type": "subscribe", "payload": {"query": COUNT}}, 4400),
        ({"id": "1", "type": "subscribe", "payload": []}, 4400),
        (" " * 2_000_001, 1009),
    ],
)
async def test_what_breaks_the_protocol_ends_the_socket(client: Client, message: Any, expected: int) -> None:
    async with connected(client) as wire:
        await greet(client, wire)
        await wire.send(message)
        assert await wire.closed() == expected


async def test_an_id_in_use_ends_the_socket(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **_more: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(socket.Runner, "run", never)
    async with connected(client) as wire:
        await greet(client, wire)
        await wire.send(subscribe("1", COUNT))
        await wire.send({"id": "1", "type": "complete"})
        await wire.send(subscribe("1", COUNT))
        await wire.send(subscribe("1", COUNT))
        assert await wire.closed() == 4409


async def test_operations_at_once_are_limited(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **_more: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(socket.Runner, "run", never)
    few = client.services.settings.model_copy(update={"max_operations_per_socket": 2})
    monkeypatch.setattr(client.services, "settings", few)
    async with connected(client) as wire:
        await greet(client, wire)
        for id_ in "abc":
            await wire.send(subscribe(id_, COUNT))
        answer = await wire.next()
        assert (answer["id"], answer["payload"][0]["extensions"]["code"]) == ("c", "LIMIT_EXCEEDED")


async def test_asking_before_the_greeting_is_unauthorised(client: Client) -> None:
    async with connected(client) as wire:
        await wire.event()
        await wire.send(subscribe("1", COUNT))
        assert await wire.closed() == 4401


@pytest.mark.parametrize("payload", [None, {}, {"authorization": "Bearer nope"}, {"authorization": 5}, "x"])
async def test_a_greeting_without_a_good_token_is_forbidden(client: Client, payload: Any) -> None:
    async with connected(client) as wire:
        await wire.event()
        await wire.send({"type": "connection_init", "payload": payload})
        assert await wire.closed() == 4403


async def test_the_token_may_come_by_header(client: Client) -> None:
    async with connected(client, authorization=f"Bearer {client.token}") as wire:
        await wire.event()
        await wire.send({"type": "connection_init"})
        assert await wire.next() == {"type": "connection_ack"}


async def test_silence_after_the_handshake_ends_the_socket(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "INIT_SECONDS", 0.05)
    async with connected(client) as wire:
        await wire.event()
        assert await wire.closed() == 4408


async def test_the_end_of_the_token_is_the_end_of_the_socket(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator = client.services.authenticator
    actor = await authenticator.actor(await found(client), client.token)

    async def soon(*_: Any) -> Any:
        return replace(actor, expires_at=datetime.now(UTC) + timedelta(seconds=0.1))

    monkeypatch.setattr(authenticator, "actor", soon)
    async with connected(client) as wire:
        await greet(client, wire)
        assert await wire.closed() == 4403


async def found(client: Client) -> Any:
    return await client.services.directory.find(None)


async def test_sockets_of_foreign_pages_hosts_and_protocols_are_refused(client: Client) -> None:
    for origin, served in [
        ("https://evil.example", False),
        ("null", False),
        (CORS, True),
        ("http://crm.example", True),
    ]:
        async with connected(client, origin=origin) as wire:
            assert ((await wire.event())["type"] == "websocket.accept") is served, origin
    async with connected(client, "/w/nowhere/graphql") as wire:
        assert await wire.closed() == 4403
    async with connected(client, protocols=("graphql-ws",)) as wire:
        assert (await wire.event())["type"] == "websocket.accept"
        assert await wire.closed() == 4406


async def test_a_query_as_an_event_stream(client: Client) -> None:
    response = await client.post(COUNT, headers={"accept": "text/event-stream", "accept-encoding": "gzip"})
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "content-encoding" not in response.headers
    first, second, rest = response.text.split("\n\n")
    name, data = first.split("\n")
    assert (name, orjson.loads(data.removeprefix("data: "))["data"]) == ("event: next", DATA)
    assert (second, rest) == ("event: complete\ndata: ", "")


async def test_lists_have_line_breaks_that_no_event_has(client: Client) -> None:
    query = "{ roles { nodes { name } } }"
    plain = await client.post(query)
    assert len(plain.json()["data"]["roles"]["nodes"]) > 1
    streamed = await client.post(query, headers={"accept": "text/event-stream"})
    assert [line.partition(":")[0] for line in streamed.text.split("\n") if line] == ["event", "data", "event", "data"]


async def test_a_refused_stream_is_a_plain_answer(client: Client) -> None:
    response = await client.post("{ nope }", headers={"accept": "text/event-stream"})
    assert (response.status_code, code(response)) == (400, "GRAPHQL_VALIDATION_FAILED")


async def test_a_client_that_takes_nothing_any_more_is_let_go(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "ALIVE_SECONDS", 0.05)
    stalled = asyncio.Event()

    async def send(message: Any) -> None:
        if stalled.is_set():
            await asyncio.Event().wait()
        await wire.from_server.put(message)

    wire = Wire()
    scope = {
        "type": "websocket",
        "path": "/graphql",
        "headers": [(b"host", b"crm.example")],
        "subprotocols": [socket.PROTOCOL],
        "client": ("127.0.0.1", 1),
    }
    await wire.to_server.put({"type": "websocket.connect"})
    task = asyncio.create_task(client.application(scope, wire.to_server.get, send))
    await greet(client, wire)
    await wire.send(subscribe("1", "subscription { customerChanged { id } }"))
    async with asyncio.timeout(5):
        while not client.services.hubs.open:
            await asyncio.sleep(0.005)
        stalled.set()
        await task
        while client.services.hubs.open:
            await asyncio.sleep(0.005)


async def test_a_stream_that_takes_nothing_any_more_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "ALIVE_SECONDS", 0.05)
    subscription: Any = Subscription(None, None, None)  # type: ignore[arg-type]
    silent = asyncio.Event()
    async with asyncio.timeout(5):
        await events.stream(subscription, silent.wait, lambda _: silent.wait(), None)


@pytest.mark.parametrize(("failure", "expected"), [(DatabaseError("away"), 1013), (RuntimeError("a fault"), 1011)])
async def test_a_fault_of_ours_closes_the_socket_with_its_code(
    client: Client, monkeypatch: pytest.MonkeyPatch, failure: Exception, expected: int
) -> None:
    async def fails(*_: Any) -> Any:
        raise failure

    monkeypatch.setattr(client.services.authenticator, "actor", fails)
    async with connected(client) as wire:
        await wire.event()
        await wire.send({"type": "connection_init"})
        event = await wire.event()
        assert (event["type"], event["code"]) == ("websocket.close", expected)
        assert "a fault" not in event["reason"]
