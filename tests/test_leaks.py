"""What one may not read cannot be learnt: not by a list, a condition, an order, a total, a history or an error."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from core.catalog import Record
from core.context import Actor, ActorKind, Workspace
from core.database import Database
from core.grants import Grants, Reach, RoleGrants
from core.records import Field, Kind, ToOne
from core.rows import new_id
from core.schema.aggregate import FUNCTIONS, groupable, measured
from core.schema.order import order_name, sortable
from tests.dataset import HIDDEN, Data, grants_of, load

MARK = "ZZSECRET"
NOBODY = "00000000-0000-0000-0000-00000000dead"


@pytest.fixture(scope="module")
async def data(database: Database, module_workspace: Workspace) -> Data:
    """The small workspace; of Eve's there are records, with a history, whose every text begins with MARK."""
    loaded = await load(database, module_workspace)
    fine = {name: f"{MARK}-{name}" for name in ("name", "phone", "province", "fax", "nickname", "secret")}
    made = await loaded.data(
        "eve",
        "mutation ($c: CustomerCreateInput!) { customerCreate(input: $c) { customer { id } userErrors { message } } }",
        {"c": {"code": f"{MARK}-code", "kind": "PERSON", "tags": [MARK], "shoeSize": 4747, **fine}},
    )
    id_ = made["customerCreate"]["customer"]["id"]
    loaded.hidden = {"Customer": id_}
    text = """mutation ($id: ID!, $n: String!, $own: ID!, $v: Int) {
        customerUpdate(input: {id: $id, phone: "MARK-new", shoeSize: 4848, expectedVersion: $v}) {
            userErrors { message } }
        contactCreate(input: {customerId: $id, name: $n, title: $n}) { contact { id } userErrors { message } }
        opportunityCreate(input: {customerId: $id, name: $n, amount: "474747", stage: $n}) {
            opportunity { id } userErrors { message } }
        mine: opportunityCreate(input: {customerId: $id, name: "Ann's own", ownerId: $own}) {
            opportunity { id } userErrors { message } }
    }""".replace("MARK", MARK)
    own = str(loaded.actors["ann"].user_id)
    done = await loaded.data("eve", text, {"id": id_, "n": f"{MARK}-child", "own": own, "v": 1})
    assert not any(payload["userErrors"] for payload in done.values()), done
    loaded.hidden["Contact"] = done["contactCreate"]["contact"]["id"]
    loaded.hidden["Opportunity"] = done["opportunityCreate"]["opportunity"]["id"]
    loaded.hidden["mine"] = done["mine"]["opportunity"]["id"]
    # Ann who may also read the whole journal.
    journal = RoleGrants("journal", {("ChangeSet", "read"): Reach.ALL})
    loaded.actors["spy"] = replace(loaded.actors["ann"], grants=Grants((grants_of("sales"), journal)))
    # Ann with an API key that may only read contacts.
    narrow = Grants((grants_of("sales"),), allowed=frozenset({("Contact", "read")}))
    loaded.actors["narrow"] = replace(loaded.actors["ann"], kind=ActorKind.API_KEY, grants=narrow)
    return loaded


def all_fields(data: Data, record: Record, depth: int) -> str:
    """A selection of everything, so many records deep."""
    parts = [f.name for f in record.exposed_fields()] + list(record.computed)
    if depth:
        for one in record.to_one.values():
            parts.append(f"{one.name} {{ {all_fields(data, data.catalog[one.target], depth - 1)} }}")
        for many in record.to_many.values():
            if many.exposed:
                inner = all_fields(data, data.catalog[many.target], depth - 1)
                parts.append(f"{many.name}(first: 200) {{ totalCount edges {{ cursor node {{ {inner} }} }} }}")
    return " ".join(parts)


def everything(data: Data, depth: int) -> Iterator[str]:
    for record in data.catalog.exposed():
        fields = all_fields(data, record, depth)
        yield f"{{ {record.type.plural}(first: 200) {{ edges {{ cursor node {{ {fields} }} }} }} }}"


