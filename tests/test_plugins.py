from __future__ import annotations

import sys
from importlib import metadata

import pytest

from core.plugins import PluginRegistry, PluginStatus, State

BROKEN = "tests.broken_plugins"


def discover(*names: str, core_version: str = "0.1.0") -> PluginRegistry:
    return PluginRegistry.discover([f"{BROKEN}.{name}" for name in names], core_version)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raises_on_import", "it cannot be loaded: RuntimeError: no such luck"),
        ("exits_on_import", "it cannot be loaded: SystemExit: good bye"),
        ("wants_newer_core", "plugin wants_newer_core needs core >=99, this is 0.1.0"),
        ("misspells_hook", "unknown hook 'extentions'"),
        ("misspells_argument", "Argument(s) {'setings'} are declared in the hookimpl but can not be found"),
        ("forgets_async", "its hook check must be async"),
        ("needs_missing", "it needs the plugin nowhere, which is not installed"),
        ("no_settings", "its settings tests.broken_plugins.no_settings.hooks:Settings are not a pydantic model"),
        ("no_app", "tests.broken_plugins.no_app.hooks:APP"),
    ],
)
def test_a_broken_plugin_is_named_with_its_reason(name: str, reason: str) -> None:
    registry = discover(name, "good")
    by_name = {s.name: s for s in registry.status()}
    assert by_name["good"] == PluginStatus("good", "1.0", State.READY)
    assert by_name[name].state is State.BROKEN
    assert by_name[name].version == "1.0"
    assert reason in by_name[name].reason
    assert "\n" not in by_name[name].reason
    assert list(registry.plugins) == ["good"]


def test_a_plugin_for_a_newer_core_is_not_even_imported() -> None:
    discover("wants_newer_core")
    assert f"{BROKEN}.wants_newer_core.hooks" not in sys.modules


def test_a_package_without_a_manifest_is_named_by_its_package() -> None:
    (status,) = discover("no_manifest").status()
    assert (status.name, status.state) == (f"{BROKEN}.no_manifest", State.BROKEN)
    assert status.reason == f"the package {BROKEN}.no_manifest has no plugin.toml"


def test_what_needs_a_broken_plugin_is_broken() -> None:
    registry = discover("needs_broken", "raises_on_import")
    assert registry.broken["needs_broken"].reason == "it needs the plugin raises_on_import, which is broken"


def test_a_requirement_has_a_version() -> None:
    registry = discover("needs_newer", "good")
    assert registry.broken["needs_newer"].reason == "it needs good >=2, installed is 1.0"


def test_plugins_that_need_each_other_are_broken() -> None:
    registry = discover("circle_a", "circle_b", "good")
    assert set(registry.broken) == {"circle_a", "circle_b"}
    assert registry.broken["circle_a"].reason == "it depends on itself: circle_a -> circle_b -> circle_a"
    assert list(registry.plugins) == ["good"]


def test_the_order_is_by_name_with_requirements_first() -> None:
    assert list(discover("own_table", "follows", "good", "after_good").plugins) == [
        "good",
        "after_good",
        "follows",
        "own_table",
    ]


def test_two_plugins_cannot_have_one_name(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "another_good"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "plugin.toml").write_text('name = "good"\nversion = "2"\nsummary = "x"\nrequires_core = ">=0"\n')
    monkeypatch.syspath_prepend(tmp_path)
    registry = PluginRegistry.discover(["another_good", f"{BROKEN}.good"], "0.1.0")
    assert registry.broken[f"{BROKEN}.good"].reason == f"another_good and {BROKEN}.good are both called good"


def test_entry_points_are_found_and_must_agree_with_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        metadata.EntryPoint("groups", "plugins.groups", "crm.plugins"),
        metadata.EntryPoint("better", f"{BROKEN}.good", "crm.plugins"),
    ]
    asked: list[str] = []
    monkeypatch.setattr(metadata, "entry_points", lambda group: asked.append(group) or points)
    registry = PluginRegistry.discover()
    assert asked == ["crm.plugins"]
    assert list(registry.plugins) == ["groups"]
    assert registry.broken["better"].reason == "its entry point is called better, its manifest says good"


def test_the_plugins_that_come_along_are_installed() -> None:
    registry = PluginRegistry.discover()
    assert "groups" in registry.plugins
    assert registry.broken == {}


def test_settings_name_what_is_wrong_but_not_the_value() -> None:
    from core.errors import PluginError

    plugin = discover("good").plugins["good"]
    assert plugin.settings({"greeting": "hi"}).greeting == "hi"
    with pytest.raises(PluginError) as caught:
        plugin.settings({"token": ["s3cret"]})
    assert caught.value.message.startswith("token: ")
    assert "s3cret" not in caught.value.message
    with pytest.raises(PluginError, match="unknown: Extra inputs are not permitted"):
        plugin.settings({"unknown": 1})
    with pytest.raises(PluginError, match="Extra inputs"):
        discover("follows", "good").plugins["follows"].settings({"any": 1})
