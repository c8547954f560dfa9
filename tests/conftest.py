"""One embedded server for the whole run; a fresh workspace for each test or module that asks for one."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from core.context import Workspace
from core.database import Database
from core.migrate import migrate_workspace
from core.settings import Settings
from core.workspaces import Workspaces

NewWorkspace = Callable[..., Awaitable[Workspace]]
_NUMBERS = itertools.count(1)

# Faster, and nothing here has to survive a power cut.
UNSAFE = ("fsync", "synchronous_commit", "full_page_writes")


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """A developer's CRM_ settings do not reach the tests, but for the server to run them on."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("CRM_") and name != "CRM_POSTGRES_BIN":
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings.load(data_dir=tmp_path_factory.mktemp("data"), secret="s" * 40, log_level="warning")


@pytest.fixture(scope="session")
async def database(settings: Settings) -> AsyncIterator[Database]:
    opened = await Database.open(settings)
    try:
        async with opened.admin() as connection:
            for name in UNSAFE:
                await connection.execute(f"alter system set {name} = off")
            await connection.execute("select pg_reload_conf()")
        yield opened
    finally:
        await opened.close()


@pytest.fixture(scope="session")
def workspaces(database: Database) -> Workspaces:
    return Workspaces(database)


@pytest.fixture(scope="session")
def session_workspace(database: Database, workspaces: Workspaces) -> NewWorkspace:
    """Makes workspaces that stay until the end of the run: `await session_workspace(migrated=False)`."""

    async def make(*, migrated: bool = True, **values: str) -> Workspace:
        workspace = await workspaces.create(values.pop("slug", f"test_{next(_NUMBERS)}"), **values)
        if migrated:
            from core.piccolo_app import APP_CONFIG

            await migrate_workspace(database, workspace, [APP_CONFIG])
        return workspace

    return make


@pytest.fixture
async def new_workspace(session_workspace: NewWorkspace, workspaces: Workspaces) -> AsyncIterator[NewWorkspace]:
    """Makes workspaces that are erased after the test."""
    made: list[str] = []

    async def make(**values: object) -> Workspace:
        workspace = await session_workspace(**values)
        made.append(workspace.slug)
        return workspace

    yield make
    left = {workspace.slug for workspace in await workspaces.list()}
    for slug in made:
        if slug in left:
            await workspaces.erase(slug)


@pytest.fixture
async def workspace(new_workspace: NewWorkspace) -> Workspace:
    """A fresh workspace with the core's tables."""
    return await new_workspace()


@pytest.fixture(scope="module")
async def module_workspace(session_workspace: NewWorkspace) -> Workspace:
    """A workspace with the core's tables that the tests of one module share."""
    return await session_workspace()


@pytest.fixture
def project() -> Path:
    """The project's root folder."""
    return Path(__file__).parent.parent
