"""Upgrades: rehearsed on a copy that nobody sees, then done, each workspace whole or not at all."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from core.backup.contents import use
from core.context import Workspace
from core.database import Database
from core.features import Features
from core.plugins import PluginRegistry
from core.upgrade import REHEARSAL, rehearse, upgrade
from core.workspaces import build, fresh
from tests.conftest import NewWorkspace
from tests.switching import Desk
from tests.test_backup import contents, left

Version = Callable[..., PluginRegistry]

HOOKS = """
from core import Extension, Field, Kind, hookimpl


@hookimpl
def extensions():
    def sql(alias):
        return f"(select max(b.name) from badge b where b.customer_id = {{alias}}.id)"

    return [Extension("Customer", fields=(Field("{field}", Kind.TEXT, "A badge.", sql=sql),))]
"""
APP = """
from pathlib import Path

from piccolo.conf.apps import AppConfig

FOLDER = Path(__file__).parent / "piccolo_migrations"
APP_CONFIG = AppConfig("badges", FOLDER, migration_dependencies=["core.piccolo_app"])
"""
MIGRATION = """
from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core import ENGINE

ID = "badges_{number:04}"


async def run():
    for statement in {statements!r}:
        await ENGINE.run_ddl(statement)


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="badges", description="")
    manager.add_raw(run)
    manager.add_raw_backwards(run)
    return manager
"""
FIRST = ["create table badge (id uuid primary key, customer_id uuid not null references customer, name text not null)"]
SECOND = ["alter table badge add column since date", "delete from badge where name = 'paper'"]


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Version]:
    """Makes a version of the plugin `badges` with some migrations and a field, and installs it with others."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(*migrations: list[str], field: str = "badge") -> PluginRegistry:
        package = f"badges_{len(made)}_{tmp_path.name.replace('-', '_')}"
        made.append(package)
        folder = tmp_path / package
        (folder / "piccolo_migrations").mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "hooks.py").write_text(HOOKS.format(field=field))
        (folder / "piccolo_app.py").write_text(APP)
        (folder / "plugin.toml").write_text(
            dedent(f"""
            name = "badges"
            version = "{len(migrations)}.0"
            summary = "For tests"
            requires_core = ">=0.1"
            hooks = "{package}.hooks"
            app = "{package}.piccolo_app:APP_CONFIG"
            """)
        )
        for number, statements in enumerate(migrations, 1):
            file = folder / "piccolo_migrations" / f"badges_{number:04}.py"
            file.write_text(MIGRATION.format(number=number, statements=statements))
        registry = PluginRegistry.discover([package, "plugins.tiering"])
        assert not registry.broken, registry.broken
        return registry

    yield make
    for name in [n for n in sys.modules if n.partition(".")[0] in made]:
        del sys.modules[name]


@pytest.fixture
async def old(database: Database, workspace: Workspace, version: Version) -> AsyncIterator[Desk]:
    """A workspace with the first version, upgraded to it, so that it is known what its clients see."""
    features = Features(database, registry=version(FIRST))
    await features.enable(workspace, "tiering")
    await features.enable(workspace, "badges")
    desk = Desk(database, features, workspace)
    for name in ("gold", "paper"):
        customer = await desk.customer(name)
        await desk.fetch("insert into badge values (gen_random_uuid(), $1, $2)", customer, name)
    made = await desk.do(
        "mutation($input: TierCreateInput!) { tierCreate(input: $input) { userErrors { message } } }",
        input={"name": "Gold", "rank": 1, "auto": True, "rule": {"badge": {"eq": "gold"}}},
    )
    assert made["userErrors"] == []
    assert (await upgrade(features, workspace)).problems == []
    yield desk
    await features.close()


