"""Undoing and redoing change sets, whatever was in them, and leaving alone what was changed again since."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.context import Workspace
from core.database import Database
from core.grants import Reach
from tests.switching import actor
from tests.writing import Desk, codes, desk_at, grants

TYPES = ("Customer", "Contact", "Opportunity", "User", "CustomerViewer")


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    async with desk_at(database, module_workspace) as opened:
        yield opened


async def customer(desk: Desk, name: str = "Công ty An", **values: Any) -> dict[str, Any]:
    return await desk.create("Customer", name=name, kind="ORGANISATION", **values)


async def changed(desk: Desk, record: str, id_: str, **values: Any) -> str:
    """Update a record; the id of the change set."""
    done = await desk.write(record, "Update", {"id": id_, **values})
    assert done["userErrors"] == []
    return done["changeSet"]["id"]


async def value(desk: Desk, id_: str, field: str, record: str = "Customer") -> Any:
    return (await desk.rows(record))[UUID(id_)][field]


async def undone(desk: Desk, id_: str) -> str:
    """Undo a change set without conflicts; the id of the new one."""
    done = await desk.undo(id_)
    assert (done["conflicts"], done["userErrors"]) == (0, []), done
    return done["changeSet"]["id"]


async def test_updates_are_undone_and_redone_again_and_again(desk: Desk) -> None:
    made = await customer(desk, phone="1", tags=["a"])
    last = await changed(desk, "Customer", made["id"], phone="2", tags=None, birthday="2000-02-29")
    for expected in (("1", ["a"], None), ("2", None, "2000-02-29")) * 3:
        last = await undone(desk, last)
        row = (await desk.rows("Customer"))[UUID(made["id"])]
        assert (row["phone"], row["tags"], row["birthday"]) == expected
    assert row["version"] == 8


async def test_creations_deletions_and_restorations_are_undone(desk: Desk) -> None:
    done = await desk.write("Customer", "Create", {"name": "x", "kind": "PERSON"})
    id_, created = done["customer"]["id"], done["changeSet"]["id"]
    again = await undone(desk, created)
    assert await desk.get("Customer", id_) is None
    await undone(desk, again)
    assert (await desk.get("Customer", id_, "name")) == {"name": "x"}
    deleted = await desk.delete("Customer", id_)
    restored = await undone(desk, deleted)
    assert await desk.get("Customer", id_) is not None
    await undone(desk, restored)
    assert await desk.get("Customer", id_) is None
    done = await desk.write("Customer", "Restore", {"id": id_})
    await undone(desk, done["changeSet"]["id"])
    assert await desk.get("Customer", id_) is None


async def test_what_a_later_change_set_changed_is_left_alone(desk: Desk) -> None:
    one, two = await customer(desk, level="a"), await customer(desk, level="a")
    ids = {"target": {"ids": [one["id"], two["id"]]}}
    first = (await desk.bulk("Customer", "BulkUpdate", {**ids, "set": {"level": "b"}}))["changeSet"]["id"]
    await changed(desk, "Customer", one["id"], level="c")
    done = await desk.undo(first)
    assert (done["conflicts"], done["counts"]["updated"]) == (1, 1)
    (error,) = done["userErrors"]
    assert (error["code"], error["params"]) == ("CONFLICT", {"record": "Customer", "id": one["id"]})
    assert (await value(desk, one["id"], "level"), await value(desk, two["id"], "level")) == ("c", "a")
    # With the conflict out of the way the rest can be undone.
    await changed(desk, "Customer", one["id"], level="b")
    await undone(desk, first)
    assert (await value(desk, one["id"], "level"), await value(desk, two["id"], "level")) == ("a", "a")
    assert codes(await desk.undo(first)) == ["CONFLICT"]


async def test_other_fields_do_not_stand_in_the_way(desk: Desk) -> None:
    made = await customer(desk, level="a")
    first = await changed(desk, "Customer", made["id"], level="b")
    await changed(desk, "Customer", made["id"], phone="1")
    await undone(desk, first)
    row = (await desk.rows("Customer"))[UUID(made["id"])]
    assert (row["level"], row["phone"]) == ("a", "1")


async def test_a_record_changed_since_it_was_made_stays(desk: Desk) -> None:
    done = await desk.write("Customer", "Create", {"name": "x", "kind": "PERSON"})
    id_, created = done["customer"]["id"], done["changeSet"]["id"]
    second = await changed(desk, "Customer", id_, phone="1")
    done = await desk.undo(created)
    assert (done["conflicts"], codes(done), done["changeSet"]) == (1, ["CONFLICT"], None)
    assert await desk.get("Customer", id_) is not None
    # As soon as it is as it was made, nothing is lost with it.
    await undone(desk, second)
    await undone(desk, created)
    assert await desk.get("Customer", id_) is None


async def test_a_record_changed_since_it_was_restored_stays(desk: Desk) -> None:
    made = await customer(desk)
    await desk.delete("Customer", made["id"])
    restored = (await desk.write("Customer", "Restore", {"id": made["id"]}))["changeSet"]["id"]
    await changed(desk, "Customer", made["id"], phone="1")
    assert (await desk.undo(restored))["conflicts"] == 1
    assert await desk.get("Customer", made["id"]) is not None


async def test_a_change_of_a_record_that_is_gone_is_a_conflict(desk: Desk) -> None:
    made = await customer(desk)
    first = await changed(desk, "Customer", made["id"], phone="1")
    await desk.delete("Customer", made["id"])
    done = await desk.undo(first)
    assert (done["conflicts"], codes(done)) == (1, ["CONFLICT"])


async def test_a_deletion_whose_code_is_taken_stays_and_can_be_undone_later(desk: Desk) -> None:
    one, two = await customer(desk, code="T1"), await customer(desk, code="T2")
    ids = {"target": {"ids": [one["id"], two["id"]]}}
    deleted = (await desk.bulk("Customer", "BulkDelete", ids))["changeSet"]["id"]
    rival = await customer(desk, code="T1")
    done = await desk.undo(deleted)
    assert (done["conflicts"], codes(done), done["counts"]["restored"]) == (1, ["DUPLICATE"], 1)
    assert await desk.get("Customer", one["id"]) is None
    await desk.delete("Customer", rival["id"])
    await undone(desk, deleted)
    assert await desk.get("Customer", one["id"]) is not None


async def test_a_code_taken_since_is_a_conflict(desk: Desk) -> None:
    made = await customer(desk, code="C1")
    first = await changed(desk, "Customer", made["id"], code="C2")
    await customer(desk, code="C1")
    done = await desk.undo(first)
    assert (done["conflicts"], codes(done)) == (1, ["DUPLICATE"])
    assert await value(desk, made["id"], "code") == "C2"


async def test_codes_that_were_passed_on_go_back(desk: Desk) -> None:
    """One change set passes codes round three customers; undoing it does so in one batch."""
    made = [await customer(desk, code=f"P{i}") for i in range(3)]
    ids = [UUID(m["id"]) for m in made]
    first = await in_one_change_set(
        desk, [(ids[0], "P9"), (ids[1], "P0"), (ids[2], "P1"), (ids[0], "P2")]
    )  # fmt: skip
    assert [await value(desk, m["id"], "code") for m in made] == ["P2", "P0", "P1"]
    again = await undone(desk, first)
    assert [await value(desk, m["id"], "code") for m in made] == ["P0", "P1", "P2"]
    await undone(desk, again)
    assert [await value(desk, m["id"], "code") for m in made] == ["P2", "P0", "P1"]


async def in_one_change_set(desk: Desk, codes_: list[tuple[UUID, str]]) -> str:
    """Give customers codes one after the other, as a plugin would."""
    from core.changes import ChangeSet, Target
    from core.context import RequestContext

    composition = await desk.features.composition(desk.workspace)
    async with desk.database.transaction(desk.workspace) as connection:
        context = RequestContext(desk.workspace, desk.system)
        changes = ChangeSet(connection, context, composition.policy(desk.system.grants), composition.hooks)
        for id_, code in codes_:
            await changes.update("Customer", Target(ids=(id_,)), {"code": code})
        await changes.finish()
    return str(changes.id)


async def test_a_swap_in_one_batch(desk: Desk) -> None:
    from core.changes import ChangeSet, Target
    from core.context import RequestContext

    one, two = await customer(desk, code="S1"), await customer(desk, code="S2")
    composition = await desk.features.composition(desk.workspace)
    swapped = {UUID(one["id"]): "S2", UUID(two["id"]): "S1"}
    async with desk.database.transaction(desk.workspace) as connection:
        context = RequestContext(desk.workspace, desk.system)
        changes = ChangeSet(connection, context, composition.policy(desk.system.grants), composition.hooks)
        await changes.update("Customer", Target(ids=tuple(swapped)), lambda row: {"code": swapped[row.id]})  # type: ignore[index]
        await changes.finish()
    assert [await value(desk, m["id"], "code") for m in (one, two)] == ["S2", "S1"]
    await undone(desk, str(changes.id))
    assert [await value(desk, m["id"], "code") for m in (one, two)] == ["S1", "S2"]


async def test_transfers_and_viewers_are_undone(desk: Desk) -> None:
    an, binh = await desk.user("an"), await desk.user("binh")
    made = await customer(desk, ownerId=an)
    target = {"target": {"ids": [made["id"]]}}
    kept = {**target, "ownerId": binh, "keepPreviousOwnerAsViewer": True}
    moved = (await desk.bulk("Customer", "Transfer", kept))["changeSet"]["id"]
    assert await viewers(desk, made["id"]) == {(an, False, "transfer")}
    again = await undone(desk, moved)
    assert await value(desk, made["id"], "ownerId") == an
    assert await viewers(desk, made["id"]) == set()
    await undone(desk, again)
    assert await value(desk, made["id"], "ownerId") == binh
    assert await viewers(desk, made["id"]) == {(an, False, "transfer")}


async def viewers(desk: Desk, customer_id: str) -> set[tuple[str, bool, str]]:
    rows = (await desk.rows("CustomerViewer")).values()
    return {(r["userId"], r["canEdit"], r["source"]) for r in rows if r["customerId"] == customer_id}


async def test_links_come_back_as_they_were(desk: Desk) -> None:
    an, binh, chi = [await desk.user(login) for login in ("an2", "binh2", "chi2")]
    made = await customer(desk)
    target = {"target": {"ids": [made["id"]]}}
    await desk.bulk("Customer", "ViewersAdd", {**target, "userIds": [an, binh, chi], "canEdit": True})
    before = await desk.rows("CustomerViewer")
    gone = await desk.bulk("Customer", "ViewersRemove", {**target, "userIds": [an, binh, chi]})
    assert await viewers(desk, made["id"]) == set()
    # Somebody else lets one of them in again: his new link is left alone.
    await desk.bulk("Customer", "ViewersAdd", {**target, "userIds": [binh]})
    done = await desk.undo(gone["changeSet"]["id"])
    assert (done["conflicts"], codes(done)) == (1, ["CONFLICT"])
    assert await viewers(desk, made["id"]) == {(an, True, "share"), (binh, False, "share"), (chi, True, "share")}
    after = await desk.rows("CustomerViewer")
    assert {k: v for k, v in after.items() if v["userId"] != binh} == {
        k: v for k, v in before.items() if v["userId"] != binh
    }


async def test_undo_chains_know_what_is_undone(desk: Desk) -> None:
    made = await customer(desk, level="a")
    first = await changed(desk, "Customer", made["id"], level="b")
    second = await undone(desk, first)
    third = await undone(desk, second)
    assert codes(await desk.undo(second)) == ["CONFLICT"]
    fourth = await undone(desk, third)
    assert await value(desk, made["id"], "level") == "a"
    # The first one is undone again, by the second one, which is alive again.
    assert codes(await desk.undo(first)) == ["CONFLICT"]
    await undone(desk, fourth)
    assert await value(desk, made["id"], "level") == "b"
    await undone(desk, first)
    assert await value(desk, made["id"], "level") == "a"


async def test_unknown_change_sets(desk: Desk) -> None:
    for id_ in (str(uuid4()), "no uuid"):
        done = await desk.undo(id_)
        assert codes(done) == ["NOT_FOUND"]


async def test_a_dry_run_of_an_undo(desk: Desk) -> None:
    made = await customer(desk, level="a")
    first = await changed(desk, "Customer", made["id"], level="b")
    journal = await desk.journal()
    done = await desk.undo(first, dryRun=True)
    assert (done["conflicts"], done["counts"]["updated"]) == (0, 1)
    assert await value(desk, made["id"], "level") == "b"
    assert await desk.journal() == journal
    await undone(desk, first)


async def test_undoing_takes_the_ability_and_the_rights(desk: Desk) -> None:
    made = await customer(desk, phone="1")
    first = await changed(desk, "Customer", made["id"], phone="2")
    nobody = await desk.salesperson("nobody", Reach.ALL)
    assert "FORBIDDEN" in str((await desk.ask(UNDO, nobody, id=first))["errors"])
    for hidden in ("READ", "HIDE"):
        peeping = await desk.salesperson(f"peeping-{hidden}", Reach.ALL, ("undo",), phone=hidden)
        assert "FORBIDDEN" in str((await desk.ask(UNDO, peeping, id=first))["errors"])
    elsewhere = await desk.salesperson("elsewhere", Reach.OWN, ("undo",))
    done = await desk.undo(first, elsewhere)
    assert (done["conflicts"], done["changeSet"]) == (1, None)
    assert await value(desk, made["id"], "phone") == "2"
    able = await desk.salesperson("able", Reach.ALL, ("undo",))
    assert (await desk.undo(first, able))["conflicts"] == 0
    assert await value(desk, made["id"], "phone") == "1"


UNDO = "mutation($id: ID!) { changeSetUndo(input: {id: $id}) { conflicts } }"


async def test_undoing_a_transfer_takes_the_right_to_transfer(desk: Desk) -> None:
    an = await desk.user("an3")
    made = await customer(desk)
    first = (await desk.bulk("Customer", "Transfer", {"target": {"ids": [made["id"]]}, "ownerId": an}))["changeSet"]
    reaches = {k: v for k, v in grants(Reach.ALL, "Customer").items() if k[1] != "transfer"}
    done = await desk.undo(first["id"], actor(reaches, ("undo",)))
    assert (done["conflicts"], codes(done)) == (1, ["FORBIDDEN"])
    assert await value(desk, made["id"], "ownerId") == an


async def test_nobody_gets_a_role_back_by_undoing(desk: Desk) -> None:
    """Undoing what decides who may do what takes the ability to decide it."""
    user = await desk.user("mighty")
    role = (await desk.create("Role", name="Mighty", abilities=["roles"]))["id"]
    given = "mutation($u: ID!, $r: [ID!]!) { userRolesSet(input: {id: $u, roleIds: $r}) { changeSet { id } } }"
    await desk.do(given, u=user, r=[role])
    taken = (await desk.do(given, u=user, r=[]))["changeSet"]["id"]
    undoing = actor(grants(Reach.ALL, "User", "Role"), ("undo",), UUID(user))
    assert "FORBIDDEN" in str((await desk.ask(UNDO, undoing, id=taken))["errors"])
    assert await desk.fetch("select count(*) from user_role") == 0
    assert (await desk.undo(taken))["conflicts"] == 0
    assert await desk.fetch("select count(*) from user_role") == 1


async def test_a_change_of_main_contact_is_undone(desk: Desk) -> None:
    made = await customer(desk)
    a, b, c = [(await desk.create("Contact", customerId=made["id"], name=n))["id"] for n in "abc"]

    async def mains() -> list[bool]:
        rows = await desk.rows("Contact")
        return [rows[UUID(i)]["isMain"] for i in (a, b, c)]

    moved = await changed(desk, "Contact", b, isMain=True)
    assert await mains() == [False, True, False]
    again = await undone(desk, moved)
    assert await mains() == [True, False, False]
    await undone(desk, again)
    assert await mains() == [False, True, False]
    deleted = await desk.delete("Contact", b)
    assert await mains() == [True, True, False], "a follows, b keeps its flag for its return"
    last = deleted
    for expected in ([False, True, False], [True, True, False]) * 2:
        last = await undone(desk, last)
        assert await mains() == expected


async def test_the_journal_replayed_gives_the_rows(desk: Desk) -> None:
    await desk.demand_replay(*TYPES)
