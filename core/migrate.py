"""Migrations: a workspace is brought up to the code as a whole, or stays as it was."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, cast

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.apps.migrations.tables import Migration
from piccolo.conf.apps import AppConfig

from core.context import Workspace
from core.database import Database
from core.engine import ENGINE, bind
from core.errors import CrmError, MigrationError
from core.log import logger
from core.pool import Connection, Pool
from core.sql import literal

LOG = logger("crm.migrate")


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What became of one workspace: the migrations applied, or why none was."""

    workspace: str
    applied: tuple[str, ...] = ()
    seconds: float = 0.0
    error: CrmError | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One migration file: `forwards()` gives Piccolo's description of what it does, both ways."""

    id: str
    app: str
    forwards: Callable[[], Any]


async def migrate_workspace(database: Database, workspace: Workspace, apps: Sequence[AppConfig]) -> MigrationReport:
    """Apply every migration of `apps` that the workspace lacks, in one transaction, dependencies first.

    An advisory lock keeps other processes out meanwhile. Raises MigrationError, with nothing changed, for
    a faulty migration and for a workspace that a newer version of an app has already migrated.
    """
    started = time.monotonic()
    steps = [step for app in in_order(apps) for step in load(app)]
    applied = []
    async with _alone(database, workspace):
        done = await _history()
        known = {(step.app, step.id) for step in steps}
        names = {app.app_name for app in apps}
        newer = sorted(f"{app}: {id_}" for app, id_ in done if app in names and (app, id_) not in known)
        if newer:
            message = (
                f"workspace {workspace.slug} was migrated by a newer version than this one"
                f" ({'; '.join(newer)}): run that version or a later one"
            )
            raise MigrationError(message, workspace=workspace.slug, migrations=newer)
        for step in steps:
            if (step.app, step.id) not in done:
                await _run(step, workspace, backwards=False)
                applied.append(step.id)
    seconds = time.monotonic() - started
    if applied:
        LOG.info("workspace_migrated", workspace=workspace.slug, migrations=applied, seconds=round(seconds, 3))
    return MigrationReport(workspace.slug, tuple(applied), seconds)


async def replay(connection: Connection, workspace: Workspace, steps: Sequence[Step]) -> None:
    """Apply exactly these migrations, in this order, on a connection that is in an empty workspace.

    Raises MigrationError for one that fails.
    """
    async with _alone(here(connection), workspace):
        for step in steps:
            await _run(step, workspace, backwards=False)


def here(connection: Connection) -> Database:
    """Stands in for the database where migrations are to run on a connection that is in use."""
    return cast("Database", _Here(connection))


