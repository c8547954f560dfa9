"""A plugin imported, and composed with core and every other plugin that is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from graphql import GraphQLSchema

from core import manifest
from core.check.source import Source
from core.contributions import Chosen, Composed, FeatureSet, compose
from core.errors import CrmError, PluginError
from core.features import core_operations
from core.hooks import Enabled, Hooks
from core.plugins import GROUP, Plugin, PluginRegistry


@dataclass(frozen=True)
class Loaded:
    """A plugin as it was loaded. `without` is the feature set of all other plugins, `both` the one with it too."""

    source: Source
    registry: PluginRegistry
    plugin: Plugin
    without: Composed
    both: Composed

    @property
    def before(self) -> GraphQLSchema:
        """The schema without the plugin."""
        return self.without.composition.schema

    @property
    def after(self) -> GraphQLSchema:
        """The schema with it."""
        return self.both.composition.schema

    def contributed(self, hook: str) -> Any:
        """What the plugin's own hook contributes with the default settings: a tuple, a mapping, or ().

        A hook that fails contributes nothing, and what is no declaration is passed over: the plugin is left out of
        `both` for either.
        """
        hooks = Hooks([Enabled(self.plugin.name, self.plugin.module, self.plugin.settings({}))])
        try:
            found: Any = next((found for _, found in hooks.contribute(hook)), ())
            return found if isinstance(found, Mapping) else tuple(item for item in found if is_dataclass(item))
        except (CrmError, TypeError):
            return ()


@dataclass
class Loader:
    """Loads plugins one after the other; what was composed for one is not composed again for the next."""

    composed: dict[tuple[int, str], Composed] = field(default_factory=dict)
    registries: dict[frozenset[str], PluginRegistry] = field(default_factory=dict)

    def load(self, source: Source) -> Loaded:
        """Import and compose a plugin, as long as `importable(source)` lasts. Raises PluginError, in one line."""
        name = source.manifest.name
        installed = {e.name: e.value for e in metadata.entry_points(group=GROUP)}
        known = installed.get(name) == source.package
        packages = {package for other, package in installed.items() if known or other != name}
        others = self._registry(packages)
        registry = others if known else PluginRegistry.discover({*packages, source.package})
        if broken := registry.broken.get(name) or registry.broken.get(source.package):
            raise PluginError(broken.reason, plugin=name)
        plugin = registry.plugins[name]
        file = Path(str(plugin.module.__file__))
        if plugin.manifest.hooks.startswith(source.package) and not file.is_relative_to(source.folder):
            raise PluginError(f"{source.package} is imported from elsewhere: {file}", plugin=name)
        plugin.settings({})
        beside = [p for p in others.plugins.values() if p.name != name and name not in p.manifest.requires]
        without = self._compose(others, beside)
        return Loaded(source, registry, plugin, without, self._compose(registry, [*beside, plugin]))

    def _registry(self, packages: set[str]) -> PluginRegistry:
        key = frozenset(packages)
        if key not in self.registries:
            self.registries[key] = PluginRegistry.discover(packages)
        return self.registries[key]

    def _compose(self, registry: PluginRegistry, plugins: list[Plugin]) -> Composed:
        """Compose plugins with core; what is composed of installed ones is kept, for it may be asked for again."""
        features = FeatureSet(tuple(Chosen(p.name, p.manifest.version) for p in sorted(plugins, key=lambda p: p.name)))
        # Composing needs no running features: what core's own operations do with them is not done here.
        operations = core_operations(None)  # type: ignore[arg-type]
        if not any(registry is shared for shared in self.registries.values()):
            return compose(features, registry, operations)
        key = id(registry), features.fingerprint
        if key not in self.composed:
            self.composed[key] = compose(features, registry, operations)
        return self.composed[key]


@contextmanager
def importable(source: Source) -> Iterator[None]:
    """Inside the block, modules of a plugin that is not installed can be imported; afterwards they are forgotten."""
    if _is_installed(source):
        yield
        return
    top = source.package.partition(".")[0]

    def own() -> set[str]:
        return {name for name in sys.modules if name == top or name.startswith(f"{top}.")}

    before = own()
    sys.path.insert(0, str(source.root))
    try:
        yield
    finally:
        sys.path.remove(str(source.root))
        for name in own() - before:
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(source.folder)):
                del sys.modules[name]


def _is_installed(source: Source) -> bool:
    """Whether the plugin is found without our doing."""
    try:
        return manifest.find(source.package).parent.resolve() == source.folder
    except PluginError:
        return False
