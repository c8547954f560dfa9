"""The pytest plugin. It imports nothing of the core before a test asks for a fixture."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from core.testing.client import Client
    from core.testing.deployment import Deployment, Factory
    from core.testing.recording import HookRecord
    from core.testing.statements import Statements

_asyncio_fixture: Any = None
# The core may be installed beside pytest without the extra.
with suppress(ImportError):
    from pytest_asyncio import fixture as _asyncio_fixture

#: Whoever uses one of these talks to the database on the run's one event loop.
FIXTURES = frozenset({"crm_deployment", "workspace", "workspace_for_module", "client"})


def _fixture(scope: Any) -> Callable[[Any], Any]:
    """A fixture on the run's event loop."""

    def mark(function: Any) -> Any:
        if _asyncio_fixture is not None:
            return _asyncio_fixture(scope=scope, loop_scope="session")(function)

        def missing() -> None:
            pytest.fail("install headless-crm[testing] to use its fixtures", pytrace=False)

        missing.__doc__ = function.__doc__
        return pytest.fixture(scope=scope, name=function.__name__)(missing)

    return mark


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pycollect_makeitem() -> Generator[None, Any, Any]:
    """Have pytest-asyncio run the tests that use the kit, on the run's event loop, whatever its mode."""
    found = yield
    for item in found if isinstance(found, list) else [found]:
        if _asyncio_fixture and isinstance(item, pytest.Function) and FIXTURES & set(item.fixturenames):
            _run_on_session_loop(item)
    return found


def _run_on_session_loop(item: pytest.Function) -> None:
    function = inspect.unwrap(item.obj)
    hypothesis = getattr(function, "hypothesis", None)
    marker = item.get_closest_marker("asyncio")
    if inspect.iscoroutinefunction(hypothesis.inner_test if hypothesis else function) and not (
        marker and marker.kwargs.get("loop_scope")
    ):
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@_fixture("session")
async def crm_deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """The run's one deployment, with an embedded server of its own."""
    from core.testing.deployment import deployment  # noqa: PLC0415

    async with deployment(tmp_path_factory.mktemp("crm")) as opened:
        yield opened


@_fixture("function")
async def workspace(crm_deployment: Deployment) -> AsyncIterator[Factory]:
    """Factory of workspaces that are erased after the test.

    `shop = await workspace(features=["loyalty"], settings={"loyalty": {"rate": 10}})` is a Sandbox. Further values
    are the workspace's own: `slug`, `time_zone`, `locale`, `currency`, `country`.
    """
    from core.testing.deployment import Factory  # noqa: PLC0415

    made = Factory(crm_deployment)
    yield made
    await made.erase()


@_fixture("module")
async def workspace_for_module(crm_deployment: Deployment) -> AsyncIterator[Factory]:
    """Factory of workspaces that the tests of a module share, for a fixture of the module's own; see `workspace`."""
    from core.testing.deployment import Factory  # noqa: PLC0415

    made = Factory(crm_deployment)
    yield made
    await made.erase()


@pytest.fixture
def client(workspace: Factory) -> Callable[..., Awaitable[Client]]:
    """Factory of clients of the test's only workspace; see `Sandbox.client`.

    `seller = await client(actor="Salesperson")` asks as a new user with that role.
    """
    return workspace.client


@pytest.fixture
def one_statement() -> Callable[[], AbstractContextManager[Statements]]:
    """Context manager that fails unless its block executes exactly one SQL statement."""
    from core.testing.statements import OneStatement  # noqa: PLC0415

    return OneStatement


@pytest.fixture
def recorded_hooks() -> Iterator[HookRecord]:
    """The calls of plugins' hooks since the test began."""
    from core.testing.recording import recording  # noqa: PLC0415

    with recording() as record:
        yield record


@pytest.fixture
def as_of() -> Callable[[datetime | timedelta | str], AbstractContextManager[None]]:
    """Context manager that lets the clock stand at a moment, such as `"2026-03-01T09:00+07:00"`, during its block."""
    from core.testing.moments import as_of as at  # noqa: PLC0415

    return at
