"""Whatever is asked, by whomever: the read path answers what the slow reference answers, in one statement."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from core.context import Workspace
from core.database import Database
from tests.conftest import NewWorkspace
from tests.dataset import Data, load
from tests.reference import Reference, Refusal, Row, differences, everything
from tests.strategies import Asked, Questions

ACTORS = ("eve", "ann", "bob", "cat", "dan", "fay", "gil", "kim", "max", "ola", "hal", "key")
FEW = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=3000, derandomize=False)


@pytest.fixture(scope="module")
async def data(database: Database, module_workspace: Workspace) -> Data:
    return await load(database, module_workspace)


@pytest.fixture(scope="module")
async def rows(data: Data) -> dict[str, list[Row]]:
    return await everything(data)


@pytest.fixture(scope="module")
def questions(data: Data, rows: dict[str, list[Row]]) -> Questions:
    return Questions(data.composition.schema, data.catalog, rows)


async def compare(data: Data, questions: Questions, reference: Reference, roots: tuple[Asked, ...]) -> dict[str, Any]:
    """Ask in every spelling and compare with the reference; returns the answer's data, empty where it was refused."""
    body: Any = None
    for text, variables in questions.spellings(roots):
        note(f"{reference.actor}: {text}\n{variables}")
        answer = await data.ask(reference.actor, text, variables)
        body = orjson.loads(answer.body)
        expected = reference.ask(text, variables)
        if isinstance(expected, Refusal):
            assert answer.codes in {("FORBIDDEN",), ("BAD_USER_INPUT",)}, (expected, body)
            assert body["data"] is None
            continue
        assert "errors" not in body, body
        assert len(data.statements) == 1
        found = list(differences(expected, body["data"], reference.cursors))
        assert not found, found
    return body["data"] or {}


async def _ask_and_turn_the_page(
    data: Data, questions: Questions, rows: dict[str, list[Row]], draw: Any, actor: str
) -> None:
    reference = Reference(data, rows, actor)
    roots = questions.question(draw)
    # Drawn before anything is answered: conditions relative to now need not answer twice the same.
    turns = [(draw(st.sampled_from(("after", "before"))), draw(st.integers(0, 500))) for _ in roots]
    answer = await compare(data, questions, reference, roots)
    # The lists again, from a place in them on.
    following = []
    for asked, (way, pick) in zip(roots, turns, strict=True):
        inside = str(answer.get(asked.alias))
        cursors = sorted(c for c in reference.cursors if repr(c) in inside)
        if cursors and asked.name.endswith("s") and not asked.name.endswith("Grouped") and "orderBy" in asked.arguments:
            cursor = cursors[pick % len(cursors)]
            if await _is_of(data, asked, actor, cursor, questions):
                following.append(replace(asked, arguments={**asked.arguments, way: cursor}))
    if following:
        await compare(data, questions, reference, tuple(following))


async def _is_of(data: Data, asked: Asked, actor: str, cursor: str, questions: Questions) -> bool:
    """Whether a cursor is one of this list itself, not of a list inside."""
    bare = replace(asked, under=(Asked("edges", under=(Asked("cursor"),)),))
    text, variables = questions.spellings((bare,))[0]
    answer = await data.answer(actor, text, variables)
    return any(e["cursor"] == cursor for e in answer["data"][asked.alias]["edges"])


@FEW
@given(draw=st.data(), actor=st.sampled_from(ACTORS))
async def test_answers_as_the_reference(
    data: Data, questions: Questions, rows: dict[str, list[Row]], draw: Any, actor: str
) -> None:
    await _ask_and_turn_the_page(data, questions, rows, draw.draw, actor)


@pytest.mark.nightly
@MANY
@given(draw=st.data(), actor=st.sampled_from(ACTORS))
async def test_answers_as_the_reference_whatever_is_asked(
    data: Data, questions: Questions, rows: dict[str, list[Row]], draw: Any, actor: str
) -> None:
    await _ask_and_turn_the_page(data, questions, rows, draw.draw, actor)


@pytest.mark.parametrize("actor", ["eve", "cat"])
@pytest.mark.parametrize(
    "text",
    [
        "{ customers(deleted: true) { nodes { code contacts { totalCount nodes { name } } } } }",
        "{ customersGrouped(by: NAME, deleted: true) { nodes { contacts { totalCount } } } }",
        "{ customers(deleted: true) { nodes { contactsAggregate { count } } } }",
        "{ customers(deleted: true, where: {contacts: {some: {}}}) { totalCount } }",
        "{ customers(deleted: true, where: {not: {contacts: {none: {}}}}) { nodes { code } } }",
        "{ customersAggregate(deleted: true, where: {contacts: {count: {gte: 1}}}) { count } }",
    ],
)
async def test_nobody_reads_the_children_of_deleted_records(
    data: Data, rows: dict[str, list[Row]], actor: str, text: str
) -> None:
    gone = {r["id"] for r in rows["customer"] if r["deleted_at"] is not None}
    assert any(r["customer_id"] in gone and r["deleted_at"] is None for r in rows["contact"])
    answer = await data.data(actor, text)
    reference = Reference(data, rows, actor)
    assert not list(differences(reference.ask(text, {}), answer, reference.cursors))


