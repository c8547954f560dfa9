"""One embedded server for the whole run; a fresh workspace for each test or module that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import argon2
import pytest

from core import passwords, switch
from core.collector import relax
from core.context import Workspace
from core.database import Database
from core.settings import Settings
from core.testing.deployment import Deployment, database_of, own_environment, settings_in
from core.workspaces import Workspaces

NewWorkspace = Callable[..., Awaitable[Workspace]]

QUEUE_EMPTIED = "truncate crm.pgqueuer, crm.pgqueuer_log, crm.pgqueuer_statistics, crm.pgqueuer_schedules"


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """A developer's CRM_ settings do not reach the tests, but for the server to run them on."""
    with own_environment():
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick() -> Iterator[None]:
    """What is slow on purpose is quick in the tests that are not about that: passwords, and purging a plugin."""
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_HASHER", hasher)
        patch.setattr(passwords, "_DUMMY", hasher.hash("a password that nobody has"))
        patch.setattr(switch, "GRACE", 0.05)
        yield


@pytest.fixture(scope="session", autouse=True)
def _relaxed() -> None:
    """Look for garbage as seldom as the commands do: each composition is a few hundred thousand objects."""
    relax()


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_in(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with database_of(settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def workspaces(database: Database) -> Workspaces:
    return Workspaces(database)


@pytest.fixture(scope="session")
async def crm_deployment(settings: Settings, database: Database) -> AsyncIterator[Deployment]:
    """The test kit's deployment, on the server that all tests share."""
    opened = Deployment(settings, database)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def session_workspace(crm_deployment: Deployment) -> NewWorkspace:
    """Makes workspaces that stay until the end of the run: `await session_workspace(migrated=False)`."""
    return crm_deployment.workspace


@pytest.fixture
async def new_workspace(crm_deployment: Deployment) -> AsyncIterator[NewWorkspace]:
    """Makes workspaces that are erased after the test."""
    made: list[str] = []

    async def make(**values: object) -> Workspace:
        workspace = await crm_deployment.workspace(**values)
        made.append(workspace.slug)
        return workspace

    yield make
    for slug in made:
        await crm_deployment.erase(slug)


@pytest.fixture
async def workspace(new_workspace: NewWorkspace) -> Workspace:
    """A fresh workspace with the core's tables."""
    return await new_workspace()


@pytest.fixture(scope="module")
async def module_workspace(session_workspace: NewWorkspace) -> Workspace:
    """A workspace with the core's tables that the tests of one module share."""
    return await session_workspace()


@pytest.fixture
async def empty_queue(database: Database) -> AsyncIterator[None]:
    """Nothing is in the queue that all workspaces share, neither before the test nor after it."""
    async with database.admin() as connection:
        await connection.execute(QUEUE_EMPTIED)
    yield
    async with database.admin() as connection:
        await connection.execute(QUEUE_EMPTIED)


@pytest.fixture
def project() -> Path:
    """The project's root folder."""
    return Path(__file__).parent.parent
