"""Who may do what to which records, for every record type and action as declared: by effect, not by error alone.

Everyone tries everything on a record of his own, on one of a team mate's and on one of a stranger's. Where it is
allowed the record changes, where it is not the answer holds nothing of it and the database stays as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from core.catalog import Catalog, Record
from core.context import Actor, ActorKind, Workspace
from core.database import Database
from core.grants import Grants, Reach, RoleGrants
from core.records import RecordType
from core.rows import new_id
from core.schema.declared import CORE
from core.seed import default_roles
from tests.dataset import NOW, Data, compose

ROLES = {"admin": "Admin", "manager": "Manager", "salesperson": "Salesperson", "reader": "Read-only", "nobody": None}
SPECS = {spec.name: spec for spec in default_roles(Catalog.build(CORE))}
KINDS = (*ROLES, "key", "anonymous")
#: What the API key, of an admin, may do.
KEY = frozenset({("Customer", "read"), ("Contact", "*")})
ME, MATE, STRANGER = (UUID(int=0x700 + i) for i in range(3))
OWNERS = {"own": ME, "mate's": MATE, "stranger's": STRANGER}
EXPOSED = [t for t in CORE if t.exposed]
#: Actions that these tests know how to do; the others have no mutation of core's own.
WRITES = ("create", "update", "delete", "restore")

#: Per record type: the table's columns of a row, given (id, owner, parent); what creates one; what changes it.
Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """How a record of a type is made: its columns in the table, its input, and a change to it."""

    columns: Columns
    create: str
    change: str
    parent: str = ""


SAMPLES = {
    "Customer": Sample(
        {"code": "$unique", "name": "before", "owner_id": "$owner"},
        'kind: PERSON, name: "$unique", ownerId: "$owner"',
        'name: "after"',
    ),
    "Contact": Sample(
        {"customer_id": "$parent", "name": "before"},
        'customerId: "$parent", name: "$unique"',
        'name: "after"',
        "Customer",
    ),
    "Opportunity": Sample(
        {"customer_id": "$parent", "name": "before", "owner_id": "$owner"},
        'customerId: "$parent", name: "$unique", ownerId: "$owner"',
        'name: "after"',
        "Customer",
    ),
    "User": Sample(
        {"login": "$unique", "display_name": "before"}, 'login: "$unique", displayName: "x"', 'displayName: "after"'
    ),
    "Team": Sample({"name": "$unique"}, 'name: "$unique"', 'name: "$unique after"'),
    "Role": Sample({"name": "$unique", "abilities": []}, 'name: "$unique"', 'name: "$unique after"'),
    "PermissionGrant": Sample(
        {"role_id": "$parent", "record_type": "Team", "action": "$unique", "scope": "OWN"},
        'roleId: "$parent", recordType: "Team", action: "read", scope: ALL',
        "scope: TEAM",
        "Role",
    ),
    "FieldRule": Sample(
        {"role_id": "$parent", "record_type": "Team", "field": "$unique", "access": "HIDE"},
        'roleId: "$parent", recordType: "Team", field: "name", access: HIDE',
        "access: READ",
        "Role",
    ),
    "ChangeSet": Sample({"at": NOW, "actor_id": "$owner", "actor_kind": "USER", "source": "MUTATION"}, "", ""),
    "File": Sample(
        {"name": "a", "content_type": "text/plain", "size": 1, "sha256": "", "purpose": "test", "created_by": "$owner"},
        "",
        "",
    ),
    "Job": Sample({"kind": "test", "created_at": NOW, "created_by": "$owner"}, "", ""),
}


@pytest.fixture(scope="module")
async def data(database: Database, module_workspace: Workspace) -> Data:
    data = Data(database, module_workspace, compose())
    async with database.transaction(module_workspace) as connection:
        for id_ in (ME, MATE, STRANGER):
            await connection.execute(
                "insert into app_user (id, login, display_name) values ($1, $2, $2)", id_, str(id_)
            )
    for kind, name in ROLES.items():
        spec = SPECS.get(name or "")
        granted = (RoleGrants(spec.name, spec.reaches, {}, frozenset(spec.abilities)),) if spec else ()
        data.actors[kind] = Actor(ActorKind.USER, Grants(granted), ME, "me", mate_ids=(ME, MATE))
    key = replace(data.actors["admin"].grants, allowed=KEY)
    data.actors["key"] = replace(data.actors["admin"], kind=ActorKind.API_KEY, grants=key)
    data.actors["anonymous"] = Actor(ActorKind.USER, Grants())
    return data


def reach(data: Data, kind: str, record: str, action: str) -> Reach:
    """How far the default roles reach, read from their specification."""
    if kind == "key" and not {(record, action), (record, "*")} & KEY:
        return Reach.NONE
    role = ROLES.get("admin" if kind == "key" else kind)
    return SPECS[role].reaches.get((record, action), Reach.NONE) if role else Reach.NONE


def within(far: Reach, whose: str) -> bool:
    return far >= {"own": Reach.OWN, "mate's": Reach.TEAM, "stranger's": Reach.ALL}[whose]


def allowed(data: Data, kind: str, record: Record, action: str, whose: str) -> bool:
    """What should be: by the rules of product.md, from the roles' specification."""
    t = record.type
    if kind == "anonymous" or (action != "read" and not visible(data, kind, record, whose)):
        return False
    if action != "read" and t.ability and kind != "admin":
        return False
    far = reach(data, kind, record.name, action)
    if t.parent:
        parent = data.catalog[record.to_one[t.parent].target]
        owned = within(far, whose) if t.owner or parent.type.owner else far is Reach.ALL
        own = bool(t.owner) and whose == "own" and far is not Reach.NONE
        return own or (visible(data, kind, parent, whose) and owned)
    return within(far, whose) if t.owner else far is Reach.ALL


