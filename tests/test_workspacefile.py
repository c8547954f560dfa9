"""A workspace's file: what it says is made true, or nothing is; what is wrong is told with its place."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.context import Workspace
from core.database import Database
from core.errors import BadInput, CompositionError
from core.features import Features
from core.plugins import PluginRegistry
from core.records import RecordType
from core.workspacefile import document
from core.workspacefile.difference import Difference, FileFault
from core.workspacefile.plan import Plan, WorkspaceFiles
from core.workspaces import Workspaces
from tests.conftest import NewWorkspace
from tests.switching import Desk
from tests.workspacefiles import keeping, people

BASE = """
[plugins.groups]
[plugins.tiering]
[plugins.shared_pool]

[[groups]]
name = "VIP"
points = 5
[[groups]]
family = "Region"
name = "North"

[[tiers]]
name = "Gold"
rank = 2
rule = { groups = { or = [{ family = "Region", name = "North" }] } }
auto = true
[[tiers]]
name = "Silver"
rank = 1

[[pools]]
name = "Cold"
teams = ["Sales"]
rule = { tier = { id = { eq = "Gold" } }, ownerId = { in = ["lan"] } }

[[roles]]
name = "Clerk"
grants = { Customer = { read = "OWN", update = "OWN" } }
"""


LAST = """{ changeSets(first: 1, orderBy: [{field: AT, direction: DESC}]) {
  nodes { source operation reason actorKind } } }"""


@pytest.fixture(scope="module")
async def features(database: Database) -> AsyncIterator[Features]:
    async with keeping(database) as made:
        yield made


@pytest.fixture(scope="module")
async def acme(features: Features, module_workspace: Workspace) -> Workspace:
    await people(features, module_workspace)
    return module_workspace


class Acme:
    """The workspace as `BASE` says, for each test anew."""

    def __init__(self, features: Features, workspace: Workspace) -> None:
        self.features = features
        self.workspace = workspace
        self.files = WorkspaceFiles(features)
        self.desk = Desk(features.database, features, workspace)

    async def apply(self, text: str, allowed: Plan | None = None) -> list[str]:
        plan = await self.files.apply(self.workspace, document.read(text), "file x.toml", allowed)
        return told(plan.differences)

    async def plan(self, text: str) -> list[str]:
        return told((await self.files.plan(self.workspace, document.read(text))).differences)

    async def faults(self, text: str) -> list[str]:
        """What is wrong with a file; nothing may come of it."""
        before = await self.files.export(self.workspace)
        with pytest.raises(FileFault) as caught:
            await self.files.apply(self.workspace, document.read(text))
        assert await self.files.export(self.workspace) == before
        return list(caught.value.faults)

    async def ids(self, plural: str) -> dict[str, str]:
        nodes = (await self.desk.do(f"{{ {plural} {{ nodes {{ id name }} }} }}"))["nodes"]
        return {n["name"]: n["id"] for n in nodes}


@pytest.fixture
async def base(features: Features, acme: Workspace) -> Acme:
    made = Acme(features, acme)
    await made.apply(BASE)
    return made


def told(differences: tuple[Difference, ...]) -> list[str]:
    marks = {"create": "+", "change": "~", "delete": "-"}
    return [
        f"{marks[d.action]} {d.section} {d.name} {sorted(d.changes) if d.action == 'change' else ''}".strip()
        for d in differences
    ]


# The text

texts = st.text(st.sampled_from("aZ09_- .\"'\\\n\t\x00\x1f\x7fđ🙂#=[]{}"), max_size=6)
values = st.recursive(
    st.booleans()
    | st.integers(-(2**62), 2**62)
    | texts
    | st.decimals(-9999, 9999, places=4)
    | st.dates()
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
tables = st.dictionaries(texts, values, max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(tables, max_size=3), st.lists(tables, min_size=1, max_size=3))
def test_what_is_written_is_read(some: list[dict[str, Any]], more: list[dict[str, Any]]) -> None:
    content = {f"t{i}": table for i, table in enumerate(some)} | {"list": more, "none": []}
    assert document.read(document.write(content)) == content


@settings(max_examples=60, deadline=None)
@given(values | st.none() | st.lists(st.none() | st.just({"a": None}), max_size=3))
def test_json_survives(value: Any) -> None:
    plain = json.loads(json.dumps(value, default=lambda v: float(v) if isinstance(v, Decimal) else v.isoformat()))
    text = document.write({"t": {"x": document.of_json(plain)}})
    assert document.to_json(document.read(text)["t"]["x"]) == plain


def test_lines_break_where_they_are_long() -> None:
    names = [f"north {i}" for i in range(12)]
    assert document.write({"t": {"a": ["x"], "names": names}}) == (
        '[t]\na = ["x"]\nnames = [\n' + "".join(f'    "{n}",\n' for n in names) + "]\n"
    )


@pytest.mark.parametrize("text", ["a = ", "a = 1\na = 2", "[a]\n[a]", "a = " + "[" * 5000])
def test_what_is_not_toml_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not valid TOML"):
        document.read(text)


# What is made true


async def test_planning_says_what_applying_does_and_writes_nothing(base: Acme) -> None:
    text = (
        BASE.replace('name = "VIP"', 'name = "Best"').replace("points = 5", "points = 6") + '[[roles]]\nname = "Boss"\n'
    )
    before = await base.files.export(base.workspace)
    journal = "select count(*) from change_set"
    sets = await base.desk.fetch(journal)
    expected = ["- groups VIP", "+ groups Best", "+ roles Boss"]
    assert sorted(await base.plan(text)) == sorted(expected)
    assert (await base.files.export(base.workspace), await base.desk.fetch(journal)) == (before, sets)
    assert sorted(await base.apply(text)) == sorted(expected)
    assert await base.plan(text) == []
    assert await base.desk.fetch(journal) == sets + 1, "one change set"
    last = (await base.desk.do(LAST))["nodes"][0]
    assert last == {"source": "COMMAND", "operation": "workspaceApply", "reason": "file x.toml", "actorKind": "SYSTEM"}


async def test_sections_that_are_not_there_are_left_alone(base: Acme) -> None:
    assert await base.apply('[[groups]]\nname = "Only"\n') == [
        "- groups VIP",
        "- groups Region / North",
        "+ groups Only",
    ]
    assert sorted(await base.ids("tiers")) == ["Gold", "Silver"]
    assert await base.apply("groups = []\npools = []\n") == ["- groups Only", "- pools Cold"]
    written = document.read(await base.files.export(base.workspace))
    assert (written["groups"], written["pools"]) == ([], [])


async def test_a_name_that_differs_in_case_or_accents_only_is_the_same_record(base: Acme) -> None:
    ids = await base.ids("groups")
    assert await base.apply(BASE.replace('name = "VIP"', 'name = "víp"')) == ["~ groups víp ['name']"]
    assert (await base.ids("groups"))["víp"] == ids["VIP"]


async def test_unique_values_go_round(base: Acme) -> None:
    swapped = BASE.replace("rank = 2", "rank = 0").replace("rank = 1", "rank = 2").replace("rank = 0", "rank = 1")
    ids = await base.ids("tiers")
    assert sorted(await base.apply(swapped)) == ["~ tiers Gold ['rank']", "~ tiers Silver ['rank']"]
    assert await base.ids("tiers") == ids
    moved = (
        swapped.replace("rank = 2", "rank = 3").replace("rank = 1", "rank = 2") + '[[tiers]]\nname = "New"\nrank = 1\n'
    )
    assert len(await base.apply(moved)) == 3
    assert await base.plan(moved) == []


async def test_what_the_file_makes_need_not_stand_before_what_names_it(base: Acme) -> None:
    pools = '[[pools]]\nname = "Cold"\nrule = { tier = { id = { eq = "New" } } }\n'
    tiers = '[[tiers]]\nname = "New"\nrank = 7\nrule = { groups = { and = [{ name = "Newer" }] } }\n'
    assert "+ tiers New" in await base.apply(pools + tiers + '[[groups]]\nname = "Newer"\n')
    tier = (await base.ids("tiers"))["New"]
    assert await base.desk.fetch("select rule::jsonb from pool where deleted_at is null") == {
        "tier": {"id": {"eq": tier}}
    }


async def test_a_deleted_record_that_a_rule_names_stays_in_it(base: Acme) -> None:
    group = (await base.ids("groups"))["North"]
    await base.desk.do("mutation($id: ID!) { groupDelete(input: {id: $id}) { userErrors { code } } }", id=group)
    text = await base.files.export(base.workspace)
    assert f'rule = {{ groups = {{ or = [{{ id = "{group}" }}] }} }}' in text.replace(
        "[tiers.rule]\ngroups = ", "rule = { groups = "
    ).replace("] }\n", "] } }\n")
    content = document.read(text)
    content.pop("slug")
    assert (await base.files.plan(base.workspace, content)).differences == ()


async def test_a_rule_that_is_off_stays_as_it_is(base: Acme) -> None:
    field = '[[customFields]]\nrecordType = "Customer"\nname = "size"\nkind = "INTEGER"\n'
    rule = BASE.replace(
        'rule = { groups = { or = [{ family = "Region", name = "North" }] } }', "rule = { size = { gt = 1 } }"
    )
    await base.apply(field + rule)
    assert await base.apply("customFields = []\n" + rule) == ["- customFields Customer / size"]
    assert await base.plan(rule) == []
    (fault,) = await base.faults(rule.replace("gt = 1", "gt = 2"))
    assert fault.startswith(
        "tiers \"Gold\".rule: Expected value of type 'CustomerWhere' not to include unknown field 'size'"
    )


async def test_records_with_one_name_are_kept_apart(features: Features, new_workspace: NewWorkspace) -> None:
    workspace = await new_workspace()
    made = Acme(features, workspace)
    criteria = """[[duplicateCriteria]]
