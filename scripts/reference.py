"""Write the references for plugins' authors from the code: docs/plugins/hooks.md and docs/plugins/api.md.

    python -m scripts.reference

The tests fail where the files are not what this would write.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any

import core
from core import hookspecs, public
from core.deprecations import NAMES

DOCS = Path(__file__).parent.parent / "docs" / "plugins"
WIDE = 100
#: Where a formatter breaks what has no comma to break at.
WIDEST = 120

HOOKS = """# Hooks

<!-- Written by `make reference` from core/hookspecs.py; change that instead. -->

A plugin marks its functions with `@hookimpl` and takes any subset of a hook's arguments, by name; `settings` are the
plugin's own, validated. Hooks are called in a fixed order: by plugin name, requirements first. A hook that this version
does not know, or an argument that a hook does not have, keeps the plugin from being loaded.

[`examples/noop`](../../examples/noop/hooks.py) implements every hook and does nothing; copy what you need from it.
`recorded_hooks` of the [test kit](testing.md) tells which hooks were called, and with how much.
"""
API = """# The public names

<!-- Written by `make reference` from core/public.py; change that instead. -->

All that a plugin may import is in `core` itself: `from core import Field, hookimpl`. These names keep their meaning as
[compatibility.md](compatibility.md) says; the modules behind them may change with any version.
"""

#: What the public names are for, and the modules they come from.
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Record types",
        "A plugin's own records, and what it adds to those of others.",
        ("core.records", "core.schema.audit", "core.engine", "core.schema.journal"),
    ),
    (
        "Queries and mutations",
        "Root fields of the plugin's own, their arguments and payloads.",
        ("core.operations", "core.arguments", "core.schema.mutations", "core.schema.transfer"),
    ),
    (
        "Changing records",
        "The change set that every write goes through, and what hooks and checks are handed.",
        ("core.changes", "core.rows", "core.targets", "core.undo"),
    ),
    (
        "Conditions and SQL",
        "From a `where` or a predicate to SQL that policy has narrowed.",
        ("core.predicate", "core.condition", "core.schema.where", "core.sql", "core.turned"),
    ),
    (
        "Stored rules",
        "Conditions that records keep, and what they depend on.",
        ("core.rules", "core.rulebook", "core.footprint", "core.ruleexplain", "core.customfields"),
    ),
    (
        "Who, where and what may be seen",
        "The context of a request, the feature set's record types, and policy.",
        ("core.context", "core.catalog", "core.policy"),
    ),
    ("Jobs", "Long work after the answer.", ("core.jobs",)),
    ("Files", "What users upload and jobs make.", ("core.files",)),
    ("Erasing a person", "What the hook `person_erased` is handed, and answers.", ("core.person",)),
    (
        "Errors",
        "One tree with stable codes, what to do after a collision, and the warning of what will be gone.",
        ("core.errors", "core.collisions", "core.pool", "core.deprecations"),
    ),
    (
        "Everything else",
        "Marking hooks, messages, logs, and commands.",
        ("core.hookspecs", "core.messages", "core.log", "core.terminal"),
    ),
)
#: What a hook's docstring says, in this order.
SAID = ("Called", "Return", "Error", "Since")


def hooks() -> dict[str, Any]:
    """The hook specifications by name, in the order of the file."""
    return {
        name: function
        for name, function in vars(hookspecs).items()
        if inspect.isfunction(function) and hasattr(function, "crm_spec")
    }


def said(function: Any) -> tuple[str, dict[str, str]]:
    """What a hook's docstring says: the text before the first mark, and what follows each.

    Raises ValueError where a mark is missing or nothing follows it.
    """
    doc = inspect.getdoc(function) or ""
    text, *rest = re.split(rf"^({'|'.join(SAID)}): ", doc, flags=re.MULTILINE)
    found = {mark: " ".join(what.split()) for mark, what in zip(rest[::2], rest[1::2], strict=True)}
    if missing := [mark for mark in SAID if not found.get(mark)]:
        raise ValueError(f"the hook {function.__name__} does not say {missing[0]!r}")
    if not text.strip():
        raise ValueError(f"the hook {function.__name__} does not say what it is for")
    return text.strip(), found


def signature(function: Any, name: str = "", *, method: bool = False) -> str:
    """A function's signature as it would be written, on several lines where it is long."""
    given = inspect.signature(function)
    parts = [_parameter(p) for p in given.parameters.values()]
    if method:
        parts = parts[1:]
    for kind, mark in ((inspect.Parameter.POSITIONAL_ONLY, "/"), (inspect.Parameter.KEYWORD_ONLY, "*")):
        kinds = [p.kind for p in given.parameters.values()][1 if method else 0 :]
        if kind in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
            at = kinds.index(kind) if mark == "*" else len(kinds) - kinds[::-1].index(kind)
            parts.insert(at, mark)
    prefix = "async def" if inspect.iscoroutinefunction(function) else "def"
    if inspect.isasyncgenfunction(inspect.unwrap(function)):
        prefix = "async with"
    returns = "" if given.return_annotation is inspect.Signature.empty else f" -> {_type(given.return_annotation)}"
    if prefix == "async with":
        returns = returns.replace("AsyncIterator[", "").removesuffix("]").replace(" ->", " as")
    return _call(f"{prefix} {name or function.__name__}", parts, returns)


