"""A plugin tried in a workspace: migrated forwards and backwards, switched on, used a little, and purged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from core.check.loaded import Loaded
from core.check.workshop import Workshop
from core.context import Workspace
from core.contributions import reason
from core.errors import MigrationError
from core.features import Features
from core.jobs import enqueue
from core.migrate import migrate_workspace, purge_app
from core.piccolo_app import APP_CONFIG
from core.rows import new_id
from core.sql import quote
from core.testing.tables import Tables, difference, tables_of

#: What stays of a plugin on purpose: the history.
_HISTORY = {"change", "change_set"}
#: Columns that count or time how often a row was touched.
_TOUCHED = ["at", "updated_at", "updated_by", "version"]
#: By which of its values a row is told to people.
_NAMES = ("name", "kind", "record_type", "key", "plugin")


@dataclass
class Trial:
    """What a plugin did in a workspace.

    `stuck` is why its migrations could not be applied or taken back, `problem` why it could not be switched on or
    purged. `tables` are those that it made; `changed` is what its migrations, taken back, leave of the schema otherwise
    than it was, `left` what its purge leaves of schema and rows.
    """

    loaded: Loaded
    stuck: str = ""
    problem: str = ""
    tables: tuple[str, ...] = ()
    changed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether the workspace is as it was."""
        return not (self.stuck or self.problem or self.changed or self.left)


@dataclass(frozen=True)
class _State:
    """What a workspace has: its tables' make, and their rows as JSON."""

    tables: Tables
    rows: Mapping[str, Counter[str]]


async def try_out(workshop: Workshop, loaded: Loaded) -> Trial:
    """Try a plugin. Raises ConfigError or DatabaseError where there is no server to try it on."""
    features = await workshop.features(loaded.registry)
    trial = Trial(loaded)
    workspace = await workshop.workspace(features)
    required = _required(loaded)
    for name in required:
        await features.enable(workspace, name)
    before = await _state(features, workspace)
    await _back_and_forth(trial, features, workspace, before)
    if not trial.stuck and not trial.changed:
        await _on_and_off(trial, features, workspace, before)
    if trial.clean:
        for name in reversed(required):
            await _purge(features, workspace, name)
    else:
        workshop.replace_workspace()
    return trial


def _required(loaded: Loaded) -> list[str]:
    """The plugins that it requires, and what they require, in the order of the registry."""
    wanted = set(loaded.plugin.manifest.requires)
    for plugin in reversed(loaded.registry.plugins.values()):
        if plugin.name in wanted:
            wanted |= plugin.manifest.requires.keys()
    return [name for name in loaded.registry.plugins if name in wanted]


async def _back_and_forth(trial: Trial, features: Features, workspace: Workspace, before: _State) -> None:
    """Apply all migrations and take them back."""
    app = trial.loaded.plugin.app
    if app is None:
        return
    database = features.database
    try:
        apps = [APP_CONFIG, *(a for a in await features.apps(workspace) if a.app_name != APP_CONFIG.app_name), app]
        await migrate_workspace(database, workspace, apps)
        await purge_app(database, workspace, app)
    except MigrationError as error:
        trial.stuck = reason(error)
        return
    trial.changed = difference(before.tables, (await _state(features, workspace)).tables)


async def _on_and_off(trial: Trial, features: Features, workspace: Workspace, before: _State) -> None:
    """Switch it on, leave what only the system could know of, switch it off and purge it."""
    name = trial.loaded.plugin.name
    try:
        await features.enable(workspace, name)
        made = await _state(features, workspace)
        trial.tables = tuple(t for t, lines in made.tables.items() if t not in before.tables and _is_table(lines))
        await _use(trial.loaded, features, workspace)
        await _purge(features, workspace, name)
    except Exception as error:  # noqa: BLE001 whatever a plugin raises, it is a fault of its
        trial.problem = reason(error)
    else:
        after = await _state(features, workspace)
        trial.left = [*difference(before.tables, after.tables), *_rows_changed(before, after)]


async def _use(loaded: Loaded, features: Features, workspace: Workspace) -> None:
    """Leave what a plugin leaves in use: jobs that wait, field rules on its records, viewers whom it lets in."""
    composed = await features.composed(workspace)
    name = loaded.plugin.name
    async with features.database.transaction(workspace) as connection:
        for kind in composed.jobs:
            if kind.startswith(f"{name}."):
                await enqueue(connection, workspace, kind, {}, None)
        for declared in composed.record_types.get(name, ()):
            statement = """insert into field_rule (id, role_id, record_type, field, access)
                select $1, id, $2, $3, 'READ' from role order by id limit 1"""
            await connection.execute(statement, new_id(), declared.name, declared.fields[-1].name)
        for record in composed.composition.catalog:
            if name in record.viewer_sources and record.type.viewers:
                link = record.to_many[record.type.viewers]
                table = composed.composition.catalog[link.target].type.tablename
                statement = f"""insert into {quote(table)} (id, {quote(link.column)}, everyone, source)
                    select $1, id, true, $2 from {quote(record.type.tablename)} order by id limit 1"""
                await connection.execute(statement, new_id(), name)


async def _purge(features: Features, workspace: Workspace, name: str) -> None:
    """Switch a plugin off and drop what it has; nobody else serves the workspace, so there is nobody to wait for."""
    await features.disable(workspace, name)
    async with features.database.transaction(workspace) as connection:
        await connection.execute("update feature set at = at - interval '1 hour' where plugin = $1", name)
    await features.purge(workspace, name)


async def _state(features: Features, workspace: Workspace) -> _State:
    async with features.database.connection(workspace) as connection:
        tables = await tables_of(connection)
        rows = {}
        for table, lines in tables.items():
            if table not in _HISTORY and _is_table(lines):
                statement = f"select (to_jsonb(t) - $1::text[])::text from {quote(table)} t"
                rows[table] = Counter(row[0] for row in await connection.fetch(statement, _TOUCHED))
    return _State(tables, rows)


def _is_table(lines: tuple[str, ...]) -> bool:
    return any(line.startswith("column ") for line in lines) and not any(line.startswith("view ") for line in lines)


def _rows_changed(before: _State, after: _State) -> list[str]:
    """The rows of tables that were there before which came or went, one line each."""
    lines = []
    for table in sorted(before.rows.keys() & after.rows.keys()):
        for mark, rows in (
            ("+", after.rows[table] - before.rows[table]),
            ("-", before.rows[table] - after.rows[table]),
        ):
            lines += [f"{mark} row of {table}: {_told(row)}" for row in sorted(rows)]
    return lines


def _told(row: str) -> str:
    values = orjson.loads(row)
    return str(next((values[name] for name in _NAMES if values.get(name)), values.get("id", "")))
