from __future__ import annotations

import asyncio
from pathlib import Path
from textwrap import dedent, indent

import pytest
from piccolo.columns import Varchar
from piccolo.conf.apps import AppConfig
from piccolo.table import Table

from core.context import Workspace
from core.database import Database
from core.errors import DatabaseError, MigrationError
from core.migrate import in_order, load, migrate_all, migrate_workspace, pending, purge_app
from tests.conftest import NewWorkspace

TEMPLATE = """
from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from core.engine import ENGINE

ID = "{id}"
VERSION = "1.38.0"
DESCRIPTION = ""


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="{app}", description=DESCRIPTION)

    async def run():
{forwards}

    async def back():
{backwards}

    manager.add_raw(run)
    manager.add_raw_backwards(back)
    return manager
"""


class App:
    """A Piccolo app in a folder of its own, to which migrations are added."""

    def __init__(self, folder: Path, name: str = "toy") -> None:
        self.folder = folder / f"{name}_{id(self)}"
        self.folder.mkdir()
        self.name = name

    def add(self, number: int, forwards: str, backwards: str = "pass", file: str | None = None) -> str:
        id_ = f"{self.name}_{number:04}"
        text = TEMPLATE.format(
            id=id_,
            app=self.name,
            forwards=indent(dedent(forwards), " " * 8),
            backwards=indent(dedent(backwards), " " * 8),
        )
        (self.folder / (file or f"{id_}_step.py")).write_text(text)
        return id_

    def sql(self, number: int, forwards: str, backwards: str = "select 1") -> str:
        return self.add(number, f"await ENGINE.run_ddl({forwards!r})", f"await ENGINE.run_ddl({backwards!r})")

    def config(self) -> AppConfig:
        """A copy, as a new version of the app would be: loaded anew."""
        copy = self.folder.with_name(f"{self.folder.name}_{len(list(self.folder.parent.iterdir()))}")
        copy.mkdir()
        for file in self.folder.iterdir():
            (copy / file.name).write_text(file.read_text())
        return AppConfig(app_name=self.name, migrations_folder_path=copy)


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path)


@pytest.fixture
async def empty(new_workspace: NewWorkspace) -> Workspace:
    return await new_workspace(migrated=False)


async def tables(database: Database, workspace: Workspace) -> list[str]:
    rows = await database.pool(workspace).fetch(
        "select tablename, tableowner from pg_tables where schemaname = $1 order by 1", workspace.schema
    )
    assert {row["tableowner"] for row in rows} <= {workspace.role}
    return [row["tablename"] for row in rows]


async def test_applies_what_is_missing_once(database: Database, empty: Workspace, app: App) -> None:
    first = app.sql(1, "create table a (x int)")
    config = app.config()
    assert await pending(database, empty, [config]) == [first]
    report = await migrate_workspace(database, empty, [config])
    assert (report.workspace, report.applied, report.error) == (empty.slug, (first,), None)
    assert report.seconds > 0
    second = app.sql(2, "alter table a add y int")
    assert (await migrate_workspace(database, empty, [app.config()])).applied == (second,)
    assert (await migrate_workspace(database, empty, [app.config()])).applied == ()
    assert await pending(database, empty, [app.config()]) == []
    assert await tables(database, empty) == ["a", "migration"]


async def test_workspaces_are_apart(database: Database, new_workspace: NewWorkspace, app: App) -> None:
    one, two = await new_workspace(migrated=False), await new_workspace(migrated=False)
    app.sql(1, "create table a (x int)")
    await migrate_workspace(database, one, [app.config()])
    assert await tables(database, one) == ["a", "migration"]
    assert await tables(database, two) == []


