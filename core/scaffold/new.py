"""Writing a new plugin into a folder, whole or not at all."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from string import Template

from core.contributions import Chosen, FeatureSet, compose
from core.errors import ConfigError, PluginError
from core.features import core_operations
from core.plugins import DISTRIBUTION, GROUP, PluginRegistry
from core.scaffold.names import Names

_SUFFIX = ".tmpl"


class _Template(Template):
    """`$` is for SQL and GraphQL here."""

    delimiter = "~"


def create(name: str, folder: Path) -> Path:
    """Write a new plugin into a folder of its own in `folder`; returns that.

    Raises PluginError for a name that cannot be, or clashes with what an installed plugin or the core has, and
    ConfigError where the folder is there already or cannot be written.
    """
    names = Names.of(name)
    there = {entry.name for entry in metadata.entry_points(group=GROUP)}
    if name in there:
        raise PluginError(f"there is an installed plugin called {name}", plugin=name)
    if find_spec(names.package) is not None:
        raise PluginError(f"there is an installed package {names.package}", plugin=name)
    place = folder / names.project
    if place.exists() or place.is_symlink():
        raise ConfigError(f"{place} is there already", path=str(place))
    try:
        with tempfile.TemporaryDirectory(prefix=f".{names.project}-", dir=folder) as made:
            whole = Path(made) / names.project
            write(names, whole)
            _demand_fits(names, whole)
            shutil.move(whole, place)
    except OSError as error:
        raise ConfigError(f"{place} cannot be written: {error.strerror or error}", path=str(place)) from error
    return place


def write(names: Names, place: Path) -> None:
    """Write the files of a new plugin into a folder that is made for them."""
    values = {**names.all(), "core": core_bound(metadata.version(DISTRIBUTION))}
    for path, text in _templates(files("core.scaffold") / "templates", PurePosixPath()):
        file = place / _Template(str(path)).substitute(values)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_Template(text).substitute(values), encoding="utf-8")


def core_bound(version: str) -> str:
    """The versions of the core that a plugin works with which is written for this one: up to the next major version."""
    major, minor, *_ = version.split(".")
    return f">={major}.{minor},<{int(major) + 1}"


def _templates(folder: Traversable, inside: PurePosixPath) -> Iterator[tuple[PurePosixPath, str]]:
    """Each template's path, with the names in it as the templates' own, and its text."""
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        name = entry.name.replace("dot_", ".").replace("PACKAGE", "~package").replace("NAME", "~{name}")
        if entry.is_dir():
            yield from _templates(entry, inside / name)
        elif name.endswith(_SUFFIX):
            yield inside / name.removesuffix(_SUFFIX), entry.read_text(encoding="utf-8")


def _demand_fits(names: Names, place: Path) -> None:
    """Raise PluginError unless the plugin composes with the core and everything that is installed."""
    packages = [entry.value for entry in metadata.entry_points(group=GROUP)]
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(place))
    try:
        together = _left_out([*packages, names.package])
    finally:
        sys.path.remove(str(place))
        sys.dont_write_bytecode = writes
    # Of two that claim one name the second is left out, whichever that is.
    alone = _left_out(packages) if together else {}
    for other, reason in together.items():
        if other not in alone:
            raise PluginError(f"the name {names.name} clashes: {reason}", plugin=names.name)


def _left_out(packages: list[str]) -> Mapping[str, str]:
    """The plugins among some packages that do not compose with the others, with the reasons."""
    registry = PluginRegistry.discover(packages)
    chosen = tuple(Chosen(p.name, p.manifest.version) for p in registry.plugins.values())
    broken = {status.name: status.reason for status in registry.broken.values()}
    # Composing asks nothing of a running deployment.
    composed = compose(FeatureSet(chosen), registry, core_operations(None))  # type: ignore[arg-type]
    return {**broken, **composed.left_out}
