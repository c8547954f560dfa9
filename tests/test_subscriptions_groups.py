"""Subscribers with equal grants are asked for at once, and each is still told of what he alone may see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from core.database import Database
from core.eventcursor import EventCursor
from core.events.hub import Hub
from core.events.sight import Sight
from core.http import socket
from core.settings import Settings
from tests.acceptance.client import opened
from tests.test_http_streams import connected
from tests.test_subscriptions import Desk, watching

PEOPLE = ("an", "binh", "chi", "dung")


@pytest.fixture(scope="module")
async def desk(database: Database, settings: Settings) -> AsyncIterator[Desk]:
    async with opened(database, settings) as client:
        desk = Desk(client)
        for login in PEOPLE:
            await desk.hire(login, "Salesperson")
        await desk.hire("lead", "Manager")
        yield desk


async def test_the_number_of_statements_does_not_grow_with_the_actors(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    fetch = Hub._fetch

    async def counted(self: Hub, text: str, values: Sequence[Any]) -> Any:
        asked.append(text)
        return await fetch(self, text, values)

    async with AsyncExitStack() as stack:
        told = {who: await stack.enter_async_context(watching(desk, who)) for who in PEOPLE}
        vips = {
            who: await stack.enter_async_context(watching(desk, who, where={"name": {"contains": who}}))
            for who in PEOPLE
        }
        ids = {who: await desk.customer(f"of {who}", who) for who in PEOPLE}
        for who in PEOPLE:
            assert await told[who].told() == await vips[who].told() == ("CREATED", f"of {who}")
        monkeypatch.setattr(Hub, "_fetch", counted)
        await desk.change(ids["an"], ownerId=desk.users["binh"])
        assert await told["an"].told() == await vips["an"].told() == ("LEFT", None)
        assert await told["binh"].told() == ("UPDATED", "of an")
        for who in PEOPLE:
            await told[who].nothing(0.1)
            await vips[who].nothing(0.1)
    # One for what each sees and one for what each saw, for each of the two documents' shapes.
    assert len(asked) == 4, asked


@pytest.mark.parametrize(
    ("where", "values", "statements", "told"),
    [
        ({}, {"description": "new"}, 1, ("UPDATED", "Looked at")),
        ({}, {"name": "Other"}, 1, ("UPDATED", "Other")),
        ({"name": {"contains": "looked"}}, {"description": "new"}, 1, ("UPDATED", "Looked at")),
        ({"name": {"contains": "looked"}}, {"name": "Other"}, 2, ("LEFT", None)),
        ({"tags": {"hasAny": ["a"]}}, {"tags": []}, 2, ("LEFT", None)),
        ({"email": {"isNull": True}}, {"email": "a@example.com"}, 2, ("LEFT", None)),
    ],
)
async def test_what_was_is_looked_at_only_where_a_change_may_have_hidden_something(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    where: dict[str, Any],
    values: dict[str, Any],
    statements: int,
    told: tuple[str, str | None],
) -> None:
    asked: list[str] = []
    fetch = Hub._fetch

    async def counted(self: Hub, text: str, values: Sequence[Any]) -> Any:
        asked.append(text)
        return await fetch(self, text, values)

    id_ = await desk.customer("Looked at", "an", tags=["a"])
    async with watching(desk, "an", where=where) as an, watching(desk, "binh", where=where) as binh:
        monkeypatch.setattr(Hub, "_fetch", counted)
        await desk.change(id_, **values)
        assert await an.told() == told
        await binh.nothing(0.05)
    assert len(asked) == statements, asked


async def test_values_of_every_kind_reach_the_condition_of_their_own_subscriber(desk: Desk) -> None:
    now = datetime.now(UTC)
    conditions = [
        ({"createdAt": {"gt": (now - timedelta(hours=1)).isoformat()}}, True),
        ({"createdAt": {"gt": (now + timedelta(hours=1)).isoformat()}}, False),
        ({"createdAt": {"within": {"last": {"count": 2, "unit": "DAY"}}}}, True),
        ({"tags": {"hasAny": ["a'b", 'c"d', "{e,f}"]}}, True),
        ({"tags": {"hasAny": ["other"]}}, False),
        ({"name": {"in": ["Mọi loại", "x"]}}, True),
        ({"name": {"in": []}}, False),
        ({"version": {"between": {"from": 1, "to": 5}}}, True),
        ({"version": {"gt": 2_147_483_647}}, False),
        ({"owner": {"login": {"eq": "an"}}}, True),
        ({"ownerId": {"in": [desk.users["an"], desk.users["binh"]]}}, True),
        ({"ownerId": {"eq": desk.users["binh"]}}, False),
        ({"email": {"isNull": True}}, True),
        ({"not": {"contacts": {"some": {"name": {"contains": "\\%_"}}}}}, True),
        ({"contacts": {"count": {"gte": 1}}}, False),
        ({}, True),
    ]
    async with AsyncExitStack() as stack:
        watchers = []
        for where, matches in conditions:
            watcher = await stack.enter_async_context(watching(desk, where=where))
            watchers.append((where, matches, watcher))
        await desk.customer("Mọi loại", "an", tags=["{e,f}", "g"])
        for where, matches, watcher in watchers:
            if matches:
                assert await watcher.told() == ("CREATED", "Mọi loại"), where
        for _, _, watcher in watchers:
            await watcher.nothing(0.05)


async def test_one_whose_condition_fails_is_told_so_and_the_others_their_events(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Sight.of

    async def fails(self: Sight, watchers: Any, *rest: Any) -> Any:
        if any(w.actor.login == "chi" for w in watchers):
            raise asyncpg.DataError("out of range")
        return await real(self, watchers, *rest)

    monkeypatch.setattr(Sight, "of", fails)
    async with watching(desk, "an") as an, watching(desk, "chi") as chi:
        await desk.customer("Sound", "an")
        assert await an.told() == ("CREATED", "Sound")
        message = await chi.wire.next()
        assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "BAD_USER_INPUT")
        await desk.customer("Sound again", "an")
        assert await an.told() == ("CREATED", "Sound again")


@pytest.mark.parametrize(
    ("snapshot", "expected"), [("999999999999:999999999999:", "REFETCH"), ("9:3:", "BAD_USER_INPUT")]
)
async def test_a_cursor_of_another_time_is_never_taken_for_one_of_ours(
    desk: Desk, snapshot: str, expected: str
) -> None:
    workspace = await desk.client.services.directory.find(None)
    assert workspace is not None
    async with watching(desk, since=EventCursor(snapshot).encode(workspace)) as watcher:
        if expected == "REFETCH":
            assert (await watcher.event())["action"] == expected
            await desk.customer("From here on")
            assert await watcher.told() == ("CREATED", "From here on")
        else:
            message = await watcher.wire.next()
            assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", expected)


async def test_limits_of_sockets_and_subscriptions_are_settings(database: Database, settings: Settings) -> None:
    async with opened(database, settings, max_subscriptions_per_actor=1, max_sockets=2) as client:
        few = Desk(client)
        async with watching(few) as first, watching(few) as second:
            message = await second.wire.next()
            assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "LIMIT_EXCEEDED")
            async with connected(client) as third:
                assert (await third.event())["type"] == "websocket.accept"
                assert await third.closed() == 1013
            await few.customer("Told")
            assert await first.told() == ("CREATED", "Told")


async def test_a_silent_socket_is_kept_open_by_pings(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "ALIVE_SECONDS", 0.05)
    async with watching(desk) as watcher:
        assert await watcher.wire.next() == {"type": "ping"}
        await watcher.wire.send({"type": "pong"})
        assert await watcher.wire.next() == {"type": "ping"}


async def test_who_leaves_a_team_is_told_nothing_more_of_it(desk: Desk) -> None:
    team = (await desk.do('mutation { teamCreate(input: {name: "North"}) { team { id } } }'))["team"]["id"]
    members = """mutation($t: ID!, $u: [ID!]!) {
      teamMembersSet(input: {id: $t, userIds: $u}) { userErrors { code } } }"""
    await desk.do(members, t=team, u=[desk.users["dung"], desk.users["lead"]])
    async with watching(desk, "lead") as lead, watching(desk, "dung") as dung:
        await desk.customer("Team's", "dung")
        assert await lead.told() == await dung.told() == ("CREATED", "Team's")
        await desk.do(members, t=team, u=[desk.users["dung"]])
        await desk.customer("Not the lead's", "dung")
        assert await dung.told() == ("CREATED", "Not the lead's")
        await lead.nothing()


async def test_a_failure_while_rights_are_looked_up_tells_nobody_anything_by_the_old_ones(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failed = Hub._renew_all, []

    async def fails_once(self: Hub) -> None:
        if not failed:
            failed.append(self)
            raise OSError("the database is away")
        await real(self)

    await desk.hire("going", "Read-only")
    async with watching(desk, "going") as watcher:
        monkeypatch.setattr(Hub, "_renew_all", fails_once)
        monkeypatch.setattr("core.events.hub.RETRY_SECONDS", 0.05)
        await desk.do(
            "mutation($id: ID!) { userUpdate(input: {id: $id, active: false}) { userErrors { code } } }",
            id=desk.users["going"],
        )
        await desk.customer("Not for them")
        assert await watcher.wire.closed() == 4403
        assert failed
