"""Rules on messages: in both languages, with the same facts, and every one that is used is there."""

from __future__ import annotations

import ast
import string
import tomllib
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from core.check.rule import Fault, Place
from core.check.source import Module, Source
from core.check.syntax import HOLE, bound, calls, functions, imported, keyword, like, nodes, text_of
from core.messages import LANGUAGES, catalogue

#: Which argument of what core shows to people is the message.
_SHOWN = {"Fault": 2, "UserError": 2}


def same_keys(source: Source) -> Iterator[Fault]:
    """Each language has the messages that the others have."""
    found = _catalogues(source)
    every = dict.fromkeys(key for messages in found.values() for key in messages)
    for language, messages in found.items():
        file = _file(source, language)
        if every and not file.is_file():
            yield Fault(f"there are no messages in {language}", Place(file))
        elif broken := _broken(file):
            yield Fault(f"this is not TOML: {broken}", Place(file))
        else:
            for key in every:
                if not messages.get(key, "").strip():
                    yield Fault(f"the message {key} is missing in {language}", Place(file))


def same_placeholders(source: Source) -> Iterator[Fault]:
    """A message has the same placeholders in each language."""
    found = _catalogues(source)
    first = found[LANGUAGES[0]]
    for language in LANGUAGES[1:]:
        for key in first.keys() & found[language].keys():
            one, other = _placeholders(first[key]), _placeholders(found[language][key])
            if one != other:
                odd = ", ".join(sorted(one ^ other)) or "braces"
                message = f"the message {key} does not have the same placeholders as in {LANGUAGES[0]}: {odd}"
                yield Fault(message, _line(_file(source, language), key))


def used_exist(source: Source) -> Iterator[Fault]:
    """Every message that the code asks for is there."""
    for module, call, messages, key in _used(source):
        if key not in messages and not (HOLE in key and any(like(key).fullmatch(k) for k in messages)):
            yield Fault(f"there is no message {key.replace(HOLE, '…')}", module.at(call))


def filled_in(source: Source) -> Iterator[Fault]:
    """Every placeholder of a message gets its value."""
    for module, call, messages, key in _used(source):
        if key in messages and all(k.arg for k in call.keywords):
            missing = _placeholders(messages[key]) - {k.arg for k in call.keywords}
            if missing:
                yield Fault(f"the message {key} lacks {', '.join(sorted(missing))}", module.at(call))


def translated(source: Source) -> Iterator[Fault]:
    """What is shown to people comes from the messages, not from the code."""
    for module in source.code:
        taken = {name for origin, name, _ in imported(module) if origin == "core"}
        for call in calls(module.tree, *(_SHOWN.keys() & taken)):
            position = _SHOWN[call.func.id if isinstance(call.func, ast.Name) else call.func.attr]  # type: ignore[attr-defined]
            message = call.args[position] if len(call.args) > position else keyword(call, "message")
            if text_of(source, module, message):
                yield Fault("this message is in one language only: take it from text()", module.at(call))


def _used(source: Source) -> Iterator[tuple[Module, ast.Call, Mapping[str, str], str]]:
    """Each call of `text` whose key can be told: with the messages it chooses from and the key, perhaps with holes."""
    own = _catalogues(source)["en"]
    for module in source.code:
        if not any(origin == "core" and name in ("", "text") for origin, name, _ in imported(module)):
            continue
        if bound(source, module, "text"):
            continue
        for call in calls(module.tree, "text"):
            package = call.args[2] if len(call.args) > 2 else keyword(call, "package")
            messages = own if package is not None else catalogue("core", "en")
            for key in _texts(source, module, call, call.args[0]) if call.args else ():
                if key.strip(HOLE):
                    yield module, call, messages, key


def _texts(source: Source, module: Module, call: ast.Call, node: ast.AST) -> Iterator[str]:
    """The texts that an expression may be: either side of an `if`, or what a local name was given."""
    if isinstance(node, ast.IfExp):
        yield from _texts(source, module, call, node.body)
        yield from _texts(source, module, call, node.orelse)
        return
    if isinstance(node, ast.Name):
        around = [f for f in functions(module) if call in nodes(f)]
        for inner in chain.from_iterable(map(nodes, around)):
            given = inner.value if isinstance(inner, ast.Assign) else None
            if given is not None and not isinstance(given, ast.Name) and _binds(inner, node.id):
                yield from _texts(source, module, call, given)
    found = text_of(source, module, node)
    if found is not None:
        yield found


def _binds(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)


def _file(source: Source, language: str) -> Path:
    return source.folder / "locale" / f"{language}.toml"


def _broken(file: Path) -> str:
    if not file.is_file():
        return ""
    try:
        tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return str(error)
    return ""


def _catalogues(source: Source) -> dict[str, dict[str, str]]:
    found = {}
    for language in LANGUAGES:
        file = _file(source, language)
        usable = file.is_file() and not _broken(file)
        found[language] = (
            {k: str(v) for k, v in tomllib.loads(file.read_text(encoding="utf-8")).items()} if usable else {}
        )
    return found


def _placeholders(message: str) -> set[str]:
    """The names in braces; a message that cannot be filled in has one of its own."""
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(message) if name is not None]
    except ValueError:
        return {"a brace that is not closed"}
    return {name.partition(".")[0].partition("[")[0] for name in names}


def _line(file: Path, key: str) -> Place:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if line.split("=")[0].strip().strip('"') == key:
            return Place(file, number)
    return Place(file)