ORDERS = (
    "[]",
    "[{field: CREATED_AT}]",
    "[{field: NAME, direction: DESC}]",
    "[{field: EMAIL, nulls: FIRST}, {field: NAME}]",
    "[{field: BIRTHDAY, direction: DESC, nulls: FIRST}, {field: EMAIL, nulls: LAST}, {field: KIND, direction: DESC}]",
    "[{field: OWNER_DISPLAY_NAME, nulls: FIRST}, {field: SHOE_SIZE, direction: DESC}]",
    "[{field: CREDIT}, {field: VIP, direction: DESC, nulls: FIRST}, {field: ID, direction: DESC}]",
    "[{field: VISITED, direction: DESC}, {field: REFERRER_CODE}]",
    "[{field: OWNER_ID, nulls: FIRST}, {field: PROVINCE, direction: DESC}]",
)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("actor", ["eve", "ann"])
async def test_pages_of_any_size_show_each_row_once(data: Data, order: str, backward: bool, actor: str) -> None:
    dice = random.Random(f"{order}{backward}")
    text = f"{{ customers(first: 200, orderBy: {order}) {{ nodes {{ code }} }} }}"
    whole = [n["code"] for n in (await data.data(actor, text))["customers"]["nodes"]]
    assert len(whole) > 7
    size, place = ("last", "before") if backward else ("first", "after")
    text = f"""query ($n: Int, $c: String) {{ customers({size}: $n, {place}: $c, orderBy: {order}) {{
        edges {{ cursor node {{ code }} }} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"""
    found: list[str] = []
    cursor = None
    while True:
        wanted = dice.randint(1, 7)
        page = (await data.data(actor, text, {"n": wanted, "c": cursor}))["customers"]
        codes = [e["node"]["code"] for e in page["edges"]]
        info = page["pageInfo"]
        assert (info["startCursor"], info["endCursor"]) == (page["edges"][0]["cursor"], page["edges"][-1]["cursor"])
        found = codes + found if backward else found + codes
        cursor = info["startCursor" if backward else "endCursor"]
        more, earlier = (
            (info["hasPreviousPage"], info["hasNextPage"])
            if backward
            else (
                info["hasNextPage"],
                info["hasPreviousPage"],
            )
        )
        assert more == (len(found) < len(whole))
        assert earlier == (len(found) > len(codes))
        if not more:
            break
        assert len(codes) == wanted
    assert found == whole


async def test_pages_show_each_row_once_while_others_are_written(
    database: Database, new_workspace: NewWorkspace
) -> None:
    """Rows that come and go between pages neither hide a row that was there all the time nor show it twice."""
    data = await load(database, await new_workspace())
    pool = database.pool(data.workspace)
    order = "[{field: PROVINCE, nulls: FIRST}, {field: NAME, direction: DESC}]"
    whole = f"{{ customers(first: 200, orderBy: {order}) {{ nodes {{ code }} }} }}"
    there = [n["code"] for n in (await data.data("eve", whole))["customers"]["nodes"]]
    text = f"""query ($c: String) {{ customers(first: 4, after: $c, orderBy: {order}) {{
        edges {{ cursor node {{ code }} }} pageInfo {{ hasNextPage endCursor }} }} }}"""
    dice = random.Random(5)
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = (await data.data("eve", text, {"c": cursor}))["customers"]
        codes = [e["node"]["code"] for e in page["edges"]]
        found += codes
        cursor = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
        for _ in range(2):
            values = (f"NEW{dice.random()}", dice.choice(["a", "z", "Ánh"]), dice.choice([None, "Hà Nội", "Đ"]))
            await pool.execute(
                "insert into customer (id, code, name, province) values (gen_random_uuid(), $1, $2, $3)", *values
            )
        # The row that the cursor stands on goes away.
        await pool.execute(
            "delete from customer_viewer where customer_id = (select id from customer where code = $1)", codes[-1]
        )
        await pool.execute("update customer set deleted_at = now() where code = $1", codes[-1])
    assert len(set(found)) == len(found)
    assert [c for c in found if not c.startswith("NEW")] == there