def _call(head: str, parts: list[str], tail: str) -> str:
    line = f"{head}({', '.join(parts)}){tail}"
    if len(line) <= WIDE:
        return line
    return "\n".join([f"{head}(", *(f"    {p}," for p in parts), f"){tail}"])


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    typed = parameter.annotation is not inspect.Parameter.empty
    text = stars + parameter.name + (f": {_type(parameter.annotation)}" if typed else "")
    if parameter.default is inspect.Parameter.empty:
        return text
    return f"{text} = {_value(parameter.default)}" if typed else f"{text}={_value(parameter.default)}"


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _value(value: Any) -> str:
    """A default as it would be written, where that is short and says anything."""
    if isinstance(value, enum.Enum):
        return str(value)
    plain = value is None or isinstance(value, bool | int | float | str | tuple | frozenset)
    shown = _literal(value) if plain else "..."
    return shown if len(shown) <= 40 and "<" not in shown else "..."


def _literal(value: Any) -> str:
    """A value as it is written here: texts in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))}{',' if len(value) == 1 else ''})"
    return value.__name__ if inspect.isclass(value) else repr(value)


def hooks_page() -> str:
    """The reference of hooks."""
    groups = {
        "What a plugin contributes": (
            "Called once per composition, without a database. They return declarations.",
            [h for h in hooks().items() if not inspect.iscoroutinefunction(h[1])],
        ),
        "What a plugin does": (
            "Coroutines. Those that check and react get whole batches inside the change set's transaction.",
            [h for h in hooks().items() if inspect.iscoroutinefunction(h[1])],
        ),
    }
    out = [HOOKS]
    out += [f"- [`{name}`](#{name}): {said(f)[0].splitlines()[0]}" for name, f in hooks().items()]
    for title, (about, found) in groups.items():
        out += ["", f"## {title}", "", about]
        for name, function in found:
            text, marks = said(function)
            shown = signature(function)
            out += ["", f"### {name}", "", "```python", shown, "```", "", text, ""]
            if links := [f"[`{n}`](api.md#{n.lower()})" for n in re.findall(r"\w+", shown) if n in public.__all__]:
                out += [f"- **Types:** {', '.join(dict.fromkeys(links))}."]
            out += [f"- **{mark}:** {_sentence(marks[mark])}" for mark in SAID]
            options = function.crm_spec
            gone = [options["warn_on_impl"], *(options["warn_on_impl_args"] or {}).values()]
            out += [f"- **Deprecated:** {_sentence(str(warning))}." for warning in gone if warning]
    return "\n".join(out) + "\n"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


@cache
def homes() -> dict[str, tuple[str, str]]:
    """Where each public name comes from: module and name there."""
    found = {}
    for node in ast.parse(inspect.getsource(public)).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[alias.asname or alias.name] = (node.module, alias.name)
    return found


def documented(name: str) -> str:
    """What is said of a public name, by its docstring or by `#:` comments; empty where nothing is."""
    value = getattr(core, name)
    module, original = homes()[name]
    if _is_ours(value):
        return _cleaned(value.__doc__) if value.__doc__ and not _made_up(value) else _commented(module, original)
    return _commented(module, original)


def _is_ours(value: Any) -> bool:
    """Whether a value is a class or a function of core, not another name for something of a library's."""
    return (inspect.isclass(value) or inspect.isroutine(value)) and value.__module__.startswith("core.")


def _cleaned(doc: str | None) -> str:
    return inspect.cleandoc(doc or "")


def _made_up(value: Any) -> bool:
    """Whether dataclass made a docstring, which only repeats the signature."""
    return dataclasses.is_dataclass(value) and str(value.__doc__).startswith(f"{getattr(value, '__name__', '')}(")


@cache
def _comments(module: str) -> dict[str, str]:
    """The `#:` comments before the assignments of a module."""
    lines = inspect.getsource(import_module(module)).splitlines()
    found, comment = {}, []
    for line in lines:
        if line.startswith("#:"):
            comment.append(line[2:].strip())
            continue
        if comment and (match := re.match(r"(\w+)\b.*=", line)):
            found[match[1]] = " ".join(comment)
        comment = []
    return found


def _commented(module: str, name: str) -> str:
    return _comments(module).get(name, "")


