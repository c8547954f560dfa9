"""The plugins of this installation: found, checked, put in order; a broken one is named and stops nothing."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module, metadata
from types import ModuleType
from typing import Any

import pydantic
from piccolo.conf.apps import AppConfig

from core import hookspecs, manifest, migrate
from core.deprecations import Deprecated
from core.errors import CrmError, PluginError
from core.hooks import Enabled, Health, Hooks
from core.log import logger
from core.manifest import Manifest

LOG = logger("crm.plugins")
GROUP = "crm.plugins"
DISTRIBUTION = "headless-crm"


class State(Enum):
    """Whether a plugin can be used at all."""

    READY = "READY"
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """What is known of an installed plugin. `reason` says in one line why it is broken."""

    name: str
    version: str
    state: State
    reason: str = ""


class NoSettings(pydantic.BaseModel, extra="forbid"):
    """The settings of a plugin that has none."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that was loaded: its manifest, hooks, settings model and Piccolo app."""

    manifest: Manifest
    module: ModuleType
    model: type[pydantic.BaseModel] = NoSettings
    app: AppConfig | None = None

    @property
    def name(self) -> str:
        """Its name, as in the manifest."""
        return self.manifest.name

    def settings(self, given: Mapping[str, Any]) -> pydantic.BaseModel:
        """Validate settings. Raises PluginError naming the first that is wrong, never its value."""
        try:
            return self.model.model_validate(given)
        except pydantic.ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "settings"
            # Not "from error": what it says has the values, which may be secrets.
            raise PluginError(f"{where}: {first['msg']}", plugin=self.name, path=first["loc"]) from None


@dataclass
class PluginRegistry:
    """The plugins of this process, in the order in which their hooks run: by name, requirements first.

    `plugins` are those that can be used, `broken` the others with their reasons. `health` counts how the hooks
    do, by plugin, for all workspaces of the process.
    """

    plugins: dict[str, Plugin] = field(default_factory=dict)
    broken: dict[str, PluginStatus] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    health: dict[str, Health] = field(default_factory=dict)

    @classmethod
    def discover(cls, packages: Iterable[str] | None = None, core_version: str = "") -> PluginRegistry:
        """Load the installed plugins (entry points of the group `crm.plugins`), or those of given packages.

        Never raises for a plugin: whatever is wrong with one ends up in `status()`.
        """
        registry = cls()
        version = core_version or metadata.version(DISTRIBUTION)
        if packages is None:
            found = [(e.name, e.value) for e in metadata.entry_points(group=GROUP)]
        else:
            found = [("", p) for p in packages]
        for name, package in sorted(set(found)):
            registry._read(name, package, version)
        for known in _in_order(registry.manifests, registry._break):
            registry._load(known)
        return registry

    def status(self) -> list[PluginStatus]:
        """Every plugin that was found, by name, with its state."""
        ready = [PluginStatus(p.name, p.manifest.version, State.READY) for p in self.plugins.values()]
        return sorted([*ready, *self.broken.values()], key=lambda s: s.name)

    def _break(self, name: str, version: str, reason: str) -> None:
        line = " ".join(reason.split())[:500]
        self.broken[name] = PluginStatus(name, version, State.BROKEN, line)
        LOG.error("plugin_broken", plugin=name, version=version, reason=line)

    def _read(self, name: str, package: str, core_version: str) -> None:
        try:
            with _telling(name or package):
                found = manifest.read(package)
            if name and found.name != name:
                raise PluginError(f"its entry point is called {name}, its manifest says {found.name}")
        except (CrmError, Deprecated) as error:
            self._break(name or package, "", str(error))
            return
        if taken := self.manifests.get(found.name):
            reason = f"{taken.package} and {package} are both called {found.name}"
            self._break(package, found.version, reason)
            return
        try:
            found.demand_core(core_version)
        except PluginError as error:
            self._break(found.name, found.version, error.message)
            return
        self.manifests[found.name] = found

    def _load(self, found: Manifest) -> None:
        for other, specifier in found.requires.items():
            required = self.plugins.get(other)
            if required is None:
                reason = (
                    f"it needs the plugin {other}, which is {'broken' if other in self.broken else 'not installed'}"
                )
                self._break(found.name, found.version, reason)
                return
            if not specifier.contains(required.manifest.version, prereleases=True):
                reason = f"it needs {other} {specifier}, installed is {required.manifest.version}"
                self._break(found.name, found.version, reason)
                return
        try:
            with _telling(found.name):
                plugin = load(found)
            self.plugins[found.name] = plugin
        except CrmError as error:
            self._break(found.name, found.version, error.message)
        except (Exception, SystemExit) as error:  # noqa: BLE001 whatever a plugin raises, it stops nothing
            self._break(found.name, found.version, f"it cannot be loaded: {type(error).__name__}: {error}")


