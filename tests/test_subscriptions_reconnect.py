"""Subscribers who come back: they are told what they missed, in order, and keep nobody else waiting meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest

from core.database import Database
from core.events import feed
from core.events.hub import Hub
from core.settings import Settings
from tests.acceptance.client import opened
from tests.test_subscriptions import Desk, watching


@pytest.fixture(scope="module")
async def desk(database: Database, settings: Settings) -> AsyncIterator[Desk]:
    async with opened(database, settings) as client:
        yield Desk(client)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Holds up whoever reads what he missed until it is set; whoever is told of the present goes on."""
    found, read = asyncio.Event(), feed.read

    async def held_up(*given: Any) -> feed.Batch:
        if len(given) == 5:
            await found.wait()
        return await read(*given)

    monkeypatch.setattr(feed, "read", held_up)
    return found


async def test_who_catches_up_keeps_nobody_waiting_and_is_told_all_in_order(desk: Desk, gate: asyncio.Event) -> None:
    since = await desk.do("{ eventsCursor }")
    async with watching(desk) as other:
        await desk.customer("Missed")
        assert await other.told() == ("CREATED", "Missed")
        async with watching(desk, since=since) as back:
            await desk.customer("Meanwhile")
            assert await other.told() == ("CREATED", "Meanwhile")
            await back.nothing(0.05)
            gate.set()
            assert [await back.told() for _ in range(2)] == [("CREATED", "Missed"), ("CREATED", "Meanwhile")]
            await desk.customer("Later")
            assert await back.told() == ("CREATED", "Later")
            await back.nothing(0.05)


async def test_who_loses_a_right_while_he_catches_up_is_told_nothing_by_it(desk: Desk, gate: asyncio.Event) -> None:
    await desk.hire("going", "Read-only")
    since = await desk.do("{ eventsCursor }")
    await desk.customer("Not for them any more")
    async with watching(desk, "going", since=since) as back:
        await desk.do(
            "mutation($id: ID!) { userUpdate(input: {id: $id, active: false}) { userErrors { code } } }",
            id=desk.users["going"],
        )
        gate.set()
        assert await back.wire.closed() == 4403
    assert desk.client.services.hubs.open == 0


async def test_a_client_that_goes_while_he_catches_up_leaves_nothing_behind(desk: Desk, gate: asyncio.Event) -> None:
    since = await desk.do("{ eventsCursor }")
    async with watching(desk, since=since):
        assert desk.client.services.hubs.open == 1
    async with asyncio.timeout(5):
        while desk.client.services.hubs.open:
            await asyncio.sleep(0.005)
    gate.set()


async def test_those_who_ask_alike_are_one_wherever_each_began(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    fetch = Hub._fetch

    async def counted(self: Hub, text: str, values: Sequence[Any]) -> Any:
        asked.append(len(orjson.loads(values[0])))
        return await fetch(self, text, values)

    async with AsyncExitStack() as stack:
        watchers = []
        for i in range(4):
            since = await desk.do("{ eventsCursor }")
            watchers.append(await stack.enter_async_context(watching(desk, since=since)))
            await desk.customer(f"After {i}")
            for watcher in watchers:
                assert await watcher.told() == ("CREATED", f"After {i}")
        vip = await stack.enter_async_context(watching(desk, where={"level": {"eq": "VIP"}}))
        monkeypatch.setattr(Hub, "_fetch", counted)
        await desk.customer("Told to all", level="VIP")
        for watcher in [*watchers, vip]:
            assert await watcher.told() == ("CREATED", "Told to all")
    # One statement for each shape of the variables, of one watcher each.
    assert asked == [1, 1]


async def test_when_the_last_one_has_gone_nothing_composed_is_held(desk: Desk) -> None:
    (hub,) = desk.client.services.hubs._hubs.values()
    async with watching(desk) as watcher:
        assert hub._composition is not None
        await desk.customer("Told")
        assert await watcher.told() == ("CREATED", "Told")
    async with asyncio.timeout(5):
        while hub._composition is not None:
            await asyncio.sleep(0.005)
    assert not hub._watches
    async with watching(desk) as watcher:
        await desk.customer("Told again")
        assert await watcher.told() == ("CREATED", "Told again")
