"""Rules: conditions that records keep, saved by their authors, asked by the system, and off where they do not fit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.catalog import Catalog
from core.changes import Batch, ChangeSet
from core.context import Workspace
from core.contributions import Chosen, FeatureSet
from core.contributions import compose as build
from core.database import Database
from core.errors import CompositionError, InvalidRule
from core.features import Features
from core.footprint import Footprint, Step, footprint_of
from core.grants import SYSTEM, Access, Grants, Reach, RoleGrants
from core.plugins import PluginRegistry
from core.predicate import Compare, Linked
from core.records import Extension, Field, Kind
from core.rows import Row
from core.rules import compile_rule
from core.schema.declared import CORE
from tests.broken_plugins.keeps_rules.hooks import BOOK, SEEN
from tests.dataset import compose
from tests.switching import Desk, actor
from tests.test_customfields import CREATE as DEFINE
from tests.test_customfields import DELETE as DROP

CATALOG = compose().catalog
CREATE = """mutation($input: WatchCreateInput!) { watchCreate(input: $input) {
  watch { id rule ruleProblem } userErrors { code path message } } }"""
UPDATE = """mutation($input: WatchUpdateInput!) { watchUpdate(input: $input) {
  watch { id rule } userErrors { code path message } changeSet { id } } }"""
RENAME = "mutation($input: CustomerUpdateInput!) { customerUpdate(input: $input) { userErrors { code } } }"
EXPLAIN = """query($rule: JSON!, $id: ID!) { watchExplain(rule: $rule, id: $id) { path condition holds actual } }"""


@pytest.fixture(scope="module")
async def shared(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    features = Features(database, registry=PluginRegistry.discover(["tests.broken_plugins.keeps_rules"]))
    await features.enable(module_workspace, "keeps_rules")
    yield Desk(database, features, module_workspace)
    await features.close()


@pytest.fixture
async def desk(shared: Desk) -> AsyncIterator[Desk]:
    """A desk without rules."""
    SEEN.clear()
    yield shared
    await shared.database.pool(shared.workspace).execute("truncate watch")
    SEEN.clear()


async def watch(desk: Desk, name: str, rule: Any) -> Any:
    made = await desk.do(CREATE, input={"name": name, "rule": rule})
    assert made["userErrors"] == []
    return made["watch"]


async def lan(desk: Desk) -> str:
    """A user called Lan."""
    create = "mutation($input: UserCreateInput!) { userCreate(input: $input) { user { id } } }"
    made = await desk.do(create, input={"login": f"lan-{uuid4()}", "displayName": "Lan"})
    return made["user"]["id"]


# What is read from a rule


def reads(rule: Any) -> Footprint:
    return compile_rule(CATALOG, "Customer", rule).footprint


def test_footprint_names_every_field_through_relations_and_counts() -> None:
    rule = {
        "and": [{"level": {"eq": "VIP"}}, {"not": {"or": [{"shoeSize": {"gt": 40}}]}}],
        "owner": {"displayName": {"eq": "Lan"}},
        "contacts": {"some": {"email": {"contains": "@"}}},
        "opportunities": {"count": {"gte": 2}, "every": {"amount": {"gt": "5"}}},
    }
    found = reads(rule)
    assert found.reads == {
        ("Customer", "level"),
        ("Customer", "shoeSize"),
        ("Customer", "ownerId"),
        ("User", "displayName"),
        ("Contact", "customerId"),
        ("Contact", "email"),
        ("Opportunity", "customerId"),
        ("Opportunity", "amount"),
    }
    assert {type_ for type_, _ in found.routes} == {"User", "Contact", "Opportunity"}
    assert ("Contact", (Step("Customer", "customer_id", "Contact", backward=True),)) in found.routes
    assert not found.recurring


async def test_a_filter_of_a_plugin_tells_what_it_reads(database: Database, module_workspace: Workspace) -> None:
    features = Features(database, registry=PluginRegistry.discover(["plugins.groups"]))
    built = build(FeatureSet((Chosen("groups", "1"),)), features.registry, features._operations)
    catalog = built.composition.catalog
    group, customer = uuid4(), uuid4()
    found = compile_rule(catalog, "Customer", {"groups": {"not": [str(group)]}}).footprint
    assert found.reads == {("GroupMember", "customerId"), ("GroupMember", "groupId")}
    assert not found.recurring
    member = Row(uuid4(), {"customerId": str(customer), "groupId": str(group)}, None)
    async with database.connection(module_workspace) as connection:
        gone = Batch(catalog["GroupMember"], "delete", [member])
        assert await found.affected(connection, catalog, gone, 10) == {customer}


def test_an_expression_that_says_what_it_reads_is_looked_at_when_that_is_written() -> None:
    many = Field("many", Kind.INT, "How many contacts.", sql=lambda a: f"{a}.id is null", reads=("contacts",))
    catalog = Catalog.build(CORE, [("test", Extension("Customer", (many,)))])
    opportunity = catalog["Opportunity"]
    rule = Linked(opportunity.to_one["customer"], Compare(catalog["Customer"].fields["many"], "notNull"))
    found = footprint_of(rule, opportunity, catalog)
    assert not found.recurring
    steps = Step("Opportunity", "customer_id", "Customer"), Step("Customer", "customer_id", "Contact", backward=True)
    assert ("Contact", steps) in found.routes
    assert {("Customer", "many"), ("Contact", "name"), ("Contact", "customerId")} <= found.reads


@pytest.mark.parametrize(
    ("rule", "recurring"),
    [
        ({"createdAt": {"within": {"last": {"count": 30, "unit": "DAY"}}}}, True),
        ({"contacts": {"none": {"birthday": {"within": {"this": "MONTH"}}}}}, True),
        ({"createdAt": {"lt": "2026-01-01T00:00:00Z"}}, False),
        ({}, False),
    ],
)
def test_rules_about_now_need_the_recurring_pass(rule: Any, recurring: bool) -> None:
    assert reads(rule).recurring is recurring


def test_an_expression_that_does_not_say_what_it_reads_needs_the_recurring_pass() -> None:
    fields = (
        Field("age", Kind.INT, "From somewhere.", sql=lambda alias: f"length({alias}.name)"),
        Field("one", Kind.INT, "One.", sql=lambda _: "1"),
    )
    catalog = Catalog.build(CORE, [("test", Extension("Customer", fields))])
    customer = catalog["Customer"]
    assert footprint_of(Compare(customer.fields["age"], "notNull"), customer, catalog).recurring
    assert not footprint_of(Compare(customer.fields["one"], "notNull"), customer, catalog).recurring


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"hatSize": {"eq": 1}}, "hatSize"),
        ({"name": {"like": "x"}}, "like"),
        ({"shoeSize": {"eq": "big"}}, "shoeSize"),
        ({"ownerId": {"eq": "nobody"}}, "UUID"),
        ({"createdAt": {"within": {"last": {"count": -1, "unit": "DAY"}}}}, "count"),
        ({"credit": {"gt": "1e999999"}}, "out of range"),
        ("name", "Expected"),
        (None, "not a condition"),
        ([{}], "Expected"),
    ],
)
def test_what_is_no_condition_is_an_invalid_rule(rule: Any, reason: str) -> None:
    for _ in range(2):  # the second time from what is kept
        with pytest.raises(InvalidRule, match=reason):
            compile_rule(CATALOG, "Customer", rule)


def test_a_rule_of_five_hundred_levels_is_refused() -> None:
    rule: dict[str, Any] = {}
    for _ in range(501):
        rule = {"not": rule}
    with pytest.raises(InvalidRule):
        compile_rule(CATALOG, "Customer", rule)


def test_a_condition_on_a_type_that_is_not_there_cannot_be_declared() -> None:
    rule = Field("rule", Kind.JSON, "A rule.", condition="Nothing", custom="x")
    with pytest.raises(CompositionError, match="condition on 'Nothing'"):
        Catalog.build(CORE, [("test", Extension("Customer", (rule,)))])
    with pytest.raises(CompositionError, match="must be JSON"):
        Field("rule", Kind.TEXT, "A rule.", condition="Customer")


# Saving


async def test_a_rule_is_written_as_a_condition_and_read_as_the_json_it_was(desk: Desk) -> None:
    sdl = (await desk.features.composition(desk.workspace)).sdl
    assert "rule: CustomerWhere" in sdl.split("input WatchCreateInput")[1].split("}")[0]
    assert "rule: JSON" in sdl.split("type Watch ")[1].split("}")[0]
    rule = {
        "foundedOrBornOn": {"lte": "2001-02-03"},
        "createdAt": {"gt": "2026-01-01T07:00:00+07:00"},
        "opportunities": {"some": {"amount": {"gte": "10.50"}, "outcome": {"in": ["WON"]}}},
        "kind": {"eq": "PERSON"},
    }
    rule = {k: v for k, v in rule.items() if k in CATALOG["Customer"].fields or k == "opportunities"}
    made = await watch(desk, "all kinds of values", rule)
    assert made["rule"] == {**rule, "createdAt": {"gt": "2026-01-01T00:00:00+00:00"}}
    assert made["ruleProblem"] is None
    again = await desk.do(UPDATE, input={"id": made["id"], "rule": made["rule"]})
    assert again["userErrors"] == []
    assert again["changeSet"] is None  # it is the same condition


async def test_graphql_itself_refuses_what_is_no_condition(desk: Desk) -> None:
    answer = await desk.ask(CREATE, input={"name": "x", "rule": {"hatSize": {"eq": 1}}})
    assert "hatSize" in answer["errors"][0]["message"]
    refused = await desk.do(CREATE, input={"name": "x", "rule": {"ownerId": {"eq": "nobody"}}})
    assert [(e["code"], e["path"]) for e in refused["userErrors"]] == [("INVALID_RULE", ["input", "rule"])]


async def test_an_author_must_be_allowed_to_read_the_fields_of_his_rule(desk: Desk) -> None:
    reaches = {("Customer", "read"): Reach.ALL} | {("Watch", a): Reach.ALL for a in ("read", "create", "update")}
    role = RoleGrants("role", reaches, fields={("Customer", "taxCode"): Access.HIDE})
    author = actor()
    author = type(author)(author.kind, Grants((role,)), author.user_id)
    hidden = {"or": [{"taxCode": {"eq": "0312345678"}}, {"name": {"eq": "x"}}]}
    assert await desk.code(CREATE, author, input={"name": "x", "rule": hidden}) == "FORBIDDEN"
    # Made by another, it may be renamed by him: only what is saved is looked at.
    made = await watch(desk, "x", hidden)
    renamed = await desk.do(UPDATE, author, input={"id": made["id"], "name": "y"})
    assert renamed["userErrors"] == []
    assert await desk.code(UPDATE, author, input={"id": made["id"], "rule": {"not": hidden}}) == "FORBIDDEN"


# Asking


async def test_only_writes_that_a_rule_depends_on_are_looked_at(desk: Desk) -> None:
    await watch(desk, "vip", {"level": {"eq": "VIP"}})
    await watch(desk, "reachable", {"contacts": {"some": {"email": {"isNull": False}}}})
    an = await desk.customer("An", level="VIP")
    assert [{an: ["vip"]}] == SEEN
    SEEN.clear()
    await desk.do(RENAME, input={"id": an, "name": "Bình"})
    assert SEEN == []
    await desk.do(RENAME, input={"id": an, "level": "A"})
    assert [{an: []}] == SEEN
    SEEN.clear()
    contact = """mutation($input: ContactCreateInput!) { contactCreate(input: $input) { contact { id } } }"""
    made = await desk.do(contact, input={"customerId": an, "name": "Chi", "email": "chi@example.vn"})
    assert SEEN[-1] == {an: ["reachable"]}
    SEEN.clear()
    # A contact that moves concerns the customer it leaves, too.
    other = await desk.customer("Dũng")
    SEEN.clear()
    async with desk.database.transaction(desk.workspace) as connection:
        contact_type = (await desk.features.composition(desk.workspace)).catalog["Contact"]
        row = Row(uuid4(), {"customerId": an}, {"customerId": other}, frozenset({"customerId"}))
        rule = {"contacts": {"some": {}}}
        catalog = (await desk.features.composition(desk.workspace)).catalog
        found = compile_rule(catalog, "Customer", rule).footprint
        ids = await found.affected(connection, catalog, Batch(contact_type, "update", [row]), 10)
        assert {str(i) for i in ids or ()} == {an, other}
        assert await found.affected(connection, catalog, Batch(contact_type, "update", [row]), 1) is None
    delete = "mutation($id: ID!) { contactDelete(input: {id: $id}) { id } }"
    await desk.do(delete, id=made["contact"]["id"])
    assert SEEN[-1] == {an: []}


async def test_a_linked_record_concerns_all_that_are_linked_to_it(desk: Desk) -> None:
    await watch(desk, "lan", {"owner": {"displayName": {"startsWith": "Lan"}}})
    owner = await lan(desk)
    mine = {await desk.customer(f"c{i}", ownerId=owner) for i in range(3)}
    await desk.customer("other")
    SEEN.clear()
    await desk.do(
        'mutation($id: ID!) { userUpdate(input: {id: $id, displayName: "Hoa"}) { userErrors { code } } }', id=owner
    )
    assert [{id_: [] for id_ in mine}] == SEEN


async def test_matching_is_one_statement_for_all_rules_and_ignores_deleted_records(desk: Desk) -> None:
    for i in range(4):
        await watch(desk, f"w{i}", {"name": {"contains": str(i)}})
    ids = [await desk.customer(f"name {i}{i + 1}") for i in range(3)]
    await desk.do("mutation($id: ID!) { customerDelete(input: {id: $id}) { id } }", id=ids[2])
    composition = await desk.features.composition(desk.workspace)
    async with desk.database.transaction(desk.workspace) as connection:
        policy = composition.policy(SYSTEM)
        changes = ChangeSet(connection, desk.features.switch.system(desk.workspace), policy, composition.hooks)
        rules = await BOOK.read(changes)
        found = await rules.matching(connection, changes.context, [UUID(i) for i in ids])
    assert {str(k): v for k, v in found.items()} == {ids[0]: ["w0", "w1"], ids[1]: ["w1", "w2"]}


# Going off and on again


async def test_a_rule_is_off_and_says_so_while_its_custom_field_is_gone(desk: Desk) -> None:
    define = {"recordType": "Customer", "name": "shoeSize", "kind": "INTEGER"}
    made = await desk.do(DEFINE, input=define)
    await desk.features.refresh(desk.workspace)
    kept = await watch(desk, "big feet", {"not": {"shoeSize": {"lt": 45}}})
    await watch(desk, "named", {"name": {"isNull": False}})
    an = await desk.customer("An", shoeSize=46)
    assert [{an: ["big feet", "named"]}] == SEEN
    await desk.do(DROP, id=made["customField"]["id"])
    await desk.features.refresh(desk.workspace)
    SEEN.clear()
    other = await desk.customer("Bình")
    assert [{other: ["named"]}] == SEEN  # and not everybody, as the negation of nothing would be
    shown = await desk.do("query($id: ID!) { watch(id: $id) { rule ruleProblem } }", id=kept["id"])
    assert shown["rule"] == kept["rule"]
    assert "shoeSize" in shown["ruleProblem"]
    composition = await desk.features.composition(desk.workspace)
    (name,) = composition.hooks.health["keeps_rules"].rules
    assert name == f"{desk.workspace.slug} Watch {kept['id']}"
    # A field of that name again, and the rule is on again.
    await desk.do(DEFINE, input=define)
    await desk.features.refresh(desk.workspace)
    SEEN.clear()
    third = await desk.customer("Chi", shoeSize=47)
    assert [{third: ["big feet", "named"]}] == SEEN
    composition = await desk.features.composition(desk.workspace)
    assert composition.hooks.health["keeps_rules"].rules == {}
    shown = await desk.do("query($id: ID!) { watch(id: $id) { ruleProblem } }", id=kept["id"])
    assert shown["ruleProblem"] is None


async def test_a_rulebook_forgets_what_a_rolled_back_transaction_saw(desk: Desk) -> None:
    made = await watch(desk, "w", {"name": {"eq": "An"}})
    dry = UPDATE.replace("watchUpdate(input: $input)", "watchUpdate(input: $input, dryRun: true)")
    await desk.do(dry, input={"id": made["id"], "rule": {"name": {"eq": "Bình"}}})
    await desk.do(UPDATE, input={"id": made["id"], "rule": {"name": {"eq": "Chi"}}})
    chi = await desk.customer("Chi")
    assert [{chi: ["w"]}] == SEEN


# Explaining


async def explained(desk: Desk, rule: Any, id_: str, who: Any = None) -> dict[str, tuple[Any, Any]]:
    rows = await desk.do(EXPLAIN, who, rule=rule, id=id_)
    return {".".join(r["path"]): (r["holds"], r["actual"]) for r in rows}


async def test_an_explanation_tells_of_each_part_whether_it_holds_and_the_value(desk: Desk) -> None:
    an = await desk.customer("An", level="VIP", ownerId=await lan(desk))
    rule = {
        "level": {"eq": "VIP"},
        "or": [{"name": {"eq": "Bình"}}, {"not": {"source": {"eq": "web"}}}],
        "owner": {"displayName": {"eq": "Hoa"}},
        "contacts": {"count": {"gte": 1}},
    }
    assert await explained(desk, rule, an) == {
        "": (False, None),
        "level": (True, "VIP"),
        "or.0": (False, "An"),
        "or.1": (True, None),
        "or.1.not": (False, None),
        "owner": (False, "Lan"),
        "contacts": (False, 0),
    }
    assert await desk.code(EXPLAIN, rule={"hatSize": {}}, id=an) == "INVALID_RULE"
    assert await desk.code(EXPLAIN, rule=rule, id=str(uuid4())) == "NOT_FOUND"


async def test_an_explanation_tells_nothing_of_what_is_hidden_from_the_one_who_asks(desk: Desk) -> None:
    an = await desk.customer("An", taxCode="0312345678")
    await desk.do(
        'mutation($id: ID!) { contactCreate(input: {customerId: $id, name: "Chi"}) { contact { id } } }', id=an
    )
    role = RoleGrants("role", {("Customer", "read"): Reach.ALL}, fields={("Customer", "taxCode"): Access.HIDE})
    asker = actor()
    asker = type(asker)(asker.kind, Grants((role,)), asker.user_id)
    rule = {"name": {"eq": "An"}, "taxCode": {"eq": "0312345678"}, "contacts": {"some": {"name": {"eq": "Chi"}}}}
    assert await explained(desk, rule, an, asker) == {
        "": (None, None),
        "name": (True, "An"),
        "taxCode": (None, None),
        "contacts": (None, 0),
    }
    nobody = actor()
    assert await desk.code(EXPLAIN, nobody, rule={"name": {"eq": "An"}}, id=an) == "NOT_FOUND"
