"""Search and boards: all words in any order by one index, and groups with their first records in one pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
import pytest

from core.catalog import Catalog
from core.condition import Conditions
from core.context import Workspace
from core.database import Database
from core.grants import SYSTEM, Access, Grants, Reach, RoleGrants
from core.policy import Policy
from core.rows import new_id
from core.schema.customer import CUSTOMER
from core.schema.declared import CORE
from core.schema.order import keys_of
from core.schema.page import MOST_WORDS
from tests.writing import Desk, desk_at

FIND = "query($s: String) { customers(search: $s, first: 200) { nodes { code } totalCount } }"
PEOPLE = (
    {"code": "S1", "name": "Nguyễn Thị Ánh Dương", "email": "duong@mail.vn", "phone": "0903 123 456"},
    {"code": "S2", "name": "Dương Văn Nguyên", "email": None, "phone": None},
    {"code": "S3", "name": "50%_off\\ Ltd", "email": None, "phone": "0903"},
)


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    async with desk_at(database, module_workspace) as opened:
        for person in PEOPLE:
            await opened.create("Customer", kind="PERSON", **person)
        yield opened


async def statement_of(desk: Desk, asked: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, tuple[Any, ...]]:
    """The one statement, and its parameters, that a query's field becomes."""
    pool, seen = desk.database.pool(desk.workspace), []
    real = pool.fetchval
    monkeypatch.setattr(pool, "fetchval", lambda sql, *values: (seen.append((sql, values)), real(sql, *values))[1])
    await desk.do(f"{{ {asked} }}")
    (one,) = seen
    return one


async def found(desk: Desk, text: str | None) -> set[str]:
    answer = await desk.do(FIND, s=text)
    codes = {c["code"] for c in answer["nodes"]}
    assert answer["totalCount"] == len(codes)
    return codes


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("nguyen duong", {"S1", "S2"}),
        ("DƯƠNG   nguyễn", {"S1", "S2"}),
        ("duong 0903 nguyen", {"S1"}),
        ("mail anh", {"S1"}),
        ("an an", {"S1", "S2"}),
        ("0903", {"S1", "S3"}),
        ("123 456", {"S1"}),
        ("s2", {"S2"}),
        ("duong nobody", set()),
        ("50%_off\\", {"S3"}),
        ("%", {"S3"}),
        ("ﬀ", {"S3"}),
        ("   ", {"S1", "S2", "S3"}),
        ("", {"S1", "S2", "S3"}),
        (None, {"S1", "S2", "S3"}),
    ],
)
async def test_all_words_are_found_in_any_order(desk: Desk, text: str | None, codes: set[str]) -> None:
    assert await found(desk, text) == codes
    literal = orjson.dumps(text).decode()
    answer = await desk.do(FIND.replace("($s: String)", "").replace("$s", literal))
    assert {c["code"] for c in answer["nodes"]} == codes


async def test_too_many_words_are_refused(desk: Desk) -> None:
    words = [f"w{i}" for i in range(MOST_WORDS)]
    assert await found(desk, " ".join(words)) == set()
    assert await desk.code(FIND, s=" ".join([*words, "more"])) == "BAD_USER_INPUT"
    assert await found(desk, "a " * 500) == {"S1", "S2"}  # one word


@pytest.mark.parametrize(
    ("where", "codes"),
    [
        ({"name": {"startsWith": "dương"}}, {"S2"}),
        ({"name": {"endsWith": "DUONG"}}, {"S1"}),
        ({"email": {"contains": "duong"}}, {"S1"}),
        ({"phone": {"contains": "nguyen"}}, set()),
        ({"not": {"email": {"contains": "duong"}}}, {"S2", "S3"}),
        ({"code": {"contains": "s"}}, {"S1", "S2", "S3"}),
    ],
)
async def test_a_field_is_looked_through_by_itself(desk: Desk, where: dict[str, Any], codes: set[str]) -> None:
    answer = await desk.do("query($w: CustomerWhere) { customers(where: $w) { nodes { code } } }", w=where)
    assert {c["code"] for c in answer["nodes"]} == codes


async def test_opportunities_are_searched(desk: Desk) -> None:
    customer = await desk.create("Customer", name="Công ty Phở", kind="ORGANISATION", code="Z1")
    named = await desk.create("Opportunity", customerId=customer["id"], name="Hợp đồng bảo trì 2027")
    await desk.create("Opportunity", customerId=customer["id"])
    text = "query($s: String) { opportunities(search: $s) { nodes { id } } }"
    assert [o["id"] for o in (await desk.do(text, s="bao tri hop 2027"))["nodes"]] == [named["id"]]
    assert len((await desk.do(text, s="PHO ty"))["nodes"]) == 1


