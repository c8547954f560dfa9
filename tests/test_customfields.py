"""Custom fields: definitions that fit the workspace, values that fit the definitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.changes import ChangeSet
from core.context import RequestContext, Workspace
from core.contributions import FeatureSet, compose
from core.customfields import CustomField, parse_choice
from core.database import Database
from core.features import Features
from core.grants import Reach
from core.plugins import PluginRegistry
from core.rows import new_id
from core.targets import Target
from tests.conftest import NewWorkspace
from tests.switching import Desk, actor

CREATE = """mutation($input: CustomFieldCreateInput!, $dryRun: Boolean! = false) {
  customFieldCreate(input: $input, dryRun: $dryRun) {
    customField { id recordType name kind label required unique default choices }
    userErrors { code path message } changeSet { id } } }"""
UPDATE = """mutation($input: CustomFieldUpdateInput!) { customFieldUpdate(input: $input) {
  customField { id label choices required unique } userErrors { code path message } } }"""
DELETE = """mutation($id: ID!) { customFieldDelete(input: {id: $id}) {
  id userErrors { code } changeSet { id } } }"""
UNDO = "mutation($id: ID!) { changeSetUndo(input: {id: $id}) { conflicts userErrors { code } } }"
CUSTOMER = """mutation($input: CustomerCreateInput!) {
  customerCreate(input: $input) { customer { id } userErrors { code path message } } }"""


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    desk = Desk(database, Features(database, registry=PluginRegistry.discover([])), module_workspace)
    await desk.customer("first")
    yield desk
    await desk.features.close()


@pytest.fixture
async def empty(database: Database, new_workspace: NewWorkspace) -> AsyncIterator[Desk]:
    """A workspace without customers."""
    desk = Desk(database, Features(database, registry=PluginRegistry.discover([])), await new_workspace())
    yield desk
    await desk.features.close()


async def define(desk: Desk, name: str, kind: str, record: str = "Customer", **values: Any) -> str:
    made = await desk.do(CREATE, input={"recordType": record, "name": name, "kind": kind, **values})
    assert made["userErrors"] == []
    return made["customField"]["id"]


async def test_who_makes_a_field_can_use_it_at_once(desk: Desk) -> None:
    await define(desk, "atOnce", "INTEGER")
    made = await desk.do(CUSTOMER.replace("customer { id }", "customer { atOnce }"), input={
        "name": "x", "kind": "PERSON", "atOnce": 7})  # fmt: skip
    assert made["customer"] == {"atOnce": 7}


async def refusal(desk: Desk, query: str, **values: Any) -> tuple[str, str]:
    (error,) = (await desk.do(query, input=values))["userErrors"]
    return error["code"], error["path"][-1]


async def create(desk: Desk, **values: Any) -> Any:
    return await desk.do(CUSTOMER, input={"name": "x", "kind": "PERSON", **values})


VALUES = {
    "TEXT": ("giày", "giày"),
    "LONG_TEXT": ("dài " * 2000, "dài " * 2000),
    "INTEGER": (42, 42),
    "DECIMAL": ("1234567890123.4500", "1234567890123.45"),
    "BOOLEAN": (False, False),
    "DATE": ("2024-02-29", "2024-02-29"),
    "DATETIME": ("2024-02-29T10:00:00+07:00", "2024-02-29T03:00:00+00:00"),
    "CHOICE": ("MIEN_BAC", "MIEN_BAC"),
    "CHOICES": (["VIP", "MIEN_BAC"], ["VIP", "MIEN_BAC"]),
    "URL": ("https://example.vn/a?b=c", "https://example.vn/a?b=c"),
    "EMAIL": ("an@example.vn", "an@example.vn"),
    "PHONE": ("+84 (28) 3822-1234", "+84 (28) 3822-1234"),
}


async def test_every_kind_is_written_read_filtered_and_sorted(empty: Desk) -> None:
    names = {kind: "my" + kind.title().replace("_", "") for kind in VALUES}
    for kind, name in names.items():
        choices = {"choices": ["Miền Bắc", "VIP=Khách quan trọng"]} if kind in ("CHOICE", "CHOICES") else {}
        made = await empty.do(CREATE, input={"recordType": "Customer", "name": name, "kind": kind, **choices})
        assert made["userErrors"] == []
    user = new_id()
    async with empty.database.connection(empty.workspace) as connection:
        await connection.execute("insert into app_user (id, login, display_name) values ($1, 'an', 'An')", user)
    await empty.do(CREATE, input={"recordType": "Customer", "name": "myUser", "kind": "USER"})
    await empty.features.refresh(empty.workspace)
    given = {names[k]: value for k, (value, _) in VALUES.items()} | {"myUser": str(user)}
    assert (await create(empty, **given))["userErrors"] == []
    assert (await create(empty))["userErrors"] == []
    shown = "{ customers(orderBy: [{field: MY_INTEGER}]) { nodes { " + " ".join((*names.values(), "myUser")) + " } } }"
    first, second = (await empty.do(shown))["nodes"]
    assert first == {names[k]: value for k, (_, value) in VALUES.items()} | {"myUser": str(user)}
    assert set(second.values()) == {None}
    conditions = [
        'myText: {contains: "GIAY"}',
        'myLongText: {startsWith: "Dai"}',
        "myInteger: {gt: 41}",
        'myDecimal: {eq: "1234567890123.45"}',
        "myBoolean: {eq: false}",
        'myDate: {between: {from: "2024-02-29", to: "2024-02-29"}}',
        'myDatetime: {lt: "2024-02-29T03:00:01Z"}',
        "myChoice: {in: [MIEN_BAC]}",
        'myChoices: {hasAll: ["VIP", "MIEN_BAC"]}',
        f'myUser: {{eq: "{user}"}}',
        'myUrl: {endsWith: "b=c"}',
        'myEmail: {eq: "an@example.vn"}',
        "myPhone: {isNull: false}",
    ]
    for condition in conditions:
        found = await empty.do("{ customers(where: {" + condition + "}) { nodes { myText } totalCount } }")
        assert found == {"nodes": [{"myText": "giày"}], "totalCount": 1}, condition
    assert (await empty.do("{ customersAggregate { sum { myInteger myDecimal } } }"))["sum"] == {
        "myInteger": "42",
        "myDecimal": "1234567890123.45",
    }


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("INTEGER", 2**31),
        ("URL", "example.vn"),
        ("URL", "javascript:alert(1)"),
        ("EMAIL", "an@example"),
        ("EMAIL", "an example.vn"),
        ("PHONE", "abc"),
        ("CHOICES", ["NOWHERE"]),
        ("TEXT", "x" * 1001),
        ("USER", str(UUID(int=7))),
        ("USER", "nobody"),
    ],
)
async def test_values_that_do_not_fit_their_kind(desk: Desk, kind: str, value: Any) -> None:
    name = f"bad{kind.title()}"
    known = {f["name"] for f in await desk.do("{ customFields { name } }")}
    if name not in known:
        await define(desk, name, kind, **({"choices": ["SOMEWHERE"]} if kind == "CHOICES" else {}))
    before = await desk.fetch("select count(*) from customer")
    answer = await desk.ask(CUSTOMER, input={"name": "x", "kind": "PERSON", name: value})
    if "errors" in answer:
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    else:
        (error,) = answer["data"]["customerCreate"]["userErrors"]
        assert error["path"] == ["input", name]
        assert error["code"] in ("INVALID", "TOO_LONG", "NOT_FOUND")
    assert await desk.fetch("select count(*) from customer") == before


@pytest.mark.parametrize(
    ("values", "code", "path"),
    [
        ({"name": "email"}, "DUPLICATE", "name"),
        ({"name": "owner"}, "DUPLICATE", "name"),
        ({"name": "ownerId"}, "DUPLICATE", "name"),
        ({"name": "contacts"}, "DUPLICATE", "name"),
        ({"name": "contactsAggregate"}, "DUPLICATE", "name"),
        ({"name": "ownerLogin"}, "DUPLICATE", "name"),
        ({"name": "taxcode"}, None, None),
        ({"name": "taxCODE"}, "DUPLICATE", "name"),
        ({"name": "and"}, "DUPLICATE", "name"),
        ({"name": "expectedVersion"}, "DUPLICATE", "name"),
        ({"name": "Shoe"}, "INVALID", "name"),
        ({"name": "shoe_size"}, "INVALID", "name"),
        ({"name": "cỡ"}, "INVALID", "name"),
        ({"name": "x" * 41}, "TOO_LONG", "name"),
        ({"recordType": "Nothing"}, "INVALID", "recordType"),
        ({"recordType": "User"}, "INVALID", "recordType"),
        ({"kind": "CHOICE"}, "INVALID", "choices"),
        ({"kind": "TEXT", "choices": ["A"]}, "INVALID", "choices"),
        ({"kind": "CHOICE", "choices": ["A", "a"]}, "INVALID", "choices"),
        ({"kind": "CHOICE", "choices": ["???"]}, "INVALID", "choices"),
        ({"kind": "INTEGER", "default": "many"}, "INVALID", "default"),
        ({"kind": "EMAIL", "default": "nobody"}, "INVALID", "default"),
        ({"kind": "CHOICE", "choices": ["A"], "default": "B"}, "INVALID", "default"),
        ({"kind": "BOOLEAN", "unique": True}, "INVALID", "unique"),
        ({"kind": "TEXT", "unique": True, "default": "a"}, "INVALID", "unique"),
        ({"kind": "TEXT", "required": True}, "REQUIRED", "default"),
    ],
)
async def test_definitions_that_cannot_be(
    desk: Desk, values: dict[str, Any], code: str | None, path: str | None
) -> None:
    before = await desk.fetch("select count(*) from custom_field")
    given = {"recordType": "Customer", "name": "fresh", "kind": "TEXT", **values}
    made = await desk.do(CREATE, input=given, dryRun=True)
    assert [(e["code"], e["path"][-1]) for e in made["userErrors"]] == ([(code, path)] if code else [])
    assert await desk.fetch("select count(*) from custom_field") == before


async def test_the_refusal_names_who_has_the_name(desk: Desk) -> None:
    made = await desk.do(CREATE, input={"recordType": "Customer", "name": "email", "kind": "TEXT"})
    assert made["userErrors"][0]["message"] == "email is already declared by core"
    await define(desk, "twice", "TEXT")
    made = await desk.do(CREATE, input={"recordType": "Customer", "name": "twice", "kind": "TEXT"})
    assert made["userErrors"][0]["message"] == "twice is already declared by custom field"
    assert (await desk.do(CREATE, input={"recordType": "Contact", "name": "twice", "kind": "TEXT"}))["userErrors"] == []


async def test_a_name_of_a_plugin_is_taken(database: Database, workspace: Workspace) -> None:
    desk = Desk(database, Features(database, registry=PluginRegistry.discover(["plugins.groups"])), workspace)
    await desk.features.enable(workspace, "groups")
    made = await desk.do(CREATE, input={"recordType": "Customer", "name": "groups", "kind": "TEXT"})
    assert made["userErrors"][0]["message"] == "groups is already declared by groups"
    await desk.features.disable(workspace, "groups")
    await define(desk, "groups", "TEXT")
    answer = await desk.ask('mutation { pluginEnable(input: {name: "groups"}) { userErrors { code message } } }')
    (error,) = answer["data"]["pluginEnable"]["userErrors"]
    assert error["code"] == "CONFLICT"
    assert "Customer.groups of groups is already declared by custom field" in error["message"]
    await desk.features.close()


async def test_one_of_many_equal_definitions_at_once_is_made(desk: Desk) -> None:
    given = {"recordType": "Customer", "name": "race", "kind": "TEXT"}
    answers = await asyncio.gather(*(desk.do(CREATE, input=given) for _ in range(6)))
    assert sorted(len(a["userErrors"]) for a in answers) == [0, 1, 1, 1, 1, 1]
    assert {e["code"] for a in answers for e in a["userErrors"]} == {"DUPLICATE"}


async def test_a_required_field_fills_the_records_that_are_there(desk: Desk) -> None:
    await define(desk, "rank", "CHOICE", choices=["NEW", "OLD"], required=True, default="OLD")
    sdl = (await desk.features.composition(desk.workspace)).sdl
    assert "rank: CustomerRankChoice!" in sdl
    assert {c["rank"] for c in (await desk.do("{ customers { nodes { rank } } }"))["nodes"]} == {"OLD"}
    made = await create(desk)
    found = await desk.do("query($id: ID!) { customer(id: $id) { rank } }", id=made["customer"]["id"])
    assert found == {"rank": "OLD"}
    update = "mutation($id: ID!) { customerUpdate(input: {id: $id, rank: null}) { userErrors { code } } }"
    done = await desk.do(update, id=made["customer"]["id"])
    assert [e["code"] for e in done["userErrors"]] == ["REQUIRED"]


async def test_a_unique_field_is_unique_whoever_is_quicker(empty: Desk) -> None:
    field = await define(empty, "badge", "INTEGER", unique=True)
    made = await asyncio.gather(*(create(empty, badge=7) for _ in range(6)))
    assert sorted(len(m["userErrors"]) for m in made) == [0, 1, 1, 1, 1, 1]
    assert {e["code"] for m in made for e in m["userErrors"]} == {"DUPLICATE"}
    assert (await empty.do("{ customer(badge: 7) { name } }")) == {"name": "x"}
    done = await empty.do(UPDATE, input={"id": field, "unique": False})
    assert done["customField"]["unique"] is False
    await empty.features.refresh(empty.workspace)
    assert (await create(empty, badge=7))["userErrors"] == []
    assert await refusal(empty, UPDATE, id=field, unique=True) == ("DUPLICATE", "unique")


async def test_a_choice_in_use_stays(empty: Desk) -> None:
    one = await define(empty, "mood", "CHOICE", choices=["GOOD", "BAD", "NONE"])
    many = await define(empty, "moods", "CHOICES", choices=["GOOD", "BAD", "NONE"])
    await create(empty, mood="GOOD", moods=["BAD"])
    assert await refusal(empty, UPDATE, id=one, choices=["BAD"]) == ("CONFLICT", "choices")
    assert await refusal(empty, UPDATE, id=many, choices=["GOOD"]) == ("CONFLICT", "choices")
    done = await empty.do(UPDATE, input={"id": one, "choices": ["GOOD", "FINE=Ổn"]})
    assert done["customField"]["choices"] == ["GOOD", "FINE=Ổn"]
    done = await empty.do(UPDATE, input={"id": many, "choices": ["BAD"]})
    assert done["userErrors"] == []
    await empty.features.refresh(empty.workspace)
    assert (await create(empty, mood="FINE"))["userErrors"] == []


async def test_deleting_a_field_can_be_undone_with_its_values(empty: Desk) -> None:
    field = await define(empty, "shoe", "INTEGER", label="Cỡ giày", unique=True)
    customer = (await create(empty, shoe=42))["customer"]["id"]
    gone = await empty.do(DELETE, id=field)
    assert (gone["id"], gone["userErrors"]) == (field, [])
    await empty.features.refresh(empty.workspace)
    query = "query($id: ID!) { customer(id: $id) { shoe } }"
    assert "errors" in await empty.ask(query, id=customer)
    index = f"custom_{field.replace('-', '')}"
    assert await empty.fetch("select count(*) from pg_indexes where indexname = $1", index) == 0
    assert (await empty.do(UNDO, id=gone["changeSet"]["id"]))["userErrors"] == []
    await empty.features.refresh(empty.workspace)
    assert await empty.do(query, id=customer) == {"shoe": 42}
    assert await empty.fetch("select count(*) from pg_indexes where indexname = $1", index) == 1
    (shown,) = await empty.do("{ customFields { id name label unique } }")
    assert shown == {"id": field, "name": "shoe", "label": "Cỡ giày", "unique": True}


async def test_a_new_field_of_an_old_name_has_no_old_values(empty: Desk) -> None:
    field = await define(empty, "size", "TEXT")
    customer = (await create(empty, size="large"))["customer"]["id"]
    await empty.do(DELETE, id=field)
    await empty.features.refresh(empty.workspace)
    await define(empty, "size", "INTEGER")
    assert await empty.do("query($id: ID!) { customer(id: $id) { size } }", id=customer) == {"size": None}


async def test_definitions_need_the_ability_and_are_read_by_all(desk: Desk) -> None:
    nobody = actor({("Customer", a): Reach.ALL for a in ("read", "create", "update")})
    given = {"recordType": "Customer", "name": "mine", "kind": "TEXT"}
    assert await desk.code(CREATE, nobody, input=given) == "FORBIDDEN"
    may = actor(abilities=("custom_fields",))
    made = await desk.do(CREATE, may, input=given)
    assert made["customField"]["name"] == "mine"
    field = made["customField"]["id"]
    assert await desk.code(UPDATE, nobody, input={"id": field, "label": "x"}) == "FORBIDDEN"
    assert await desk.code(DELETE, nobody, id=field) == "FORBIDDEN"
    undoing = actor(abilities=("undo",))
    assert await desk.code(UNDO, undoing, id=made["changeSet"]["id"]) == "FORBIDDEN"
    assert field in {f["id"] for f in await desk.do("{ customFields { id } }", nobody)}
    assert await desk.fetch("select count(*) from custom_field where name = 'mine'") == 1


async def test_an_unknown_definition_is_not_found(desk: Desk) -> None:
    for id_ in (str(uuid4()), "nonsense"):
        assert await refusal(desk, UPDATE, id=id_, label="x") == ("NOT_FOUND", "id")
        assert await desk.code(DELETE, id=id_) == "NOT_FOUND"


async def test_other_processes_follow(desk: Desk, database: Database) -> None:
    other = Features(database, registry=PluginRegistry.discover([]))
    await other.composition(desk.workspace)
    await desk.do(CREATE, input={"recordType": "Opportunity", "name": "heard", "kind": "TEXT"})
    for _ in range(500):
        if "heard: String" in (await other.composition(desk.workspace)).sdl:
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("never heard")
    await other.close()


def test_a_custom_field_that_core_took_over_is_left_out() -> None:
    fields = (
        CustomField(new_id(), "Customer", "email", "TEXT"),
        CustomField(new_id(), "Customer", "good", "TEXT"),
        CustomField(new_id(), "Customer", "strange", "HOLOGRAM"),
        CustomField(new_id(), "Gone", "waits", "TEXT"),
    )
    registry = PluginRegistry()
    features = Features.__new__(Features)
    from core.features import core_operations

    composed = compose(FeatureSet(fields=fields), registry, core_operations(features))
    assert composed.left_out == {
        "Customer.email": "Customer.email of custom field is already declared by core",
        "Customer.strange": "custom field Customer.strange is of the unknown kind 'HOLOGRAM'",
    }
    assert "good: String" in composed.composition.sdl


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("Miền Bắc", ("MIEN_BAC", "Miền Bắc")),
        ("Đồng Nai", ("DONG_NAI", "Đồng Nai")),
        ("VIP=Khách quan trọng", ("VIP", "Khách quan trọng")),
        ("VIP=", ("VIP", "VIP")),
        ("15-25", ("N15_25", "15-25")),
        ("???", ("", "???")),
    ],
)
def test_a_choice_has_a_value_and_a_label(choice: str, expected: tuple[str, str]) -> None:
    assert parse_choice(choice) == expected


async def test_a_process_that_lags_behind_keeps_values_it_has_not_heard_of(empty: Desk) -> None:
    await empty.do(CREATE, input={"recordType": "Customer", "name": "known", "kind": "TEXT"})
    await empty.features.refresh(empty.workspace)
    behind = await empty.features.composition(empty.workspace)
    await empty.do(CREATE, input={"recordType": "Customer", "name": "brandNew", "kind": "TEXT"})
    await empty.features.refresh(empty.workspace)
    made = await create(empty, known="a", brandNew="b")
    id_ = UUID(made["customer"]["id"])
    context = RequestContext(empty.workspace, empty.system)
    for value in ("c", None):
        async with empty.database.transaction(empty.workspace) as connection:
            changes = ChangeSet(connection, context, behind.policy(empty.system.grants), behind.hooks)
            await changes.update("Customer", Target(ids=(id_,)), {"known": value})
            await changes.finish()
        found = await empty.do("query($id: ID!) { customer(id: $id) { known brandNew } }", id=str(id_))
        assert found == {"known": value, "brandNew": "b"}
    assert len(await empty.fetch("select custom from customer where id = $1", id_)) == 1  # no nulls are kept