def visible(data: Data, kind: str, record: Record, whose: str) -> bool:
    return allowed(data, kind, record, "read", whose)


async def made(data: Data, record: Record, whose: str, *, deleted: bool = False) -> dict[str, Any]:
    """A record, with a parent where it has one; returns what stands for the names in its sample."""
    sample = SAMPLES[record.name]
    names: dict[str, Any] = {"$unique": str(new_id()), "$owner": OWNERS[whose], "$id": new_id()}
    if sample.parent:
        names["$parent"] = (await made(data, data.catalog[sample.parent], whose))["$id"]
    columns = {c: names.get(v, v) if isinstance(v, str) else v for c, v in sample.columns.items()}
    columns["id"] = names["$id"]
    if deleted:
        columns["deleted_at"] = datetime.now(UTC)
    places = ", ".join(f"${i}" for i in range(1, len(columns) + 1))
    await data.database.pool(data.workspace).execute(
        f"insert into {record.type.tablename} ({', '.join(columns)}) values ({places})", *columns.values()
    )
    return names


def spell(text: str, names: Mapping[str, Any]) -> str:
    for name, value in names.items():
        text = text.replace(name, str(value))
    return text


async def state(data: Data) -> dict[str, str]:
    """A digest of each table."""
    digest = "select md5(coalesce(string_agg(t::text, '|' order by id), '')) from {} t"
    tables = sorted({r.type.tablename for r in data.catalog})
    digests = ", ".join(f"({digest.format(table)}) as {table}" for table in tables)
    return dict(await data.database.pool(data.workspace).fetchrow(f"select {digests}"))


def test_every_record_type_and_action_is_covered() -> None:
    assert {t.name for t in EXPOSED} == SAMPLES.keys()
    made_by_core = {(m.record, m.action) for m in compose().mutations.values() if m.record}
    for t in EXPOSED:
        for action in set(t.actions) & set(WRITES):
            soft = t.soft_delete or action not in ("delete", "restore")
            assert ((t.name, action) in made_by_core) == soft, (t.name, action)