fields = ["email"]
effect = "WARN"
[[duplicateCriteria]]
fields = ["email"]
exact = ["email"]
"""
    assert len(await made.apply(f"[plugins.dedupe]\n{criteria}")) == 3
    first, second = criteria.split("\n[[", 1)
    assert await made.plan(f"[[{second}\n{first}\n") == []
    assert await made.apply(f"{first}\n") == ["- duplicateCriteria email"]
    assert await made.desk.fetch("select effect from dedupe_criterion where deleted_at is null") == "WARN"


async def test_a_role_keeps_what_the_file_says_of_its_parts(base: Acme) -> None:
    role = """[[roles]]
name = "Clerk"
grants = { Customer = { read = "ALL", create = "OWN" } }
fieldRules = { Customer = { phone = "HIDE" } }
"""
    changed = ["fieldRules.Customer.phone", "grants.Customer.create", "grants.Customer.read", "grants.Customer.update"]
    assert await base.plan(role) == [f"~ roles Clerk {changed}"]
    plan = await base.files.apply(base.workspace, document.read(role))
    assert plan.differences[0].changes["grants.Customer.update"] == ("OWN", None)
    assert await base.plan(role) == []


# What is wrong


async def test_faults_are_told_with_their_places(base: Acme) -> None:
    assert await base.faults(
        '[[tiers]]\nname = "A"\nrank = -1\ncolour = 1\n[[tiers]]\nrank = 5\n[[tiers]]\nname = "C"\nrank = "x"\n'
    ) == [
        'tiers "A".colour: a Tier has no such field',
        'tiers "A".rank: rank must be between 0 and 1000000',
        'tiers "".name: name is required',
        'tiers "C".rank: x is not a valid rank',
    ]
    assert await base.faults('[[tiers]]\nname = "C"\nrank = 9\nauto = true\n') == [
        'tiers "C".rule: An automatic tier needs a rule'
    ]
    bad = '[[pools]]\nname = "P"\nteams = ["Nobody"]\nrule = { or = [{ ownerId = { in = ["lan", "nobody"] } }] }\n'
    assert await base.faults(bad) == [
        "pools \"P\".rule.or.0.ownerId.in.1: there is no User 'nobody'",
        "pools \"P\".teams.0: there is no Team 'Nobody'",
    ]
    assert await base.faults('[[roles]]\nname = "R"\ngrants = { Customer = "ALL" }\nabilities = 3\n') == [
        'roles "R".abilities: 3 is not a valid abilities',
        'roles "R".grants.Customer: must be a table',
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("colours = []", "colours: no record type of this feature set is configured under this name"),
        ("tiers = 3", "tiers: must be a list of tables"),
        ("plugins = 3", "plugins: must be tables by the names of plugins"),
        ("[plugins.nope]", "plugins.nope: There is no plugin nope"),
        ("[plugins.groups]\nmax_groups_per_customer = 0", "plugins.groups: The settings do not fit: max_groups_per"),
        ("workspace = 3", "workspace: must be a table"),
        ("[workspace]\ntime_zone = 'Mars'", "workspace: 'Mars' is not a time zone"),
        ("[workspace]\nplanet = 'Mars'", "workspace.planet: a workspace has no such value"),
        ("[workspace]\ncurrency = 3", "workspace.currency: must be a text"),
        ("[[customFields]]\nrecordType = 'Customer'\nname = 'name'\nkind = 'TEXT'", "is already declared by core"),
        ("[[groups]]\nname = 'a'\n[[groups]]\nname = 'a'", 'groups "a".name: '),
        ("[plugins]\n[[tiers]]\nname = 'x'\nrank = 1", "tiers: no record type of this feature set"),
    ],
)
async def test_files_that_cannot_be_meant_are_refused(base: Acme, text: str, fault: str) -> None:
    assert fault in (await base.faults(text))[0]


@pytest.mark.parametrize(
    "value",
    [
        *(
            "[]",
            "[1]",
            "{}",
            "{ a = 1 }",
            '{ id = "x" }',
            "true",
            "3.5",
            "2024-02-29",
            "07:00:00",
            '""',
            "1e400",
            "inf",
        ),
        f"{10**30}",
        '{ "$json" = "{" }',
        "[{ or = [[]] }]",
        "{ and = 3, not = [], ownerId = 3, groups = [], tags = { has = [] } }",
        "{ Customer = { read = { } } }",
        "[[{ name = 1 }]]",
        '"\\u0000"',
    ],
)
async def test_no_value_is_too_strange_to_be_refused(base: Acme, value: str) -> None:
    catalog = (await base.features.composition(base.workspace)).catalog
    for plural in ("customFields", "roles", "groups", "tiers", "pools"):
        (record,) = [r for r in catalog if r.type.plural == plural]
        text = "".join(f"[[{plural}]]\n{name} = {value}\n" for name in record.type.known_by)
        names = [f.name for f in record.fields.values() if f.writable and f.name not in record.type.known_by]
        text += f"[[{plural}]]\n" + "".join(f'{n} = "a"\n' for n in record.type.known_by)
        text += "".join(f"{name} = {value}\n" for name in (*names, *record.type.parts))
        assert await base.faults(text)
    for name in ("groups", "plugins", "workspace", "plugins.groups"):
        text = f"[{name}]\nmax_groups_per_customer = {value}\ntime_zone = {value}\n"
        assert await base.faults(text)


async def test_what_can_be_said_once_is_made_anew(base: Acme) -> None:
    field = '[[customFields]]\nrecordType = "Customer"\nname = "size"\nkind = "{}"\n'
    await base.apply(field.format("INTEGER"))
    replaced = ["- customFields Customer / size", "+ customFields Customer / size"]
    assert await base.plan(field.format("TEXT")) == replaced
    assert await base.apply(field.format("TEXT")) == replaced
    assert await base.apply(field.format("TEXT")) == []
    await base.apply("customFields = []")


async def test_rules_that_need_each_other_are_named(base: Acme) -> None:
    tier = '[[tiers]]\nname = "{}"\nrank = {}\nrule = {{ tierId = {{ eq = "{}" }} }}\n'
    tiers = tier.format("A", 8, "B") + tier.format("B", 9, "A")
    (fault,) = await base.faults(tiers)
    assert fault.startswith("these need each other, so that none can be first: tiers ")


async def test_no_more_is_taken_away_than_was_agreed_to(base: Acme) -> None:
    agreed = await base.files.plan(base.workspace, document.read("groups = []"))
    assert [d.name for d in agreed.destructive] == ["Region / North", "VIP"] or len(agreed.destructive) == 2
    await base.apply('[[groups]]\nname = "VIP"\n[[groups]]\nname = "Later"\n')
    with pytest.raises(BadInput, match="groups Later would go, too: plan again"):
        await base.apply("groups = []", agreed)
    assert sorted(await base.ids("groups")) == ["Later", "VIP"]


# Plugins and the workspace


async def test_plugins_are_switched_and_set_up(features: Features, new_workspace: NewWorkspace) -> None:
    workspace = await new_workspace()
    made = Acme(features, workspace)
    assert await made.apply("[plugins.groups]\nmax_groups_per_customer = 3\n") == ["+ plugins groups"]
    assert await made.apply("[plugins.groups]\nmax_groups_per_customer = 4\n") == [
        "~ plugins groups ['max_groups_per_customer']"
    ]
    assert await made.apply("[plugins.groups]\nmax_groups_per_customer = 200\n") == [
        "~ plugins groups ['max_groups_per_customer']"
    ]
    assert "[plugins.groups]\n" in await made.files.export(workspace)
    assert "max_groups" not in await made.files.export(workspace), "defaults go without saying"
    assert await made.apply("[plugins]\n") == ["- plugins groups"]
    assert "\n[plugins]\n" in await made.files.export(workspace)
    assert await made.apply("[plugins.groups]\n") == ["+ plugins groups"]


async def test_what_a_partner_declares_is_in_the_file(database: Database, new_workspace: NewWorkspace) -> None:
    registry = PluginRegistry.discover(["plugins.groups", "tests.broken_plugins.keeps_rules"])
    text = """[plugins.groups]
