"""A plugin as its files say, without importing any of them."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path

from core import manifest
from core.check.rule import Place
from core.errors import PluginError
from core.manifest import Manifest

MIGRATIONS = "piccolo_migrations"
#: Folders of what was built from the project, and those that hold no plugin of the project's.
_BUILT = {"build", "dist"}
_FOREIGN = {*_BUILT, "node_modules", "site-packages", "tests", "venv"}
#: What marks the root of a project.
_ROOTS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")


class Part(Enum):
    """What a file of a plugin is for."""

    CODE = "code"
    MIGRATION = "migration"
    TEST = "test"


@dataclass(frozen=True, eq=False)
class Module:
    """One Python file: its dotted name, what it is for and its text."""

    file: Path
    name: str
    part: Part
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree; an empty one where it is not Python."""
        try:
            return ast.parse(self.text, str(self.file))
        except (SyntaxError, ValueError):
            return ast.Module([], [])

    def at(self, node: ast.AST) -> Place:
        """The place of a node."""
        return Place(self.file, getattr(node, "lineno", 0))


@dataclass(frozen=True)
class Source:
    """A plugin's files.

    `folder` is its package's, `root` the one that packages are imported from, `project` the project's.
    """

    folder: Path
    root: Path
    project: Path
    package: str
    modules: tuple[Module, ...]

    @classmethod
    def read(cls, folder: Path) -> Source:
        """The plugin whose `plugin.toml` is in a folder."""
        folder = folder.resolve()
        root = folder.parent
        while (root / "__init__.py").is_file():
            root = root.parent
        project = next((p for p in (folder, *folder.parents) if any((p / r).exists() for r in _ROOTS)), root)
        package = ".".join(folder.relative_to(root).parts)
        files = [
            file
            for file in sorted(folder.rglob("*.py"))
            if not any(p.startswith(".") or p in _BUILT for p in file.relative_to(folder).parts)
        ]
        return cls(folder, root, project, package, tuple(_module(f, root, _part(f.relative_to(folder))) for f in files))

    @property
    def toml(self) -> Path:
        """The manifest's file."""
        return self.folder / manifest.FILE

    @cached_property
    def manifest(self) -> Manifest:
        """Its manifest. Raises PluginError for the first thing that is wrong with it."""
        try:
            given = tomllib.loads(self.toml.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise PluginError(f"{self.package}/{manifest.FILE} is not TOML: {error}") from error
        return manifest.parse(given, self.package)

    @property
    def code(self) -> Iterator[Module]:
        """Its modules without migrations and tests."""
        return (m for m in self.modules if m.part is Part.CODE)

    @property
    def migrations(self) -> Iterator[Module]:
        """Its migrations."""
        return (m for m in self.modules if m.part is Part.MIGRATION and m.file.stem != "__init__")

    def module(self, name: str) -> Module | None:
        """One of its modules by dotted name."""
        return next((m for m in self.modules if m.name == name), None)

    def beside(self) -> Iterator[Path]:
        """The folders from its own up to the project's."""
        for folder in (self.folder, *self.folder.parents):
            yield folder
            if folder == self.project:
                return

    @property
    def in_core(self) -> bool:
        """Whether the plugin comes with core itself, whose tests are of both."""
        return Path(manifest.__file__).is_relative_to(self.project)

    @cached_property
    def tests(self) -> tuple[Module, ...]:
        """The test modules that name the plugin: in its package, or in the `tests` of a folder above it."""
        found = {m.file: m for m in self.modules if m.part is Part.TEST}
        for folder in self.beside():
            for file in sorted((folder / "tests").rglob("*.py")):
                if file not in found and self.named_in((module := _module(file, folder, Part.TEST)).text):
                    found[file] = module
        return tuple(m for m in found.values() if m.file.stem.startswith("test_") or m.file.stem.endswith("_test"))

    def named_in(self, text: str) -> bool:
        """Whether a text names the plugin or its package."""
        names = f"{re.escape(self.manifest.name)}|{re.escape(self.package)}"
        return re.search(rf"(?<![A-Za-z0-9])({names})(?![A-Za-z0-9])", text) is not None

    def in_manifest(self, key: str) -> Place:
        """The line of the manifest that sets a key, or the manifest."""
        for number, line in enumerate(self.toml.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if re.match(rf'\s*(\[\s*)?"?{re.escape(key)}"?\s*[=\]]', line):
                return Place(self.toml, number)
        return Place(self.toml)


def plugins_in(path: Path) -> list[Path]:
    """The folders of plugins at or below a path, such as a repository's root: those with a `plugin.toml`."""
    path = path.resolve()
    if path.is_file() and path.name == manifest.FILE:
        return [path.parent]
    found = []
    for file in sorted(path.rglob(manifest.FILE)):
        between = file.relative_to(path).parts[:-1]
        if not any(part.startswith(".") or part in _FOREIGN or part.endswith(".egg-info") for part in between):
            found.append(file.parent)
    return found


def _module(file: Path, root: Path, part: Part) -> Module:
    name = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    return Module(file, name, part, file.read_text(encoding="utf-8", errors="replace"))


def _part(inside: Path) -> Part:
    if MIGRATIONS in inside.parts[:-1]:
        return Part.MIGRATION
    if "tests" in inside.parts[:-1] or inside.stem == "conftest" or inside.stem.startswith("test_"):
        return Part.TEST
    return Part.CODE
