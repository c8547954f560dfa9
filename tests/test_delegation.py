"""Who may give roles gives no more than he may do himself; an administrator gives what he likes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from core.actors import find_actor
from core.context import Actor, Workspace
from core.database import Database
from core.features import Features
from core.passwords import create_user
from core.plugins import PluginRegistry
from core.seed import seed
from tests.switching import Desk

FORBIDDEN = "FORBIDDEN"
#: What a deputy may do: give roles, and read what his team owns, but no phone numbers.
MAY = (
    *((record, action, "ALL") for record in ("Role", "PermissionGrant", "FieldRule", "User", "Team")
      for action in ("read", "create", "update", "delete", "restore")),
    ("Customer", "read", "TEAM"), ("Customer", "create", "OWN"),
)  # fmt: skip
GRANT = """mutation($role: ID!, $action: String! = "read", $scope: GrantScope! = ALL) {
  permissionGrantCreate(input: {roleId: $role, recordType: "Customer", action: $action, scope: $scope}) {
    permissionGrant { id } userErrors { code } } }"""
CHANGE_GRANT = """mutation($id: ID!, $scope: GrantScope! = ALL) {
  permissionGrantUpdate(input: {id: $id, scope: $scope}) { userErrors { code } } }"""
RULE = """mutation($role: ID!, $field: String! = "phone", $access: FieldAccess!) {
  fieldRuleCreate(input: {roleId: $role, recordType: "Customer", field: $field, access: $access}) {
    fieldRule { id } userErrors { code } } }"""
CHANGE_RULE = "mutation($id: ID!) { fieldRuleUpdate(input: {id: $id, access: WRITE}) { userErrors { code } } }"
ABLE = """mutation($id: ID!, $abilities: [String!]) {
  roleUpdate(input: {id: $id, abilities: $abilities}) { userErrors { code } } }"""
MAKE = """mutation($name: String!, $abilities: [String!]) { roleCreate(input: {name: $name, abilities: $abilities}) {
  role { id } userErrors { code } } }"""
DELETE = "mutation($id: ID!) { roleDelete(input: {id: $id}) { changeSet { id } userErrors { code } } }"
RESTORE = "mutation($id: ID!) { roleRestore(input: {id: $id}) { userErrors { code } } }"
GIVE = "mutation($id: ID!, $roles: [ID!]!) { userRolesSet(input: {id: $id, roleIds: $roles}) { userErrors { code } } }"
FREEZE = "mutation($id: ID!) { userUpdate(input: {id: $id, active: false}) { userErrors { code } } }"
DISMISS = "mutation($id: ID!) { userDelete(input: {id: $id}) { userErrors { code } } }"
JOIN = """mutation($id: ID!, $users: [ID!]!) { teamMembersSet(input: {id: $id, userIds: $users}) {
  team { members { nodes { login } } } userErrors { code } } }"""


class Office(Desk):
    """A workspace with its default roles, an administrator and a deputy."""

    users: dict[str, UUID]
    roles: dict[str, str]

    async def someone(self, login: str, *roles: str) -> None:
        async with self.database.transaction(self.workspace) as connection:
            self.users[login] = await create_user(connection, login, None, role_names=roles)

    async def actor(self, login: str) -> Actor:
        pool = self.database.pool(self.workspace)
        found = await find_actor(lambda sql, values: pool.fetchval(sql, *values), self.users[login])
        assert found is not None
        return found

    async def as_(self, login: str, query: str, **variables: Any) -> str:
        """What came of a mutation: the code of its error, or nothing."""
        answer = await self.ask(query, await self.actor(login), **variables)
        if "errors" in answer:
            return str(answer["errors"][0]["extensions"]["code"])
        (done,) = answer["data"].values()
        return str(done["userErrors"][0]["code"]) if done["userErrors"] else ""


@pytest.fixture
async def office(database: Database, workspace: Workspace) -> AsyncIterator[Office]:
    features = Features(database, registry=PluginRegistry.discover([]))
    found = Office(database, features, workspace)
    found.users = {}
    async with database.transaction(workspace) as connection:
        await seed(connection, (await features.composition(workspace)).catalog)
    made = await found.do(MAKE, name="Deputy", abilities=["roles", "undo", "users"])
    deputy = made["role"]["id"]
    records = [{"roleId": deputy, "recordType": r, "action": a, "scope": s} for r, a, s in MAY]
    bulk = (
        "mutation($r: [PermissionGrantCreateInput!]!) { permissionGrantsBulkCreate(input: {records: $r}) { counts } }"
    )
    await found.do(bulk, r=records)
    await found.do(RULE, role=deputy, access="HIDE")
    found.roles = {n["name"]: n["id"] for n in (await found.do("{ roles { nodes { id name } } }"))["nodes"]}
    for login, role in (("ada", "Admin"), ("dan", "Deputy"), ("sam", "Salesperson")):
        await found.someone(login, role)
    yield found
    await features.close()


async def test_a_deputy_gives_what_he_has(office: Office) -> None:
    made = await office.do(MAKE, await office.actor("dan"), name="Little", abilities=["undo"])
    little = made["role"]["id"]
    assert await office.as_("dan", RULE, role=little, access="HIDE") == ""
    assert await office.as_("dan", GRANT, role=little, scope="TEAM") == ""
    assert await office.as_("dan", GRANT, role=little, action="create", scope="OWN") == ""
    # Salespeople may do what he may not, so that he cannot take it from them either.
    assert await office.as_("dan", GIVE, id=str(office.users["sam"]), roles=[little]) == FORBIDDEN
    await office.someone("new")
    assert await office.as_("dan", GIVE, id=str(office.users["new"]), roles=[little]) == ""
    assert (await office.actor("new")).grants.roles[0].name == "Little"
    assert await office.as_("dan", DELETE, id=little) == ""
    assert await office.as_("dan", RESTORE, id=little) == ""
    assert await office.as_("dan", GIVE, id=str(office.users["new"]), roles=[]) == ""
    assert await office.as_("dan", FREEZE, id=str(office.users["new"])) == ""
    assert await office.as_("dan", DISMISS, id=str(office.users["new"])) == ""


async def test_a_deputy_gives_himself_nothing(office: Office) -> None:
    own, me = office.roles["Deputy"], str(office.users["dan"])
    where = '{recordType: {eq: "Customer"}, role: {name: {eq: "Deputy"}}}'
    found = await office.do(f"{{ permissionGrants(where: {where}) {{ nodes {{ id }} }} }}")
    create, read = (n["id"] for n in found["nodes"])
    rule = (await office.do('{ fieldRules(where: {field: {eq: "phone"}}) { nodes { id } } }'))["nodes"][0]["id"]
    before = (await office.actor("dan")).grants
    for query, variables in (
        (GRANT, {"role": own, "action": "update", "scope": "OWN"}),
        (CHANGE_GRANT, {"id": read}),
        (CHANGE_GRANT, {"id": create, "scope": "TEAM"}),
        (CHANGE_RULE, {"id": rule}),
        (ABLE, {"id": own, "abilities": ["roles", "undo", "users", "settings"]}),
        (GIVE, {"id": me, "roles": [own, office.roles["Admin"]]}),
        (GIVE, {"id": me, "roles": [own, office.roles["Salesperson"]]}),
        (MAKE, {"name": "Great", "abilities": ["settings"]}),
        (DELETE, {"id": office.roles["Admin"]}),
        (ABLE, {"id": office.roles["Admin"], "abilities": []}),
        (GIVE, {"id": str(office.users["ada"]), "roles": []}),
        (FREEZE, {"id": str(office.users["ada"])}),
        (DISMISS, {"id": str(office.users["sam"])}),
    ):
        assert await office.as_("dan", query, **variables) == FORBIDDEN, (query, variables)
    assert (await office.actor("dan")).grants == before
    # Giving away what he has is no way round it: what he cannot give he cannot take back.
    assert await office.as_("dan", CHANGE_GRANT, id=create, scope="NONE") == ""
    assert await office.as_("dan", CHANGE_GRANT, id=create, scope="OWN") == FORBIDDEN


async def test_a_role_that_says_nothing_of_a_field_shows_nothing(office: Office) -> None:
    """A rule that hides holds against roles that reach no such records; one that reaches some would show the field."""
    made = await office.do(MAKE, await office.actor("dan"), name="Other", abilities=[])
    other, me = made["role"]["id"], str(office.users["dan"])
    assert await office.as_("dan", GIVE, id=me, roles=[office.roles["Deputy"], other]) == ""
    await office.customer("An", phone="0903", ownerId=me)
    shown = "{ customers { nodes { name phone } } }"
    assert (await office.do(shown, await office.actor("dan")))["nodes"] == [{"name": "An", "phone": None}]
    assert await office.as_("dan", GRANT, role=other, scope="OWN") == FORBIDDEN
    assert await office.as_("dan", RULE, role=other, access="WRITE") == FORBIDDEN
    assert (await office.do(shown, await office.actor("dan")))["nodes"] == [{"name": "An", "phone": None}]


async def test_undoing_gives_no_more_either(office: Office) -> None:
    role = office.roles["Manager"]
    undo = "mutation($id: ID!) { changeSetUndo(input: {id: $id}) { userErrors { code } } }"
    done = await office.do(DELETE, id=role)
    journal = await office.actor("dan")
    reads = replace(journal.grants.roles[0], reaches={**journal.grants.roles[0].reaches, ("ChangeSet", "read"): 3})
    spy = replace(journal, grants=replace(journal.grants, roles=(reads,)))
    assert await office.code(undo, spy, id=done["changeSet"]["id"]) == FORBIDDEN
    assert role not in {n["id"] for n in (await office.do("{ roles { nodes { id } } }"))["nodes"]}


async def test_an_administrator_gives_what_he_does_not_have(office: Office) -> None:
    where = '{recordType: {eq: "Customer"}, action: {eq: "delete"}, role: {name: {eq: "Admin"}}}'
    (grant,) = (await office.do(f"{{ permissionGrants(where: {where}) {{ nodes {{ id }} }} }}"))["nodes"]
    for scope in ("NONE", "ALL"):
        assert await office.as_("ada", CHANGE_GRANT, id=grant["id"], scope=scope) == ""
    assert await office.as_("ada", GIVE, id=str(office.users["sam"]), roles=[office.roles["Admin"]]) == ""


async def test_nobody_makes_himself_the_mate_of_others(office: Office) -> None:
    team = (await office.do('mutation { teamCreate(input: {name: "North"}) { team { id } } }'))["team"]["id"]
    sam, dan = str(office.users["sam"]), str(office.users["dan"])
    assert await office.as_("dan", JOIN, id=team, users=[sam]) == ""
    assert await office.as_("dan", JOIN, id=team, users=[sam, dan]) == FORBIDDEN
    assert await office.as_("dan", JOIN, id=team, users=[dan]) == ""
    assert await office.as_("dan", JOIN, id=team, users=[dan, sam]) == FORBIDDEN
    assert await office.as_("ada", JOIN, id=team, users=[sam, dan, str(office.users["ada"])]) == ""
    assert len((await office.actor("dan")).mate_ids) == 3
