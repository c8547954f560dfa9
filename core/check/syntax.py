"""What the rules ask of syntax trees: what is called, imported and bound, and which text an expression is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import TypeGuard

from core.check.rule import Place
from core.check.source import Module, Source

Function = ast.FunctionDef | ast.AsyncFunctionDef

#: Through how many modules a name is followed.
_DEEPEST = 5
#: Stands in a text for what is filled in at run time.
HOLE = "\x00"


def dotted(node: ast.AST) -> str:
    """`a.b.c` of names and attributes; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def is_function(node: ast.AST) -> TypeGuard[Function]:
    """Whether a node defines a function."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


@cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """A node and all below it. Kept: every rule walks the same trees."""
    return tuple(ast.walk(tree))


@cache
def functions(module: Module) -> tuple[Function, ...]:
    """All functions of a module, inner ones too."""
    return tuple(node for node in nodes(module.tree) if is_function(node))


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """The calls of functions by their last name: `text` finds `text(…)` and `core.text(…)`."""
    for node in nodes(tree):
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in names:
            yield node


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """An argument given by name."""
    return next((k.value for k in call.keywords if k.arg == name), None)


@cache
def imported(module: Module) -> tuple[tuple[str, str, ast.AST], ...]:
    """What a module imports: the module, the name taken from it (empty for all of it) and the statement."""
    return tuple(_imported(module))


def _imported(module: Module) -> Iterator[tuple[str, str, ast.AST]]:
    for node in nodes(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", node
        elif isinstance(node, ast.ImportFrom):
            package = module.name.split(".")
            if module.file.stem == "__init__":
                package.append("")
            base = ".".join(package[: len(package) - node.level]) if node.level else ""
            for alias in node.names:
                yield ".".join(part for part in (base, node.module or "") if part), alias.name, node


def bound(source: Source, module: Module, name: str, depth: int = 0) -> tuple[Module, ast.AST] | None:
    """What a name means at a module's top level: the value or the function, in whichever module it is written."""
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return module, node.value
        if isinstance(node, ast.AnnAssign) and dotted(node.target) == name and node.value is not None:
            return module, node.value
        if is_function(node) and node.name == name:
            return module, node
    for origin, taken, statement in imported(module):
        if not isinstance(statement, ast.ImportFrom) or depth > _DEEPEST:
            continue
        alias = next(a for a in statement.names if a.name == taken)
        if (alias.asname or alias.name) == name and (other := source.module(origin)):
            return bound(source, other, taken, depth + 1)
    return None


def text_of(source: Source, module: Module, node: ast.AST | None) -> str | None:
    """The text that an expression is, with HOLE for what is filled in; None where that cannot be told."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=parts):
            found = [text_of(source, module, p) if isinstance(p, ast.Constant) else HOLE for p in parts]
            return "".join(part or "" for part in found)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            one, other = text_of(source, module, left), text_of(source, module, right)
            return None if one is None and other is None else (one or HOLE) + (other or HOLE)
        case ast.Name(id=name):
            meant = bound(source, module, name)
            return text_of(source, *meant) if meant and not isinstance(meant[1], ast.Name) else None
    return None


def like(pattern: str) -> re.Pattern[str]:
    """What matches a text with holes."""
    return re.compile(".*".join(map(re.escape, pattern.split(HOLE))))


def saying(source: Source, text: str, owner: str = "") -> Place | None:
    """Where the code says a text as it is, such as a name that it declares; by preference where it declares `owner`."""
    places = []
    for module in (*source.code, *source.migrations):
        if text not in module.text:
            continue
        for call in (n for n in nodes(module.tree) if isinstance(n, ast.Call)):
            owned = any(isinstance(a, ast.Constant) and a.value == owner for a in call.args)
            for node in nodes(call) if owned else call.args:
                if isinstance(node, ast.Constant) and node.value == text:
                    places.append((not owned, module.at(node)))
    return min(places, key=lambda found: found[0])[1] if places else None
