"""Rules on a plugin's life in a workspace: it can be switched on, its tables are known, and it goes without a trace."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from core.check.hooks import place_of
from core.check.names import carries
from core.check.rule import Fault, Place
from core.check.syntax import nodes
from core.check.trial import Trial

#: How many lines of a difference are told.
_TOLD = 5


def switched_on(trial: Trial) -> Iterator[Fault]:
    """It can be switched on and purged."""
    if trial.problem:
        yield Fault(trial.problem, place_of(trial.loaded.source, "switched_on"))


def reversed_whole(trial: Trial) -> Iterator[Fault]:
    """Its migrations, applied and taken back, leave the schema as it was."""
    if trial.stuck:
        yield Fault(trial.stuck)
    if trial.changed:
        yield Fault(f"taken back, its migrations leave {_lines(trial.changed)}")


def purged_whole(trial: Trial) -> Iterator[Fault]:
    """Its purge leaves nothing but the history."""
    if trial.left:
        yield Fault(f"its purge leaves {_lines(trial.left)}", place_of(trial.loaded.source, "switched_on"))


def tables_named(trial: Trial) -> Iterator[Fault]:
    """Every table carries one of its nouns."""
    manifest = trial.loaded.plugin.manifest
    for table in trial.tables:
        if not carries(table, manifest):
            message = f"the table {table} has none of the plugin's nouns in its name: {', '.join(manifest.nouns)}"
            yield Fault(message, _made(trial, table))


def tables_known(trial: Trial) -> Iterator[Fault]:
    """Every table is that of a record type, or internal with a reason; every internal one is there."""
    internal = trial.loaded.plugin.manifest.internal_tables
    shown = {t.tablename for t in trial.loaded.contributed("record_types")}
    for table in trial.tables:
        if table not in shown and table not in internal:
            message = f"the table {table} belongs to no record type: declare one, or say why not in internal_tables"
            yield Fault(message, _made(trial, table))
    for table in internal:
        place = trial.loaded.source.in_manifest(table)
        if trial.tables and table in shown:
            yield Fault(f"the table {table} is that of a record type, so it is not internal", place)
        elif trial.tables and table not in trial.tables:
            yield Fault(f"there is no table {table} that could be internal", place)


def _made(trial: Trial, table: str) -> Place | None:
    """The place in a migration that names a table."""
    named = re.compile(rf"(^|\btable (if not exists )?\W*){re.escape(table)}\b", re.IGNORECASE)
    for module in trial.loaded.source.migrations:
        for node in nodes(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and named.search(node.value):
                return module.at(node)
    return None


def _lines(lines: list[str]) -> str:
    more = f" and {len(lines) - _TOLD} more" if len(lines) > _TOLD else ""
    return "; ".join(lines[:_TOLD]) + more