def cursors(value: Any) -> Iterator[str]:
    """All cursors in an answer, decoded."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "cursor":
                yield base64.b64decode(inner).decode()
            else:
                yield from cursors(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from cursors(inner)


# A customer that one may not read, and all that hangs on it


async def test_the_marked_records_are_there(data: Data) -> None:
    """Else nothing below would prove anything."""
    found = json.dumps([await data.answer("eve", text) for text in everything(data, 1)])
    for id_ in data.hidden.values():
        assert id_ in found
    for mark in (f"{MARK}-name", f"{MARK}-new", f"{MARK}-child", "474747", "4848"):
        assert mark in found


@pytest.mark.parametrize("actor", ["ann", "bob", "cat", "hal", "spy", "narrow", "gil"])
async def test_no_way_leads_to_it(data: Data, actor: str) -> None:
    wanted = [MARK, "474747", "4848", data.hidden["Contact"], data.hidden["Opportunity"]]
    if actor == "gil":  # reads all customers, through the role that hides their names
        wanted = []
    for text in everything(data, 2):
        answer = await data.answer(actor, text)
        assert "errors" not in answer, answer
        shown = json.dumps(answer, ensure_ascii=False) + "".join(cursors(answer))
        assert not [w for w in wanted if w in shown], text[:60]


async def test_it_is_no_node(data: Data) -> None:
    ids = [*data.hidden.values()][:3]
    text = "query ($ids: [ID!]!, $id: ID!) { nodes(ids: $ids) { id } node(id: $id) { id } customer(id: $id) { id } }"
    for actor in ("ann", "hal", "spy", "narrow"):
        found = await data.data(actor, text, {"ids": ids, "id": ids[0]})
        assert found == {"nodes": [None] * 3, "node": None, "customer": None}
    assert await data.data("ann", f'{{ customer(code: "{MARK}-code") {{ id }} }}') == {"customer": None}
    assert await data.data("ann", f'{{ customer(secret: "{MARK}-secret") {{ id }} }}') == {"customer": None}


WAYS = (
    ("customers", "{}"),
    ("contacts", "{{customer: {}}}"),
    ("opportunities", "{{customer: {}}}"),
    ("opportunities", "{{customer: {{contacts: {{some: {{customer: {}}}}}}}}}"),
    ("customers", "{{referrer: {}}}"),
    ("customers", "{{referrals: {{some: {}}}}}"),
    ("customers", "{{referrals: {{every: {}}}}}"),
    ("customers", "{{opportunities: {{none: {{customer: {}}}}}}}"),
    ("users", "{{customers: {{some: {}}}}}"),
    ("users", "{{customers: {{none: {}}}}}"),
    ("users", "{{customers: {{every: {}}}}}"),
    ("users", "{{opportunities: {{some: {{customer: {}}}}}}}"),
    ("teams", "{{members: {{some: {{customers: {{some: {}}}}}}}}}"),
)


@pytest.mark.parametrize(("list_", "way"), WAYS)
@pytest.mark.parametrize("negated", [False, True])
async def test_conditions_do_not_find_it(data: Data, list_: str, way: str, negated: bool) -> None:
    """A condition that only the unreadable record satisfies answers what one that none satisfies answers."""
    conditions = [
        (f'{{code: {{eq: "{MARK}-code"}}}}', '{code: {eq: "no such code"}}'),
        (f'{{name: {{contains: "{MARK}"}}}}', '{name: {contains: "no such name"}}'),
        (f'{{id: {{eq: "{data.hidden["Customer"]}"}}}}', f'{{id: {{eq: "{NOBODY}"}}}}'),
        (f'{{contacts: {{some: {{name: {{eq: "{MARK}-child"}}}}}}}}', "{contacts: {some: {or: []}}}"),
        ("{shoeSize: {eq: 4848}}", "{shoeSize: {eq: 4849}}"),
    ]
    for found, missing in conditions:
        answers = []
        for condition in (found, missing):
            where = way.format(condition)
            where = f"{{not: {where}}}" if negated else where
            total = f"{list_}Aggregate(where: {where}) {{ count }}"
            text = f"{{ {list_}(where: {where}, first: 200) {{ totalCount nodes {{ id }} }} {total} }}"
            answers.append(await data.data("ann", text))
        assert answers[0] == answers[1]
        if not (negated or "every" in way or "none" in way):
            seen = await data.data("eve", f"{{ {list_}(where: {way.format(found)}) {{ totalCount }} }}")
            if list_ != "teams" and "referr" not in way:
                assert seen[list_]["totalCount"] > 0, "nothing to be found at all"


async def test_related_counts_leave_it_out(data: Data) -> None:
    """Eve owns it; to Ann she has one customer and two opportunities less."""
    text = "query ($i: ID!) { user(id: $i) { customersAggregate { count } opportunities { totalCount } } }"
    eve = str(data.actors["eve"].user_id)
    mine, theirs = [(await data.data(a, text, {"i": eve}))["user"] for a in ("ann", "eve")]
    assert mine["customersAggregate"]["count"] < theirs["customersAggregate"]["count"]
    for count in range(8):
        where = f"{{id: {{eq: $i}}, customers: {{count: {{eq: {count}}}}}}}"
        found = await data.data("ann", f"query ($i: ID!) {{ users(where: {where}) {{ totalCount }} }}", {"i": eve})
        assert found["users"]["totalCount"] == (count == mine["customersAggregate"]["count"])


async def test_ones_own_opportunity_of_it_tells_nothing_of_it(data: Data) -> None:
    text = """query ($i: ID!) {
        opportunity(id: $i) { name customerId customer { code name } }
        opportunities(where: {id: {eq: $i}}, orderBy: [{field: CUSTOMER_NAME}, {field: CUSTOMER_SHOE_SIZE}]) {
            edges { cursor } }
        opportunitiesAggregate(where: {id: {eq: $i}}, groupBy: {field: CUSTOMER}) {
            groups { count key { customer { code } } } }
        opportunitiesGrouped(by: CUSTOMER, where: {id: {eq: $i}}) { totalCount key { customer { name } } }
    }"""
    found = await data.data("ann", text, {"i": data.hidden["mine"]})
    id_ = data.hidden["Customer"]
    assert found["opportunity"] == {"name": "Ann's own", "customerId": id_, "customer": None}
    assert json.loads(next(cursors(found)))[:2] == [None, None]
    assert found["opportunitiesAggregate"]["groups"] == [{"count": 1, "key": {"customer": None}}]
    assert found["opportunitiesGrouped"] == [{"totalCount": 1, "key": {"customer": None}}]


async def test_the_journal_does_not_tell(data: Data) -> None:
    """Ann as a reader of the whole journal sees that Eve did something, not what."""
    text = (
        "{ changeSets(first: 200) { nodes { id changes(first: 200) { totalCount nodes { recordId before after } } } } }"
    )
    mine, theirs = [(await data.data(a, text))["changeSets"]["nodes"] for a in ("spy", "eve")]
    assert len(mine) == len(theirs) > 1
    seen = {c["recordId"] for s in mine for c in s["changes"]["nodes"]}
    assert {c["recordId"] for s in theirs for c in s["changes"]["nodes"]} >= set(data.hidden.values())
    assert seen & set(data.hidden.values()) == {data.hidden["mine"]}
    ids = [data.hidden[k] for k in ("Customer", "Contact", "Opportunity")]
    for where in (f"recordId: {{in: {json.dumps(ids)}}}", 'recordType: {eq: "Contact"}'):
        found = await data.data("spy", f"{{ changeSets(where: {{changes: {{some: {{{where}}}}}}}) {{ totalCount }} }}")
        assert found["changeSets"]["totalCount"] == 0
    assert (await data.data("ann", "{ changeSets { totalCount } }"))["changeSets"]["totalCount"] == 0


# Writing


async def refusals(data: Data, actor: str, text: str, ids: list[str]) -> list[Any]:
    """What a mutation is answered for each id in turn, with the id itself cut out."""
    found = []
    for id_ in ids:
        answer = await data.answer(actor, text, {"id": id_})
        answer.pop("extensions")
        found.append(json.loads(json.dumps(answer).replace(id_, "THE ID")))
    return found


ERRORS = "userErrors { __typename path code message params } changeSet { id }"
WRITES = {
    "update": "customerUpdate(input: {id: $id, fax: $id}) { customer { id } %s }",
    "stale": "customerUpdate(input: {id: $id, fax: $id, expectedVersion: 99}) { customer { id } %s }",
    "delete": "customerDelete(input: {id: $id}) { id %s }",
    "restore": "customerRestore(input: {id: $id}) { id %s }",
    "bulk": "customersBulkUpdate(input: {target: {ids: [$id]}, set: {fax: $id}}) { counts %s }",
    "where": "customersBulkUpdate(input: {target: {where: {id: {eq: $id}}}, set: {fax: $id}}) { counts %s }",
    "gone": "customersBulkDelete(input: {target: {where: {id: {eq: $id}}}}) { counts %s }",
    "contact": 'contactCreate(input: {customerId: $id, name: "x"}) { contact { id } %s }',
    "opportunity": "opportunityCreate(input: {customerId: $id}) { opportunity { id name } %s }",
    "named": 'opportunityCreate(input: {customerId: $id, name: "x"}) { opportunity { id name } %s }',
    "referrer": 'customerCreate(input: {kind: PERSON, name: "x", referrerId: $id}) { customer { id } %s }',
}


@pytest.mark.parametrize("name", WRITES)
async def test_writing_to_it_is_writing_to_nothing(data: Data, name: str) -> None:
    text = f"mutation ($id: ID!) {{ {WRITES[name] % ERRORS} }}".replace("fax: $id", 'fax: "x"')
    state = "select md5(string_agg(t::text, '|' order by id)) from {} t"
    tables = ("customer", "contact", "opportunity", "change_set", "change")
    pool = data.database.pool(data.workspace)
    before = [await pool.fetchval(state.format(t)) for t in tables]
    hidden, missing = await refusals(data, "ann", text, [data.hidden["Customer"], NOBODY])
    assert hidden == missing
    assert MARK not in json.dumps(hidden)
    assert [await pool.fetchval(state.format(t)) for t in tables] == before


async def test_a_stale_change_shows_no_hidden_field(data: Data) -> None:
    """The current values that a conflict comes with are those the actor may read."""
    writer = RoleGrants(
        "writer",
        {("Customer", "read"): Reach.ALL, ("Customer", "update"): Reach.ALL},
        grants_of("clerk").fields,
    )
    data.actors["writer"] = Actor(ActorKind.USER, Grants((writer,)), data.actors["fay"].user_id)
    text = f'mutation ($id: ID!) {{ customerUpdate(input: {{id: $id, fax: "x", expectedVersion: 99}}) {{ {ERRORS} }} }}'
    answer = await data.answer("writer", text, {"id": data.hidden["Customer"]})
    [error] = answer["data"]["customerUpdate"]["userErrors"]
    assert error["code"] == "STALE"
    assert error["params"]["current"]["code"] == f"{MARK}-code"
    shown = json.dumps(answer)
    assert f"{MARK}-new" not in shown
    assert "4848" not in shown


# Fields that are hidden

CLERK = [(r, f) for (r, f), access in HIDDEN["clerk"].items() if access == "HIDE"]
WRAPS = {
    "Customer": (
        ("opportunities", "{{customer: {}}}"),
        ("contacts", "{{not: {{customer: {}}}}}"),
        ("users", "{{createdBy: {{opportunities: {{some: {{customer: {}}}}}}}}}"),
        ("customers", "{{or: [{{}}, {{referrer: {}}}]}}"),
    ),
    "Contact": (("customers", "{{contacts: {{some: {}}}}}"), ("customers", "{{contacts: {{none: {}}}}}")),
    "Opportunity": (("customers", "{{opportunities: {{every: {}}}}}"), ("users", "{{opportunities: {{some: {}}}}}")),
    "User": (("customers", "{{createdBy: {}}}"), ("opportunities", "{{owner: {}}}")),
}
SAMPLES = {Kind.TEXT: '{eq: "x"}', Kind.INT: "{gt: 1}", Kind.ID: f'{{eq: "{NOBODY}"}}', Kind.DECIMAL: "{lt: 3}"}


def uses(data: Data, record: Record, field: Field) -> Iterator[str]:  # noqa: PLR0912 - one branch a way
    """Every question that would tell something of a field, by the declarations."""
    t = record.type
    operators = [SAMPLES.get(field.kind, '{has: "x"}'), "{isNull: true}"]
    conditions = [f"{{{field.name}: {o}}}" for o in operators]
    relation = next((r for r in record.to_one.values() if r.name + "Id" == field.name), None)
    if relation:
        conditions.append(f"{{{relation.name}: {{}}}}")
    for condition in conditions:
        yield f"{{ {t.plural}(where: {condition}) {{ totalCount }} }}"
        yield f"{{ {t.plural}(where: {{not: {condition}}}) {{ nodes {{ id }} }} }}"
        yield f"{{ {t.plural}(where: {{or: [{{}}, {{and: {condition}}}]}}) {{ pageInfo {{ hasNextPage }} }} }}"
        yield f"{{ {t.plural}Aggregate(where: {condition}) {{ count }} }}"
        for list_, wrap in WRAPS[record.name]:
            yield f"{{ {list_}(where: {wrap.format(condition)}) {{ totalCount }} }}"
    for order in [order_name(field)] if field in sortable(record) else []:
        yield f"{{ {t.plural}(orderBy: {{field: {order}}}) {{ nodes {{ id }} }} }}"
        yield f"{{ {t.plural}(orderBy: [{{field: ID}}, {{field: {order}}}]) {{ edges {{ cursor }} }} }}"
    for other in data.catalog.exposed():
        for link in other.to_one.values():
            if link.target == record.name and field in sortable(record) and field.kind is not Kind.ID:
                name = order_name(field, link.name)
                yield f"{{ {other.type.plural}(orderBy: {{field: {name}}}) {{ edges {{ cursor }} }} }}"
    for name, part in groupable(record).items():
        if (part.name + "Id" if isinstance(part, ToOne) else part.name) == field.name:
            yield f"{{ {t.plural}Aggregate(groupBy: {{field: {name}}}) {{ groups {{ count }} }} }}"
            yield f"{{ {t.plural}Grouped(by: {name}) {{ totalCount }} }}"
    for function in FUNCTIONS:
        if field in measured(record, function):
            yield f"{{ {t.plural}Aggregate {{ {function} {{ {field.name} }} }} }}"
            yield (
                f"{{ {t.plural}Aggregate(groupBy: {{field: CREATED_AT}}, orderBy: {{by: {function.upper()}, "
                f"field: {order_name(field)}}}) {{ groups {{ count }} }} }}"
            )
    if field.search:
        yield f'{{ {t.plural}(search: "x") {{ totalCount }} }}'
    if field.unique:
        yield f'{{ {t.singular}({field.name}: "x") {{ id }} }}'


@pytest.mark.parametrize(("name", "field"), CLERK)
async def test_a_hidden_field_cannot_be_asked_by(data: Data, name: str, field: str) -> None:
    record = data.catalog[name]
    declared = record.fields[field]
    if declared.required:
        return  # hiding it has no effect, as the next test says
    asked = list(uses(data, record, declared))
    assert len(asked) > 8
    for text in asked:
        assert await data.codes("fay", text) == ("FORBIDDEN",), text
        assert "errors" not in await data.answer("eve", text), text


async def test_a_hidden_field_is_empty_and_a_required_one_is_shown(data: Data) -> None:
    fields = "name phone ownerId owner { id } shoeSize tags secret"
    text = '{ customers(where: {code: {startsWith: "%s"}}) { nodes { ' + fields + " } } }"
    [found] = (await data.data("fay", text % MARK))["customers"]["nodes"]
    assert found.pop("name") == f"{MARK}-name"
    assert set(found.values()) == {None}
    [found] = (await data.data("eve", text % MARK))["customers"]["nodes"]
    assert None not in found.values()


async def test_a_hidden_owner_is_not_found_from_the_other_side(data: Data) -> None:
    text = "query ($i: ID!) { user(id: $i) { customers { totalCount nodes { id } } customersAggregate { count } } }"
    eve = str(data.actors["eve"].user_id)
    found = (await data.data("fay", text, {"i": eve}))["user"]
    assert found == {"customers": {"totalCount": 0, "nodes": []}, "customersAggregate": {"count": 0}}
    assert (await data.data("eve", text, {"i": eve}))["user"]["customersAggregate"]["count"] > 0
    for condition in ("some: {}", "none: {}", "every: {}", "count: {gt: 0}"):
        asked = f"{{ users(where: {{customers: {{{condition}}}}}) {{ totalCount }} }}"
        assert await data.codes("fay", asked) == ("FORBIDDEN",)


async def test_a_hidden_field_is_not_in_the_history(data: Data) -> None:
    text = "query ($i: ID!) { customer(id: $i) { history { nodes { action before after } } } }"
    shown = {a: await data.data(a, text, {"i": data.hidden["Customer"]}) for a in ("fay", "eve")}
    for secret in (f"{MARK}-phone", f"{MARK}-new", "4747", "4848", f"{MARK}-secret", str(data.actors["eve"].user_id)):
        assert secret in json.dumps(shown["eve"])
        assert secret not in json.dumps(shown["fay"])
    assert f"{MARK}-province" in json.dumps(shown["fay"])
    assert [n["action"] for n in shown["fay"]["customer"]["history"]["nodes"]] == ["UPDATE", "CREATE"]


async def test_the_most_generous_role_shows(data: Data) -> None:
    text = f'query {{ customers(where: {{phone: {{startsWith: "{MARK}"}}}}) {{ nodes {{ phone }} }} }}'
    assert (await data.data("gil", text))["customers"]["nodes"] == [{"phone": f"{MARK}-new"}]
    assert await data.codes("kim", "{ opportunities(where: {amount: {gt: 1}}) { totalCount } }") == ("FORBIDDEN",)


async def test_errors_name_no_values(data: Data) -> None:
    """A value that does not fit fails alike, whether or not there are rows it would be compared with."""
    text = '{ customers(after: "%s", orderBy: {field: NICKNAME}) { nodes { id } } }'
    cursor = base64.b64encode(json.dumps(["x", "not an id"]).encode()).decode()
    for actor in ("ann", "eve", "gil"):
        answer = await data.answer(actor, text % cursor)
        assert answer["errors"][0]["message"] == "a value does not fit its type"
        assert MARK not in json.dumps(answer)


async def test_nobody_is_told_nothing(data: Data) -> None:
    for text in (
        "{ customers { totalCount } }",
        "{ __typename customers { totalCount } }",
        f'{{ node(id: "{NOBODY}") {{ id }} }}',
    ):
        assert await data.codes("anonymous", text) == ("UNAUTHENTICATED",)
        assert data.statements == []
    new = UUID(str(new_id()))
    assert await data.codes("anonymous", f'mutation {{ customerDelete(input: {{id: "{new}"}}) {{ id }} }}') == (
        "UNAUTHENTICATED",
    )