@pytest.mark.parametrize(
    "condition",
    [
        'customers(search: "khach 0912") { nodes { code } }',
        'customers(where: {name: {contains: "khach 77"}}) { nodes { code } }',
        'customers(where: {phone: {startsWith: "0912"}}) { nodes { code } }',
        'customers(where: {taxCode: {contains: "9912"}}) { nodes { code } }',
    ],
)
async def test_one_index_serves_search_and_every_field(
    desk: Desk, condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement, values = await statement_of(desk, condition, monkeypatch)
    async with desk.database.connection(desk.workspace) as connection:
        trial = connection.transaction()
        await trial.start()
        # On so few rows anything is as quick.
        await connection.execute(
            "set local enable_seqscan = off; drop index customer_newest, customer_owner, customer_code,"
            " customer_by_code, customer_by_name"
        )
        lines = [r[0] for r in await connection.fetch(f"explain {statement}", *values)]
        await trial.rollback()
    assert any("customer_search" in line for line in lines), lines


@pytest.mark.parametrize(
    "condition",
    [
        'customers(search: "khach") { nodes { code } }',
        'customers(where: {name: {contains: "khach"}}) { nodes { code } }',
        'customersAggregate(where: {or: [{code: {startsWith: "S"}}, {email: {endsWith: "vn"}}]}) { count }',
    ],
)
async def test_a_text_is_planned_for_as_it_is(desk: Desk, condition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planned once for any text, all that many records contain would be gathered to show the first of them."""
    statement, values = await statement_of(desk, condition, monkeypatch)
    async with desk.database.connection(desk.workspace) as connection:
        prepared = await connection.prepare(statement)
        for _ in range(10):
            await prepared.fetchval(*values)
        counted = "select sum(generic_plans), sum(custom_plans) >= 10 from pg_prepared_statements where statement = $1"
        assert tuple(await connection.fetchrow(counted, statement)) == (0, True)


# Boards

BOARD = "query($by: CustomerGroupField!, $n: Int) { customersGrouped(by: $by, first: $n, orderBy: [{field: CODE}]) "


async def test_a_board_looks_through_the_records_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(12):
        await desk.create("Customer", name=f"b{i}", kind="PERSON", code=f"B{i:02d}", level=f"L{i % 3}", source="board")
    pool, asked = desk.database.pool(desk.workspace), []
    real = pool.fetchval
    monkeypatch.setattr(pool, "fetchval", lambda text, *values: (asked.append((text, values)), real(text, *values))[1])
    shown = "{ key { level } totalCount some: nodes { code } again: nodes { name owner { id } } }"
    where = '(by: LEVEL, first: 2, where: {source: {eq: "board"}}, orderBy: [{field: CODE}])'
    groups = await desk.do(f"{{ customersGrouped{where} {shown} }}")
    assert [(g["key"]["level"], g["totalCount"], [c["code"] for c in g["some"]]) for g in groups] == [
        ("L0", 4, ["B00", "B03"]),
        ("L1", 4, ["B01", "B04"]),
        ("L2", 4, ["B02", "B05"]),
    ]
    assert groups[0]["again"] == [{"name": "b0", "owner": None}, {"name": "b3", "owner": None}]
    ((statement, values),) = asked
    async with desk.database.transaction(desk.workspace) as connection:
        plan = orjson.loads(await connection.fetchval(f"explain (analyze, format json) {statement}", *values))
    scans = [
        (n["Relation Name"], n["Actual Loops"])
        for n in nodes_of(plan[0]["Plan"])
        if n.get("Index Cond") is None and n.get("Relation Name") == "customer"
    ]
    assert [loops for _, loops in scans if loops > 1] == [], scans


def nodes_of(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(n for part in plan.get("Plans", ()) for n in nodes_of(part))]


async def test_groups_without_records_or_keys(desk: Desk) -> None:
    where = '(by: KIND, first: 0, where: {source: {eq: "board"}})'
    assert await desk.do(f"{{ customersGrouped{where} {{ key {{ kind }} totalCount nodes {{ id }} }} }}") == [
        {"key": {"kind": "PERSON"}, "totalCount": 12, "nodes": []}
    ]
    where = '(by: KIND, where: {source: {eq: "none such"}})'
    assert await desk.do(f"{{ customersGrouped{where} {{ totalCount nodes {{ id }} }} }}") == []
    where = '(by: OWNER, first: 1, where: {source: {eq: "board"}})'
    groups = await desk.do(f"{{ customersGrouped{where} {{ key {{ owner {{ id }} }} totalCount nodes {{ name }} }} }}")
    assert [(g["key"]["owner"], g["totalCount"], len(g["nodes"])) for g in groups] == [(None, 12, 1)]


# Default orders and roles


def test_a_hidden_field_orders_nothing() -> None:
    by_birthday = replace(CUSTOMER, default_order=(("birthday", False), ("name", True)))
    catalog = Catalog.build([by_birthday, *(t for t in CORE if t is not CUSTOMER)])
    role = RoleGrants("r", {("Customer", "read"): Reach.ALL}, {("Customer", "birthday"): Access.HIDE})
    expressions = []
    for grants in (SYSTEM, Grants((role,))):
        policy = Policy(catalog, grants)
        keys = keys_of(Conditions(policy), None, catalog["Customer"], "t", policy)
        expressions.append([(k.sql, k.descending) for k in keys])
    name, id_ = ('t."name_fold"', True), ("t.id", True)
    assert expressions == [[('t."birthday"', False), name, id_], [name, id_]]


def test_a_role_speaks_only_of_what_it_grants() -> None:
    sales = RoleGrants("sales", {("Customer", "read"): Reach.ALL}, {("Customer", "phone"): Access.HIDE})
    payroll = RoleGrants("payroll", {("User", "read"): Reach.ALL, ("Customer", "read"): Reach.NONE})
    manager = RoleGrants("manager", {("Customer", "read"): Reach.OWN})
    opener = RoleGrants("opener", fields={("Customer", "phone"): Access.READ})
    assert Grants((sales,)).access("Customer", "phone") is Access.HIDE
    assert Grants((sales, payroll)).access("Customer", "phone") is Access.HIDE
    assert Grants((sales, manager)).access("Customer", "phone") is Access.WRITE
    assert Grants((sales, opener)).access("Customer", "phone") is Access.READ
    assert Grants((payroll,)).access("Customer", "phone") is Access.WRITE  # of rows that he does not reach
    assert Grants(()).access("Customer", "phone") is Access.HIDE


async def test_a_user_who_may_not_be_read_is_no_value(desk: Desk) -> None:
    await desk.do(
        'mutation { customFieldCreate(input: {recordType: "Customer", name: "buyer", kind: USER}) '
        "{ customField { id } userErrors { message } } }"
    )
    await desk.features.refresh(desk.workspace)
    other = await desk.user("unseen")
    actor = await desk.salesperson("alone")
    reaches = actor.grants.roles[0].reaches | {("User", "read"): Reach.NONE}
    blind = replace(actor, grants=Grants((RoleGrants("blind", reaches),)))
    values = {"name": "x", "kind": "PERSON"}
    assert (await desk.write("Customer", "Create", values | {"buyer": other}, actor))["userErrors"] == []
    for id_ in (other, str(new_id())):
        given = values | {"buyer": id_, "ownerId": None}
        errors = (await desk.write("Customer", "Create", given, blind))["userErrors"]
        assert [(e["code"], e["params"]) for e in errors] == [("NOT_FOUND", {"field": "buyer"})]


async def test_conflicts_name_no_record_that_may_not_be_read(desk: Desk) -> None:
    lan = await desk.salesperson("lan", abilities=("undo",))
    theirs = await desk.create("Customer", name="theirs", kind="PERSON")
    mine = await desk.create("Customer", name="mine", kind="PERSON", ownerId=str(lan.user_id))
    done = await desk.bulk(
        "Customer", "BulkUpdate", {"target": {"ids": [theirs["id"], mine["id"]]}, "set": {"level": "VIP"}}
    )
    undone = await desk.undo(done["changeSet"]["id"], lan)
    assert undone["conflicts"] == 1
    (error,) = undone["userErrors"]
    assert (error["code"], error["params"]) == ("CONFLICT", {"record": "Customer", "count": 1})
    assert theirs["id"] not in orjson.dumps(undone).decode()
    rows = await desk.rows("Customer")
    assert [rows[UUID(c["id"])]["level"] for c in (theirs, mine)] == ["VIP", None]