[plugins.keeps_rules]
[[watches]]
name = "Northerners"
rule = { groups = { or = [{ name = "North" }] }, ownerId = { eq = "lan" } }
[[groups]]
name = "North"
"""
    async with keeping(database, registry) as features:
        written = []
        for workspace in (await new_workspace(), await new_workspace()):
            await people(features, workspace)
            made = Acme(features, workspace)
            assert await made.apply(text) == [
                "+ plugins groups",
                "+ plugins keeps_rules",
                "+ groups North",
                "+ watches Northerners",
            ]
            assert await made.apply(text) == []
            written.append((await made.files.export(workspace)).replace(workspace.slug, "x"))
        assert written[0] == written[1]
        assert document.read(written[0])["watches"] == document.read(text)["watches"]


async def test_secrets_are_kept_and_never_written(database: Database, new_workspace: NewWorkspace) -> None:
    async with keeping(database, PluginRegistry.discover(["tests.broken_plugins.good"])) as features:
        made = Acme(features, await new_workspace())
        stored = "select settings->>'token' from feature"
        plan = await made.files.apply(
            made.workspace, document.read('[plugins.good]\ntoken = "hunter2"\ngreeting = "hi"\n')
        )
        assert "hunter2" not in repr(plan)
        text = await made.files.export(made.workspace)
        assert ("hunter2" in text, 'greeting = "hi"' in text) == (False, True)
        assert await made.apply('[plugins.good]\ngreeting = "ho"\n') == ["~ plugins good ['greeting']"]
        assert await made.desk.fetch(stored) == "hunter2"
        plan = await made.files.apply(
            made.workspace, document.read('[plugins.good]\ngreeting = "ho"\ntoken = "hunter3"\n')
        )
        assert dict(plan.differences[0].changes) == {"token": ("***", "***")}
        assert await made.desk.fetch(stored) == "hunter3"


async def test_the_workspaces_own_values(
    features: Features, new_workspace: NewWorkspace, workspaces: Workspaces
) -> None:
    one, other = await new_workspace(), await new_workspace(hostname="taken.example")
    made = Acme(features, one)
    own = '[workspace]\ntime_zone = "Europe/Berlin"\nhost_name = "one.example"\n'
    assert await made.apply(own) == [f"~ workspace {one.slug} ['host_name', 'time_zone']"]
    changed = await workspaces.get(one.slug)
    assert (changed.time_zone, changed.hostname, changed.currency) == ("Europe/Berlin", "one.example", "VND")
    assert await made.plan(own) == [], "what is there counts, not what somebody has read before"
    assert await made.faults('[workspace]\nhost_name = "taken.example"\n') == [
        "workspace: the host name 'taken.example' is in use"
    ]
    assert await made.apply('[workspace]\nhost_name = ""\n') == [f"~ workspace {one.slug} ['host_name']"]
    assert (await workspaces.get(other.slug)).hostname == "taken.example"


async def test_nothing_is_half_done(features: Features, new_workspace: NewWorkspace, workspaces: Workspaces) -> None:
    workspace = await new_workspace()
    made = Acme(features, workspace)
    text = '[workspace]\ncurrency = "EUR"\n[plugins.groups]\n[[groups]]\nname = "A"\n[[roles]]\nname = "R"\n'
    text += '[[customFields]]\nrecordType = "Customer"\nname = "size"\nkind = "TEXT"\n'
    assert await made.faults(text + '[[groups]]\nname = "B"\npoints = "x"\n') == [
        'groups "B".points: x is not a valid points'
    ]
    assert (await workspaces.get(workspace.slug)).currency == "VND"
    assert not await made.desk.fetch("select to_regclass('customer_group') is not null")
    assert await made.desk.fetch("select count(*) from custom_field") == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"configuration": True}, "must be known by something"),
        ({"known_by": ("colour",)}, "is known by 'colour', which no one declares"),
        ({"known_by": ("name",), "configuration": True, "plural": "plugins"}, "cannot stand in a file as 'plugins'"),
        ({"parts": ("customers",)}, "is no relation to what is known by something"),
    ],
)
def test_declarations_that_no_file_can_follow_are_refused(values: dict[str, Any], message: str) -> None:
    from dataclasses import replace

    from core.catalog import Catalog
    from core.schema.declared import CORE
    from core.schema.permission import TEAM

    plain: RecordType = replace(TEAM, known_by=())
    types = [t if t is not TEAM else replace(plain, **values) for t in CORE]
    with pytest.raises(CompositionError, match=message):
        Catalog.build(types)


def test_decimals_are_written_plainly() -> None:
    assert document.write({"t": {"x": Decimal("1E+3"), "y": Decimal("0.50")}}) == "[t]\nx = 1000\ny = 0.50\n"
