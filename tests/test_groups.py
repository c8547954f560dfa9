"""The groups plugin, through GraphQL on real tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.context import Workspace
from core.database import Database
from core.features import Features
from core.grants import Reach
from core.plugins import PluginRegistry
from plugins.groups import commands
from tests.conftest import NewWorkspace
from tests.switching import Desk, actor

CREATE = """mutation($input: GroupCreateInput!) {
  groupCreate(input: $input) { group { id } userErrors { code path message } } }"""
WHERE = """query($where: CustomerWhere) {
  customers(where: $where, orderBy: [{field: NAME}]) { nodes { name } totalCount } }"""
BULK = """mutation($input: CustomersGroups%sInput!, $dryRun: Boolean! = false) {
  customersGroups%s(input: $input, dryRun: $dryRun) {
    counts customers { name groups(orderBy: [{field: NAME}], first: 9) { nodes { name } } }
    userErrors { code path } changeSet { id } } }"""
MOVE, ADD, REMOVE = (BULK % (n, n) for n in ("Move", "Add", "Remove"))
UNDO = "mutation($id: ID!) { changeSetUndo(input: {id: $id}) { conflicts userErrors { code } changeSet { id } } }"


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    features = Features(database, registry=PluginRegistry.discover(["plugins.groups"]))
    await features.enable(module_workspace, "groups")
    yield Desk(database, features, module_workspace)
    await features.close()


async def group(desk: Desk, name: str, **values: Any) -> str:
    made = await desk.do(CREATE, input={"name": name, **values})
    assert made["userErrors"] == []
    return made["group"]["id"]


async def put(desk: Desk, customer: str, *groups: str) -> None:
    done = await desk.do(ADD, input={"target": {"ids": [customer]}, "groupIds": list(groups)})
    assert done["userErrors"] == []


async def groups_of(desk: Desk, customer: str) -> list[str]:
    found = await desk.do(
        "query($id: ID!) { customer(id: $id) { groups(orderBy: [{field: NAME}]) { nodes { name } } } }", id=customer
    )
    return [g["name"] for g in found["groups"]["nodes"]]


@pytest.fixture(scope="module")
async def four(desk: Desk) -> dict[str, str]:
    """Customers in A only, in B only, in both and in neither, and the groups A and B."""
    ids = {name: await desk.customer(name, source="modes") for name in ("a", "b", "both", "neither")}
    ids |= {name: await group(desk, name, family="modes") for name in ("A", "B")}
    await put(desk, ids["a"], ids["A"])
    await put(desk, ids["b"], ids["B"])
    await put(desk, ids["both"], ids["A"], ids["B"])
    return ids


async def matching(desk: Desk, groups: Any, **more: Any) -> set[str]:
    where = {"source": {"eq": "modes"}, "groups": groups, **more}
    found = await desk.do(WHERE, where=where)
    names = {c["name"] for c in found["nodes"]}
    assert found["totalCount"] == len(names)
    return names


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        ({"and": "AB"}, {"both"}),
        ({"or": "AB"}, {"a", "b", "both"}),
        ({"not": "AB"}, {"a", "b", "neither"}),
        ({"none": "AB"}, {"neither"}),
        ({"and": "A"}, {"a", "both"}),
        ({"or": "A"}, {"a", "both"}),
        ({"not": "A"}, {"b", "neither"}),
        ({"none": "A"}, {"b", "neither"}),
        ({"and": "AA"}, {"a", "both"}),
        ({"not": "AAB"}, {"a", "b", "neither"}),
        ({"or": "AB", "not": "AB"}, {"a", "b"}),
        ({"and": "A", "none": "B"}, {"a"}),
        ({"or": "A", "and": "B"}, {"both"}),
        ({"none": "A", "not": "B"}, {"neither"}),
    ],
)
async def test_filter_modes(desk: Desk, four: dict[str, str], modes: dict[str, str], expected: set[str]) -> None:
    assert await matching(desk, {m: [four[n] for n in names] for m, names in modes.items()}) == expected


async def test_in_all_of_many_groups_are_those_who_lack_none_of_them(desk: Desk) -> None:
    groups = [await group(desk, f"many {i}") for i in range(6)]
    everyone = {f"lacks {i}" for i in range(7)}
    for lacking in range(7):
        id_ = await desk.customer(f"lacks {lacking}", source="lacking")
        await put(desk, id_, *(g for i, g in enumerate(groups) if i != lacking))
    for number in range(1, 7):
        wanted, lacking_none = groups[:number], {f"lacks {i}" for i in range(number, 7)}
        for modes, expected in (
            ({"and": wanted}, lacking_none),
            ({"and": [*wanted, wanted[0]]}, lacking_none),
            ({"and": [*wanted, str(uuid4())]}, set()),
            ({"not": wanted}, everyone - lacking_none),
        ):
            assert await matching(desk, modes, source={"eq": "lacking"}) == expected, (number, modes)


@pytest.mark.parametrize("unknown", [str(UUID(int=7)), "not-an-id"])
async def test_nobody_is_in_an_unknown_group(desk: Desk, four: dict[str, str], unknown: str) -> None:
    everyone = {"a", "b", "both", "neither"}
    assert await matching(desk, {"and": [four["A"], unknown]}) == set()
    assert await matching(desk, {"or": [four["A"], unknown]}) == {"a", "both"}
    assert await matching(desk, {"not": [four["A"], unknown]}) == everyone
    assert await matching(desk, {"none": [unknown]}) == everyone


async def test_nothing_given_matches_nothing(desk: Desk, four: dict[str, str]) -> None:
    for mode in ("and", "or", "not", "none"):
        assert await matching(desk, {mode: []}) == set(), mode
        assert await matching(desk, {mode: None}) == set(), mode
    assert await matching(desk, {}) == set()
    literal = await desk.do('{ customers(where: {source: {eq: "modes"}, groups: {none: []}}) { nodes { name } } }')
    assert literal["nodes"] == []


async def test_the_filter_combines_with_others(desk: Desk, four: dict[str, str]) -> None:
    assert await matching(desk, {"or": [four["A"]]}, name={"eq": "both"}) == {"both"}
    either = [{"groups": {"and": [four["A"], four["B"]]}}, {"name": {"eq": "neither"}}]
    where = {"source": {"eq": "modes"}, "or": either}
    found = await desk.do(WHERE, where=where)
    assert [c["name"] for c in found["nodes"]] == ["both", "neither"]
    negated = {"source": {"eq": "modes"}, "not": {"groups": {"or": [four["A"]]}}}
    assert {c["name"] for c in (await desk.do(WHERE, where=negated))["nodes"]} == {"b", "neither"}


async def test_the_length_of_the_list_shows_only_where_customers_are_in_all_of_a_few(
    desk: Desk, four: dict[str, str]
) -> None:
    composition = await desk.features.composition(desk.workspace)
    lists = ([four["A"]], [four["A"], four["B"], str(uuid4())], [str(uuid4()) for _ in range(4)], [*four.values()] * 2)
    looks = {"or": (1, 1, 1, 1), "none": (1, 1, 1, 1), "and": (1, 3, 4, 4), "not": (1, 1, 1, 1)}
    for mode, numbers in looks.items():
        texts: list[str] = []
        for ids in lists:
            await _recorded(desk, composition, {"groups": {mode: ids}}, texts)
        assert tuple(t.count('from "group_member"') for t in texts) == numbers, texts
        assert texts[2] == texts[3]
        assert (texts[0] == texts[1]) is (mode != "and")


async def test_customers_in_all_of_some_groups_are_planned_for_by_these_groups(
    desk: Desk, four: dict[str, str]
) -> None:
    """A plan for any groups takes all for equally large: it would gather half of the customers to show the first."""
    composition = await desk.features.composition(desk.workspace)
    plans = []
    async with desk.database.connection(desk.workspace) as connection:
        for mode in ("and", "or"):
            texts: list[str] = []
            await _recorded(desk, composition, {"groups": {mode: [four["A"], four["B"]]}}, texts)
            prepared = await connection.prepare(texts[0])
            values = [[], *[uuid4()] * 2, True] if mode == "and" else [[]]
            for _ in range(10):
                await prepared.fetchval(*values)
            counted = "select sum(generic_plans) from pg_prepared_statements where statement = $1"
            plans.append(await connection.fetchval(counted, texts[0]))
    assert plans[0] == 0
    assert plans[1] > 0


async def _recorded(desk: Desk, composition: Any, where: Any, texts: list[str]) -> None:
    from core.context import RequestContext
    from core.schema.execute import run

    pool = desk.database.pool(desk.workspace)

    async def fetch(text: str, values: Any) -> Any:
        texts.append(text)
        return await pool.fetchval(text, *values)

    query = "query($where: CustomerWhere) { customers(where: $where) { nodes { name } } }"
    await run(composition, RequestContext(desk.workspace, desk.system), fetch, query, {"where": where})


async def test_a_deleted_group_is_a_group_nobody_is_in(desk: Desk) -> None:
    customer, gone = await desk.customer("gone", source="deleted"), await group(desk, "gone")
    await put(desk, customer, gone)
    delete = "mutation($id: ID!) { groupDelete(input: {id: $id}) { id userErrors { code } } }"
    assert (await desk.do(delete, id=gone))["userErrors"] == []
    where = {"source": {"eq": "deleted"}, "groups": {"or": [gone]}}
    assert (await desk.do(WHERE, where=where))["nodes"] == []
    assert await groups_of(desk, customer) == []


async def test_groups_are_hidden_from_those_who_may_not_read_them(desk: Desk, four: dict[str, str]) -> None:
    reader = actor({("Customer", "read"): Reach.ALL})
    shown = await desk.do("{ customers { nodes { groups { nodes { name } } } } }", reader)
    assert all(c["groups"]["nodes"] == [] for c in shown["nodes"])
    where = {"source": {"eq": "modes"}, "groups": {"or": [four["A"], four["B"]]}}
    assert (await desk.do(WHERE, reader, where=where))["nodes"] == []
    allowed = actor({("Customer", "read"): Reach.ALL, ("Group", "read"): Reach.ALL})
    assert len((await desk.do(WHERE, allowed, where=where))["nodes"]) == 3


async def test_points_add_up(desk: Desk) -> None:
    customer = await desk.customer("points")
    await put(desk, customer, await group(desk, "gold", points=30), await group(desk, "early", points=12))
    query = "query($id: ID!) { customer(id: $id) { groupsAggregate { count sum { points } } } }"
    found = await desk.do(query, id=customer)
    assert found["groupsAggregate"] == {"count": 2, "sum": {"points": "42"}}


async def test_a_read_with_groups_is_one_statement(desk: Desk, four: dict[str, str]) -> None:
    await desk.do(
        "query($ids: [ID!]) { customers(where: {groups: {or: $ids}}, first: 5) "
        "{ nodes { name groups(first: 5) { nodes { name customers(first: 5) { nodes { name } } } } } totalCount } }",
        ids=[four["A"]],
    )
    assert desk.statements == 1


async def test_names_are_unique_in_their_family(desk: Desk) -> None:
    await group(desk, "Miền Bắc", family="Vùng")
    assert await desk.code(CREATE, input={"name": "MIEN BAC", "family": "vung"}) == "DUPLICATE"
    other = await group(desk, "Miền Bắc", family="Khác")
    update = """mutation($id: ID!) {
      groupUpdate(input: {id: $id, family: "VÙNG"}) { userErrors { code path message } } }"""
    (error,) = (await desk.do(update, id=other))["userErrors"]
    message = "There is already a group Miền Bắc in VÙNG"
    assert (error["code"], error["message"], error["path"][-1]) == ("DUPLICATE", message, "name")
    bulk = "mutation($r: [GroupCreateInput!]!) { groupsBulkCreate(input: {records: $r}) { userErrors { code path } } }"
    (error,) = (await desk.do(bulk, r=[{"name": "twice"}, {"name": "Twice"}]))["userErrors"]
    assert error == {"code": "DUPLICATE", "path": ["input", "records", "1", "name"]}


async def test_one_of_many_equal_names_at_once_is_created(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.do(CREATE, input={"name": "race"}) for _ in range(8)))
    assert sorted(len(a["userErrors"]) for a in answers) == [0, *[1] * 7]
    assert {e["code"] for a in answers for e in a["userErrors"]} == {"DUPLICATE"}


@pytest.fixture
async def regions(desk: Desk) -> dict[str, str]:
    """A customer in North and Young, and groups in two families and in none."""
    tag = uuid4().hex[:8]
    ids = {n: await group(desk, f"{n} {tag}", family=f"Region {tag}") for n in ("North", "South", "East")}
    ids |= {n: await group(desk, f"{n} {tag}", family=f"Age {tag}") for n in ("Young", "Old")}
    ids["VIP"] = await group(desk, f"VIP {tag}")
    ids["customer"] = await desk.customer(f"moving {tag}")
    await put(desk, ids["customer"], ids["North"], ids["Young"])
    return ids


async def short(desk: Desk, ids: dict[str, str]) -> list[str]:
    return [name.split()[0] for name in await groups_of(desk, ids["customer"])]


async def test_a_move_replaces_within_the_families(desk: Desk, regions: dict[str, str]) -> None:
    target = {"ids": [regions["customer"]]}
    done = await desk.do(MOVE, input={"target": target, "groupIds": [regions["South"]]})
    assert done["counts"] == {"customers": 1, "added": 1, "removed": 1, "skipped": 0}
    assert await short(desk, regions) == ["South", "Young"]
    await desk.do(MOVE, input={"target": target, "groupIds": [regions["East"], regions["South"], regions["VIP"]]})
    assert await short(desk, regions) == ["East", "South", "VIP", "Young"]


async def test_a_move_of_all_replaces_everything(desk: Desk, regions: dict[str, str]) -> None:
    target = {"ids": [regions["customer"]]}
    await desk.do(MOVE, input={"target": target, "groupIds": [regions["VIP"]], "scope": "ALL"})
    assert await short(desk, regions) == ["VIP"]
    done = await desk.do(MOVE, input={"target": target, "groupIds": [], "scope": "ALL"})
    assert done["counts"]["removed"] == 1
    assert await short(desk, regions) == []


async def test_add_and_remove_only_what_is_not_so_already(desk: Desk, regions: dict[str, str]) -> None:
    target = {"where": {"groups": {"or": [regions["North"]]}}}
    done = await desk.do(ADD, input={"target": target, "groupIds": [regions["North"], regions["Old"]]})
    assert done["counts"] == {"customers": 1, "added": 1, "removed": 0, "skipped": 0}
    assert [g["name"].split()[0] for g in done["customers"][0]["groups"]["nodes"]] == ["North", "Old", "Young"]
    again = await desk.do(ADD, input={"target": target, "groupIds": [regions["North"], regions["Old"]]})
    assert again["counts"]["added"] == 0
    assert again["changeSet"] is None
    gone = await desk.do(REMOVE, input={"target": target, "groupIds": [regions["Old"], regions["VIP"]]})
    assert gone["counts"] == {"customers": 1, "added": 0, "removed": 1, "skipped": 0}
    assert await short(desk, regions) == ["North", "Young"]


async def test_those_who_use_the_same_group_at_once_do_not_wait_for_each_other(
    desk: Desk, regions: dict[str, str]
) -> None:
    customer = await desk.customer("x")
    async with desk.database.connection(desk.workspace) as other, other.transaction():
        await other.execute("select from customer_group where id = $1 for share", UUID(regions["North"]))
        async with asyncio.timeout(10):
            await put(desk, customer, regions["North"])
    assert len(await groups_of(desk, customer)) == 1


async def test_bulk_changes_can_be_undone(desk: Desk, regions: dict[str, str]) -> None:
    done = await desk.do(
        MOVE, input={"target": {"ids": [regions["customer"]]}, "groupIds": [regions["South"]], "scope": "ALL"}
    )
    assert await short(desk, regions) == ["South"]
    undone = await desk.do(UNDO, id=done["changeSet"]["id"])
    assert (undone["conflicts"], undone["userErrors"]) == (0, [])
    assert await short(desk, regions) == ["North", "Young"]
    await desk.do(UNDO, id=undone["changeSet"]["id"])
    assert await short(desk, regions) == ["South"]


async def test_undoing_a_removal_after_adding_again_is_a_conflict(desk: Desk, regions: dict[str, str]) -> None:
    given = {"target": {"ids": [regions["customer"]]}, "groupIds": [regions["North"]]}
    removed = await desk.do(REMOVE, input=given)
    await desk.do(ADD, input=given)
    undone = await desk.do(UNDO, id=removed["changeSet"]["id"])
    assert [e["code"] for e in undone["userErrors"]] == ["DUPLICATE"]
    assert await short(desk, regions) == ["North", "Young"]


async def test_a_dry_run_changes_nothing(desk: Desk, regions: dict[str, str]) -> None:
    given = {"target": {"ids": [regions["customer"]]}, "groupIds": [regions["South"]]}
    done = await desk.do(MOVE, input=given, dryRun=True)
    assert done["counts"] == {"customers": 1, "added": 1, "removed": 1, "skipped": 0}
    assert await short(desk, regions) == ["North", "Young"]


@pytest.mark.parametrize("unknown", [str(UUID(int=7)), "nonsense"])
async def test_unknown_groups_and_customers_are_refused(desk: Desk, regions: dict[str, str], unknown: str) -> None:
    target = {"ids": [regions["customer"]]}
    done = await desk.do(ADD, input={"target": target, "groupIds": [regions["Old"], unknown]})
    assert done["userErrors"] == [{"code": "NOT_FOUND", "path": ["input", "groupIds"]}]
    done = await desk.do(ADD, input={"target": {"ids": [unknown]}, "groupIds": [regions["Old"]]})
    assert [e["code"] for e in done["userErrors"]] == ["NOT_FOUND"]
    assert await short(desk, regions) == ["North", "Young"]


async def test_bulk_changes_need_update_on_the_customers(desk: Desk, regions: dict[str, str]) -> None:
    given = {"target": {"ids": [regions["customer"]]}, "groupIds": [regions["Old"]]}
    read = {("Customer", "read"): Reach.ALL, ("Group", "read"): Reach.ALL}
    assert await desk.code(ADD, actor(read), input=given) == "FORBIDDEN"
    own = actor({**read, ("Customer", "update"): Reach.OWN})
    assert await desk.code(ADD, own, input=given) == "FORBIDDEN"
    blind = actor({("Customer", "read"): Reach.ALL, ("Customer", "update"): Reach.ALL})
    assert await desk.code(ADD, blind, input=given) == "NOT_FOUND"
    assert await short(desk, regions) == ["North", "Young"]
    may = actor({**read, ("Customer", "update"): Reach.ALL})
    assert (await desk.do(ADD, may, input=given))["counts"]["added"] == 1


async def test_a_condition_only_reaches_what_one_may_update(desk: Desk, regions: dict[str, str]) -> None:
    reaches = {("Customer", "read"): Reach.ALL, ("Group", "read"): Reach.ALL, ("Customer", "update"): Reach.OWN}
    target = {"where": {"groups": {"or": [regions["North"]]}}}
    done = await desk.do(ADD, actor(reaches), input={"target": target, "groupIds": [regions["VIP"]]})
    assert done["counts"] == {"customers": 0, "added": 0, "removed": 0, "skipped": 0}


async def test_nobody_is_in_more_groups_than_the_setting_allows(
    database: Database, new_workspace: NewWorkspace
) -> None:
    workspace = await new_workspace()
    features = Features(database, registry=PluginRegistry.discover(["plugins.groups"]))
    await features.enable(workspace, "groups", {"max_groups_per_customer": 2})
    desk = Desk(database, features, workspace)
    customer = await desk.customer("busy")
    ids = [await group(desk, n) for n in "xyz"]
    given = {"target": {"ids": [customer]}, "groupIds": ids}
    assert await desk.code(ADD, input=given) == "OUT_OF_RANGE"
    assert await groups_of(desk, customer) == []
    done = await desk.do(ADD, input={**given, "errorPolicy": "SKIP_FAILED"})
    assert done["counts"] == {"customers": 1, "added": 2, "removed": 0, "skipped": 1}
    await features.close()


async def test_many_customers_are_changed_in_one_change_set(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "BATCH", 400)
    rows = [{"name": f"many {n}", "kind": "PERSON", "source": "many"} for n in range(1000)]
    made = await desk.do(
        "mutation($r: [CustomerCreateInput!]!) { customersBulkCreate(input: {records: $r}) { counts } }", r=rows
    )
    assert made["counts"]["created"] == 1000
    one, two = await group(desk, "many 1", family="many"), await group(desk, "many 2", family="many")
    target = {"where": {"source": {"eq": "many"}}}
    done = await desk.do(ADD, input={"target": target, "groupIds": [one]})
    assert done["counts"] == {"customers": 1000, "added": 1000, "removed": 0, "skipped": 0}
    moved = await desk.do(MOVE, input={"target": target, "groupIds": [two]})
    assert (moved["counts"]["added"], moved["counts"]["removed"]) == (1000, 1000)
    assert await desk.fetch("select count(*) from change where change_set_id = $1", moved["changeSet"]["id"]) == 2000


async def test_a_move_leaves_groups_that_may_not_be_read(desk: Desk, regions: dict[str, str]) -> None:
    one = regions["customer"]
    blind = actor({("Customer", action): Reach.ALL for action in ("read", "update")})
    done = await desk.do(MOVE, blind, input={"target": {"ids": [one]}, "groupIds": [], "scope": "ALL"})
    assert (done["userErrors"], done["counts"]["removed"], done["changeSet"]) == ([], 0, None)
    assert await short(desk, regions) == ["North", "Young"]
    done = await desk.do(MOVE, input={"target": {"ids": [one]}, "groupIds": [], "scope": "ALL"})
    assert (done["counts"]["removed"], await short(desk, regions)) == (2, [])


async def test_the_modes_over_mien_bac_and_15_25_tuoi_with_other_conditions(desk: Desk) -> None:
    """The guide's example: Khu vực: Miền Bắc and Độ tuổi: 15-25, with its other conditions beside them."""
    north = await group(desk, "Miền Bắc", family="Khu vực")
    young = await group(desk, "15-25", family="Độ tuổi")
    given = {
        "Nguyễn Văn An": {"province": "Hà Nội", "birthday": "2005-03-01", "officeAddress": "12 Lê Lợi"},
        "Trần Thị Bình": {"province": "Hà Nội", "birthday": "1980-01-01", "officeAddress": "3 Huế"},
        "Lê Văn Chi": {"province": "Huế", "birthday": "2004-12-31", "officeAddress": "5 Lê Lợi"},
        "Phạm Dung": {"province": "Huế", "birthday": "1970-06-06", "officeAddress": "9 Trần Phú"},
    }
    ids = {name: await desk.customer(name, source="example", **values) for name, values in given.items()}
    an, binh, chi, dung = ids
    await put(desk, ids[an], north, young)
    await put(desk, ids[binh], north)
    await put(desk, ids[chi], young)

    async def found(mode: str, **more: Any) -> set[str]:
        where = {"source": {"eq": "example"}, "groups": {mode: [north, young]}, **more}
        return {c["name"] for c in (await desk.do(WHERE, where=where))["nodes"]}

    assert await found("and") == {an}
    assert await found("or") == {an, binh, chi}
    assert await found("not") == {binh, chi, dung}
    assert await found("none") == {dung}
    assert await found("or", province={"eq": "Hà Nội"}) == {an, binh}
    assert await found("or", birthday={"gte": "2000-01-01", "lte": "2010-12-31"}) == {an, chi}
    assert await found("not", officeAddress={"contains": "le loi"}) == {chi}
    today = {"within": {"last": {"count": 1, "unit": "DAY"}}}
    assert await found("not", createdAt=today, province={"eq": "Huế"}) == {chi, dung}
    assert await found("or", createdAt={"lt": "2001-01-01T00:00:00Z"}) == set()


async def test_off_on_and_purge_leave_customers_untouched(database: Database, new_workspace: NewWorkspace) -> None:
    workspace = await new_workspace()
    features = Features(database, registry=PluginRegistry.discover(["plugins.groups"]))
    await features.enable(workspace, "groups")
    desk = Desk(database, features, workspace)
    north, an = await group(desk, "Miền Bắc", family="Khu vực"), await desk.customer("An")
    await put(desk, an, north)
    where = {"groups": {"or": [north]}}
    await features.disable(workspace, "groups")
    hidden = await desk.ask(WHERE, where=where)
    assert "groups" in hidden["errors"][0]["message"]
    assert "customerGroup" not in (await features.composition(workspace)).sdl
    await features.enable(workspace, "groups")
    assert [c["name"] for c in (await desk.do(WHERE, where=where))["nodes"]] == ["An"]
    tables = "select array_agg(tablename::text order by tablename) from pg_tables where schemaname = current_schema()"
    before = await desk.fetch(tables)
    await features.purge(workspace, "groups")
    assert sorted(set(before) - set(await desk.fetch(tables))) == ["customer_group", "group_member"]
    assert await desk.fetch("select count(*) from customer") == 1
    await features.close()
