"""Workspaces with all kinds of feature sets: planned, applied, written, and applied elsewhere again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from core.context import Workspace
from core.database import Database
from core.features import Features
from core.workspacefile import document
from core.workspacefile.plan import WorkspaceFiles
from core.workspaces import Workspaces
from tests.conftest import NewWorkspace
from tests.featuresets import feature_set
from tests.workspacefiles import keeping, people


@pytest.fixture
async def features(database: Database) -> AsyncIterator[Features]:
    async with keeping(database) as made:
        yield made


class Deployer:
    """Applies files to workspaces, and looks at what becomes of them."""

    def __init__(self, features: Features) -> None:
        self.files = WorkspaceFiles(features)
        self.workspaces = Workspaces(features.database)

    async def export(self, workspace: Workspace) -> str:
        return await self.files.export(await self.workspaces.get(workspace.slug))

    async def apply(self, workspace: Workspace, text: str) -> None:
        """Plan, apply, and demand that planning said what applying did and that nothing is left to do."""
        content = document.read(text)
        content.pop("slug")
        before = await self.export(workspace)
        current = await self.workspaces.get(workspace.slug)
        planned = await self.files.plan(current, content)
        assert await self.export(workspace) == before, "planning writes nothing"
        done = await self.files.apply(current, content, allowed=planned)
        assert _told(done) == _told(planned)
        assert (await self.files.plan(await self.workspaces.get(workspace.slug), content)).differences == ()
        if before == await self.export(workspace):
            assert planned.differences == ()


def _told(plan) -> list[tuple[str, str, str, bool, list[str]]]:
    return [(d.action, d.section, d.name, d.destructive, sorted(d.changes)) for d in plan.differences]


def _of(text: str, slug: str) -> str:
    first, _, rest = text.partition("\n")
    assert first.startswith("slug = ")
    return f'slug = "{slug}"\n{rest}'


async def round_trip(
    features: Features, make: NewWorkspace, workspaces: Workspaces, seeds: list[int], plugins: int
) -> int:
    """Each feature set in a workspace of its own, written, applied to another one, and over the one before it."""
    deployer = Deployer(features)
    texts: list[str] = []
    for seed in seeds:
        one, other = await make(), await make()
        for workspace in (one, other):
            await people(features, workspace)
        await deployer.apply(one, document.write({"slug": one.slug, **feature_set(seed, plugins)}))
        text = await deployer.export(one)
        await deployer.apply(one, text)
        assert await deployer.export(one) == text, "applying what was written changes nothing"
        await deployer.apply(other, text)
        assert _of(await deployer.export(other), one.slug) == text, "another workspace becomes the same"
        if texts:
            await deployer.apply(other, texts[-1])
            assert _of(await deployer.export(other), "x") == _of(texts[-1], "x"), "from any feature set to any other"
        texts.append(text)
        for workspace in (one, other):
            await workspaces.erase(workspace.slug)
    return len({_of(text, "x") for text in texts})


async def test_three_feature_sets(features: Features, new_workspace: NewWorkspace, workspaces: Workspaces) -> None:
    assert await round_trip(features, new_workspace, workspaces, [1, 2, 3], plugins=2) == 3


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(100, 150, 10))
async def test_fifty_feature_sets(
    features: Features, new_workspace: NewWorkspace, workspaces: Workspaces, first: int
) -> None:
    assert await round_trip(features, new_workspace, workspaces, list(range(first, first + 10)), plugins=6) == 10