async def test_a_rehearsal_tells_what_an_upgrade_would_do_and_touches_nothing(
    database: Database, old: Desk, version: Version
) -> None:
    before, there = await contents(database, old.workspace), await left(database)
    nothing = await rehearse(old.features, old.workspace)
    assert (nothing.migrations, nothing.problems, nothing.contract, nothing.locks) == ((), [], [], {})
    newer = Features(database, registry=version(FIRST, SECOND, field="medal"))
    tried = await rehearse(newer, old.workspace)
    assert tried.migrations == ("badges_0002",)
    assert tried.copied > 0 < tried.migrated
    assert tried.locks == {"badge": "reads and writes"}
    assert tried.rows == {"badge": (2, 1)}
    lost, rule, *breaking = tried.problems
    assert lost == "the table badge loses 1 rows"
    assert rule.startswith("the rule rule of the tier ")
    assert "is off: " in rule
    assert "clients break: Field Customer.badge was removed." in breaking
    assert ("SAFE", "Customer.medal was added.") in {(d.severity, d.description) for d in tried.contract or ()}
    assert await contents(database, old.workspace) == before
    assert await left(database) == there
    async with database.admin() as connection:
        assert not await connection.fetchval("select count(*) from pg_roles where rolname like 'rehearsal%'")
        assert not await connection.fetchval("select count(*) from pg_namespace where nspname like 'rehearsal%'")
    done = await upgrade(newer, old.workspace)
    assert (done.migrations, done.problems) == (("badges_0002",), [])
    assert await old.fetch("select count(*) from badge") == 1
    again = await rehearse(newer, old.workspace)
    assert (again.migrations, again.contract) == ((), [])
    await newer.close()


async def test_an_upgrade_that_fails_changes_nothing_and_others_are_served_and_upgraded(
    database: Database, old: Desk, version: Version, new_workspace: NewWorkspace
) -> None:
    other = await new_workspace()
    await old.features.enable(other, "badges")
    await old.fetch("create table in_the_way (x int)")
    bad = Features(database, registry=version(FIRST, ["select pg_sleep(0.5)", "create table in_the_way (x int)"]))
    before = await contents(database, old.workspace)
    tried = await rehearse(bad, old.workspace)
    # What no migration has made is in no copy, and is said to be.
    assert tried.problems == ["the backup's table in_the_way is made by no migration that is installed here"]
    upgrading = asyncio.create_task(upgrade(bad, old.workspace))
    await asyncio.sleep(0.2)
    assert await Desk(database, old.features, other).do("{ customers { totalCount } }") == {"totalCount": 0}
    assert await old.do("{ customers { totalCount } }") == {"totalCount": 2}
    assert not upgrading.done()
    (problem,) = (await upgrading).problems
    assert problem.startswith(f"workspace {old.workspace.slug}: the migration badges_0002 of badges failed: ")
    assert await contents(database, old.workspace) == before
    done = await upgrade(bad, other)
    assert (done.migrations, done.problems) == (("badges_0002",), [])
    await bad.close()


async def test_a_plugin_that_is_gone_is_named(database: Database, old: Desk) -> None:
    without = Features(database, registry=PluginRegistry.discover(["plugins.tiering"]))
    tried = await rehearse(without, old.workspace)
    assert tried.problems == ["the backup needs the plugin badges 1.0, which is not installed here"]
    done = await upgrade(without, old.workspace)
    assert done.problems == ["badges is left out: it is not installed"]
    await without.close()


@pytest.mark.nightly
async def test_copies_of_rehearsals_that_were_killed_are_dropped_by_the_next(database: Database, old: Desk) -> None:
    left_behind = replace(fresh("x"), schema="rehearsal_left", role="rehearsal_left")
    async with database.admin() as connection, connection.transaction():
        await build(connection, left_behind)
        await connection.execute(f"comment on role rehearsal_left is '{REHEARSAL}'")
        await use(connection, "rehearsal_left", "rehearsal_left")
        await connection.execute("create table t (x int)")
        await connection.execute("set local role none")
    assert (await rehearse(old.features, old.workspace)).problems == []
    async with database.admin() as connection:
        assert not await connection.fetchval("select count(*) from pg_roles where rolname like 'rehearsal%'")
