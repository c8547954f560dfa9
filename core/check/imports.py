"""Rules on what a plugin imports: core's public root, no other plugin, and nothing that leads to the database."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import metadata
from itertools import chain

from core import public
from core.check.rule import Fault
from core.check.source import Module, Part, Source
from core.check.syntax import bound, calls, dotted, imported, nodes
from core.plugins import GROUP

#: Drivers and engines. Of asyncpg, errors may be imported: they are what a statement raises.
_DRIVERS = {
    "aiopg", "databases", "pg8000", "piccolo.engine", "psycopg", "psycopg2", "psycopg_pool", "sqlalchemy", "sqlmodel",
}  # fmt: skip
_ASYNCPG = "asyncpg"
#: What makes a query of a Piccolo table, which runs on the engine.
_QUERIES = {
    "alter", "count", "create_index", "create_table", "create_table_sync", "delete", "drop_index", "exists", "insert",
    "objects", "raw", "select", "update",
}  # fmt: skip


def public_root(source: Source) -> Iterator[Fault]:
    """Of core, only the names of its root are imported; tests may use `core.testing`."""
    tests = [m for m in source.tests if not source.in_core or m.file.is_relative_to(source.folder)]
    for module in (*source.code, *source.migrations, *tests):
        test = module.part is Part.TEST
        for origin, name, node in imported(module):
            if origin.split(".")[0] != "core":
                continue
            if test and (origin == "core.testing" or (origin, name) == ("core", "testing")):
                continue
            if origin != "core":
                yield Fault(f"{origin} is not public: import from core", module.at(node))
            elif name and name not in public.__all__:
                yield Fault(f"core has no public name {name}", module.at(node))


def no_other_plugin(source: Source) -> Iterator[Fault]:
    """No other plugin is imported, whether it is installed or not."""
    others = {e.value for e in metadata.entry_points(group=GROUP)} - {source.package}
    for module in (*source.code, *source.migrations):
        for origin, name, node in imported(module):
            for other in sorted(others):
                if f"{origin}.{name}".startswith(f"{other}."):
                    yield Fault(f"{other} is another plugin: ask it by records and hooks", module.at(node))


def no_connection(source: Source) -> Iterator[Fault]:
    """No driver, no engine, no Piccolo query: connections are those of change sets, questions and jobs."""
    for module in source.code:
        for origin, name, node in imported(module):
            if any(f"{origin}.{name}".startswith(f"{driver}.") for driver in _DRIVERS):
                yield Fault(f"{origin} leads to connections of its own", module.at(node))
            elif (origin, name) == ("core", "ENGINE"):
                yield Fault("ENGINE is for migrations", module.at(node))
            elif origin == _ASYNCPG and name and not name.endswith("Error"):
                yield Fault(f"{_ASYNCPG}.{name} leads to connections of its own", module.at(node))
        yield from _used(source, module)


def _used(source: Source, module: Module) -> Iterator[Fault]:
    for node in nodes(module.tree):
        name = dotted(node)
        if name.startswith(f"{_ASYNCPG}.") and not name.endswith("Error"):
            yield Fault(f"{name} leads to connections of its own", module.at(node))
        elif name == "core.ENGINE":
            yield Fault("ENGINE is for migrations", module.at(node))
    for call in chain(calls(module.tree, *_QUERIES), calls(module.tree, "run_sync")):
        owner = dotted(call.func).rpartition(".")[0]
        if owner and _is_table(source, module, owner):
            yield Fault(f"{dotted(call.func)}() is a Piccolo query, which runs on the engine", module.at(call))


def _is_table(source: Source, module: Module, name: str) -> bool:
    """Whether a name, perhaps with its module's, is a Piccolo table of the plugin's."""
    owner, _, last = name.rpartition(".")
    for origin, taken, _ in imported(module):
        if owner and (taken or origin.rpartition(".")[2]) == owner.rpartition(".")[2]:
            other = source.module(f"{origin}.{taken}") or source.module(origin)
            if other is not None and last in _tables(other):
                return True
        if not owner and taken == name and (other := source.module(origin)) is not None and name in _tables(other):
            return True
    return not owner and bound(source, module, name) is None and name in _tables(module)


def _tables(module: Module) -> set[str]:
    """The classes of a module that are Piccolo tables."""
    return {
        node.name
        for node in module.tree.body
        if isinstance(node, ast.ClassDef) and any(dotted(b).rpartition(".")[2] == "Table" for b in node.bases)
    }
