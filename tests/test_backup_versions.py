"""A backup goes from one version of PostgreSQL to another and back; `make test-postgres` runs it on each."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.backup.restore import restore
from core.backup.save import save
from core.database import Database
from core.settings import Settings
from core.workspaces import Workspaces
from tests.switching import Desk
from tests.test_backup import contents, definitions, desk, saved

__all__ = ["desk"]


def downloaded(project: Path) -> Path | None:
    return next(iter(sorted(project.glob(".cache/postgresql-*/bin"))), None)


@pytest.fixture
async def other(settings: Settings, tmp_path: Path, project: Path) -> AsyncIterator[Database]:
    """A deployment on another version: the one that comes along, or the oldest that was downloaded for the tests."""
    binaries = None
    if "CRM_POSTGRES_BIN" not in os.environ:
        binaries = downloaded(project)
        if binaries is None:
            pytest.skip("no other PostgreSQL is here: make test-postgres downloads them")
    there = settings.model_copy(update={"data_dir": tmp_path / "other", "postgres_bin": binaries})
    opened = await Database.open(there)
    yield opened
    await opened.close()


async def test_a_backup_goes_to_another_version_and_back(
    database: Database, workspaces: Workspaces, desk: Desk, other: Database
) -> None:
    versions = []
    for one in (database, other):
        async with one.admin() as connection:
            versions.append(connection.get_server_version().major)
    assert versions[0] != versions[1]
    registry = desk.features.registry
    there = await restore(other, registry, io.BytesIO(await saved(desk)))
    assert there.workspace.slug == desk.workspace.slug
    before = await contents(database, desk.workspace)
    assert await contents(other, there.workspace) == before
    out = io.BytesIO()
    await save(other, registry, there.workspace, out)
    back = await restore(database, registry, io.BytesIO(out.getvalue()), "back")
    try:
        assert await contents(database, back.workspace) == before
        assert await definitions(database, back.workspace) == await definitions(database, desk.workspace)
    finally:
        await workspaces.erase("back")
