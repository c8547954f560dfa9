"""Rules on what clients reach: rows only through policy, writes only through change sets, tables only as records."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from core.check.rule import Fault
from core.check.source import Module, Source
from core.check.syntax import HOLE, Function, bound, calls, dotted, functions, keyword, nodes, text_of
from core.piccolo_app import APP_CONFIG

_READ = re.compile(r"\b(?:from|join)\s+(?:only\s+)?\"?([a-z_][a-z0-9_]*)\"?", re.IGNORECASE)
_TABLE = r"\"?([a-z_][a-z0-9_]*)\"?"
_WRITTEN = re.compile(
    rf"\b(?:insert\s+into|delete\s+from|merge\s+into|truncate(?:\s+table)?|alter\s+table|drop\s+table)\s+{_TABLE}"
    rf"|\bupdate\s+{_TABLE}\s+(?:(?:as\s+)?\w+\s+)?set\s",
    re.IGNORECASE,
)


#: All tables of core: its record types', and those of sign-in, settings and features.
CORE_TABLES = frozenset(str(table._meta.tablename) for table in APP_CONFIG.table_classes)  # noqa: SLF001 - its public name


def read_by_policy(source: Source) -> Iterator[Fault]:
    """What questions and fields read of records that have permissions comes from a policy's scope."""
    governed = CORE_TABLES | _governed(source)
    for module in source.code:
        for function in functions(module):
            for call in calls(function, "fetch"):
                if _asks(call, function) and call.args:
                    yield from _read(source, module, function, call.args[0], governed)
        for call in calls(module.tree, "Field"):
            if (expression := keyword(call, "sql")) is not None:
                yield from _read(source, module, None, expression, governed)


def written_by_changes(source: Source) -> Iterator[Fault]:
    """No statement of the plugin's writes to core's tables."""
    for module in (*source.code, *source.migrations):
        documented = set(_docstrings(module))
        for node in nodes(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
                for match in _WRITTEN.finditer(node.value):
                    table = (match.group(1) or match.group(2)).lower()
                    if table in CORE_TABLES:
                        how = "write by the change set, which checks and journals"
                        yield Fault(f"the statement writes to core's table {table}: {how}", module.at(node))


def _asks(call: ast.Call, function: Function) -> bool:
    """Whether a call of `fetch` is that of a question, or of a `fetch` that was handed on."""
    owner = dotted(call.func).rpartition(".")[0]
    given = {a.arg: a.annotation for a in (*function.args.args, *function.args.kwonlyargs)}
    if not owner:
        return isinstance(call.func, ast.Name) and "fetch" in given
    annotation = given.get(owner)
    return owner == "ask" or (annotation is not None and dotted(annotation).rpartition(".")[2] == "Ask")


def _read(
    source: Source, module: Module, function: Function | None, node: ast.AST, governed: frozenset[str]
) -> Iterator[Fault]:
    told = set()
    for where, piece in _pieces(source, module, function, node, set()):
        text = text_of(source, where, piece) or ""
        for match in _READ.finditer(text.replace(HOLE, " ? ")):
            table = match.group(1).lower()
            if table in governed and (table, piece) not in told:
                told.add((table, piece))
                how = "take it from conditions.source(policy.scope(…))"
                yield Fault(f"the statement reads {table} past the policy: {how}", where.at(piece))


def _pieces(
    source: Source, module: Module, function: Function | None, node: ast.AST, seen: set[int]
) -> Iterator[tuple[Module, ast.AST]]:
    """The texts that an expression is made of, through names and functions of the plugin."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, ast.JoinedStr):
        yield module, node
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from _pieces(source, module, function, part.value, seen)
        return
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield module, node
        return
    if isinstance(node, ast.Name):
        for inner in nodes(function) if function else ():
            if isinstance(inner, ast.Assign) and any(_binds(t, node.id) for t in inner.targets):
                yield from _pieces(source, module, function, inner.value, seen)
        if meant := bound(source, module, node.id):
            yield from _pieces(source, *_inside(meant), seen)
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    for child in ast.iter_child_nodes(node):
        yield from _pieces(source, module, function, child, seen)


def _inside(meant: tuple[Module, ast.AST]) -> tuple[Module, Function | None, ast.AST]:
    module, node = meant
    return module, node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None, node


def _binds(target: ast.AST, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in nodes(target))


def _governed(source: Source) -> frozenset[str]:
    """The tables of the plugin's record types that have permissions of their own, as far as its code says."""
    tables = {}
    for module in source.code:
        for node in nodes(module.tree):
            if isinstance(node, ast.ClassDef):
                for given in node.keywords:
                    if given.arg == "tablename" and (name := text_of(source, module, given.value)):
                        tables[node.name] = name
    found = set()
    for module in source.code:
        for call in calls(module.tree, "RecordType"):
            follows = keyword(call, "follows")
            table = call.args[2] if len(call.args) > 2 else keyword(call, "table")
            if not (isinstance(follows, ast.Constant) and follows.value) and table is not None:
                found.add(tables.get(dotted(table).rpartition(".")[2], ""))
    return frozenset(found - {""})


def _docstrings(module: Module) -> Iterator[int]:
    for node in nodes(module.tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield id(node.value)
