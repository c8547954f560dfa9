"""What a plugin says of itself in its `plugin.toml`, read before any of its code is imported."""

from __future__ import annotations

import re
import tomllib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from core.deprecations import KEYS
from core.errors import PluginError

FILE = "plugin.toml"
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_TEXTS = ("name", "version", "summary", "requires_core", "hooks", "app", "settings")
_LISTS = ("requires", "after", "nouns")
_TABLES = ("internal_tables",)
_NOUN = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A plugin's manifest.

    `requires_core` and `requires` are PEP 440 specifiers, of the core and of other plugins by name; `after` are
    plugins whose hooks run first where they are enabled too. `hooks` is the module with the plugin's hooks,
    `settings` its pydantic model and `app` its Piccolo app, both as `module:name` and empty where there is none.
    `nouns` are what its names in a workspace are about, such as `tier`: its own name where it says none.
    `internal_tables` are tables of no record type, with the reason why no client reads them. Both are what
    `crm plugin check` holds it to.
    """

    name: str
    version: str
    summary: str
    package: str
    hooks: str
    requires_core: SpecifierSet
    requires: Mapping[str, SpecifierSet]
    after: tuple[str, ...] = ()
    settings: str = ""
    app: str = ""
    nouns: tuple[str, ...] = ()
    internal_tables: Mapping[str, str] = field(default_factory=dict)

    def demand_core(self, version: str) -> None:
        """Raise PluginError unless the plugin works with a version of the core."""
        if not self.requires_core.contains(version, prereleases=True):
            message = f"plugin {self.name} needs core {self.requires_core}, this is {version}"
            raise PluginError(message, plugin=self.name, requires=str(self.requires_core), version=version)


def find(package: str) -> Path:
    """The manifest's file in an importable package, found without importing the package or its parents.

    Raises PluginError where there is no such package or no manifest in it.
    """
    top, *rest = package.split(".")
    spec = find_spec(top) if _MODULE.fullmatch(package) else None
    for depth, name in enumerate(rest, 2):
        if spec is None or spec.submodule_search_locations is None:
            break
        full = ".".join(package.split(".")[:depth])
        try:
            spec = PathFinder.find_spec(full, list(spec.submodule_search_locations)) if name else None
        except KeyError:
            # A folder without a module asks for its parent, which nobody has imported.
            spec = None
    if spec is None or spec.submodule_search_locations is None:
        raise PluginError(f"the package {package} is not installed", package=package)
    for folder in spec.submodule_search_locations:
        if (file := Path(folder) / FILE).is_file():
            return file
    raise PluginError(f"the package {package} has no {FILE}", package=package)


def read(package: str) -> Manifest:
    """The manifest of a package. Raises PluginError, one line, for the first thing that is wrong with it."""
    file = find(package)
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PluginError(f"{package}/{FILE} is not TOML: {error}", package=package) from error
    except OSError as error:
        raise PluginError(f"{package}/{FILE} cannot be read: {error.strerror}", package=package) from error
    return parse(given, package)


def parse(given: Mapping[str, Any], package: str) -> Manifest:
    """A manifest from the values in its file. Raises PluginError for the first thing that is wrong with it."""

    def wrong(what: str) -> PluginError:
        return PluginError(f"{package}/{FILE}: {what}", package=package)

    _check_shapes(given, wrong)
    for key in sorted(given.keys() & KEYS.keys()):
        warnings.warn(KEYS[key], stacklevel=2)
    name = given["name"]
    if not NAME.fullmatch(name) or name == "core":
        raise wrong(f"the name {name!r} must be lower case letters, digits and _ and begin with a letter")
    try:
        Version(given["version"])
    except InvalidVersion:
        raise wrong(f"version {given['version']!r} is not a version") from None
    try:
        core = SpecifierSet(given["requires_core"])
    except InvalidSpecifier:
        raise wrong(f"requires_core {given['requires_core']!r} is not a version specifier") from None
    requires = {}
    for text in given.get("requires", []):
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            requirement = None
        if requirement is None or not NAME.fullmatch(requirement.name) or requirement.name == name:
            raise wrong(f"requires: {text!r} is not another plugin with an optional version specifier")
        requires[requirement.name] = requirement.specifier
    for other in given.get("after", []):
        if not NAME.fullmatch(other) or other == name:
            raise wrong(f"after: {other!r} is not the name of another plugin")
    for noun in given.get("nouns", []):
        if not _NOUN.fullmatch(noun):
            raise wrong(f"nouns: {noun!r} must be words in lower case, joined by _")
    return Manifest(
        name=name,
        version=given["version"],
        summary=given["summary"],
        package=package,
        hooks=given.get("hooks", f"{package}.hooks"),
        requires_core=core,
        requires=requires,
        after=tuple(given.get("after", [])),
        settings=given.get("settings", ""),
        app=given.get("app", ""),
        nouns=tuple(given.get("nouns", [name])),
        internal_tables=dict(given.get("internal_tables", {})),
    )


def _check_shapes(given: Mapping[str, Any], wrong: Callable[[str], PluginError]) -> None:
    if unknown := sorted(given.keys() - {*_TEXTS, *_LISTS, *_TABLES}):
        raise wrong(f"unknown key {unknown[0]}")
    for key in ("name", "version", "summary", "requires_core"):
        if key not in given:
            raise wrong(f"{key} is missing")
    for key in _TEXTS:
        if not isinstance(given.get(key, ""), str) or given.get(key, "-").strip() == "":
            raise wrong(f"{key} must be a text")
    for key in _LISTS:
        if not isinstance(given.get(key, []), list) or not all(isinstance(v, str) for v in given.get(key, [])):
            raise wrong(f"{key} must be a list of texts")
    for key in _TABLES:
        values = given.get(key, {})
        if not isinstance(values, dict) or not all(isinstance(v, str) and v.strip() for v in values.values()):
            raise wrong(f"{key} must be a table of texts")
    for key, pattern, shape in (
        ("hooks", _MODULE, "a module"),
        ("app", _REFERENCE, "module:name"),
        ("settings", _REFERENCE, "module:name"),
    ):
        if key in given and not pattern.fullmatch(given[key]):
            raise wrong(f"{key} {given[key]!r} must be written as {shape}")