@contextmanager
def _telling(plugin: str) -> Iterator[None]:
    """Log what a plugin uses of what will be gone; the warnings go on to whoever runs its tests."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Deprecated)
        yield
    for told in caught:
        if isinstance(told.message, Deprecated):
            LOG.warning("plugin_uses_deprecated", plugin=plugin, reason=str(told.message))
        warnings.warn_explicit(told.message, told.category, told.filename, told.lineno)


def load(found: Manifest) -> Plugin:
    """Import a plugin and check it. Raises PluginError or MigrationError, and whatever its code raises."""
    module = import_module(found.hooks)
    # Registers it as a composition will: misspelled hooks and arguments are found here.
    Hooks([Enabled(found.name, module)])
    _check_coroutines(found.name, module)
    model: Any = _refer(found, found.settings) if found.settings else NoSettings
    if not (isinstance(model, type) and issubclass(model, pydantic.BaseModel)):
        raise PluginError(f"its settings {found.settings} are not a pydantic model", plugin=found.name)
    app: Any = _refer(found, found.app) if found.app else None
    if found.app:
        if not isinstance(app, AppConfig) or app.app_name != found.name:
            message = f"{found.app} must be a Piccolo AppConfig with the app name {found.name}"
            raise PluginError(message, plugin=found.name)
        migrate.load(app)
    return Plugin(found, module, model, app)


def _refer(found: Manifest, reference: str) -> Any:
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except AttributeError as error:
        raise PluginError(f"{module} has no {name}", plugin=found.name) from error


def _check_coroutines(plugin: str, module: ModuleType) -> None:
    """Raise PluginError where a hook is `async` and should not be, or the other way round."""
    for name, function in inspect.getmembers(module, inspect.isfunction):
        spec = getattr(hookspecs, name, None)
        if spec is None or not hasattr(function, "crm_impl"):
            continue
        wanted = inspect.iscoroutinefunction(spec)
        if inspect.iscoroutinefunction(function) is not wanted:
            raise PluginError(f"its hook {name} must {'' if wanted else 'not '}be async", plugin=plugin)


def _in_order(found: Mapping[str, Manifest], broken: Callable[[str, str, str], None]) -> list[Manifest]:
    """The manifests by name, each after those it requires or wants to follow; circles are reported and left out."""
    order: dict[str, Manifest] = {}
    way: list[str] = []
    bad: set[str] = set()

    def visit(name: str) -> None:
        if name in order or name in bad:
            return
        if name in way:
            circle = way[way.index(name) :]
            for member in circle:
                bad.add(member)
                reason = f"it depends on itself: {' -> '.join([*circle, name])}"
                broken(member, found[member].version, reason)
            return
        way.append(name)
        for other in sorted({*found[name].requires, *found[name].after}):
            if other in found:
                visit(other)
        way.pop()
        if name not in bad:
            order[name] = found[name]

    for name in sorted(found):
        visit(name)
    return list(order.values())
