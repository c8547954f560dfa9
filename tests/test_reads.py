"""What the read path answers, and what it refuses: one example for each thing that is easily wrong."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from core.context import Workspace
from core.database import Database
from core.schema.measure import Limits
from tests.dataset import Data, load


@pytest.fixture(scope="module")
async def data(database: Database, module_workspace: Workspace) -> Data:
    return await load(database, module_workspace)


@pytest.fixture(scope="module")
async def everyone(data: Data) -> set[str]:
    """The codes of all live customers."""
    return await codes(data)


async def codes(
    data: Data, where: str = "{}", variables: dict[str, Any] | None = None, declared: str = "", actor: str = "eve"
) -> set[str]:
    """The codes of the customers that satisfy a condition."""
    head = f"query ({declared}) " if declared else ""
    found = await data.data(
        actor, f"{head}{{ customers(where: {where}, first: 200) {{ nodes {{ code }} }} }}", variables
    )
    return {n["code"] for n in found["customers"]["nodes"]}


# Conditions that were lost


@pytest.mark.parametrize(
    "where",
    [
        "{or: []}",
        "{and: []}",
        "{or: [{or: []}]}",
        "{not: null}",
        "{name: {}}",
        "{name: null}",
        "{name: {eq: null}}",
        "{name: {ne: null}}",
        "{name: {in: []}}",
        "{name: {notIn: []}}",
        "{name: {in: null}}",
        '{name: {eq: null, contains: ""}}',
        "{name: {between: {}}}",
        "{name: {between: {from: null}}}",
        '{name: {between: {from: "", to: null}}}',
        "{kind: {in: []}}",
        "{kind: {notIn: []}}",
        "{kind: {ne: null}}",
        "{tags: {hasAll: []}}",
        "{tags: {has: null}}",
        "{owner: null}",
        "{contacts: {}}",
        "{contacts: null}",
        "{contacts: {some: null}}",
        "{contacts: {none: null}}",
        "{contacts: {every: null}}",
        "{contacts: {count: null}}",
        "{contacts: {count: {}}}",
        "{contacts: {count: {between: {}}}}",
        "{contacts: {count: {between: {from: 0, to: null}}}}",
        "{contacts: {count: {gte: 0, lt: null}}}",
        "{contacts: {count: {in: []}}}",
        "{contacts: {count: {notIn: []}}}",
        "{contacts: {every: {}, count: {}}}",
        "{contacts: {count: {isNull: true}}}",
        "{createdAt: {within: {this: DAY}, eq: null}}",
    ],
)
async def test_a_lost_condition_matches_nothing(data: Data, where: str) -> None:
    assert await codes(data, where) == set()


@pytest.mark.parametrize(
    "where",
    [
        "{}",
        "{and: {}}",
        "{or: [{}]}",
        "{not: {or: []}}",
        "{not: {name: {}}}",
        '{name: {contains: ""}}',
        '{name: {between: {from: ""}}}',
        "{contacts: {every: {}}}",
        "{contacts: {none: {or: []}}}",
        "{contacts: {count: {gte: 0}}}",
        "{contacts: {count: {isNull: false}}}",
        "{contacts: {count: {notIn: [-1]}}}",
        "{fax: {isNull: true}}",
        '{fax: {ne: "x"}}',
        '{fax: {notIn: "x"}}',
        '{not: {fax: {eq: "x"}}}',
    ],
)
async def test_what_holds_for_all_matches_all(data: Data, everyone: set[str], where: str) -> None:
    assert await codes(data, where) == everyone


async def test_conditions_in_variables(data: Data, everyone: set[str]) -> None:
    where = {"contacts": {"none": None}}
    assert await codes(data, "$w", {"w": where}, "$w: CustomerWhere") == set()
    assert await codes(data, "$w", {"w": {"contacts": {"count": {"gte": 0}}}}, "$w: CustomerWhere") == everyone
    # A variable that is not given is as if its argument was not there.
    assert await codes(data, "{name: {eq: $x}}", {}, "$x: String") == set()
    assert await codes(data, "$w", {}, "$w: CustomerWhere") == everyone
    assert await codes(data, "{code: {in: [$x, $x]}}", {"x": "KH0001"}, "$x: String!") == {"KH0001"}


async def test_the_same_document_with_conditions_of_other_shapes(data: Data, everyone: set[str]) -> None:
    people, organisations = ({"kind": {"eq": k}} for k in ("PERSON", "ORGANISATION"))
    shapes: list[tuple[Any, set[str]]] = []
    for where in (people, organisations, {}, {"kind": {"in": "PERSON"}}, {"not": people}, {"kind": {}}, None):
        literal = json.dumps(where).replace('"', "")
        shapes.append((where, await codes(data, literal) if where is not None else everyone))
    assert shapes[0][1] | shapes[1][1] == everyone
    assert shapes[0][1]
    assert shapes[1][1]
    for where, expected in shapes * 2:
        assert await codes(data, "$w", {"w": where}, "$w: CustomerWhere") == expected


# Arguments


async def test_enums_in_variables(data: Data) -> None:
    people = await codes(data, "{kind: {eq: PERSON}}")
    assert people
    assert await codes(data, "{kind: {eq: $k}}", {"k": "PERSON"}, "$k: CustomerKind") == people
    assert await codes(data, "{kind: {in: $k}}", {"k": "PERSON"}, "$k: [CustomerKind!]") == people
    assert await codes(data, "{kind: {in: [$k]}}", {"k": "PERSON"}, "$k: CustomerKind!") == people
    assert await codes(data, "$w", {"w": {"kind": {"eq": "PERSON"}}}, "$w: CustomerWhere") == people
    assert await codes(data, "{grade: {ne: $g}}", {"g": "A"}, "$g: CustomerGradeChoice") == await codes(
        data, "{grade: {ne: A}}"
    )


async def test_defaults_of_members_hold_in_literals_and_variables(data: Data) -> None:
    """Groups are ordered downwards, records upwards, unless it is said."""
    text = "{ customersAggregate(groupBy: {field: PROVINCE}, orderBy: {by: COUNT}) { groups { count } } }"
    groups = (await data.data("eve", text))["customersAggregate"]["groups"]
    counts = [g["count"] for g in groups]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) > 1
    text = (
        "query ($o: [CustomerGroupOrderBy!], $d: SortDirection! = DESC) {"
        " a: customersAggregate(groupBy: {field: PROVINCE}, orderBy: $o) { groups { count } }"
        " b: customersAggregate(groupBy: {field: PROVINCE}, orderBy: {by: COUNT, direction: $d}) { groups { count } } }"
    )
    found = await data.data("eve", text, {"o": {"by": "COUNT"}})
    assert found["a"]["groups"] == found["b"]["groups"] == groups
    found = await data.data("eve", text, {"o": {"by": "COUNT"}, "d": "ASC"})
    assert [g["count"] for g in found["b"]["groups"]] == sorted(counts)


async def test_numbers_for_decimals(data: Data) -> None:
    parts = " ".join(
        f"{alias}: opportunitiesAggregate(where: {{amount: {{gt: {value}}}}}) {{ count }}"
        for alias, value in (("a", "$n"), ("b", "12"), ("c", "12.0"), ("d", '"12"'))
    )
    text = f"query ($n: Decimal) {{ {parts} }}"
    for given in (12, 12.0, "12", "1.2e1"):
        found = await data.data("eve", text, {"n": given})
        assert len({v["count"] for v in found.values()}) == 1
        assert found["a"]["count"] > 0


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e200000", "-1e-200000", "x", "", True])
async def test_what_is_no_number(data: Data, value: Any) -> None:
    text = "query ($n: Decimal) { opportunitiesAggregate(where: {amount: {in: [$n, 1]}}) { count } }"
    assert await data.codes("eve", text.replace("$n: Decimal", "$n: Decimal!"), {"n": value}) == ("BAD_USER_INPUT",)


async def test_large_numbers(data: Data) -> None:
    text = "query ($n: Decimal) { opportunitiesAggregate(where: {amount: {gt: $n}}) { count } }"
    for value, some in (("1e400", False), ("-1e400", True), ("1e-400", True)):
        found = await data.data("eve", text, {"n": value})
        assert (found["opportunitiesAggregate"]["count"] > 0) is some


@pytest.mark.parametrize(
    "value", ["2026-03-17T16:30:00+07:00", "2026-03-17T09:30:00Z", "2026-03-17T09:30:00.000+00:00"]
)
async def test_one_instant_written_in_several_ways(data: Data, value: str) -> None:
    text = "query ($t: DateTime) { opportunities(where: {closedAt: {eq: $t}}) { nodes { closedAt } } }"
    nodes = (await data.data("eve", text, {"t": value}))["opportunities"]["nodes"]
    assert {n["closedAt"] for n in nodes} == {"2026-03-17T09:30:00+00:00"}


async def test_times_without_a_zone_are_utc(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'query { opportunities(where: {closedAt: {eq: "2026-03-17T09:30:00"}}) { nodes { closedAt } } }'
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        try:
            nodes = (await data.data("eve", text))["opportunities"]["nodes"]
        finally:
            patch.undo()
            time.tzset()
    assert {n["closedAt"] for n in nodes} == {"2026-03-17T09:30:00+00:00"}


@pytest.mark.parametrize(
    "value",
    ["O'Neil", 'O\'Neil "Max" & Sons', "%", "_", "\\", "\\\\", "' or true --", "$1", "\U0001f600", "{}", "a\tb"],
)
async def test_text_is_only_text(data: Data, value: str) -> None:
    pool = data.database.pool(data.workspace)
    query = (
        "select code from customer where deleted_at is null and strpos(public.crm_fold(name), public.crm_fold($1)) > 0"
    )
    expected = {r["code"] for r in await pool.fetch(query, value)}
    literal = json.dumps(value, ensure_ascii=False)
    assert await codes(data, f"{{name: {{contains: {literal}}}}}") == expected
    assert await codes(data, "{name: {contains: $x}}", {"x": value}, "$x: String") == expected


async def test_accents_and_case(data: Data) -> None:
    found = [
        await codes(data, f'{{name: {{contains: "{t}"}}}}') for t in ("nguyễn văn", "NGUYEN VAN", "nguyen va\u0306n")
    ]
    assert found[0]
    assert found[0] == found[1] == found[2]
    assert (
        await codes(data, '{name: {startsWith: "dang"}}') == await codes(data, '{name: {startsWith: "ĐẶNG"}}') != set()
    )


async def test_nul_is_refused(data: Data) -> None:
    text = "query ($x: String) { customers(where: {name: {eq: $x}}) { totalCount } }"
    assert await data.codes("eve", text, {"x": "a\0b"}) == ("BAD_USER_INPUT",)
    assert await data.codes("eve", '{ customers(search: "a\\u0000") { totalCount } }') == ("BAD_USER_INPUT",)


@pytest.mark.parametrize("id_", ["", "x", "1", "00000000", "' or true", "99999999999999999999"])
async def test_ids_that_are_none(data: Data, id_: str) -> None:
    found = await data.data(
        "eve", "query ($i: ID!) { customer(id: $i) { id } node(id: $i) { id } nodes(ids: [$i, $i]) { id } }", {"i": id_}
    )
    assert found == {"customer": None, "node": None, "nodes": [None, None]}
    text = "query ($i: ID!) { customers(where: {ownerId: {in: [$i]}}) { totalCount } }"
    assert await data.codes("eve", text, {"i": id_}) == ("BAD_USER_INPUT",)


async def test_one_record_needs_one_argument(data: Data) -> None:
    assert await data.codes("eve", "{ customer { id } }") == ("BAD_USER_INPUT",)
    assert await data.codes("eve", "{ customer(id: null) { id } }") == ("BAD_USER_INPUT",)
    text = 'query ($i: ID) { customer(id: $i, code: "KH0001") { code } }'
    assert await data.data("eve", text) == {"customer": {"code": "KH0001"}}
    assert await data.codes("eve", text, {"i": "x"}) == ("BAD_USER_INPUT",)


async def test_lists_of_custom_choices(data: Data) -> None:
    has = await codes(data, '{hobbies: {has: "tea"}}')
    assert has == await codes(data, '{hobbies: {hasAny: "tea"}}') != set()
    assert await codes(data, '{hobbies: {hasAll: ["tea", "golf"]}}') < has
    assert has.isdisjoint(await codes(data, "{hobbies: {isNull: true}}"))


# Pages


@pytest.mark.parametrize("argument", ["first: -1", "first: 201", "last: 201", "first: 1, last: 1", "first: 2147483647"])
async def test_page_sizes(data: Data, argument: str) -> None:
    assert await data.codes("eve", f"{{ customers({argument}) {{ nodes {{ id }} }} }}") == ("BAD_USER_INPUT",)
    assert await data.codes("eve", f"{{ customers({argument}) {{ edges {{ cursor }} }} }}") == ("BAD_USER_INPUT",)


async def test_an_empty_page(data: Data) -> None:
    info_ = "hasNextPage hasPreviousPage startCursor endCursor"
    text = "{ customers(%s: 0) { nodes { id } pageInfo { " + info_ + " } totalCount } }"
    found = (await data.data("eve", text % "first"))["customers"]
    total = found.pop("totalCount")
    assert total > 0
    info = {"hasNextPage": True, "hasPreviousPage": False, "startCursor": None, "endCursor": None}
    assert found == {"nodes": [], "pageInfo": info}
    found = (await data.data("eve", text % "last"))["customers"]
    assert found["pageInfo"] == info | {"hasNextPage": False, "hasPreviousPage": True}


@pytest.mark.parametrize("actor", ["ann", "cat", "eve"])
@pytest.mark.parametrize("order", ["", "orderBy: [{field: NAME}, {field: CREATED_AT, direction: DESC}]"])
async def test_pages_hold_each_record_once_whatever_lets_it_in(data: Data, actor: str, order: str) -> None:
    whole = (await data.data(actor, f"{{ customers(first: 200 {order}) {{ totalCount nodes {{ id }} }} }}"))[
        "customers"
    ]
    ids = [n["id"] for n in whole["nodes"]]
    assert len(set(ids)) == len(ids) == whole["totalCount"]
    for size, cursor, sign in (("first", "after", 1), ("last", "before", -1)):
        text = f"""query($c: String) {{ customers({size}: 3, {cursor}: $c {order}) {{ edges {{ cursor node {{ id }} }}
            pageInfo {{ hasNextPage hasPreviousPage }} }} }}"""
        walked: list[str] = []
        at, more = None, True
        while more:
            page = (await data.data(actor, text, {"c": at}))["customers"]
            walked += [e["node"]["id"] for e in page["edges"]][::sign]
            at = page["edges"][-1 if sign > 0 else 0]["cursor"]
            more = page["pageInfo"]["hasNextPage" if sign > 0 else "hasPreviousPage"]
        assert walked[::sign] == ids


@pytest.mark.parametrize(
    ("order", "index"),
    [
        ("[]", "customer_newest"),
        ("[{field: CODE}]", "customer_by_code"),
        ("[{field: CODE, direction: DESC}]", "customer_by_code"),
        ("[{field: NAME}]", "customer_by_name"),
        ("[{field: NAME, direction: DESC}]", "customer_by_name"),
    ],
)
@pytest.mark.parametrize("size", ["first", "last"])
async def test_usual_orders_are_read_from_an_index_and_not_sorted(
    data: Data, order: str, index: str, size: str
) -> None:
    asked = f"customers({size}: 2, orderBy: {order})"
    page = (await data.data("eve", f"{{ {asked} {{ edges {{ cursor }} }} }}"))["customers"]
    way = "after" if size == "first" else "before"
    text = f"query($c: String) {{ {asked[:-1]}, {way}: $c) {{ edges {{ cursor node {{ name }} }} }} }}"
    await data.data("eve", text, {"c": page["edges"][-1 if size == "first" else 0]["cursor"]})
    ((statement, values),) = data.statements
    async with data.database.connection(data.workspace) as connection, connection.transaction():
        # On so few rows anything is as quick.
        await connection.execute("set local enable_seqscan = off; set local enable_sort = off")
        plan = "\n".join([r[0] for r in await connection.fetch(f"explain (costs off) {statement}", *values)])
    assert f"using {index} on customer" in plan, plan
    assert "Index Cond: (ROW(" in plan, plan
    assert "Sort Key" not in plan, plan


def forged(*keys: Any) -> str:
    return base64.b64encode(json.dumps(keys).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "====",
        "💥",
        forged(),
        forged("a"),
        forged("2026-01-01", "x"),
        forged("x", "00000000-0000-0000-0000-000000000000"),
        forged(1, 2),
        forged("2026-01-01", None, None),
        forged({"a": 1}, "b"),
        forged("a\0", "00000000-0000-0000-0000-000000000000"),
        base64.b64encode(b'"x"').decode(),
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b"[" * 5000).decode(),
    ],
)
async def test_forged_cursors(data: Data, cursor: str) -> None:
    text = "query ($c: String) { customers(after: $c) { nodes { id } } }"
    assert await data.codes("eve", text, {"c": cursor}) == ("BAD_USER_INPUT",)


async def test_a_cursor_of_another_order(data: Data) -> None:
    found = await data.data(
        "eve", "{ customers(first: 1, orderBy: [{field: NAME}, {field: KIND}]) { edges { cursor } } }"
    )
    cursor = found["customers"]["edges"][0]["cursor"]
    assert await data.codes("eve", f'{{ customers(after: "{cursor}") {{ nodes {{ id }} }} }}') == ("BAD_USER_INPUT",)


# Selections


async def test_long_aliases(data: Data) -> None:
    name = "a" * 63
    found = await data.data("eve", f"{{ {name}: customers(first: 1) {{ {name}: nodes {{ {name}: id }} }} }}")
    assert list(found[name][name][0]) == [name]
    for text in ("{ %s: customers { totalCount } }", "{ customers { nodes { %s: id } } }"):
        assert await data.codes("eve", text % ("a" * 64)) == ("BAD_USER_INPUT",)


async def test_one_field_asked_for_twice(data: Data) -> None:
    text = """
        query ($more: Boolean!) {
          customers(first: 3) { nodes { id owner { id } } ...A }
          customers(first: 3) { nodes { owner { login } } nodes @include(if: $more) { code } }
        }
        fragment A on CustomerConnection { nodes { owner { login ...B } } }
        fragment B on User { displayName }
    """
    for more in (True, False):
        nodes = (await data.data("eve", text, {"more": more}))["customers"]["nodes"]
        assert {tuple(n) for n in nodes} == {("id", "owner", "code") if more else ("id", "owner")}
        assert {tuple(n["owner"]) for n in nodes if n["owner"]} == {("id", "login", "displayName")}


async def test_fragments_on_node(data: Data) -> None:
    ids = [r["id"] for table in ("customer", "contact", "app_user") for r in (await _some(data, table))]
    text = """
        query ($ids: [ID!]!) { nodes(ids: $ids) {
          kind: __typename ...Id ... on Customer { name: code } ... on Contact { name isMain } } }
        fragment Id on Node { id ... on User { login } }
    """
    found = (await data.data("eve", text, {"ids": [str(i) for i in ids] + ["x"]}))["nodes"]
    assert [f and f["id"] for f in found] == [*map(str, ids), None]
    assert {(f["kind"], *sorted(f)) for f in found if f} == {
        ("Customer", "id", "kind", "name"),
        ("Contact", "id", "isMain", "kind", "name"),
        ("User", "id", "kind", "login"),
    }
    assert await data.data("eve", f'{{ node(id: "{ids[0]}") {{ ... on Contact {{ name }} }} }}') == {"node": {}}


async def _some(data: Data, table: str) -> list[Any]:
    pool = data.database.pool(data.workspace)
    soft = "" if table == "app_user" else "where deleted_at is null"
    found: list[Any] = await pool.fetch(f"select id from {table} {soft} order by id limit 2")
    return found


async def test_nothing_is_left_of_a_selection(data: Data) -> None:
    assert await data.data("eve", "{ customers @skip(if: true) { totalCount } }") == {}
    text = "{ customers(first: 1) { nodes { id @include(if: false) } pageInfo @skip(if: true) { endCursor } } }"
    assert await data.data("eve", text) == {"customers": {"nodes": [{}]}}
    assert await data.data("eve", "{ customers { ... @skip(if: true) { totalCount } } }") == {"customers": {}}


async def test_one_statement_however_much_is_asked(data: Data) -> None:
    text = """{
        a: customers { totalCount nodes { owner { login } contacts { nodes { name } totalCount } } }
        b: opportunitiesAggregate { groups { count } } c: opportunitiesGrouped(by: STAGE) { key { stage } nodes { id } }
    }"""
    await data.ask("eve", text)
    assert len(data.statements) == 0  # groups need to be told by what: nothing was asked of the database
    await data.data("eve", text.replace("opportunitiesAggregate", "opportunitiesAggregate(groupBy: {field: STAGE})"))
    assert len(data.statements) == 1


async def test_limits_hold_before_anything_runs(data: Data) -> None:
    answer = await data.ask("eve", "{ customers(first: 200) { nodes { id name } } }", limits=Limits(cost=100))
    assert answer.codes == ("LIMIT_EXCEEDED",)
    text = "{ " + " ".join(f"a{i}: customers {{ totalCount }}" for i in range(31)) + " }"
    assert (await data.ask("eve", text + " ", limits=Limits())).codes == ("LIMIT_EXCEEDED",)
    assert data.statements == []


# Groups


@pytest.mark.parametrize(
    "by", ["", "groupBy: []", f"groupBy: [{', '.join(['{field: KIND}'] * 5)}]", "groupBy: {field: KIND}, first: 1001"]
)
async def test_groups_that_cannot_be(data: Data, by: str) -> None:
    arguments = f"({by})" if by else ""
    assert await data.codes("eve", f"{{ customersAggregate{arguments} {{ groups {{ count }} }} }}") == (
        "BAD_USER_INPUT",
    )


async def test_groups_add_up(data: Data) -> None:
    text = """{ opportunitiesAggregate(groupBy: [{field: STAGE}, {field: CLOSED_AT, unit: MONTH}]) {
        count sum { amount } groups { key { stage closedAt } count sum { amount } } } }"""
    found = (await data.data("eve", text))["opportunitiesAggregate"]
    assert sum(g["count"] for g in found["groups"]) == found["count"] > 0
    keys = [(g["key"]["stage"], g["key"]["closedAt"]) for g in found["groups"]]
    assert len(set(keys)) == len(keys)
    assert {k[1][8:] for k in keys if k[1]} <= {"31T17:00:00+00:00", "28T17:00:00+00:00", "30T17:00:00+00:00"}


async def test_a_hundred_fields_of_one_record(data: Data) -> None:
    """PostgreSQL's functions take a hundred arguments, clients ask for what they like."""
    fields = " ".join(f"a{i}: name" for i in range(130))
    found = await data.data(
        "eve", f"{{ customers(first: 1) {{ nodes {{ {fields} }} edges {{ node {{ {fields} }} }} }} }}"
    )
    assert len(found["customers"]["nodes"][0]) == len(found["customers"]["edges"][0]["node"]) == 130
    assert (
        len((await data.data("eve", f'{{ customer(code: "KH0001") {{ {fields} owner {{ id }} }} }}'))["customer"])
        == 131
    )
    roots = " ".join(f"a{i}: customers(first: 1) {{ totalCount }}" for i in range(60))
    assert len(await data.data("eve", f"{{ {roots} }}")) == 60
    parts = " ".join(f"a{i}: totalCount" for i in range(60))
    assert len((await data.data("eve", f"{{ customers {{ {parts} }} }}"))["customers"]) == 60
    parts = " ".join(f"a{i}: hasNextPage" for i in range(60))
    found = await data.data("eve", f"{{ customers {{ pageInfo {{ {parts} }} }} }}")
    assert len(found["customers"]["pageInfo"]) == 60
    parts = " ".join(f"a{i}: count" for i in range(60))
    text = f"{{ customersAggregate(groupBy: {{field: KIND}}) {{ {parts} groups {{ {parts} key {{ kind }} }} }} }}"
    assert len((await data.data("eve", text))["customersAggregate"]) == 61
    parts = " ".join(f"a{i}: totalCount" for i in range(60))
    [*_, group] = (await data.data("eve", f"{{ customersGrouped(by: KIND) {{ {parts} key {{ kind }} }} }}"))[
        "customersGrouped"
    ]
    assert len(group) == 61


async def test_orders_with_many_keys(data: Data) -> None:
    text = "query ($c: String) {{ customers(first: 3, after: $c, orderBy: [{}]) {{ edges {{ cursor }} }} }}"
    many = text.format(", ".join(["{field: NAME}", "{field: EMAIL, nulls: FIRST}"] * 20))
    cursor = (await data.data("eve", many))["customers"]["edges"][-1]["cursor"]
    assert len((await data.data("eve", many, {"c": cursor}))["customers"]["edges"]) == 3
    # More than a cursor can hold is refused, not a fault of ours.
    assert await data.codes("eve", text.format(", ".join(["{field: NAME}"] * 110))) == ("LIMIT_EXCEEDED",)
