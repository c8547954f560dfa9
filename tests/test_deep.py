"""The deep query of a customer list, with a plugin's field in it, is one statement."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from core.context import Workspace
from core.database import Database
from core.features import Features
from core.plugins import PluginRegistry
from tests.conftest import NewWorkspace
from tests.switching import Desk

DEEP = """{ customers(first: 20) { totalCount pageInfo { hasNextPage endCursor } nodes { name owner { login }
  contacts { totalCount nodes { name } } opportunities { totalCount nodes { name owner { login } } }
  opportunitiesAggregate { count sum { amount } } groups { totalCount nodes { name } } } } }"""


@pytest.fixture
async def desk(database: Database, new_workspace: NewWorkspace) -> AsyncIterator[Desk]:
    workspace: Workspace = await new_workspace()
    features = Features(database, registry=PluginRegistry.discover(["plugins.groups"]))
    await features.enable(workspace, "groups")
    yield Desk(database, features, workspace)
    await features.close()


async def test_the_deep_query_is_one_statement(desk: Desk) -> None:
    for name in ("An", "Bình"):
        id_ = await desk.customer(name)
        await desk.do(
            'mutation($id: ID!) { contactCreate(input: {customerId: $id, name: "C"}) { userErrors { code } } }', id=id_
        )
    found = await desk.do(DEEP)
    assert desk.statements == 1
    assert found["totalCount"] == 2
    assert [n["contacts"]["totalCount"] for n in found["nodes"]] == [1, 1]
    assert [n["groups"] for n in found["nodes"]] == [{"totalCount": 0, "nodes": []}] * 2
