"""Rules on what a plugin consists of: manifest, README, tests, files that can be read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from core.check.rule import Fault, Place
from core.check.source import Source
from core.errors import PluginError

_TEST = re.compile(r"^\s*(async )?def test", re.MULTILINE)
#: Specifiers that end the versions which they let in.
_ENDS = ("<", "<=", "==", "~=", "===")


def manifest_valid(source: Source) -> Iterator[Fault]:
    """The manifest can be read and says what it must."""
    try:
        _ = source.manifest
    except PluginError as error:
        yield Fault(error.message, Place(source.toml))


def core_bound(source: Source) -> Iterator[Fault]:
    """The next major version of core is not let in."""
    specifiers = source.manifest.requires_core
    if not any(s.operator in _ENDS for s in specifiers):
        message = f'requires_core "{specifiers}" has no upper end: write, for example, ">=0.1,<1"'
        yield Fault(message, source.in_manifest("requires_core"))


def readme(source: Source) -> Iterator[Fault]:
    """There is a README that tells of the plugin."""
    for folder in source.beside():
        for file in sorted(folder.glob("README*")):
            text = file.read_text(encoding="utf-8", errors="replace")
            if source.named_in(text) and len(text.split()) > len(source.manifest.name.split()) + 1:
                return
    yield Fault(f"no README names the plugin {source.manifest.name} and says what it does", Place(source.folder))


def tests(source: Source) -> Iterator[Fault]:
    """There are tests of the plugin."""
    if not any(_TEST.search(module.text) for module in source.tests):
        yield Fault(f"no test in tests/test_*.py names the plugin {source.manifest.name}", Place(source.folder))


def readable(source: Source) -> Iterator[Fault]:
    """Every file is Python."""
    for module in source.modules:
        try:
            ast.parse(module.text)
        except (SyntaxError, ValueError) as error:
            yield Fault(f"this is not Python: {error.args[0]}", Place(module.file, getattr(error, "lineno", 0) or 0))
