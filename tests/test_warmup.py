"""What is about to be switched is composed by other processes before it is committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.context import Workspace
from core.contributions import Chosen, FeatureSet
from core.database import Database
from core.features import Features, canonical
from core.plugins import PluginRegistry
from core.settings import Settings
from tests.test_features import eventually

PLUGINS = ("plugins.groups", "tests.broken_plugins.good")


@pytest.fixture
async def processes(database: Database, settings: Settings) -> AsyncIterator[tuple[Features, Features]]:
    """The features of two processes."""
    other = await Database.open(settings)
    made = [Features(on, registry=PluginRegistry.discover(PLUGINS)) for on in (database, other)]
    yield made[0], made[1]
    for each in made:
        await each.close()
    await other.close()


def fingerprint(features: Features, name: str = "", **settings: int) -> str:
    chosen = (Chosen(name, features.registry.plugins[name].manifest.version, canonical(settings)),) if name else ()
    return FeatureSet(chosen).fingerprint


@pytest.mark.parametrize("given", [{}, {"max_groups_per_customer": 7}])
async def test_others_have_it_ready_before_it_is_committed(
    processes: tuple[Features, Features], workspace: Workspace, given: dict[str, int]
) -> None:
    here, there = processes
    old = await there.composition(workspace)

    async def ready() -> bool:
        return fingerprint(there, "groups", **given) in {c.fingerprint for c in there.compositions}

    async with here.database.transaction(workspace) as connection:
        await here.switch.enable(connection, here.switch.system(workspace), "groups", given)
        await eventually(ready)
        assert await there.composition(workspace) is old

    async def follows() -> bool:
        return (await there.composition(workspace)).fingerprint == fingerprint(there, "groups", **given)

    await eventually(follows)


async def test_what_is_not_committed_after_all_changes_nothing(
    processes: tuple[Features, Features], workspace: Workspace
) -> None:
    here, there = processes
    old = await there.composition(workspace)
    with pytest.raises(RuntimeError):
        async with here.database.transaction(workspace) as connection:
            await here.switch.enable(connection, here.switch.system(workspace), "groups")
            raise RuntimeError
    await here.enable(workspace, "good")

    async def follows() -> bool:
        return (await there.composition(workspace)).fingerprint == fingerprint(there, "good")

    await eventually(follows)
    assert await there.composition(workspace) is not old


async def test_secrets_are_not_told_to_whoever_listens(
    processes: tuple[Features, Features], workspace: Workspace
) -> None:
    here, _ = processes
    heard: list[str | None] = []
    await here.database.listen("crm_features_soon", heard.append)
    await here.enable(workspace, "good", {"token": "not to be told"})
    await here.enable(workspace, "groups")
    async with asyncio.timeout(10):
        while not heard:
            await asyncio.sleep(0.01)
    assert heard == [f'["{workspace.slug}","groups",{{}}]']
