"""How much an actor may ask for: headers, refusals on every transport, and one bucket for all processes."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.auth import ANONYMOUS
from core.context import Actor, ActorKind
from core.database import Database
from core.errors import TooManyRequests
from core.grants import SYSTEM
from core.http import allowance
from core.http.allowance import SLICES, Allowance, Bucket, Level, Policy, Quota
from core.settings import Settings
from tests.acceptance.client import Client, code, opened
from tests.test_http_streams import connected, greet, subscribe

QUERY = "{ __typename }"


@asynccontextmanager
async def limited(database: Database, settings: Settings, **limits: int) -> AsyncIterator[Client]:
    async with opened(database, settings, rate_limit_seconds=3600, **limits) as client:
        yield client


def buckets(database: Database, settings: Settings, **limits: int) -> Allowance:
    return Allowance(database, Settings.load(data_dir=settings.data_dir, **limits))


def somebody() -> Actor:
    return Actor(ActorKind.USER, SYSTEM, uuid4())


def taken(of: Allowance, actor: Actor, times: int) -> int:
    """How many of so many requests are let in."""
    done = 0
    for _ in range(times):
        try:
            of.take(actor, "")
        except TooManyRequests:
            continue
        done += 1
    return done


async def settled(*those: Allowance) -> None:
    while any(a._tasks for a in those):
        await asyncio.gather(*(task for a in those for task in a._tasks))


async def test_every_answer_says_what_is_left(database: Database, settings: Settings) -> None:
    async with limited(database, settings, rate_limit_requests=100, rate_limit_cost=5000) as client:
        first, second = [await client.post("{ customers(first: 10) { nodes { name } } }") for _ in range(2)]
        assert first.headers["ratelimit-policy"] == '"requests";q=100;w=3600, "cost";q=5000;w=3600'
        found = [re.findall(r'"(\w+)";r=(\d+);t=(\d+)', r.headers["ratelimit"]) for r in (first, second)]
        cost = second.json()["extensions"]["cost"]["requested"]
        assert [n for n, *_ in found[0]] == ["requests", "cost"]
        assert int(found[0][0][1]) - int(found[1][0][1]) == 1
        assert int(found[0][1][1]) - int(found[1][1][1]) == cost > 0
        assert 0 < int(found[1][0][2]) <= 3600
        faulty = await client.post("{")
        assert faulty.status_code == 400
        assert faulty.headers["ratelimit"]


async def test_too_many_requests_are_429_with_a_time_to_wait(database: Database, settings: Settings) -> None:
    async with limited(database, settings, rate_limit_requests=3) as client:
        assert [(await client.post(QUERY)).status_code for _ in range(3)] == [200] * 3
        refused = await client.post(QUERY)
        assert (refused.status_code, code(refused)) == (429, "RATE_LIMITED")
        assert "data" not in refused.json()
        wait = int(refused.headers["retry-after"])
        assert 0 < wait <= 1200
        assert refused.json()["errors"][0]["extensions"]["retryAfter"] == wait
        assert re.fullmatch(r'"requests";r=0;t=\d+', refused.headers["ratelimit"])
        stream = await client.send({"query": QUERY}, headers={"accept": "text/event-stream"})
        assert stream.status_code == 429


async def test_cost_is_taken_out_of_a_bucket_of_its_own(database: Database, settings: Settings) -> None:
    async with limited(database, settings, rate_limit_cost=30) as client:
        assert (await client.post("{ customers(first: 20) { nodes { name code } } }")).is_success
        refused = await client.post(QUERY)
        assert (refused.status_code, code(refused)) == (429, "RATE_LIMITED")


async def test_those_without_a_token_share_their_address(database: Database, settings: Settings) -> None:
    async with limited(database, settings, rate_limit_anonymous=4) as client:
        # Signing in was the first.
        answers = [await client.raw.post("/graphql", json={"query": QUERY}) for _ in range(2)]
        assert [a.status_code for a in answers] == [200, 200]
        assert answers[0].headers["ratelimit-policy"] == '"requests";q=4;w=3600'
        guessing = {"authorization": "Bearer crm_guess"}
        assert (await client.raw.post("/graphql", json={"query": QUERY}, headers=guessing)).status_code == 401
        for headers in ({}, guessing):
            assert (await client.raw.post("/graphql", json={"query": QUERY}, headers=headers)).status_code == 429
        assert (await client.post(QUERY)).is_success, "who is signed in has a bucket of his own"


async def test_operations_on_a_socket_are_counted(database: Database, settings: Settings) -> None:
    async with (
        limited(database, settings, rate_limit_requests=2) as client,
        connected(client) as wire,
    ):
        await greet(client, wire)
        for n in range(2):
            await wire.send(subscribe(str(n), QUERY))
            assert [(await wire.next())["type"] for _ in range(2)] == ["next", "complete"]
        await wire.send(subscribe("3", QUERY))
        refused = await wire.next()
        assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "RATE_LIMITED")


async def test_zero_is_no_limit(database: Database, settings: Settings) -> None:
    async with limited(database, settings, rate_limit_requests=0) as client:
        assert "ratelimit" not in (await client.post(QUERY)).headers


async def test_one_request_is_no_statement(database: Database, settings: Settings) -> None:
    own = buckets(database, settings, rate_limit_requests=1000)
    actor = somebody()
    assert taken(own, actor, 1000 // SLICES - 1) == 1000 // SLICES - 1
    assert not own._tasks
    own.take(actor, "")
    assert len(own._tasks) == 1
    await settled(own)


async def test_processes_share_a_bucket_to_within_a_slice_each(database: Database, settings: Settings) -> None:
    both = [buckets(database, settings, rate_limit_requests=500, rate_limit_seconds=36_000) for _ in range(2)]
    actor, done = somebody(), 0
    for _ in range(200):
        for each in both:
            done += taken(each, actor, 5)
        await settled(*both)
    assert 500 <= done <= 500 + 2 * (500 // SLICES + 5)
    third = buckets(database, settings, rate_limit_requests=500, rate_limit_seconds=36_000)
    late = 0
    for _ in range(10):
        late += taken(third, actor, 5)
        await settled(third)
    assert late <= 500 // SLICES + 5, "a process that starts later learns of it with its first slice"


async def test_a_debt_is_waited_for(database: Database, settings: Settings) -> None:
    one = buckets(database, settings, rate_limit_requests=10, rate_limit_seconds=10)
    actor = somebody()
    assert taken(one, actor, 20) == 10
    await settled(one)
    bucket = one._buckets[actor.user_id]  # type: ignore[index]
    bucket.requests.full -= 3
    assert taken(one, actor, 20) in (2, 3)
    await settled(one)


async def test_a_database_that_is_away_stops_nobody(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = buckets(database, settings, rate_limit_requests=100)
    monkeypatch.setattr(allowance, "_REPORT", "select from nowhere.there_is_no_such_table")
    actor = somebody()
    assert taken(own, actor, 50) == 50
    await settled(own)
    assert own._buckets[actor.user_id].requests.spent == 50, "it is told later"  # type: ignore[index]
    assert taken(own, actor, 100) == 50


async def test_an_api_key_does_not_use_up_its_user(database: Database, settings: Settings) -> None:
    own = buckets(database, settings, rate_limit_requests=5)
    user = somebody()
    key = replace(user, kind=ActorKind.API_KEY, token_id=uuid4())
    assert taken(own, key, 10) == 5
    assert taken(own, user, 10) == 5
    await settled(own)


async def test_an_ipv6_subscriber_is_one_address(database: Database, settings: Settings) -> None:
    own = buckets(database, settings, rate_limit_anonymous=2)
    own.take(ANONYMOUS, "2001:db8::1")
    own.take(ANONYMOUS, "2001:db8::2")
    with pytest.raises(TooManyRequests):
        own.take(ANONYMOUS, "2001:db8::3")
    own.take(ANONYMOUS, "2001:db8:0:1::1")
    await settled(own)


async def test_memory_has_a_bound(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "KNOWN", 10)
    own = buckets(database, settings)
    for _ in range(50):
        own.take(somebody(), "")
    assert len(own._buckets) == 10


def test_a_bucket_fills_at_a_constant_rate() -> None:
    bucket = Bucket("somebody", Policy(60, 600, 60), 0.0)
    bucket.requests.take(60, 0.0)
    bucket.cost.take(700, 0.0)
    assert bucket.header(0.0) == b'"requests";r=0;t=60, "cost";r=0;t=70'
    assert bucket.wait(0.0) == 11, "a hundred were taken that were not there"
    assert bucket.header(10.5) == b'"requests";r=10;t=50, "cost";r=5;t=60'
    assert bucket.wait(10.5) == 0
    bucket.requests.take(1, 60.0)
    assert (bucket.header(60.0), bucket.requests.spent) == (b'"requests";r=59;t=1, "cost";r=500;t=10', 1)
    bucket.cost.take(1, 60.0)
    assert bucket.cost.spent == 701, "of which some is still missing"


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 40)), max_size=60), st.integers(1, 100), st.integers(1, 50))
def test_a_level_is_a_bucket_that_is_filled_drop_by_drop(
    steps: list[tuple[float, int]], quantity: int, seconds: int
) -> None:
    level, held, now = Level(Quota("requests", quantity, seconds), 0.0), float(quantity), 0.0
    for passed, amount in steps:
        now += passed
        held = min(quantity, held + passed * quantity / seconds)
        if not math.isclose(held, 1, abs_tol=1e-3):
            assert (level.wait(now) <= 0) == (held >= 1)
        level.take(amount, now)
        held -= amount
        (left,) = re.findall(rb"r=(\d+)", level.header(now))
        assert math.isclose(int(left), max(0, held), abs_tol=1.001)


async def test_signing_in_works_with_an_expired_token_in_the_header(database: Database, settings: Settings) -> None:
    from tests.acceptance.assembly import LOGIN, PASSWORD

    async with opened(database, settings) as client:
        old = {"authorization": "Bearer long.expired.token"}
        login = "mutation { login(input: {login: %s, password: %s}) { accessToken refreshToken } }"
        quoted = [f'"{text}"' for text in (LOGIN, PASSWORD)]
        answer: Any = await client.raw.post("/graphql", json={"query": login % tuple(quoted)}, headers=old)
        tokens = answer.json()["data"]["login"]
        refresh = "mutation { __typename tokenRefresh(input: {refreshToken: %s}) { user { id } } }"
        refresh %= f'"{tokens["refreshToken"]}"'
        refreshed: httpx.Response = await client.raw.post("/graphql", json={"query": refresh}, headers=old)
        assert refreshed.json()["data"]["tokenRefresh"]["user"]
        both = "mutation { logout { userErrors { code } } login(input: {login: %s, password: %s}) { accessToken } }"
        mixed = await client.raw.post("/graphql", json={"query": both % tuple(quoted)}, headers=old)
        assert (mixed.status_code, code(mixed)) == (401, "UNAUTHENTICATED")


async def test_what_was_opened_is_closed_where_a_start_fails(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.features import Features
    from core.http.directory import Directory
    from core.http.services import services_over

    closed: list[str] = []

    async def close(_self: Any) -> None:
        closed.append("features")

    async def fail(_self: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(Features, "close", close)
    monkeypatch.setattr(Directory, "open", fail)
    with pytest.raises(RuntimeError):
        async with AsyncExitStack() as stack:
            await services_over(database, settings, stack)
    assert closed == ["features"]
