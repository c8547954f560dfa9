"""Which rule lets somebody in to a record, or keeps him out."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from core.context import Workspace
from core.database import Database
from core.predicate import Compare, constant
from core.rows import new_id
from core.settings import Settings
from tests.signing import Desk, code_of, composed

EXPLAIN = """query($record: String!, $id: ID!, $userId: ID, $action: String! = "read") {
  accessExplain(record: $record, id: $id, userId: $userId, action: $action) {
    allowed rules { name description allows holds } } }"""


@pytest.fixture
async def desk(database: Database, settings: Settings, module_workspace: Workspace) -> Desk:
    return await Desk.open(
        database,
        settings,
        module_workspace,
        an="Admin",
        binh="Salesperson",
        chi="Salesperson",
        mai="Manager",
        xem="Read-only",
    )


async def customer(desk: Desk, owner: str | None, **columns: Any) -> UUID:
    id_ = new_id()
    owner_id = desk.users[owner] if owner else None
    names = ["id", "code", "name", "kind", "owner_id", *columns]
    values = [id_, f"KH{id_.hex[-7:]}", "Công ty", "PERSON", owner_id, *columns.values()]
    places = ", ".join(f"${i + 1}" for i in range(len(values)))
    await desk.row(f"insert into customer ({', '.join(names)}) values ({places})", *values)
    return id_


async def explain(
    desk: Desk, asker: str, id_: UUID | str, about: str | None = None, action: str = "read", record: str = "Customer"
) -> tuple[bool, dict[str, bool | None]]:
    """Whether it is allowed, and whether each rule holds, by name."""
    answer = await desk.do(
        EXPLAIN,
        await desk.token(asker),
        record=record,
        id=str(id_),
        userId=str(desk.users[about]) if about else None,
        action=action,
    )
    return answer["allowed"], {rule["name"]: rule["holds"] for rule in answer["rules"]}


async def test_owner_is_let_in_by_his_role(desk: Desk) -> None:
    mine, others = await customer(desk, "binh"), await customer(desk, "chi")
    assert await explain(desk, "binh", mine) == (True, {"state": True, "role": True, "viewer": False})
    assert await explain(desk, "an", others, "binh") == (False, {"state": True, "role": False, "viewer": False})
    answer = await desk.do(
        EXPLAIN, await desk.token("an"), record="Customer", id=str(mine), userId=str(desk.users["binh"])
    )
    assert [(r["description"], r["allows"]) for r in answer["rules"]] == [
        ("the record exists and is not deleted", False),
        ("Salesperson may read own", True),
        ("the actor is a viewer", True),
    ]


async def test_viewer_is_let_in_to_read_or_to_edit(desk: Desk) -> None:
    id_ = await customer(desk, "chi")
    share = "insert into customer_viewer (id, customer_id, user_id, can_edit) values ($1, $2, $3, $4)"
    await desk.row(share, new_id(), id_, desk.users["binh"], False)
    assert await explain(desk, "an", id_, "binh") == (True, {"state": True, "role": False, "viewer": True})
    assert await explain(desk, "an", id_, "binh", "update") == (
        False,
        {"state": True, "role": False, "viewer": False, "read": True},
    )
    await desk.row("update customer_viewer set can_edit = true where customer_id = $1", id_)
    assert (await explain(desk, "an", id_, "binh", "update"))[0] is True
    assert await explain(desk, "an", id_, "binh", "delete") == (False, {"state": True, "role": False, "read": True})


async def test_a_viewer_is_told_who_let_him_in(desk: Desk) -> None:
    id_, team = await customer(desk, "chi"), new_id()
    await desk.row("insert into team (id, name) values ($1, $2)", team, f"Bắc {team}")
    await desk.row(
        "insert into team_member (id, team_id, user_id) values ($1, $2, $3)", new_id(), team, desk.users["binh"]
    )
    share = """insert into customer_viewer (id, customer_id, user_id, team_id, source, created_by)
        values ($1, $2, $3, $4, $5, $6)"""
    an, binh, chi = (desk.users[name] for name in ("an", "binh", "chi"))
    for user, in_team, source, by in (
        (binh, None, "share", chi), (None, team, "share", an), (binh, None, "transfer", None), (an, None, "share", chi),
    ):  # fmt: skip
        await desk.row(share, new_id(), id_, user, in_team, source, by)
    query = """query($id: ID!, $userId: ID) { accessExplain(record: "Customer", id: $id, userId: $userId) {
      rules { name because } } }"""
    answer = await desk.do(query, await desk.token("an"), id=str(id_), userId=str(binh))
    assert {r["name"]: r["because"] for r in answer["rules"]} == {
        "state": [],
        "role": [],
        "viewer": [
            "Shared by Chi", f"Shared by An with the team Bắc {team}",
            "Kept as a viewer when it was given away by somebody",
        ],
    }  # fmt: skip


async def test_a_viewer_of_a_plugin_that_is_not_on_counts_for_nothing(desk: Desk) -> None:
    id_ = await customer(desk, "chi")
    share = "insert into customer_viewer (id, customer_id, user_id, can_edit, source) values ($1, $2, $3, true, $4)"
    await desk.row(share, new_id(), id_, desk.users["binh"], "some_pool")
    assert await explain(desk, "an", id_, "binh") == (False, {"state": True, "role": False, "viewer": False})
    assert await desk.do("query($id: ID!) { customer(id: $id) { id } }", await desk.token("binh"), id=str(id_)) is None
    found = await desk.do(
        "query($id: ID!) { customer(id: $id) { viewers { totalCount } } }", await desk.token("an"), id=str(id_)
    )
    assert found["viewers"]["totalCount"] == 0


async def test_manager_reaches_his_team(desk: Desk) -> None:
    id_ = await customer(desk, "binh")
    assert (await explain(desk, "an", id_, "mai"))[0] is False
    team = new_id()
    await desk.row("insert into team (id, name) values ($1, 'Bắc')", team)
    for login in ("binh", "mai"):
        await desk.row(
            "insert into team_member (id, team_id, user_id) values ($1, $2, $3)", new_id(), team, desk.users[login]
        )
    assert await explain(desk, "an", id_, "mai") == (True, {"state": True, "role": True, "viewer": False})
    assert await explain(desk, "mai", id_, action="update") == (
        True,
        {"state": True, "role": True, "viewer": False, "read": True},
    )


async def test_no_role_grants_it(desk: Desk) -> None:
    id_ = await customer(desk, "binh")
    allowed, rules = await explain(desk, "an", id_, "xem", "update")
    assert (allowed, rules) == (False, {"state": True, "role": False, "read": True})
    answer = await desk.do(
        EXPLAIN, await desk.token("an"), record="Customer", id=str(id_), userId=str(desk.users["xem"]), action="update"
    )
    assert "no role of the user grants update on Customer" in [r["description"] for r in answer["rules"]]


async def test_several_roles_are_named_together(desk: Desk) -> None:
    id_ = await customer(desk, "chi")
    role = (await desk.row("select id from role where name = 'Read-only'"))[0]
    await desk.row(
        "insert into user_role (id, user_id, role_id) values ($1, $2, $3)", new_id(), desk.users["binh"], role
    )
    answer = await desk.do(
        EXPLAIN, await desk.token("an"), record="Customer", id=str(id_), userId=str(desk.users["binh"])
    )
    assert answer["allowed"] is True
    assert answer["rules"][1]["description"] == "Read-only, Salesperson may read all"


async def test_deleted_record_can_only_be_restored(desk: Desk) -> None:
    id_ = await customer(desk, "binh")
    assert (await explain(desk, "an", id_, "binh", "restore"))[0] is False
    await desk.row("update customer set deleted_at = now() where id = $1", id_)
    assert await explain(desk, "an", id_, "binh") == (False, {"state": False, "role": True, "viewer": False})
    assert await explain(desk, "binh", id_) == (False, {"state": False, "role": True, "viewer": False})
    assert await explain(desk, "an", id_, "binh", "restore") == (True, {"state": True, "role": True, "read": True})


async def test_child_follows_its_parent(desk: Desk) -> None:
    mine, others = await customer(desk, "binh"), await customer(desk, "chi")
    contacts = {}
    for parent in (mine, others):
        contacts[parent] = new_id()
        await desk.row("insert into contact (id, customer_id, name) values ($1, $2, 'Hà')", contacts[parent], parent)
    assert await explain(desk, "an", contacts[mine], "binh", record="Contact") == (
        True,
        {"state": True, "parent": True},
    )
    assert await explain(desk, "an", contacts[others], "binh", record="Contact") == (
        False,
        {"state": True, "parent": False},
    )
    deal = new_id()
    await desk.row(
        "insert into opportunity (id, customer_id, name, owner_id) values ($1, $2, 'D', $3)",
        deal, others, desk.users["binh"],
    )  # fmt: skip
    allowed, rules = await explain(desk, "an", deal, "binh", record="Opportunity")
    assert (allowed, rules) == (True, {"state": True, "parent": False, "owner": True})


async def test_plugin_that_narrows_is_named(desk: Desk) -> None:
    kind = desk.composition.catalog["Customer"].fields["kind"]
    organisations = Compare(kind, "eq", constant("ORGANISATION"))
    desk.composition = composed({("Customer", "read"): [("firms", organisations)]})
    person, firm = await customer(desk, "binh"), await customer(desk, "binh")
    await desk.row("update customer set kind = 'ORGANISATION' where id = $1", firm)
    assert await explain(desk, "an", person, "binh") == (
        False,
        {"state": True, "role": True, "viewer": False, "plugin firms": False},
    )
    assert (await explain(desk, "an", firm, "binh"))[0] is True
    # To himself no more is told than that his role would let him in.
    assert await explain(desk, "binh", person) == (
        False,
        {"state": None, "role": True, "viewer": False, "plugin firms": None},
    )


async def test_existence_is_not_told_to_him_who_may_not_know(desk: Desk) -> None:
    others = await customer(desk, "chi")
    gone = await customer(desk, "chi")
    await desk.row("update customer set deleted_at = now() where id = $1", gone)
    expected = (False, {"state": None, "role": False, "viewer": False})
    for id_ in (others, gone, uuid4(), "not an id"):
        assert await explain(desk, "binh", id_) == expected
    assert await explain(desk, "an", uuid4(), "binh") == (False, {"state": False, "role": False, "viewer": False})


async def test_about_others_needs_the_ability(desk: Desk) -> None:
    id_ = await customer(desk, "binh")
    given = {"record": "Customer", "id": str(id_)}
    for about in (str(desk.users["chi"]), str(uuid4()), "x"):
        answer = await desk.ask(EXPLAIN, await desk.token("binh"), userId=about, **given)
        assert code_of(answer) == "FORBIDDEN"
    assert code_of(await desk.ask(EXPLAIN, **given)) == "UNAUTHENTICATED"
    admin = await desk.token("an")
    await desk.row("update app_user set active = false where login = 'chi'")
    for nobody in (str(uuid4()), "x", str(desk.users["chi"])):
        assert code_of(await desk.ask(EXPLAIN, admin, userId=nobody, **given)) == "NOT_FOUND"


@pytest.mark.parametrize(
    ("record", "action", "message"),
    [
        ("Martian", "read", "'Martian' is not a record type"),
        ("CustomerViewer", "read", "'CustomerViewer' is not a record type"),
        ("Customer", "fly", "'fly' is not an action on Customer"),
    ],
)
async def test_unknown_type_or_action_is_bad_input(desk: Desk, record: str, action: str, message: str) -> None:
    answer = await desk.ask(EXPLAIN, await desk.token("an"), record=record, id=str(uuid4()), action=action)
    assert code_of(answer) == "BAD_USER_INPUT"
    assert message in answer["errors"][0]["message"]


async def test_explanation_agrees_with_what_happens(desk: Desk) -> None:
    """Over all kinds of actors and records, reading finds exactly what the explanation allows."""
    team = new_id()
    await desk.row("insert into team (id, name) values ($1, 'Nam')", team)
    for login in ("binh", "mai"):
        await desk.row(
            "insert into team_member (id, team_id, user_id) values ($1, $2, $3)", new_id(), team, desk.users[login]
        )
    ids = [await customer(desk, owner) for owner in ("binh", "chi", "mai", None)]
    await desk.row("insert into customer_viewer (id, customer_id, team_id) values ($1, $2, $3)", new_id(), ids[1], team)
    everyone = "insert into customer_viewer (id, customer_id, everyone) values ($1, $2, true)"
    await desk.row(everyone, new_id(), ids[3])
    seen = 0
    for login in desk.users:
        nodes = (await desk.do("{ customers { nodes { id } } }", await desk.token(login)))["nodes"]
        found = {node["id"] for node in nodes}
        for id_ in ids:
            allowed, _ = await explain(desk, "an", id_, login)
            assert allowed is (str(id_) in found)
            seen += allowed
    assert 0 < seen < len(desk.users) * len(ids)


async def test_explanation_is_one_statement(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    id_, token = await customer(desk, "binh"), await desk.token("binh")
    await desk.auth.actor(desk.workspace, token)
    pool, asked = desk.database.pool(desk.workspace), []
    real = pool.fetchval
    monkeypatch.setattr(pool, "fetchval", lambda text, *v: (asked.append(text), real(text, *v))[1])
    await desk.do(EXPLAIN, token, record="Customer", id=str(id_))
    assert len(asked) == 1
