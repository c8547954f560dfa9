"""Mutations with an idempotency key: done once, answered the same, and refused with another input."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from core.context import Workspace
from core.database import Database
from core.grants import Reach
from core.schema import mutate
from tests.writing import Desk, codes, desk_at


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    async with desk_at(database, module_workspace) as opened:
        yield opened


def person(name: str) -> dict[str, Any]:
    return {"name": name, "kind": "PERSON"}


async def count(desk: Desk, name: str) -> int:
    return await desk.fetch("select count(*) from customer where name = $1", name)


async def test_the_same_again_is_done_once_and_answered_the_same(desk: Desk) -> None:
    first = await desk.answer("Customer", "Create", person("once"), idempotencyKey="once")
    await desk.update("Customer", first["data"]["customerCreate"]["customer"]["id"], phone="1")
    assert await desk.answer("Customer", "Create", person("once"), idempotencyKey="once") == first
    assert await count(desk, "once") == 1


async def test_the_same_key_for_something_else_is_refused(desk: Desk) -> None:
    await desk.write("Customer", "Create", person("other"), idempotencyKey="other")
    for record, verb, given in (
        ("Customer", "Create", person("another")),
        ("User", "Create", {"login": "another", "displayName": "x"}),
    ):
        answer = await desk.answer(record, verb, given, idempotencyKey="other")
        assert answer["errors"][0]["extensions"]["code"] == "IDEMPOTENCY_CONFLICT"
    assert await count(desk, "another") == 0
    assert await desk.fetch("select count(*) from app_user where login = 'another'") == 0


async def test_literals_and_variables_count_alike(desk: Desk) -> None:
    query = (
        'mutation($name: String!) { customerCreate(input: {name: $name, kind: PERSON}, idempotencyKey: "v") '
        "{ customer { name } userErrors { code } } }"
    )
    one = await desk.do(query, name="v1")
    assert await desk.do(query, name="v1") == one
    answer = await desk.ask(query, name="v2")
    assert answer["errors"][0]["extensions"]["code"] == "IDEMPOTENCY_CONFLICT"


async def test_keys_belong_to_actors(desk: Desk) -> None:
    an, binh = await desk.salesperson("an"), await desk.salesperson("binh")
    one = await desk.write("Customer", "Create", person("mine"), an, idempotencyKey="shared")
    two = await desk.write("Customer", "Create", person("mine"), binh, idempotencyKey="shared")
    assert one["customer"]["id"] != two["customer"]["id"]
    assert await count(desk, "mine") == 2


async def test_what_was_refused_may_be_tried_again(desk: Desk) -> None:
    first = await desk.create("Customer", **person("taken"), code="I1")
    given = {**person("retry"), "code": "I1"}
    assert codes(await desk.write("Customer", "Create", given, idempotencyKey="retry")) == ["DUPLICATE"]
    await desk.delete("Customer", first["id"])
    assert codes(await desk.write("Customer", "Create", given, idempotencyKey="retry")) == []
    assert await count(desk, "retry") == 1


async def test_a_dry_run_claims_no_key(desk: Desk) -> None:
    await desk.write("Customer", "Create", person("dry"), dryRun=True, idempotencyKey="dry")
    done = await desk.write("Customer", "Create", person("dry"), idempotencyKey="dry")
    assert done["changeSet"] is not None
    assert await count(desk, "dry") == 1


async def test_partial_successes_are_not_repeated(desk: Desk) -> None:
    given = {"records": [person("part"), person("")], "errorPolicy": "SKIP_FAILED"}
    first = await desk.bulk("Customer", "BulkCreate", given, idempotencyKey="part")
    assert (first["counts"]["created"], first["counts"]["skipped"]) == (1, 1)
    assert await desk.bulk("Customer", "BulkCreate", given, idempotencyKey="part") == first
    assert await count(desk, "part") == 1


async def test_a_key_lasts_a_day(desk: Desk) -> None:
    for hours, expected in ((23, 1), (25, 2)):
        await desk.write("Customer", "Create", person("day"), idempotencyKey="day")
        await desk.fetch("update idempotency set at = at - $1::interval where key = 'day'", timedelta(hours=hours))
        await desk.write("Customer", "Create", person("day"), idempotencyKey="day")
        assert await count(desk, "day") == expected


@pytest.mark.parametrize("key", ["", "k" * 201])
async def test_keys_have_a_length(desk: Desk, key: str) -> None:
    answer = await desk.answer("Customer", "Create", person("long"), idempotencyKey=key)
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert await count(desk, "long") == 0


async def test_fifty_at_once_are_done_once_with_one_answer(desk: Desk) -> None:
    answers = await asyncio.gather(
        *(desk.answer("Customer", "Create", person("fifty"), idempotencyKey="fifty") for _ in range(50))
    )
    assert all(a == answers[0] for a in answers)
    assert codes(answers[0]["data"]["customerCreate"]) == []
    assert await count(desk, "fifty") == 1
    assert await desk.fetch("select count(*) from change where after->>'name' = 'fifty'") == 1


async def test_fifty_at_once_with_two_inputs(desk: Desk) -> None:
    answers = await asyncio.gather(
        *(desk.answer("Customer", "Create", person(f"two{i % 2}"), idempotencyKey="two") for i in range(50))
    )
    done = [a for a in answers if "errors" not in a]
    assert len(done) == 25
    assert all(a == done[0] for a in done)
    assert {a["errors"][0]["extensions"]["code"] for a in answers if "errors" in a} == {"IDEMPOTENCY_CONFLICT"}
    assert await count(desk, "two0") + await count(desk, "two1") == 1


async def test_whoever_may_not_any_more_is_not_answered(desk: Desk) -> None:
    """A stored answer is no way round a permission that was taken since."""
    an = await desk.salesperson("an2", Reach.ALL)
    await desk.write("Customer", "Create", person("before"), an, idempotencyKey="gone")
    demoted = await desk.salesperson("an3", Reach.NONE)
    demoted = type(an)(an.kind, demoted.grants, an.user_id)
    answer = await desk.answer("Customer", "Create", person("before"), demoted, idempotencyKey="gone")
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert answer["data"]["customerCreate"] is None


async def test_waiting_for_a_key_holds_no_connection(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pool of a few connections, others go on while forty requests wait for one key."""
    monkeypatch.setattr(mutate, "PATIENCE", 1.0)
    async with desk.database.transaction(desk.workspace) as holder:
        await holder.execute(
            "select pg_advisory_xact_lock(hashtextextended(current_schema() || '.idempotency.' || $1 || '.held', 0))",
            str(mutate.NOBODY),
        )
        waiting = [
            asyncio.create_task(desk.answer("Customer", "Create", person("held"), idempotencyKey="held"))
            for _ in range(40)
        ]
        await asyncio.sleep(0.3)
        pool = desk.database.pool(desk.workspace)
        assert pool.size - len(pool.idle) <= 4, "the others only look in now and then"
        async with asyncio.timeout(0.5):
            assert await desk.create("Customer", **person("meanwhile"))
        answers = await asyncio.gather(*waiting)
    assert {a["errors"][0]["extensions"]["code"] for a in answers} == {"IDEMPOTENCY_CONFLICT"}
    done = await desk.answer("Customer", "Create", person("held"), idempotencyKey="held")
    assert done["data"]["customerCreate"]["customer"]