def api_page() -> str:
    """The reference of public names."""
    out = [API]
    for title, _, _modules in GROUPS:
        names = names_of(title)
        if names:
            links = ", ".join(f"[`{n}`](#{n.lower()})" for n in names)
            out.append(f"- [{title}](#{_anchor(title)}): {links}")
    for title, about, _modules in GROUPS:
        names = names_of(title)
        if names:
            out += ["", f"## {title}", "", about]
            for name in names:
                out += ["", *_entry(name)]
    return "\n".join(out) + "\n"


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-")


def names_of(title: str) -> list[str]:
    """The public names of a group, classes and functions after each other as in the alphabet."""
    modules = next(m for t, _, m in GROUPS if t == title)
    return sorted((n for n, (module, _) in homes().items() if module in modules), key=str.lower)


def _entry(name: str) -> Iterator[str]:
    value = getattr(core, name)
    yield f"### {name}"
    yield ""
    yield "```python"
    if not _is_ours(value):
        yield _constant(name, value)
    elif inspect.isclass(value):
        yield _class(name, value)
    else:
        yield signature(value, name)
    yield "```"
    yield ""
    yield _prose(documented(name))
    if name in NAMES:
        yield from ("", f"**Deprecated:** {NAMES[name]}.")
    if _is_ours(value) and inspect.isclass(value) and (members := list(_members(value))):
        yield ""
        yield from members


def _constant(name: str, value: Any) -> str:
    """A value as it would be written where that is short, else what it is."""
    if isinstance(value, UnionType):
        return _union(name, [part.__name__ for part in value.__args__])
    if inspect.isclass(value):
        return f"{name} = {value.__module__.split('.')[0]}.{value.__name__}"
    shown = _literal(value)
    if len(shown) <= WIDE and "<" not in shown:
        return f"{name} = {shown}"
    return f"{name}: {f'tuple[{type(value[0]).__name__}, ...]' if isinstance(value, tuple) else type(value).__name__}"


def _union(name: str, parts: list[str]) -> str:
    line = f"{name} = {' | '.join(parts)}"
    return (
        line
        if len(line) <= WIDEST
        else "\n".join([f"{name} = (", f"    {parts[0]}", *(f"    | {p}" for p in parts[1:]), ")"])
    )


def _prose(doc: str) -> str:
    """A docstring as Markdown: an indented tree after `::` is shown as it is."""
    return re.sub(r"\n::\n\n((?:    .*\n?|\n)+)", lambda m: f"\n```text\n{m[1].rstrip()}\n```\n", doc)


def _class(name: str, value: type) -> str:
    if issubclass(value, enum.Enum):
        members = ", ".join(value.__members__)
        return (
            f"class {name}(Enum):  # {members}" if len(members) < WIDE - 30 else f"class {name}(Enum):\n    {members}"
        )
    if issubclass(value, BaseException):
        bases = ", ".join(b.__name__ for b in value.__bases__)
        code = getattr(value, "code", "")
        return f"class {name}({bases}):" + (f"  # {code}" if code else "")
    if dataclasses.is_dataclass(value):
        fields = [_field(f) for f in dataclasses.fields(value) if f.init and not f.name.startswith("_")]
        return _call(f"class {name}", fields, "")
    if getattr(value, "_is_protocol", False):
        return f"class {name}(Protocol)"
    try:
        parts = [_parameter(p) for p in inspect.signature(value).parameters.values()]
    except (TypeError, ValueError):
        return f"class {name}"
    return _call(f"class {name}", parts, "")


def _field(declared: dataclasses.Field[Any]) -> str:
    text = f"{declared.name}: {_type(declared.type)}"
    if declared.default is not dataclasses.MISSING:
        return f"{text} = {_value(declared.default)}"
    if declared.default_factory is dataclasses.MISSING:
        return text
    made = {dict: "{}", list: "[]", set: "set()"}.get(declared.default_factory)  # type: ignore[call-overload]
    return f"{text} = {made or '...'}"


def _members(value: type) -> Iterator[str]:
    """The public methods and properties that a class itself defines, with the first line of what is said of each."""
    if issubclass(value, BaseException | enum.Enum):
        return
    for name, member in vars(value).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield f"- `{name}`: {_first(member.__doc__)}"
        elif inspect.isfunction(member) or isinstance(member, classmethod | staticmethod):
            function = member if inspect.isfunction(member) else member.__func__
            text = re.sub(r"\s+", " ", signature(function, method=not isinstance(member, staticmethod)))
            text = text.replace("( ", "(").replace(", )", ")")
            text = text.replace("async def ", "await ").removeprefix("def ")
            yield f"- `{text}`: {_first(member.__doc__)}"


def _first(doc: str | None) -> str:
    return _cleaned(doc).split("\n\n")[0].replace("\n", " ")


PAGES = {"hooks.md": hooks_page, "api.md": api_page}


def main() -> None:
    """Write the pages."""
    DOCS.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
