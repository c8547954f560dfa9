"""Calling plugins: in a fixed order, with their settings, each failure caught, timed and named."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg
import pluggy
import structlog

from core import hookspecs
from core.collisions import COLLISIONS
from core.errors import CrmError, PluginError
from core.log import told

log = structlog.get_logger("crm.plugins")

#: Hear of each call of a hook: the plugin's name, the hook's, and the arguments. Test kits listen here.
OBSERVERS: list[Callable[[str, str, Mapping[str, Any]], None]] = []


@dataclass(slots=True)
class Health:
    """What is known of one plugin in this process: its last failure and how long its hooks took.

    `rules` are the stored conditions of its records that are off, by workspace, record type and id, with the reason.
    """

    failures: int = 0
    error: str = ""
    hook: str = ""
    seconds: float = 0.0
    calls: int = 0
    rules: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Enabled:
    """A plugin as a feature set has it: name, module and validated settings."""

    name: str
    module: Any
    settings: Any = None


@dataclass
class Hooks:
    """The hooks of one composition's plugins, in their order.

    `health` is shared by all compositions of the process, by plugin name.
    """

    plugins: Sequence[Enabled] = ()
    health: dict[str, Health] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._manager = pluggy.PluginManager("crm")
        self._manager.add_hookspecs(hookspecs)
        self._settings = {p.name: p.settings for p in self.plugins}
        self._order = {p.name: i for i, p in enumerate(self.plugins)}
        for p in self.plugins:
            try:
                self._manager.register(p.module, name=p.name)
            except pluggy.PluginValidationError as error:
                raise PluginError(f"plugin {p.name}: {error}", plugin=p.name) from error
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            name = self._manager.get_name(error.plugin) or "?"
            raise PluginError(f"plugin {name}: {error}", plugin=name) from error
        self._implementations = {
            hook: sorted(caller.get_hookimpls(), key=lambda i: self._order[i.plugin_name])
            for hook in vars(self._manager.hook)
            if isinstance(caller := getattr(self._manager.hook, hook), pluggy.HookCaller)
        }

    def implements(self, hook: str) -> bool:
        """Whether any plugin implements a hook."""
        return bool(self._implementations.get(hook))

    def contribute(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """What each plugin contributes, with its name. Raises PluginError naming the one that failed."""
        for plugin, function in self._calls(hook, arguments):
            with self._watch(plugin, hook):
                result = function()
            if result is not None:
                yield plugin, result

    async def call(self, hook: str, *, only: str = "", **arguments: Any) -> list[tuple[str, Any]]:
        """Await each plugin's hook in order, or that of one. Raises PluginError naming the one that failed.

        Collisions with other transactions, and what took too long, are raised as they are.
        """
        found = []
        for plugin, function in self._calls(hook, arguments):
            if only and plugin != only:
                continue
            with self._watch(plugin, hook):
                result = await function()
            if result is not None:
                found.append((plugin, result))
        return found

    async def announce(self, hook: str, **arguments: Any) -> None:
        """Await each plugin's hook in order; one that fails is logged and counted, the others go on."""
        for plugin, function in self._calls(hook, arguments):
            try:
                with self._watch(plugin, hook, late=True):
                    await function()
            except PluginError:
                continue

    def _calls(self, hook: str, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
        for implementation in self._implementations.get(hook, ()):
            plugin = implementation.plugin_name
            for observe in OBSERVERS:
                observe(plugin, hook, arguments)
            given = {**arguments, "settings": self._settings.get(plugin)}
            values = [given[name] for name in implementation.argnames]
            yield plugin, partial(implementation.function, *values)

    def _watch(self, plugin: str, hook: str, *, late: bool = False) -> _Watch:
        return _Watch(self.health.setdefault(plugin, Health()), plugin, hook, late=late)


class _Watch:
    """Times one call of a hook and turns what it raises into a PluginError with its name.

    What the caller is to be told is raised as it is, unless it comes too `late` to refuse anything.
    """

    def __init__(self, health: Health, plugin: str, hook: str, *, late: bool) -> None:
        self.health, self.plugin, self.hook, self.late = health, plugin, hook, late

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self.health.calls += 1
        self.health.seconds += time.perf_counter() - self.started
        if error is None or not isinstance(error, Exception):
            return
        if isinstance(error, CrmError) and not isinstance(error, PluginError) and not self.late:
            raise error
        if isinstance(error, (*COLLISIONS, asyncpg.QueryCanceledError)) and not self.late:
            # No fault of the plugin's: the change set is tried again, or asks for less.
            raise error
        self.health.failures += 1
        self.health.hook = self.hook
        self.health.error = told(error)[:500]
        log.error("plugin.failed", plugin=self.plugin, hook=self.hook, error=type(error).__name__)
        raise PluginError(
            f"plugin {self.plugin} failed in hook {self.hook}: {type(error).__name__}", plugin=self.plugin
        ) from error
