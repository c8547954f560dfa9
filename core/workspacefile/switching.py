"""The plugins of a file: which are on, and their settings."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

import pydantic

from core.context import RequestContext
from core.errors import PluginError, Refused
from core.features import Features, canonical
from core.pool import Connection
from core.workspacefile import document
from core.workspacefile.difference import Difference, FileFault

#: What is shown in the place of a secret.
MASKED = "***"


class Plugins:
    """Reads and switches the plugins of workspaces in the file's terms. Secrets never show."""

    def __init__(self, features: Features) -> None:
        self._features = features

    async def table(self, connection: Connection) -> dict[str, dict[str, Any]]:
        """The settings of the plugins that are on, without those that go without saying."""
        return {name: self._plain(name, stored) for name, stored in (await _switched_on(connection)).items()}

    async def settle(self, connection: Connection, context: RequestContext, table: Any) -> list[Difference]:
        """Switch plugins off and on and set them up, those that others require first. Raises FileFault."""
        if not isinstance(table, Mapping) or not all(isinstance(v, Mapping) for v in table.values()):
            raise FileFault(["plugins: must be tables by the names of plugins"])
        installed = list(self._features.registry.plugins)
        there = await self.table(connection)
        found = []
        for name in sorted(there, key=_place_in(installed), reverse=True):
            if name not in table:
                await _refusing(name, self._features.switch.disable(connection, context, name))
                gone = {n: (value, None) for n, value in there[name].items()}
                found.append(Difference("delete", "plugins", name, gone, destructive=True))
        for name in sorted(table, key=_place_in(installed)):
            stored = await connection.fetchval("select settings from feature where plugin = $1", name) or {}
            wanted = self._wanted(name, table[name], stored)
            if name in there and canonical(wanted) == canonical(self._kept(name, stored)):
                continue
            await _refusing(name, self._features.switch.enable(connection, context, name, wanted))
            before, after = there.get(name, {}), self._plain(name, wanted)
            changes: dict[str, tuple[Any, Any]] = {
                n: (before.get(n), after.get(n)) for n in sorted({*before, *after}) if before.get(n) != after.get(n)
            }
            for secret in self._secrets(name):
                if wanted.get(secret) != stored.get(secret):
                    changes[secret] = (MASKED if secret in stored else None, MASKED if secret in wanted else None)
            found.append(Difference("change" if name in there else "create", "plugins", name, changes))
        return found

    def _wanted(self, name: str, table: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as they are to be kept; secrets that the file leaves out stay what they are."""
        try:
            given = {n: document.to_json(value) for n, value in table.items()}
        except ValueError:
            raise FileFault([f"plugins.{name}: a value is no JSON value"]) from None
        return self._kept(name, {n: stored[n] for n in self._secrets(name) if n in stored} | given)

    def _kept(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Settings without those that go without saying; as they are where they do not fit."""
        plugin = self._features.registry.plugins.get(name)
        if plugin is None:
            return dict(given)
        try:
            found = plugin.settings(given).model_dump(mode="json", exclude_defaults=True, by_alias=True)
        except PluginError:
            return dict(given)
        secrets = self._secrets(name)
        return {n: given.get(n, value) if n in secrets else value for n, value in found.items()}

    def _plain(self, name: str, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as anybody may see them."""
        secrets = self._secrets(name)
        kept = sorted(self._kept(name, stored).items())
        return {n: document.of_json(value) for n, value in kept if n not in secrets}

    def _secrets(self, name: str) -> list[str]:
        """The settings of a plugin that hold a secret, wherever it lies in them."""
        plugin = self._features.registry.plugins.get(name)
        fields = plugin.model.model_fields.items() if plugin else ()
        kinds = (pydantic.SecretStr.__name__, pydantic.SecretBytes.__name__)
        return [field.alias or n for n, field in fields if any(kind in repr(field.annotation) for kind in kinds)]


async def _switched_on(connection: Connection) -> dict[str, Any]:
    rows = await connection.fetch("select plugin, settings from feature where enabled order by plugin")
    return {row["plugin"]: row["settings"] for row in rows}


def _place_in(installed: list[str]) -> Any:
    """Sorts names as plugins are in order, those that are not installed first."""
    return lambda name: (installed.index(name) if name in installed else -1, name)


async def _refusing(name: str, switching: Awaitable[None]) -> None:
    try:
        await switching
    except Refused as error:
        raise FileFault([f"plugins.{name}: {e.message}" for e in error.errors]) from error
