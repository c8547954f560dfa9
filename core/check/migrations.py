"""Rules on migrations: named after the plugin, and each the way back or marked as having none."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from core.check.rule import Fault
from core.check.source import Source
from core.check.syntax import bound, calls, text_of

#: The constant by which a migration says why nothing of it is taken back.
MARK = "IRREVERSIBLE"


def named(source: Source) -> Iterator[Fault]:
    """Files and ids of migrations begin with the plugin's name."""
    start = f"{source.manifest.name}_"
    for module in source.migrations:
        if not module.file.stem.startswith(start):
            yield Fault(f"the migration must be called {start}{module.file.name}", module.at(module.tree))
        value = bound(source, module, "ID")
        id_ = text_of(source, *value) if value else None
        if value is None:
            yield Fault("the migration has no ID", module.at(module.tree))
        elif id_ is not None and not id_.startswith(start):
            yield Fault(f"the ID {id_!r} must begin with {start}", module.at(value[1]))


def reversible(source: Source) -> Iterator[Fault]:
    """What a migration does by hand it also takes back, or it says why not."""
    for module in source.migrations:
        value = bound(source, module, MARK)
        if value is not None:
            if not (text_of(source, *value) or "").strip():
                yield Fault(f"{MARK} must say why nothing is taken back", module.at(value[1]))
            continue
        forwards = list(calls(module.tree, "add_raw"))
        if len(forwards) > len(list(calls(module.tree, "add_raw_backwards"))):
            yield Fault(f"it has no add_raw_backwards and no {MARK}", module.at(forwards[0]))
        for node in calls(module.tree, "add_raw_backwards"):
            does = bound(source, module, node.args[0].id) if node.args and isinstance(node.args[0], ast.Name) else None
            if does is not None and isinstance(does[1], ast.FunctionDef | ast.AsyncFunctionDef) and _empty(does[1]):
                yield Fault(f"{does[1].name} takes nothing back: do it, or say why in {MARK}", module.at(does[1]))


def _empty(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function does nothing: a docstring, `pass`, `...` or a bare return."""
    return all(
        isinstance(node, ast.Pass)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Return) and node.value is None)
        for node in function.body
    )
