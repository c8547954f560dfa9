"""The loyalty plugin, through GraphQL in a workspace of its own."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from core.testing import Client, Role, Sandbox

CASHIER = Role(grants={"Customer:read": "ALL", "Customer:update": "OWN"}, abilities=("loyalty_award", "loyalty_redeem"))

AWARD = """mutation($id: ID!, $points: Int!, $note: String) {
  loyaltyAward(input: {customerId: $id, points: $points, note: $note}) {
    customer { loyaltyPoints loyaltyEntries(first: 1) { nodes { kind points note } } }
    userErrors { code path message } changeSet { id } } }"""
REDEEM = """mutation($id: ID!, $points: Int!) {
  loyaltyRedeem(input: {customerId: $id, points: $points}) {
    customer { loyaltyPoints } userErrors { code path message params } changeSet { id } } }"""
REDEEM_MANY = """mutation($ids: [ID!]!, $points: Int!, $policy: ErrorPolicy) {
  loyaltyBulkRedeem(input: {target: {ids: $ids}, points: $points, errorPolicy: $policy}) {
    counts customers { loyaltyPoints } userErrors { code } } }"""
AWARD_MANY = """mutation($where: CustomerWhere!, $points: Int!) {
  loyaltyBulkAward(input: {target: {where: $where}, points: $points}) { counts userErrors { code } } }"""
POINTS = "query($id: ID!) { customer(id: $id) { loyaltyPoints loyaltyEntries { nodes { kind points } } } }"
NAMES = "query($where: CustomerWhere!) { customers(where: $where, orderBy: [{field: NAME}]) { nodes { name } } }"
TIER = """mutation($rule: CustomerWhere!) {
  tierCreate(input: {name: "Gold", rank: 1, auto: true, rule: $rule}) { userErrors { code message } } }"""
UNDO = "mutation($id: ID!) { changeSetUndo(input: {id: $id}) { conflicts userErrors { code } } }"


@pytest.fixture(scope="module")
async def shop(workspace_for_module) -> Sandbox:
    return await workspace_for_module(features=["loyalty"])


@pytest.fixture(scope="module")
async def admin(shop: Sandbox) -> Client:
    return await shop.client(actor="Admin")


async def test_a_list_of_customers_with_their_points_is_one_statement(shop, admin, one_statement) -> None:
    await shop.customers(3)
    with one_statement():
        await admin.data("{ customers { nodes { name loyaltyPoints loyaltyEntries { nodes { points } } } } }")


async def test_it_comes_and_goes_without_a_trace(workspace) -> None:
    shop = await workspace()
    before = await shop.tables()
    await shop.enable("loyalty")
    assert "loyalty_entry" in await shop.tables()
    await shop.check_migrations("loyalty")
    await shop.disable("loyalty")
    await shop.purge("loyalty")
    assert await shop.tables() == before


async def points(client: Client, customer: str) -> int:
    return (await client.do(POINTS, id=customer))["loyaltyPoints"]


async def names(client: Client, **where: object) -> list[str]:
    """The customers that satisfy a condition, among those of the test of filters."""
    found = await client.do(NAMES, where={"source": {"eq": "filters"}, **where})
    return [customer["name"] for customer in found["nodes"]]


async def test_points_are_awarded_and_redeemed(shop: Sandbox, admin: Client) -> None:
    an = await shop.customer("An")
    assert await points(admin, an) == 0
    done = await admin.do(AWARD, id=an, points=100, note="First order")
    assert done["customer"]["loyaltyPoints"] == 100
    assert done["customer"]["loyaltyEntries"]["nodes"] == [{"kind": "AWARD", "points": 100, "note": "First order"}]
    assert (await admin.do(REDEEM, id=an, points=30))["customer"] == {"loyaltyPoints": 70}
    found = await admin.do(POINTS, id=an)
    assert found["loyaltyEntries"]["nodes"] == [{"kind": "REDEMPTION", "points": -30}, {"kind": "AWARD", "points": 100}]


async def test_nobody_spends_more_than_he_has(shop: Sandbox, admin: Client) -> None:
    an = await shop.customer("An")
    await admin.do(AWARD, id=an, points=10)
    (error,) = (await admin.ask(REDEEM, id=an, points=11)).user_errors
    assert (error["code"], error["path"]) == ("LOYALTY_TOO_FEW_POINTS", ["input", "points"])
    assert error["message"] == "The customer has only 10 points"
    assert error["params"] == {"customerId": an, "balance": 10}
    assert await points(admin, an) == 10


async def test_two_tills_cannot_spend_the_same_points(shop: Sandbox, admin: Client) -> None:
    an = await shop.customer("An")
    await admin.do(AWARD, id=an, points=10)
    answers = await asyncio.gather(*(admin.ask(REDEEM, id=an, points=10) for _ in range(4)))
    assert sorted(answer.codes for answer in answers) == [[], *[["LOYALTY_TOO_FEW_POINTS"]] * 3]
    assert await points(admin, an) == 0


async def test_nobody_has_more_than_the_workspace_allows(workspace) -> None:
    shop = await workspace(features=["loyalty"], settings={"loyalty": {"most_points": 50}})
    admin, an = await shop.client(actor="Admin", locale="vi"), await shop.customer("An")
    (error,) = (await admin.ask(AWARD, id=an, points=51)).user_errors
    assert (error["code"], error["message"]) == ("OUT_OF_RANGE", "Một khách hàng có thể có tối đa 50 điểm")


@pytest.mark.parametrize("wrong", [0, -5, 1_000_001])
async def test_points_are_at_least_one(shop: Sandbox, admin: Client, wrong: int) -> None:
    an = await shop.customer("An")
    for mutation in (AWARD, REDEEM):
        (error,) = (await admin.ask(mutation, id=an, points=wrong)).user_errors
        assert (error["code"], error["path"]) == ("OUT_OF_RANGE", ["input", "points"])


async def test_many_are_awarded_and_redeemed_at_once(shop: Sandbox, admin: Client) -> None:
    an, binh = await shop.customer("An", level="VIP"), await shop.customer("Bình")
    done = await admin.do(AWARD_MANY, where={"level": {"eq": "VIP"}}, points=20)
    assert done["counts"] == {"customers": 1, "entries": 1, "skipped": 0}
    assert await admin.codes(REDEEM_MANY, ids=[an, binh], points=5) == ["LOYALTY_TOO_FEW_POINTS"]
    answer = await admin.ask(REDEEM_MANY, ids=[an, binh], points=5, policy="SKIP_FAILED")
    assert answer.codes == ["LOYALTY_TOO_FEW_POINTS"]
    assert answer.value["counts"] == {"customers": 2, "entries": 1, "skipped": 1}
    assert [await points(admin, c) for c in (an, binh)] == [15, 0]


async def test_customers_are_found_by_their_points(shop: Sandbox, admin: Client, as_of) -> None:
    with as_of(timedelta(days=-40)):
        await admin.do(AWARD, id=await shop.customer("An", source="filters"), points=100)
    await admin.do(AWARD, id=await shop.customer("Bình", source="filters"), points=200)
    await shop.customer("Chi", source="filters")
    assert await names(admin, loyalty={"points": {"gte": 100}}) == ["An", "Bình"]
    assert await names(admin, loyalty={"points": {"between": {"from": 1, "to": 100}}}) == ["An"]
    assert await names(admin, loyalty={"points": {"gte": 1}, "idleDays": 30}) == ["An"]
    assert await names(admin, loyalty={"idleDays": 30}) == ["An", "Chi"]
    for lost in ({}, {"points": None}, {"points": {}}, {"idleDays": None}):
        assert await names(admin, loyalty=lost) == []
    assert await names(admin, loyaltyPoints={"eq": 0}) == ["Chi"]


async def test_it_needs_the_abilities_and_the_customer(shop: Sandbox, admin: Client) -> None:
    cashier = await shop.client(actor=CASHIER)
    own, other = await shop.customer("Own", ownerId=cashier.user_id), await shop.customer("Other")
    assert (await cashier.do(AWARD, id=own, points=5))["customer"]["loyaltyPoints"] == 5
    assert await cashier.codes(AWARD, id=other, points=5) == ["FORBIDDEN"]
    editor = await shop.client(actor={"Customer:read": "ALL", "Customer:update": "ALL"})
    assert await points(editor, own) == 5
    assert await editor.codes(AWARD, id=own, points=5) == ["FORBIDDEN"]
    assert await editor.codes(REDEEM, id=own, points=5) == ["FORBIDDEN"]
    stranger = await shop.client(actor={"Customer:read": "OWN"})
    assert (await stranger.data(POINTS, id=own)) == {"customer": None}


async def test_hidden_points_cannot_be_asked_for(shop: Sandbox, admin: Client) -> None:
    an = await shop.customer("An")
    await admin.do(AWARD, id=an, points=5)
    blind = await shop.client(actor=Role(grants={"Customer:read": "ALL"}, fields={"Customer.loyaltyPoints": "HIDE"}))
    assert (await blind.do("query($id: ID!) { customer(id: $id) { loyaltyPoints } }", id=an)) == {"loyaltyPoints": None}
    assert await blind.codes(NAMES, where={"loyalty": {"points": {"gte": 1}}}) == ["FORBIDDEN"]


async def test_spent_points_cannot_be_taken_back(shop: Sandbox, admin: Client) -> None:
    an = await shop.customer("An")
    award = await admin.do(AWARD, id=an, points=10)
    redemption = await admin.do(REDEEM, id=an, points=6)
    assert await admin.codes(UNDO, id=award["changeSet"]["id"]) == ["LOYALTY_TOO_FEW_POINTS"]
    await admin.do(UNDO, id=redemption["changeSet"]["id"])
    await admin.do(UNDO, id=award["changeSet"]["id"])
    assert await points(admin, an) == 0


async def test_a_tier_follows_the_points_at_once(workspace) -> None:
    shop = await workspace(features=["tiering", "loyalty"])
    admin, an = await shop.client(actor="Admin"), await shop.customer("An")
    rule = {"loyalty": {"points": {"gte": 1000}}}
    await admin.do(TIER, rule=rule)
    for given, tier in ((999, None), (1, {"name": "Gold"})):
        await admin.do(AWARD, id=an, points=given)
        assert (await admin.do("query($id: ID!) { customer(id: $id) { tier { name } } }", id=an))["tier"] == tier


async def test_points_that_were_not_spent_in_time_expire(shop: Sandbox, admin: Client, as_of) -> None:
    an, binh = await shop.customer("An"), await shop.customer("Bình")
    with as_of(timedelta(days=-400)):
        await admin.do(AWARD, id=an, points=100)
        await admin.do(AWARD, id=binh, points=100)
    with as_of(timedelta(days=-50)):
        await admin.do(AWARD, id=an, points=40)
        await admin.do(REDEEM, id=an, points=30)
        await admin.do(REDEEM, id=binh, points=100)
    done = await shop.run_job("loyalty.expire")
    assert done.result == {"customers": 1, "points": 70}
    assert [await points(admin, c) for c in (an, binh)] == [40, 0]
    again = await shop.run_job("loyalty.expire")
    assert again.result == {"customers": 0, "points": 0}


async def test_points_can_last_for_ever(workspace, as_of) -> None:
    shop = await workspace(features=["loyalty"], settings={"loyalty": {"expire_after_days": None}})
    admin, an = await shop.client(actor="Admin"), await shop.customer("An")
    with as_of(timedelta(days=-4000)):
        await admin.do(AWARD, id=an, points=100)
    await shop.run_job("loyalty.expire")
    assert await points(admin, an) == 100


async def test_it_runs_at_night(shop: Sandbox) -> None:
    due = await shop.next_due("loyalty.expire")
    assert due.astimezone(ZoneInfo(shop.workspace.time_zone)).strftime("%H:%M") == "03:15"