@pytest.mark.parametrize("fault", ["raise ValueError('half way')", "await ENGINE.run_ddl('select 1 / 0')"])
async def test_is_undone_whole_when_anything_fails(database: Database, empty: Workspace, app: App, fault: str) -> None:
    app.sql(1, "create table a (x int)")
    app.add(2, fault)
    with pytest.raises(MigrationError, match=rf"workspace {empty.slug}: the migration toy_0002 of toy failed: "):
        await migrate_workspace(database, empty, [app.config()])
    assert await tables(database, empty) == []
    assert await database.pool(empty).fetchval("select 1") == 1


async def test_a_workspace_newer_than_the_code_is_refused(database: Database, empty: Workspace, app: App) -> None:
    app.sql(1, "create table a (x int)")
    old = app.config()
    app.sql(2, "create table b (x int)")
    await migrate_workspace(database, empty, [app.config()])
    with pytest.raises(MigrationError, match=r"was migrated by a newer version than this one \(toy: toy_0002\)"):
        await migrate_workspace(database, empty, [old])
    assert await tables(database, empty) == ["a", "b", "migration"]


async def test_a_disabled_apps_history_does_not_matter(database: Database, empty: Workspace, tmp_path: Path) -> None:
    one, two = App(tmp_path, "one"), App(tmp_path, "two")
    one.sql(1, "create table a (x int)")
    two.sql(1, "create table b (x int)")
    await migrate_workspace(database, empty, [one.config(), two.config()])
    assert (await migrate_workspace(database, empty, [one.config()])).applied == ()


async def test_two_processes_migrating_at_once_apply_each_step_once(
    database: Database, empty: Workspace, app: App
) -> None:
    id_ = app.add(1, "await ENGINE.run_ddl('select pg_sleep(0.1)')\nawait ENGINE.run_ddl('create table a (x int)')")
    config = app.config()
    reports = await asyncio.gather(*(migrate_workspace(database, empty, [config]) for _ in range(4)))
    assert sorted(r.applied for r in reports) == [(), (), (), (id_,)]
    assert await database.pool(empty).fetchval("select count(*) from migration") == 1


async def test_migrate_all_goes_on_after_one_fails(database: Database, new_workspace: NewWorkspace, app: App) -> None:
    three = [await new_workspace(migrated=False) for _ in range(3)]
    await database.pool(three[1]).execute("create table a (in_the_way int)")
    app.sql(1, "create table a (x int)")
    config = app.config()
    heard: list[str] = []
    reports = await migrate_all(database, three, lambda _: [config], lambda r: heard.append(r.workspace))
    assert [bool(r.error) for r in reports] == [False, True, False]
    assert isinstance(reports[1].error, MigrationError)
    assert heard == [w.slug for w in three]
    assert await tables(database, three[2]) == ["a", "migration"]


async def test_the_statement_timeout_does_not_cut_a_migration_short(
    database: Database, empty: Workspace, app: App
) -> None:
    app.add(1, "rows = await ENGINE.run_ddl('show statement_timeout')\nassert rows[0][0] == '0', rows")
    await migrate_workspace(database, empty, [app.config()])
    assert await database.pool(empty).fetchval("show statement_timeout") == "10s"


async def test_purge_reverses_one_app(database: Database, empty: Workspace, tmp_path: Path) -> None:
    kept, gone = App(tmp_path, "kept"), App(tmp_path, "gone")
    kept.sql(1, "create table a (x int)")
    gone.sql(1, "create table b (x int)", "drop table b")
    gone.sql(2, "create view c as select x from b", "drop view c")
    await migrate_workspace(database, empty, [kept.config(), gone.config()])
    assert await purge_app(database, empty, gone.config()) == ("gone_0002", "gone_0001")
    assert await tables(database, empty) == ["a", "migration"]
    assert await purge_app(database, empty, gone.config()) == ()
    assert (await migrate_workspace(database, empty, [gone.config()])).applied == ("gone_0001", "gone_0002")


