"""The test kit in a repository of a partner's own: run by pytest as he would, and seen to fail as it should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

#: Loaded by name, so that it is this code whatever the installed package says; the entry point has a test of its own.
LOADED = ("-p", "no:headless_crm", "-p", "core.testing.fixtures")

PASSING = """
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(workspace_for_module):
    return await workspace_for_module(["groups"])


@settings(max_examples=3, deadline=None)
@given(count=st.integers(1, 3))
async def test_with_hypothesis(shared, count):
    assert len(await shared.customers(count)) == count


@pytest.mark.parametrize("name", ["An", "Bình"])
async def test_without_any_configuration(workspace, client, one_statement, name):
    shop = await workspace(features=["groups"])
    await shop.customer(name)
    seller = await client(actor="Admin")
    with one_statement():
        found = await seller.do("{ customers { nodes { name } } }")
    assert found == {"nodes": [{"name": name}]}


class TestInAClass:
    async def test_here_too(self, workspace):
        assert "customer" in await (await workspace()).tables()


@pytest.mark.asyncio
async def test_of_his_own_loop(workspace):
    await workspace()
"""

FAILING = """
async def test_two_statements(workspace, client, one_statement):
    await workspace()
    system = await client()
    with one_statement():
        await system.do("{ customers { totalCount } }")
        await system.do("{ teams { totalCount } }")


async def test_refused(workspace, client):
    await workspace()
    await (await client()).do(
        'mutation { customerCreate(input: { kind: PERSON, name: "" }) { userErrors { code path message } } }'
    )


async def test_misspelled(workspace, client):
    await workspace()
    await (await client()).do("{ custmers { totalCount } }")


async def test_unknown_plugin(workspace):
    await workspace(features=["loyalti"])


async def test_job_that_is_not_there(workspace):
    shop = await workspace()
    await shop.run_job("loyalty.count")
"""

BESIDE = """
import sys


def test_nothing_is_loaded():
    heavy = {"asyncpg", "core.public", "core.database", "graphql", "strawberry", "piccolo", "core.testing.sandbox"}
    assert not heavy & set(sys.modules)


def test_fixtures_of_his_own(workspace, client):
    assert (workspace, client) == ("mine", "mine too")
"""
CONFTEST = """
import pytest


@pytest.fixture
def workspace():
    return "mine"


@pytest.fixture
def client():
    return "mine too"
"""


WANTING = """
def test_of_something_else():
    pass


async def test_of_a_plugin(workspace):
    pass
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder as a partner would, with warnings as errors."""
    options = "" if "no:asyncio" in arguments else "asyncio_default_fixture_loop_scope = session\n"
    (folder / "pytest.ini").write_text(f"[pytest]\n{options}")
    # Settings of his own deployment, which the tests must not touch.
    environment = {**os.environ, "CRM_DATABASE_URL": "postgresql://nowhere.invalid/crm", "CRM_NONSENSE": "1"}
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", *LOADED, f"--basetemp={folder}/tmp", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_plugin_is_installed() -> None:
    points = metadata.entry_points(group="pytest11", name="headless_crm")
    assert [p.value for p in points] == ["core.testing.fixtures"], "the installed package is older: make install"


def test_a_partner_needs_no_configuration_and_failures_show_his_own_lines(tmp_path: Path, project: Path) -> None:
    """The examples of docs/plugins/testing.md, each a test and one of them two, are run with it."""
    page = (project / "docs" / "plugins" / "testing.md").read_text(encoding="utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert len(snippets) > 5
    (tmp_path / "test_passing.py").write_text(PASSING)
    (tmp_path / "test_failing.py").write_text(FAILING)
    (tmp_path / "test_page.py").write_text("\n\n".join(snippets))
    out = run(tmp_path, "--show-capture=no").stdout
    assert f"5 failed, {5 + len(snippets) + 1} passed" in out, out
    assert list(tmp_path.rglob("PG_VERSION"))
    assert not list(tmp_path.rglob("postmaster.pid")), "the server still runs"
    for said in (
        "AssertionError: expected exactly one SQL statement, 2 ran:\nE       1. select json_build_object('customers'",
        "AssertionError: the mutation was refused:\nE         REQUIRED:",
        "(at input.name)",
        "GRAPHQL_VALIDATION_FAILED: Cannot query field 'custmers' on type 'Query'.",
        "AssertionError: the plugin loyalti is not installed (installed are dedupe, groups, ",
        "AssertionError: there is no job 'loyalty.count'; there are core.bulk",
        ">       with one_statement():",
    ):
        assert said in out, out
    assert "core/testing/" not in out


def test_whoever_does_not_use_it_does_not_notice_it(tmp_path: Path) -> None:
    (tmp_path / "test_partner.py").write_text(BESIDE)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_without_the_extra_its_fixtures_say_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "test_partner.py").write_text(WANTING)
    (tmp_path / "pytest_asyncio.py").write_text('raise ImportError("as if it were not installed")')
    out = run(tmp_path, "-p", "no:asyncio", "--strict-markers").stdout
    assert "1 passed, 1 error" in out, out
    assert "install headless-crm[testing] to use its fixtures" in out
