"""Giving customers to others, and letting others see them: who may, and who sees what afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.context import Actor, Workspace
from core.database import Database
from core.grants import Reach
from tests.switching import actor
from tests.writing import Desk, codes, desk_at, grants


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    async with desk_at(database, module_workspace) as opened:
        yield opened


@pytest.fixture
async def staff(desk: Desk) -> tuple[Actor, Actor, Actor]:
    """Three salespeople who reach what they own."""
    number = await desk.fetch("select count(*) from app_user")
    an, binh, chi = [await desk.salesperson(f"{name}{number}") for name in ("an", "binh", "chi")]
    return an, binh, chi


async def owned(desk: Desk, owner: Actor, **values: Any) -> str:
    return (await desk.create("Customer", owner, name="x", kind="PERSON", **values))["id"]


async def transfer(desk: Desk, ids: list[str], to: Actor | None, by: Actor | None = None, **more: Any) -> Any:
    given = {"target": {"ids": ids}, "ownerId": str(to.user_id) if to else None, **more}
    return await desk.bulk("Customer", "Transfer", given, by)


async def sees(desk: Desk, who: Actor, id_: str) -> bool:
    return await desk.get("Customer", id_, "id", who) is not None


async def edits(desk: Desk, who: Actor, id_: str) -> bool:
    answer = await desk.answer("Customer", "Update", {"id": id_, "level": str(uuid4())}, who)
    if "errors" in answer:
        return False
    return answer["data"]["customerUpdate"]["userErrors"] == []


async def viewers(desk: Desk, id_: str) -> list[tuple[str, str]]:
    rows = (await desk.rows("CustomerViewer")).values()
    return sorted((r["source"], r["userId"] or r["teamId"]) for r in rows if r["customerId"] == id_)


async def test_a_transfer_takes_the_old_owners_access_away(desk: Desk, staff: tuple[Actor, Actor, Actor]) -> None:
    an, binh, _ = staff
    id_ = await owned(desk, an)
    done = await transfer(desk, [id_], binh, an)
    assert done["counts"] == {"created": 0, "updated": 1, "deleted": 0, "restored": 0, "skipped": 0}
    assert (await sees(desk, an, id_), await sees(desk, binh, id_)) == (False, True)
    assert await viewers(desk, id_) == []


async def test_unless_he_is_kept_as_a_viewer_who_may_read_and_not_edit(
    desk: Desk, staff: tuple[Actor, Actor, Actor]
) -> None:
    an, binh, chi = staff
    ids = [await owned(desk, an) for _ in range(3)]
    done = await transfer(desk, ids, binh, an, keepPreviousOwnerAsViewer=True)
    assert (done["counts"]["updated"], done["counts"]["created"]) == (3, 3)
    for id_ in ids:
        assert await sees(desk, an, id_)
        assert not await edits(desk, an, id_)
        assert not await sees(desk, chi, id_)
        assert await viewers(desk, id_) == [("transfer", str(an.user_id))]


async def test_editing_the_owner_field_never_keeps_him(desk: Desk, staff: tuple[Actor, Actor, Actor]) -> None:
    an, binh, _ = staff
    one, many = await owned(desk, an), await owned(desk, an)
    await desk.write("Customer", "Update", {"id": one, "ownerId": str(binh.user_id)}, an)
    await desk.bulk("Customer", "BulkUpdate", {"target": {"ids": [many]}, "set": {"ownerId": str(binh.user_id)}}, an)
    for id_ in (one, many):
        assert (await sees(desk, an, id_), await sees(desk, binh, id_)) == (False, True)


async def test_sight_that_was_kept_once_ends_with_the_next_giving_away(
    desk: Desk, staff: tuple[Actor, Actor, Actor]
) -> None:
    an, binh, chi = staff
    for edited in (True, False):
        id_ = await owned(desk, an)
        await transfer(desk, [id_], binh, an, keepPreviousOwnerAsViewer=True)
        await transfer(desk, [id_], an, binh, keepPreviousOwnerAsViewer=True)
        if edited:
            await desk.update("Customer", id_, ownerId=str(chi.user_id))
            done = None
        else:
            done = await transfer(desk, [id_], chi, an)
        assert not await sees(desk, an, id_)
        assert await sees(desk, binh, id_), "who was kept and does not own it stays"
        if done:
            await desk.undo(done["changeSet"]["id"])
            assert await viewers(desk, id_) == sorted([("transfer", str(an.user_id)), ("transfer", str(binh.user_id))])


async def test_sharing_by_hand_outlives_a_transfer(desk: Desk, staff: tuple[Actor, Actor, Actor]) -> None:
    an, binh, chi = staff
    id_ = await owned(desk, an)
    await desk.bulk("Customer", "ViewersAdd", {"target": {"ids": [id_]}, "userIds": [str(chi.user_id)]}, an)
    await transfer(desk, [id_], binh, an)
    assert (await sees(desk, chi, id_), await sees(desk, an, id_)) == (True, False)


async def test_to_nobody_and_to_himself(desk: Desk, staff: tuple[Actor, Actor, Actor]) -> None:
    an, binh, _ = staff
    id_ = await owned(desk, an)
    upper = {"target": {"ids": [id_]}, "ownerId": str(an.user_id).upper(), "keepPreviousOwnerAsViewer": True}
    done = await desk.bulk("Customer", "Transfer", upper, an)
    assert (done["counts"]["updated"], done["changeSet"], await viewers(desk, id_)) == (0, None, [])
    await transfer(desk, [id_], None, an, keepPreviousOwnerAsViewer=True)
    assert (await sees(desk, an, id_), await edits(desk, an, id_)) == (True, False)
    done = await transfer(desk, [id_], binh, keepPreviousOwnerAsViewer=True)
    assert done["counts"]["created"] == 0, "nobody was there to be kept"


async def test_an_owner_must_be_named_and_must_exist(desk: Desk, staff: tuple[Actor, Actor, Actor]) -> None:
    an, _, _ = staff
    id_ = await owned(desk, an)
    query = "mutation($input: CustomersTransferInput!) { customersTransfer(input: $input) { userErrors { code } } }"
    for given in ({}, {"ownerId": "nobody"}):
        answer = await desk.ask(query, an, input={"target": {"ids": [id_]}, **given})
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    gone = actor(user_id=uuid4())
    done = await transfer(desk, [id_], gone, an, keepPreviousOwnerAsViewer=True)
    assert codes(done) == ["NOT_FOUND"]
    done = await transfer(desk, [id_], gone, an, keepPreviousOwnerAsViewer=True, errorPolicy="SKIP_FAILED")
    assert (codes(done), done["changeSet"], await viewers(desk, id_)) == (["NOT_FOUND"], None, [])
    leaver = UUID(await desk.user(f"leaver{id_}"))
    await desk.delete("User", str(leaver))
    assert codes(await transfer(desk, [id_], actor(user_id=leaver), an)) == ["NOT_FOUND"]
    assert (await desk.rows("Customer"))[UUID(id_)]["ownerId"] == str(an.user_id)


async def test_who_may_transfer(desk: Desk, staff: tuple[Actor, Actor, Actor]) -> None:
    an, binh, chi = staff
    id_, other = await owned(desk, an), await owned(desk, an)
    assert codes(await transfer(desk, [id_], chi, binh)) == ["NOT_FOUND"]
    await desk.bulk("Customer", "ViewersAdd",
                    {"target": {"ids": [id_]}, "userIds": [str(binh.user_id)], "canEdit": True}, an)  # fmt: skip
    query = "mutation($input: CustomersTransferInput!) { customersTransfer(input: $input) { userErrors { code } } }"
    given = {"target": {"ids": [id_, other]}, "ownerId": str(binh.user_id)}
    assert await desk.code(query, binh, input={**given, "target": {"ids": [id_]}}) == "FORBIDDEN"
    reaches = grants(Reach.ALL, "Customer", actions=("read", "update")) | {("User", "read"): Reach.ALL}
    assert await desk.code(query, actor(reaches), input=given) == "FORBIDDEN"
    by_condition = {"target": {"where": {"id": {"in": [id_, other]}}}, "ownerId": str(binh.user_id)}
    done = await desk.bulk("Customer", "Transfer", by_condition, binh)
    assert (done["counts"]["updated"], done["changeSet"]) == (0, None)
    rows = await desk.rows("Customer")
    assert {rows[UUID(i)]["ownerId"] for i in (id_, other)} == {str(an.user_id)}


async def test_viewers_are_added_changed_and_removed(desk: Desk, staff: tuple[Actor, Actor, Actor]) -> None:
    an, binh, chi = staff
    id_ = await owned(desk, an)
    team = (await desk.create("Team", name=f"team {id_}"))["id"]
    target = {"target": {"ids": [id_]}}
    everyone = {"userIds": [str(binh.user_id), str(binh.user_id)], "teamIds": [team]}
    assert codes(await desk.bulk("Customer", "ViewersAdd", {**target, **everyone}, an)) == ["NOT_FOUND"]
    an = actor(grants(Reach.OWN, "Customer") | grants(Reach.ALL, "User", "Team", actions=("read",)), user_id=an.user_id)
    done = await desk.bulk("Customer", "ViewersAdd", {**target, **everyone}, an)
    assert done["counts"]["created"] == 2
    assert (await sees(desk, binh, id_), await edits(desk, binh, id_), await sees(desk, chi, id_)) == (
        True, False, False,
    )  # fmt: skip
    in_team = actor(grants(Reach.OWN, "Customer"))
    in_team = Actor(in_team.kind, in_team.grants, in_team.user_id, team_ids=(UUID(team),))
    assert await sees(desk, in_team, id_)
    done = await desk.bulk("Customer", "ViewersAdd", {**target, **everyone}, an)
    assert done["changeSet"] is None, "they see it already"
    done = await desk.bulk("Customer", "ViewersAdd", {**target, **everyone, "canEdit": True}, an)
    assert done["counts"]["updated"] == 2
    assert await edits(desk, binh, id_)
    assert not (await desk.bulk("Customer", "ViewersAdd", {**target, "userIds": [str(uuid4())]}, an))["changeSet"]
    done = await desk.bulk("Customer", "ViewersRemove", {**target, **everyone}, an)
    assert done["counts"]["deleted"] == 2
    assert not await sees(desk, binh, id_)
    assert not await sees(desk, in_team, id_)
    assert codes(await desk.bulk("Customer", "ViewersAdd", {**target, **everyone}, binh)) == ["NOT_FOUND"]


async def test_a_viewer_shares_nothing_further(desk: Desk, staff: tuple[Actor, Actor, Actor]) -> None:
    an, binh, chi = staff
    id_ = await owned(desk, an)
    await desk.bulk("Customer", "ViewersAdd",
                    {"target": {"ids": [id_]}, "userIds": [str(binh.user_id)], "canEdit": True}, an)  # fmt: skip
    query = "mutation($input: CustomersViewersAddInput!) { customersViewersAdd(input: $input) { userErrors { code } } }"
    given = {"target": {"ids": [id_]}, "userIds": [str(chi.user_id)]}
    assert await desk.code(query, binh, input=given) == "FORBIDDEN"
    assert not await sees(desk, chi, id_)


async def test_opportunities_change_hands_on_their_own(desk: Desk, staff: tuple[Actor, Actor, Actor]) -> None:
    an, binh, _ = staff
    id_ = await owned(desk, an)
    opportunity = (await desk.create("Opportunity", an, customerId=id_))["id"]
    given = {"target": {"ids": [opportunity]}, "ownerId": str(binh.user_id)}
    done = await desk.bulk("Opportunity", "Transfer", given, an)
    assert done["counts"]["updated"] == 1
    assert await desk.get("Opportunity", opportunity, "id", binh) is not None
    assert await sees(desk, an, id_)
    assert not await sees(desk, binh, id_)


async def test_who_shares_lets_nobody_change_what_he_may_not(desk: Desk, staff: tuple[Actor, Actor, Actor]) -> None:
    an, binh, _ = staff
    id_ = await owned(desk, an)
    # He may show everything, and change what he owns.
    reaches = {("Customer", a): Reach.ALL for a in ("read", "share")} | {("Customer", "update"): Reach.OWN}
    clerk = actor(reaches, user_id=binh.user_id)
    given = {"target": {"ids": [id_]}, "userIds": [str(binh.user_id)]}
    add = "mutation($i: CustomersViewersAddInput!) { customersViewersAdd(input: $i) { counts } }"
    answer = await desk.ask(add, clerk, i={**given, "canEdit": True})
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert await viewers(desk, id_) == []
    await desk.bulk("Customer", "ViewersAdd", given, clerk)
    assert not await edits(desk, clerk, id_)