async def test_purge_that_fails_changes_nothing(database: Database, empty: Workspace, app: App) -> None:
    app.sql(1, "create table a (x int)", "select 1 / 0")
    app.sql(2, "create table b (x int)", "drop table b")
    await migrate_workspace(database, empty, [app.config()])
    with pytest.raises(MigrationError, match="toy_0001 of toy failed: division by zero"):
        await purge_app(database, empty, app.config())
    assert await tables(database, empty) == ["a", "b", "migration"]
    assert await pending(database, empty, [app.config()]) == []


async def test_files_of_two_apps_with_equal_tails_do_not_clash(
    database: Database, empty: Workspace, tmp_path: Path
) -> None:
    one, two = App(tmp_path, "one"), App(tmp_path, "two")
    one.sql(1, "create table a (x int)")
    two.sql(1, "create table b (x int)")
    await migrate_workspace(database, empty, [one.config(), two.config()])
    assert await tables(database, empty) == ["a", "b", "migration"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "0001_first.py",
            "ID = 'x'",
            "the migration 0001_first.py of the app toy must be called toy_0001_first.py",
        ),
        ("toy_1.py", "", "toy_1.py of the app toy has no ID or no forwards()"),
        ("toy_1.py", "ID = 'x'", "toy_1.py of the app toy has no ID or no forwards()"),
        (
            "toy_1.py",
            "import nowhere_to_be_found",
            "toy_1.py of the app toy cannot be imported: No module named",
        ),
    ],
)
def test_faulty_files_are_refused(app: App, file: str, text: str, message: str) -> None:
    (app.folder / file).write_text(text)
    with pytest.raises(MigrationError) as caught:
        load(app.config())
    assert message in caught.value.message


def test_a_repeated_id_is_refused(app: App) -> None:
    app.add(1, "pass")
    app.add(1, "pass", file="toy_again.py")
    with pytest.raises(MigrationError, match="the app toy has two migrations toy_0001"):
        load(app.config())


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="the app toy has no migrations folder"):
        load(AppConfig(app_name="toy", migrations_folder_path=tmp_path / "none"))


def _apps(**needs: list[str]) -> list[AppConfig]:
    apps = {name: AppConfig(app_name=name, migrations_folder_path="") for name in needs}
    stranger = AppConfig(app_name="stranger", migrations_folder_path="")
    for name, names in needs.items():
        apps[name]._migration_dependency_app_configs = [apps.get(n, stranger) for n in names]
    return list(apps.values())


def test_apps_come_after_those_they_depend_on() -> None:
    apps = _apps(groups=["core"], scoring=["groups", "core"], core=[])
    assert [app.app_name for app in in_order(apps)] == ["core", "groups", "scoring"]


def test_contradicting_apps_are_refused() -> None:
    with pytest.raises(MigrationError, match="need those of stranger, which is not enabled"):
        in_order(_apps(core=["elsewhere"]))
    with pytest.raises(MigrationError, match="depend on each other in a circle"):
        in_order(_apps(a=["b"], b=["a"]))
    with pytest.raises(MigrationError, match="two Piccolo apps are called a"):
        in_order(_apps(a=[]) + _apps(a=[]))


class Animal(Table, tablename="animal"):
    name = Varchar()


async def test_piccolo_queries_follow_the_bound_workspace(database: Database, new_workspace: NewWorkspace) -> None:
    one, two = await new_workspace(migrated=False), await new_workspace(migrated=False)
    for workspace in (one, two):
        with database.bind(workspace):
            await Animal.create_table().run()
            await Animal.insert(Animal(name=workspace.slug)).run()

    async def names(workspace: Workspace) -> list[str]:
        with database.bind(workspace):
            await asyncio.sleep(0)
            return [row["name"] for row in await Animal.select(Animal.name)]

    assert await asyncio.gather(names(one), names(two)) == [[one.slug], [two.slug]]


async def test_piccolo_without_a_workspace_is_refused() -> None:
    with pytest.raises(DatabaseError, match="outside of"):
        await Animal.select()
