"""The sharing plugin: splitting transfers, and the ledger of who gave which customers to whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.context import Actor, Workspace
from core.database import Database
from core.features import Features
from core.grants import Reach
from core.plugins import PluginRegistry
from tests.conftest import NewWorkspace
from tests.switching import actor
from tests.writing import Desk, codes, grants

SPLIT = """mutation($input: CustomersTransferSplitInput!, $dryRun: Boolean! = false) {
  customersTransferSplit(input: $input, dryRun: $dryRun) {
    shares { userId customers } counts userErrors { path code message } changeSet { id } } }"""
ACTS = """query($where: SharingActWhere) { sharingActs(where: $where, orderBy: [{field: AT}, {field: ID}]) { nodes {
  action source through customerCount hiddenCustomers toEveryone canEdit keptAsViewer at
  by { login } from { login } toUser { login } toTeam { name } changeSet { id } customers { nodes { id } } } } }"""
LEDGER = {("SharingAct", "read"): Reach.ALL, ("Team", "read"): Reach.ALL, ("ChangeSet", "read"): Reach.ALL}


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    features = Features(database, registry=PluginRegistry.discover(["plugins.sharing"]))
    await features.enable(module_workspace, "sharing")
    yield Desk(database, features, module_workspace)
    await features.close()


@pytest.fixture
async def staff(desk: Desk) -> tuple[Actor, Actor, Actor]:
    number = await desk.fetch("select count(*) from app_user")
    found = []
    for name in ("an", "binh", "chi"):
        id_ = UUID(await desk.user(f"{name}{number}"))
        reaches = grants(Reach.OWN, "Customer", "Contact") | {("User", "read"): Reach.ALL} | LEDGER
        found.append(Actor(actor().kind, actor(reaches).grants, id_, name, mate_ids=(id_,)))
    return found[0], found[1], found[2]


async def owned(desk: Desk, owner: Actor | None, count: int = 1) -> list[str]:
    given = {"ownerId": str(owner.user_id) if owner else None}
    return [await desk.customer(f"khách {uuid4()}", **given) for _ in range(count)]


async def split(desk: Desk, target: Any, to: list[Actor], by: Actor | None = None, **more: Any) -> Any:
    given = {"target": target, "ownerIds": [str(a.user_id) for a in to], **more}
    return await desk.do(SPLIT, by, input=given)


async def transfer(desk: Desk, ids: list[str], to: Actor | None, by: Actor | None = None, **more: Any) -> Any:
    given = {"target": {"ids": ids}, "ownerId": str(to.user_id) if to else None, **more}
    return await desk.bulk("Customer", "Transfer", given, by)


async def acts(desk: Desk, of: str, by: Actor | None = None, **where: Any) -> list[dict[str, Any]]:
    """The ledger of a customer, oldest first, without what tests seldom ask for."""
    asked = {"customers": {"some": {"id": {"eq": of}}}, **where}
    return (await desk.do(ACTS, by, where=asked))["nodes"]


def said(act: dict[str, Any]) -> tuple[Any, ...]:
    """An act in short: action, how many, from whom, to whom, by whom."""
    to = act["toUser"]["login"] if act["toUser"] else act["toTeam"]["name"] if act["toTeam"] else act["toEveryone"]
    from_, by = act["from"], act["by"]
    return (
        act["action"], act["customerCount"], from_ and from_["login"].rstrip("0123456789"),
        to.rstrip("0123456789") if isinstance(to, str) else to, by and by["login"].rstrip("0123456789"),
    )  # fmt: skip


@pytest.mark.parametrize(("count", "expected"), [(10, [3, 3, 4]), (2, [0, 0, 2]), (9, [3, 3, 3]), (0, [0, 0, 0])])
async def test_a_split_gives_equal_shares_in_the_order_given_and_the_remainder_to_the_last(
    desk: Desk, staff: tuple[Actor, Actor, Actor], count: int, expected: list[int]
) -> None:
    ids = await owned(desk, None, count)
    done = await split(desk, {"ids": ids}, list(staff))
    assert done["userErrors"] == []
    assert [s["customers"] for s in done["shares"]] == expected
    assert [s["userId"] for s in done["shares"]] == [str(a.user_id) for a in staff]
    rows = await desk.rows("Customer")
    receivers = [str(a.user_id) for a, n in zip(staff, expected, strict=True) for _ in range(n)]
    assert [rows[UUID(id_)]["ownerId"] for id_ in ids] == receivers
    entries = {e["toUser"]["login"]: e for id_ in ids for e in await acts(desk, id_)}
    assert sorted(e["customerCount"] for e in entries.values()) == sorted(n for n in expected if n)
    for entry in entries.values():
        assert len(entry["customers"]["nodes"]) == entry["customerCount"]


async def test_a_split_follows_the_order_of_the_ids_or_of_creation(
    desk: Desk, staff: tuple[Actor, Actor, Actor]
) -> None:
    ids = await owned(desk, None, 5)
    mixed = [ids[i] for i in (3, 0, 4, 1, 2)]
    await split(desk, {"ids": mixed}, [staff[0], staff[1]])
    rows = await desk.rows("Customer")
    assert [rows[UUID(i)]["ownerId"] for i in mixed] == [str(staff[0].user_id)] * 2 + [str(staff[1].user_id)] * 3
    await split(desk, {"where": {"id": {"in": mixed}}}, [staff[1], staff[0]])
    rows = await desk.rows("Customer")
    assert [rows[UUID(i)]["ownerId"] for i in ids] == [str(staff[1].user_id)] * 2 + [str(staff[0].user_id)] * 3


async def test_a_split_keeps_previous_owners_as_viewers_only_where_asked(
    desk: Desk, staff: tuple[Actor, Actor, Actor]
) -> None:
    an, binh, chi = staff
    for keep in (False, True):
        ids = await owned(desk, an, 3)
        done = await split(desk, {"ids": ids}, [binh, chi], an, keepPreviousOwnerAsViewer=keep)
        assert done["userErrors"] == []
        seen = [await desk.get("Customer", id_, "id", an) is not None for id_ in ids]
        assert seen == [keep] * 3
        (entry,) = (
            await acts(desk, ids[0], an, toUserId={"eq": str(binh.user_id)}) if keep else await acts(desk, ids[0])
        )
        assert entry["keptAsViewer"] is keep
        assert said(entry) == ("TRANSFER", 1, "an", "binh", "an")


async def test_receivers_of_a_split_are_several_different_users_who_exist(
    desk: Desk, staff: tuple[Actor, Actor, Actor]
) -> None:
    an, binh, _ = staff
    ids = await owned(desk, None, 2)
    target = {"ids": ids}
    for owners, expected in (
        ([], ["OUT_OF_RANGE"]),
        ([str(an.user_id)], ["OUT_OF_RANGE"]),
        ([str(an.user_id), str(binh.user_id), str(an.user_id).upper()], ["DUPLICATE"]),
        ([str(an.user_id), "x", str(uuid4())], ["NOT_FOUND"]),
        ([str(an.user_id), str(uuid4())], ["NOT_FOUND"]),
    ):
        for policy in ("ALL_OR_NOTHING", "SKIP_FAILED"):
            done = await desk.do(SPLIT, input={"target": target, "ownerIds": owners, "errorPolicy": policy})
            assert (codes(done), done["changeSet"]) == (expected, None), owners
            assert done["userErrors"][0]["path"][:2] == ["input", "ownerIds"]
    rows = await desk.rows("Customer")
    assert {rows[UUID(i)]["ownerId"] for i in ids} == {None}


async def test_who_may_not_transfer_splits_nothing(desk: Desk, staff: tuple[Actor, Actor, Actor]) -> None:
    an, binh, chi = staff
    mine, other = (await owned(desk, an))[0], (await owned(desk, chi))[0]
    done = await split(desk, {"ids": [mine, other]}, [binh, chi], an)
    assert codes(done) == ["NOT_FOUND"]
    done = await split(desk, {"ids": [mine, other]}, [binh, chi], an, errorPolicy="SKIP_FAILED")
    assert (codes(done), [s["customers"] for s in done["shares"]]) == (["NOT_FOUND"], [0, 1])
    reader = actor({("Customer", "read"): Reach.ALL, ("User", "read"): Reach.ALL})
    given = {"target": {"ids": [other]}, "ownerIds": [str(an.user_id), str(binh.user_id)]}
    assert await desk.code(SPLIT, reader, input=given) == "FORBIDDEN"


async def test_a_dry_run_of_a_split_says_the_shares_and_changes_nothing(
    desk: Desk, staff: tuple[Actor, Actor, Actor]
) -> None:
    ids = await owned(desk, None, 5)
    given = {"target": {"ids": ids}, "ownerIds": [str(a.user_id) for a in staff]}
    done = await desk.do(SPLIT, input=given, dryRun=True)
    assert [s["customers"] for s in done["shares"]] == [1, 1, 3]
    assert await acts(desk, ids[0]) == []


async def test_every_act_is_one_entry_with_action_number_from_to_by_and_when(
    desk: Desk, staff: tuple[Actor, Actor, Actor]
) -> None:
    an, binh, chi = staff
    ids = await owned(desk, an, 3)
    target = {"target": {"ids": ids}}
    team = (await desk.create("Team", name=f"{uuid4()} miền Bắc"))["name"]
    team_id = await desk.fetch("select id::text from team where name = $1", team)
    await desk.bulk("Customer", "ViewersAdd", {**target, "userIds": [str(binh.user_id)], "teamIds": [team_id]}, an)
    await desk.bulk("Customer", "ViewersAdd", {**target, "userIds": [str(binh.user_id)], "canEdit": True}, an)
    await desk.bulk("Customer", "ViewersAdd", {**target, "userIds": [str(binh.user_id)], "canEdit": True}, an)
    await desk.bulk("Customer", "ViewersRemove", {**target, "userIds": [str(binh.user_id)]}, an)
    done = await transfer(desk, ids, chi, an)
    await desk.bulk("Customer", "BulkUpdate", {**target, "set": {"ownerId": None}})
    await desk.update("Customer", ids[0], ownerId=str(binh.user_id))
    found = await acts(desk, ids[0])
    assert set(map(said, found[:2])) == {("SHARE", 3, "an", "binh", "an"), ("SHARE", 3, "an", team, "an")}
    assert [(*said(e), e["canEdit"]) for e in found[2:]] == [
        ("SHARE", 3, "an", "binh", "an", True),
        ("UNSHARE", 3, "an", "binh", "an", False),
        ("TRANSFER", 3, "an", "chi", "an", False),
        ("TRANSFER", 3, "chi", False, None, False),
        ("TRANSFER", 1, None, "binh", None, False),
    ]
    assert found[4]["changeSet"]["id"] == done["changeSet"]["id"]
    assert {e["source"] for e in found} == {"MUTATION"}
    assert len(await acts(desk, ids[1])) == 6


async def test_creating_a_customer_and_changing_another_field_are_no_acts(
    desk: Desk, staff: tuple[Actor, Actor, Actor]
) -> None:
    (id_,) = await owned(desk, staff[0])
    await desk.update("Customer", id_, level="Mới", ownerId=str(staff[0].user_id))
    await transfer(desk, [id_], staff[0])
    assert await acts(desk, id_) == []


async def test_undoing_an_act_writes_an_entry_of_its_own(desk: Desk, staff: tuple[Actor, Actor, Actor]) -> None:
    an, binh, chi = staff
    (id_,) = await owned(desk, an)
    done = await transfer(desk, [id_], binh, an, keepPreviousOwnerAsViewer=True)
    assert (await desk.undo(done["changeSet"]["id"]))["conflicts"] == 0
    shared = await desk.bulk("Customer", "ViewersAdd", {"target": {"ids": [id_]}, "userIds": [str(chi.user_id)]}, an)
    await desk.undo(shared["changeSet"]["id"])
    found = await acts(desk, id_)
    assert [(e["source"], *said(e)) for e in found] == [
        ("MUTATION", "TRANSFER", 1, "an", "binh", "an"),
        ("UNDO", "TRANSFER", 1, "binh", "an", None),
        ("MUTATION", "SHARE", 1, "an", "chi", "an"),
        ("UNDO", "UNSHARE", 1, "an", "chi", None),
    ]


async def test_sight_kept_at_a_transfer_is_part_of_it_and_its_end_by_hand_an_act(
    desk: Desk, staff: tuple[Actor, Actor, Actor]
) -> None:
    an, binh, chi = staff
    (id_,) = await owned(desk, an)
    await transfer(desk, [id_], binh, an, keepPreviousOwnerAsViewer=True)
    await transfer(desk, [id_], an, binh, keepPreviousOwnerAsViewer=True)
    # An gives it away once more: what was kept for him before ends with it, and that is no act of its own.
    await transfer(desk, [id_], chi, an)
    await desk.bulk("Customer", "ViewersRemove", {"target": {"ids": [id_]}, "userIds": [str(binh.user_id)]})
    assert [said(e) for e in await acts(desk, id_)] == [
        ("TRANSFER", 1, "an", "binh", "an"),
        ("TRANSFER", 1, "binh", "an", "binh"),
        ("TRANSFER", 1, "an", "chi", "an"),
        ("UNSHARE", 1, "chi", "binh", None),
    ]


async def test_search_by_action_sender_receiver_and_dates(desk: Desk, staff: tuple[Actor, Actor, Actor]) -> None:
    an, binh, chi = staff
    (id_,) = await owned(desk, an)
    await transfer(desk, [id_], binh, an)
    await desk.bulk("Customer", "ViewersAdd", {"target": {"ids": [id_]}, "userIds": [str(an.user_id)]}, binh)
    await transfer(desk, [id_], chi, binh)
    first, second, third = await acts(desk, id_)

    async def search(**where: Any) -> list[dict[str, Any]]:
        return await acts(desk, id_, **where)

    assert await search(action={"eq": "TRANSFER"}) == [first, third]
    assert await search(action={"in": ["SHARE", "UNSHARE"]}) == [second]
    assert await search(fromId={"eq": str(binh.user_id)}) == [second, third]
    assert await search(toUserId={"eq": str(chi.user_id)}) == [third]
    assert await search(toUser={"login": {"startsWith": "binh"}}) == [first]
    assert await search(at={"gte": second["at"]}) == [second, third]
    assert await search(at={"between": {"from": first["at"], "to": second["at"]}}) == [first, second]
    assert await search(at={"lt": first["at"]}) == []
    nodes = (await desk.do("{ sharingActs(first: 1) { nodes { at } } }"))["nodes"]
    assert nodes[0]["at"] == third["at"], "newest first"


async def test_opening_an_act_lists_what_the_reader_may_see_and_counts_the_rest(
    desk: Desk, staff: tuple[Actor, Actor, Actor]
) -> None:
    an, binh, chi = staff
    ids = await owned(desk, an, 5)
    await transfer(desk, ids, binh, an)
    await transfer(desk, ids[:2], chi, binh)
    for reader, mine in ((an, []), (binh, ids[2:]), (chi, ids[:2])):
        found = (await desk.do(ACTS, reader, where={"toUserId": {"eq": str(binh.user_id)}}))["nodes"]
        (entry,) = [e for e in found if e["action"] == "TRANSFER"]
        assert sorted(c["id"] for c in entry["customers"]["nodes"]) == sorted(mine)
        assert (entry["customerCount"], entry["hiddenCustomers"]) == (5, 5 - len(mine))
    await desk.delete("Customer", ids[0])
    found = (await desk.do(ACTS, where={"toUserId": {"eq": str(binh.user_id)}}))["nodes"]
    assert found[0]["hiddenCustomers"] == 1


async def test_the_ledger_is_read_as_far_as_granted_and_written_by_nobody(
    desk: Desk, staff: tuple[Actor, Actor, Actor]
) -> None:
    an, binh, _ = staff
    (id_,) = await owned(desk, an)
    await transfer(desk, [id_], binh, an)
    await transfer(desk, [id_], an, binh)
    own = actor(grants(Reach.OWN, "SharingAct", actions=("read",)), user_id=an.user_id)
    query = "query($where: SharingActWhere) { sharingActs(where: $where) { nodes { action } } }"
    mine = {
        "at": {"within": {"last": {"count": 1, "unit": "DAY"}}},
        "fromId": {"in": [str(an.user_id), str(binh.user_id)]},
    }
    assert len((await desk.do(query, own, where=mine))["nodes"]) == 1
    assert (await desk.do(query, actor(), where=mine))["nodes"] == []
    sdl = (await desk.features.composition(desk.workspace)).sdl
    assert "sharingActCreate" not in sdl
    assert "sharingActUpdate" not in sdl


async def test_after_a_transfer_the_old_owner_sees_it_nowhere_unless_he_is_kept(
    desk: Desk, staff: tuple[Actor, Actor, Actor]
) -> None:
    an, binh, _ = staff
    for keep in (False, True):
        (id_,) = await owned(desk, an)
        contact = (await desk.create("Contact", an, customerId=id_, name="Lan"))["id"]
        await transfer(desk, [id_], binh, an, keepPreviousOwnerAsViewer=keep)
        found = await desk.ask(
            """query($id: ID!, $contact: ID!) { customer(id: $id) { id history { nodes { after } } }
              customers(where: {id: {eq: $id}}) { totalCount }
              customersAggregate(where: {id: {eq: $id}}) { count }
              contact(id: $contact) { id } contacts(where: {customer: {id: {eq: $id}}}) { totalCount }
              node(id: $id) { id } sharingActs(where: {customers: {some: {id: {eq: $id}}}}) { totalCount } }""",
            an, id=id_, contact=contact,
        )  # fmt: skip
        data = found["data"]
        assert (data["customer"] is not None, data["contact"] is not None, data["node"] is not None) == (keep,) * 3
        assert data["customers"]["totalCount"] == data["customersAggregate"]["count"] == int(keep)
        assert data["contacts"]["totalCount"] == data["sharingActs"]["totalCount"] == int(keep)
        if keep:
            assert data["customer"]["history"]["nodes"]


async def test_messages_are_translated(desk: Desk) -> None:
    from core.messages import catalogue

    assert catalogue("plugins.sharing", "vi").keys() == catalogue("plugins.sharing", "en").keys()


async def test_off_on_and_purge_leave_what_core_shares_untouched(
    database: Database, new_workspace: NewWorkspace
) -> None:
    workspace = await new_workspace()
    features = Features(database, registry=PluginRegistry.discover(["plugins.sharing"]))
    await features.enable(workspace, "sharing")
    desk = Desk(database, features, workspace)
    an, binh = await desk.salesperson("an"), await desk.salesperson("binh")
    (id_,) = await owned(desk, an)
    await desk.bulk("Customer", "ViewersAdd", {"target": {"ids": [id_]}, "userIds": [str(binh.user_id)]}, an)
    before = await desk.rows("CustomerViewer")
    await features.disable(workspace, "sharing")
    assert "sharingActs" not in (await features.composition(workspace)).sdl
    assert await desk.get("Customer", id_, "id", binh) is not None
    await transfer(desk, [id_], binh)
    await features.enable(workspace, "sharing")
    assert [said(e) for e in await acts(desk, id_)] == [("SHARE", 1, "an", "binh", "an")]
    await features.purge(workspace, "sharing")
    assert await desk.fetch("select to_regclass('sharing_act')") is None
    assert await desk.rows("CustomerViewer") == before
    assert await desk.get("Customer", id_, "ownerId", binh) == {"ownerId": str(binh.user_id)}
    await features.close()
