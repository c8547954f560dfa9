"""What subscribers are told of customers whom they see through a pool."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from core.database import Database
from core.settings import Settings
from tests.acceptance.client import opened
from tests.test_subscriptions import Desk, watching

ENABLE = """mutation { pluginEnable(input: {name: "shared_pool"}) { userErrors { code } } }"""


@pytest.fixture(scope="module")
async def desk(database: Database, settings: Settings) -> AsyncIterator[Desk]:
    async with opened(database, settings) as client:
        desk = Desk(client)
        for login in ("an", "binh", "chi"):
            await desk.hire(login, "Salesperson")
        assert (await desk.do(ENABLE))["userErrors"] == []
        for action in ("read", "claim"):
            grant = """mutation($r: ID!, $a: String!) { permissionGrantCreate(
              input: {roleId: $r, recordType: "Pool", action: $a, scope: ALL}) { userErrors { code } } }"""
            roles = await desk.do('{ roles(where: {name: {eq: "Salesperson"}}) { nodes { id } } }')
            assert (await desk.do(grant, r=roles["nodes"][0]["id"], a=action))["userErrors"] == []
        yield desk


async def test_whoever_saw_it_through_the_pool_forgets_a_claimed_customer(desk: Desk) -> None:
    made = await desk.do('mutation { poolCreate(input: {name: "Kho"}) { pool { id } userErrors { code } } }')
    kho, id_ = made["pool"]["id"], await desk.customer("Chung", "an")
    add = """mutation($id: ID!, $p: ID!) { customersPoolAdd(input: {target: {ids: [$id]}, poolId: $p}) {
      userErrors { code } } }"""
    claim = (
        """mutation($id: ID!, $p: ID!) { poolClaim(input: {customerId: $id, poolId: $p}) { userErrors { code } } }"""
    )
    assert (await desk.do(add, id=id_, p=kho))["userErrors"] == []
    async with watching(desk, "an") as an, watching(desk, "binh") as binh, watching(desk, "chi") as chi:
        await desk.change(id_, name="Của chung")
        for watcher in (an, binh, chi):
            assert await watcher.told() == ("UPDATED", "Của chung")
        assert (await desk.do(claim, "binh", id=id_, p=kho))["userErrors"] == []
        assert await binh.told() == ("UPDATED", "Của chung")
        for watcher in (an, chi):
            event = await watcher.event()
            assert (event["action"], event["id"], event["customer"]) == ("LEFT", id_, None)
        await desk.change(id_, name="Của Bình")
        assert await binh.told() == ("UPDATED", "Của Bình")
        await an.nothing()
        await chi.nothing()