class _Here:
    """A database, and its pool, of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def bind(self, _workspace: Workspace) -> contextlib.AbstractContextManager[None]:
        return bind(cast("Pool", self))

    async def acquire(self) -> Connection:
        return self._connection

    def release(self, _connection: Connection) -> None:
        """The connection is not ours to give back."""


async def migrate_all(
    database: Database,
    workspaces: Iterable[Workspace],
    apps_of: Callable[[Workspace], Sequence[AppConfig]],
    report: Callable[[MigrationReport], None] = lambda _: None,
) -> list[MigrationReport]:
    """Migrate one workspace after another, going on after one that fails; `report` hears of each at once."""
    reports = []
    for workspace in workspaces:
        try:
            outcome = await migrate_workspace(database, workspace, apps_of(workspace))
        except CrmError as error:
            LOG.warning("workspace_not_migrated", workspace=workspace.slug, reason=error.message)
            outcome = MigrationReport(workspace.slug, error=error)
        reports.append(outcome)
        report(outcome)
    return reports


async def pending(database: Database, workspace: Workspace, apps: Sequence[AppConfig]) -> list[str]:
    """The migrations that `migrate_workspace` would apply, by id; changes nothing."""
    steps = [step for app in in_order(apps) for step in load(app)]
    async with database.connection(workspace) as connection:
        if not await connection.fetchval("select to_regclass('migration') is not null"):
            return [step.id for step in steps]
        done = {
            (row["app_name"], row["name"]) for row in await connection.fetch("select app_name, name from migration")
        }
    return [step.id for step in steps if (step.app, step.id) not in done]


async def applied(database: Database, workspace: Workspace, app: AppConfig) -> tuple[str, ...]:
    """The migrations of one app that the workspace has, by id, the oldest first."""
    statement = "select name from migration where app_name = $1 order by name"
    async with database.connection(workspace) as connection:
        return tuple(row["name"] for row in await connection.fetch(statement, app.app_name))


async def purge_app(database: Database, workspace: Workspace, app: AppConfig, *, keep: int = 0) -> tuple[str, ...]:
    """Reverse every migration of one app in the workspace, newest first: its tables and data are gone.

    The `keep` oldest of them stay. Returns the reversed migrations. Raises MigrationError, with nothing changed, when
    one cannot be reversed or was made by a newer version.
    """
    steps = {step.id: step for step in load(app)}
    async with _alone(database, workspace):
        ids = sorted((id_ for name, id_ in await _history() if name == app.app_name), reverse=True)
        missing = [id_ for id_ in ids if id_ not in steps]
        if missing:
            message = f"workspace {workspace.slug} has migrations of {app.app_name} unknown here: {missing}"
            raise MigrationError(message, workspace=workspace.slug, migrations=missing)
        ids = ids[: len(ids) - keep]
        for id_ in ids:
            await _run(steps[id_], workspace, backwards=True)
    return tuple(ids)


def in_order(apps: Sequence[AppConfig]) -> list[AppConfig]:
    """The apps, each after those it depends on.

    Raises MigrationError where one is missing, is there twice, or depends on itself.
    """
    by_name = {app.app_name: app for app in apps}
    if len(by_name) < len(apps):
        twice = sorted({app.app_name for app in apps if sum(a.app_name == app.app_name for a in apps) > 1})
        raise MigrationError(f"two Piccolo apps are called {', '.join(twice)}", apps=twice)
    graph = {app.app_name: [d.app_name for d in app.migration_dependency_app_configs] for app in apps}
    for name, needs in graph.items():
        if missing := [need for need in needs if need not in by_name]:
            message = f"the migrations of {name} need those of {', '.join(missing)}, which is not enabled"
            raise MigrationError(message, app=name, missing=missing)
    try:
        return [by_name[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        raise MigrationError(f"migrations depend on each other in a circle: {' -> '.join(error.args[1])}") from error


def load(app: AppConfig) -> list[Step]:
    """An app's migrations in the order of their ids.

    Raises MigrationError where a file's name does not start with the app's, has no ID or forwards(), or
    repeats an ID.
    """
    steps = list(_load(app.app_name, Path(app.resolved_migrations_folder_path)))
    ids = [step.id for step in steps]
    if twice := sorted({id_ for id_ in ids if ids.count(id_) > 1}):
        raise MigrationError(f"the app {app.app_name} has two migrations {', '.join(twice)}", app=app.app_name)
    return steps


@cache
def _load(app_name: str, folder: Path) -> tuple[Step, ...]:
    """Piccolo imports these files by their bare names, which may clash; here each gets a name of its own."""
    if not folder.is_dir():
        raise MigrationError(f"the app {app_name} has no migrations folder {folder.name}", app=app_name)
    steps = []
    for file in sorted(folder.glob("*.py")):
        if file.stem == "__init__":
            continue
        if not file.stem.startswith(f"{app_name}_"):
            message = f"the migration {file.name} of the app {app_name} must be called {app_name}_{file.name}"
            raise MigrationError(message, app=app_name, file=file.name)
        spec = spec_from_file_location(f"crm_migrations.{app_name}.{file.stem}", file)
        if spec is None or spec.loader is None:
            raise MigrationError(f"the migration {file.name} cannot be read", app=app_name, file=file.name)
        module = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            message = f"the migration {file.name} of the app {app_name} cannot be imported: {error}"
            raise MigrationError(message, app=app_name, file=file.name) from error
        id_, forwards = getattr(module, "ID", None), getattr(module, "forwards", None)
        if not isinstance(id_, str) or not callable(forwards):
            message = f"the migration {file.name} of the app {app_name} has no ID or no forwards()"
            raise MigrationError(message, app=app_name, file=file.name)
        steps.append(Step(id_, app_name, forwards))
    return tuple(sorted(steps, key=lambda step: step.id))


@contextlib.asynccontextmanager
async def _alone(database: Database, workspace: Workspace) -> AsyncIterator[None]:
    """One transaction for everything inside, in the workspace, with every other migration of it kept out."""
    with database.bind(workspace):
        async with ENGINE.transaction():
            await ENGINE.run_ddl("set local statement_timeout = 0")
            lock = literal(f"crm.migrate.{workspace.schema}")
            await ENGINE.run_ddl(f"select pg_advisory_xact_lock(hashtextextended({lock}, 0))")
            await Migration.create_table(if_not_exists=True)
            yield


async def _history() -> set[tuple[str, str]]:
    """What has been applied in the workspace, as pairs of app and id."""
    rows = await Migration.select(Migration.app_name, Migration.name)
    return {(row["app_name"], row["name"]) for row in rows}


async def _run(step: Step, workspace: Workspace, *, backwards: bool) -> None:
    try:
        manager = await step.forwards()
        if isinstance(manager, MigrationManager):
            # Piccolo prints its progress.
            with contextlib.redirect_stdout(io.StringIO()):
                await manager.run(backwards=backwards)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"workspace {workspace.slug}: the migration {step.id} of {step.app} failed: {reason}"
        raise MigrationError(message, workspace=workspace.slug, app=step.app, migration=step.id) from error
    if backwards:
        await Migration.delete().where((Migration.app_name == step.app) & (Migration.name == step.id))
    else:
        await Migration.insert(Migration(name=step.id, app_name=step.app))
