from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import PluginError
from core.manifest import find, parse, read

GOOD: dict[str, Any] = {"name": "toy", "version": "1.2", "summary": "A toy", "requires_core": ">=0.1"}


def test_a_manifest_has_defaults() -> None:
    found = parse(GOOD, "a.toy")
    assert (found.name, found.version, found.summary, found.package) == ("toy", "1.2", "A toy", "a.toy")
    assert (found.hooks, found.settings, found.app, found.after) == ("a.toy.hooks", "", "", ())
    assert found.requires == {}
    assert (found.nouns, found.internal_tables) == (("toy",), {})


def test_a_manifest_says_everything() -> None:
    more = {
        "requires": ["groups", "tiers >=1.0, <2"],
        "after": ["dedupe"],
        "hooks": "a.toy.impl",
        "settings": "a.toy.settings:Settings",
        "app": "a.toy.tables:APP",
        "nouns": ["toy", "play_thing"],
        "internal_tables": {"toy_key": "Looked into by the check only"},
    }
    found = parse({**GOOD, **more}, "a.toy")
    assert {name: str(spec) for name, spec in found.requires.items()} == {"groups": "", "tiers": "<2,>=1.0"}
    assert (found.after, found.hooks) == (("dedupe",), "a.toy.impl")
    assert (found.settings, found.app) == ("a.toy.settings:Settings", "a.toy.tables:APP")
    assert (found.nouns, found.internal_tables) == (("toy", "play_thing"), more["internal_tables"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": None}, "name is missing"),
        ({"version": None}, "version is missing"),
        ({"summary": None}, "summary is missing"),
        ({"requires_core": None}, "requires_core is missing"),
        ({"name": "Toy"}, "the name 'Toy' must be lower case letters, digits and _ and begin with a letter"),
        ({"name": "core"}, "the name 'core' must be lower case letters, digits and _ and begin with a letter"),
        ({"name": 7}, "name must be a text"),
        ({"summary": " "}, "summary must be a text"),
        ({"version": "one"}, "version 'one' is not a version"),
        ({"requires_core": "soon"}, "requires_core 'soon' is not a version specifier"),
        ({"requires": "groups"}, "requires must be a list of texts"),
        (
            {"requires": ["groups >= x"]},
            "requires: 'groups >= x' is not another plugin with an optional version specifier",
        ),
        ({"requires": ["toy"]}, "requires: 'toy' is not another plugin with an optional version specifier"),
        ({"after": ["To Do"]}, "after: 'To Do' is not the name of another plugin"),
        ({"settings": "a.toy.settings"}, "settings 'a.toy.settings' must be written as module:name"),
        ({"app": "a.toy:"}, "app 'a.toy:' must be written as module:name"),
        ({"hooks": "a toy"}, "hooks 'a toy' must be written as a module"),
        ({"nouns": ["Tier"]}, "nouns: 'Tier' must be words in lower case, joined by _"),
        ({"internal_tables": ["toy_key"]}, "internal_tables must be a table of texts"),
        ({"internal_tables": {"toy_key": " "}}, "internal_tables must be a table of texts"),
        ({"colour": "red"}, "unknown key colour"),
    ],
)
def test_a_defect_is_one_clear_line(change: dict[str, Any], reason: str) -> None:
    given = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(PluginError) as caught:
        parse(given, "a.toy")
    assert caught.value.message == f"a.toy/plugin.toml: {reason}"


def test_a_manifest_is_read_without_importing_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "outer_package" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "outer_package" / "__init__.py").write_text("raise AssertionError('imported')")
    (inner / "__init__.py").write_text("raise AssertionError('imported')")
    text = "".join(f'{key} = "{value}"\n' for key, value in GOOD.items())
    (inner / "plugin.toml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert find("outer_package.inner") == inner / "plugin.toml"
    assert read("outer_package.inner").name == "toy"
    assert not [name for name in sys.modules if name.startswith("outer_package")]


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        ("nowhere_at_all", "the package nowhere_at_all is not installed"),
        ("plugins.nowhere", "the package plugins.nowhere is not installed"),
        ("nowhere.at.all", "the package nowhere.at.all is not installed"),
        ("core.errors", "the package core.errors is not installed"),
        ("../core", "the package ../core is not installed"),
        ("plugins", "the package plugins has no plugin.toml"),
    ],
)
def test_a_package_that_is_no_plugin(package: str, reason: str) -> None:
    with pytest.raises(PluginError) as caught:
        read(package)
    assert caught.value.message == reason


def test_a_manifest_that_is_not_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "torn_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "plugin.toml").write_text('name = "torn')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"torn_package/plugin.toml is not TOML: "):
        read("torn_package")