@pytest.mark.parametrize("whose", OWNERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("record_type", EXPOSED, ids=lambda t: t.name)
async def test_reading(data: Data, record_type: RecordType, kind: str, whose: str) -> None:
    record = data.catalog[record_type.name]
    names = await made(data, record, whose)
    id_ = str(names["$id"])
    t = record.type
    where = f'where: {{id: {{eq: "{id_}"}}}}'
    asked = {
        "one": f'{t.singular}(id: "{id_}") {{ id }}',
        "node": f'node(id: "{id_}") {{ id }}',
        "nodes": f'nodes(ids: ["{id_}"]) {{ id }}',
        "list": f"{t.plural}({where}) {{ totalCount nodes {{ id }} edges {{ node {{ id }} }} }}",
        "total": f"{t.plural}Aggregate({where}) {{ count }}",
    }
    expected = visible(data, kind, record, whose)
    before = await state(data)
    for name, text in asked.items():
        answer = await data.answer(kind, f"{{ {name}: {text} }}")
        if kind == "anonymous":
            assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
            assert "data" not in answer
        elif name == "total":
            assert answer["data"]["total"]["count"] == int(expected)
        else:
            assert (id_ in json.dumps(answer["data"])) == expected
    assert await state(data) == before


def mutation(record: Record, action: str, names: Mapping[str, Any]) -> tuple[str, str]:
    """The mutation that takes an action, singly and in bulk."""
    t, sample = record.type, SAMPLES[record.name]
    what = f'id: "{names["$id"]}"'
    one = f"{t.singular}{action.capitalize()}"
    many = f"{t.plural}Bulk{action.capitalize()}"
    ids = f'["{names["$id"]}"]'
    inputs = {
        "create": (spell(sample.create, names), f"records: [{{{spell(sample.create, names)}}}]"),
        "update": (
            f"{what}, {spell(sample.change, names)}",
            f"target: {{ids: {ids}}}, set: {{{spell(sample.change, names)}}}",
        ),
        "delete": (what, f"target: {{ids: {ids}}}"),
        "restore": (what, f"ids: {ids}"),
    }
    single, bulk = inputs[action]
    fields = "userErrors { code } changeSet { counts }"
    return (
        f"mutation {{ done: {one}(input: {{{single}}}) {{ {fields} }} }}",
        f"mutation {{ done: {many}(input: {{{bulk}}}) {{ {fields} }} }}",
    )


CASES = [(t, a) for t in EXPOSED for a in WRITES if a in t.actions and (t.soft_delete or a in ("create", "update"))]


@pytest.mark.parametrize("bulk", [False, pytest.param(True, marks=pytest.mark.nightly)], ids=["one", "bulk"])
@pytest.mark.parametrize("whose", OWNERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("record_type", "action"), CASES, ids=lambda x: getattr(x, "name", x))
async def test_writing(data: Data, record_type: RecordType, action: str, kind: str, whose: str, bulk: bool) -> None:
    record = data.catalog[record_type.name]
    names = await made(data, record, whose, deleted=action == "restore")
    if action == "create":
        names["$unique"] = str(new_id())
    expected = allowed(data, kind, record, action, whose)
    before = await state(data)
    answer = await data.answer(kind, mutation(record, action, names)[bulk])
    after = await state(data)
    if expected:
        assert "errors" not in answer, answer
        assert answer["data"]["done"]["userErrors"] == []
        done = {"create": "created", "update": "updated", "delete": "deleted", "restore": "restored"}[action]
        assert answer["data"]["done"]["changeSet"]["counts"][done] == 1
        table = record.type.tablename
        assert after[table] != before[table]
        assert after["change"] != before["change"]
        return
    assert after == before
    if "errors" in answer:
        codes = {e["extensions"]["code"] for e in answer["errors"]}
        assert codes == {"UNAUTHENTICATED" if kind == "anonymous" else "FORBIDDEN"}
        assert answer["data"] == {"done": None}
    else:
        # Of what one cannot see one is told what one is told of what is not there.
        assert [e["code"] for e in answer["data"]["done"]["userErrors"]] == ["NOT_FOUND"]
        assert answer["data"]["done"]["changeSet"] is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", ["update", "delete"])
async def test_a_bulk_condition_reaches_only_what_one_may_change(data: Data, kind: str, action: str) -> None:
    record = data.catalog["Customer"]
    ids = {whose: str((await made(data, record, whose))["$id"]) for whose in OWNERS}
    where = f"target: {{where: {{id: {{in: {json.dumps(list(ids.values()))}}}}}}}"
    change = ', set: {fax: "bulk"}' if action == "update" else ""
    name = f"customersBulk{action.capitalize()}"
    answer = await data.answer(kind, f"mutation {{ done: {name}(input: {{{where}{change}}}) {{ counts }} }}")
    pool = data.database.pool(data.workspace)
    changed = "fax = 'bulk'" if action == "update" else "deleted_at is not null"
    rows = await pool.fetch(
        f"select id::text from customer where id = any($1) and {changed}", [UUID(i) for i in ids.values()]
    )
    expected = {i for whose, i in ids.items() if allowed(data, kind, record, action, whose)}
    assert {r["id"] for r in rows} == expected
    if not any(within(reach(data, kind, "Customer", action), w) for w in OWNERS) or kind == "anonymous":
        code = "UNAUTHENTICATED" if kind == "anonymous" else "FORBIDDEN"
        assert answer["errors"][0]["extensions"]["code"] == code
