"""A deployment for tests: one embedded server, and workspaces on it that are made and erased."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib import metadata
from operator import methodcaller
from pathlib import Path
from typing import Any

from core.context import Workspace
from core.database import Database
from core.errors import NotFound
from core.given import PREFIX
from core.http.services import Services, services_over
from core.migrate import migrate_workspace
from core.piccolo_app import APP_CONFIG
from core.plugins import GROUP, PluginRegistry
from core.seed import seed
from core.settings import Settings
from core.testing.client import Client
from core.testing.sandbox import Sandbox
from core.testing.statements import WatchedDatabase
from core.workspaces import Workspaces

#: Failures show the test's own lines.
__tracebackhide__ = methodcaller("errisinstance", AssertionError)

#: The programs to run the server with are not a matter of the deployment under test.
KEPT = f"{PREFIX}POSTGRES_BIN"
#: Faster, and nothing here has to survive a power cut.
UNSAFE = ("fsync", "synchronous_commit", "full_page_writes")
NOTHING: Mapping[str, Mapping[str, Any]] = {}


@contextmanager
def own_environment() -> Iterator[None]:
    """Keep the `CRM_` variables of whoever runs the tests out of the block, but for the server's programs."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(PREFIX) and name != KEPT}
    try:
        yield
    finally:
        os.environ.update(hidden)


def settings_in(folder: Path) -> Settings:
    """The settings of a deployment that has everything in one folder."""
    with own_environment():
        return Settings.load(data_dir=folder, secret="s" * 40, log_level="warning")


@asynccontextmanager
async def database_of(settings: Settings) -> AsyncIterator[Database]:
    """The open database of a deployment, on a server that is quick rather than safe, for the block."""
    opened = await WatchedDatabase.open(settings)
    try:
        async with opened.admin() as connection:
            for name in UNSAFE:
                await connection.execute(f"alter system set {name} = off")
            await connection.execute("select pg_reload_conf()")
        yield opened
    finally:
        await opened.close()


class Deployment:
    """A database on which workspaces are made and erased; close it when done."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.workspaces = Workspaces(database)
        self._numbers = itertools.count(1)
        self._services: dict[frozenset[str], Services] = {}

    async def close(self) -> None:
        """Close what was opened, but for the database."""
        for services in self._services.values():
            await services.close()
        self._services.clear()

    async def services(self, packages: Sequence[str] = ()) -> Services:
        """What a server stands on, with all installed plugins and those of further packages."""
        key = frozenset(packages)
        if key not in self._services:
            installed = [point.value for point in metadata.entry_points(group=GROUP)]
            registry = PluginRegistry.discover([*installed, *packages])
            async with AsyncExitStack() as stack:
                self._services[key] = await services_over(self.database, self.settings, stack, registry)
        return self._services[key]

    async def workspace(self, *, migrated: bool = True, **values: Any) -> Workspace:
        """A new workspace with core's tables and nothing in them, or with an empty schema."""
        slug = values.pop("slug", "") or f"test_{next(self._numbers)}"
        made = await self.workspaces.create(slug, **values)
        if migrated:
            await migrate_workspace(self.database, made, [APP_CONFIG])
        return made

    async def erase(self, slug: str) -> None:
        """Erase a workspace, if it is still there."""
        try:
            await self.workspaces.erase(slug)
        except NotFound:
            return

    @asynccontextmanager
    async def sandbox(
        self,
        features: Sequence[str] = (),
        settings: Mapping[str, Mapping[str, Any]] = NOTHING,
        **values: str,
    ) -> AsyncIterator[Sandbox]:
        """A workspace with plugins, for the block: see `make`."""
        made = await self.make(features, settings, **values)
        try:
            yield made
        finally:
            await self.erase(made.slug)

    async def make(
        self,
        features: Sequence[str] = (),
        settings: Mapping[str, Mapping[str, Any]] = NOTHING,
        **values: Any,
    ) -> Sandbox:
        """A new workspace with the default roles and some plugins switched on, after those that they require.

        A feature is the name of an installed plugin, or a package with a manifest, written with a dot. `settings` go by
        the plugins' names, `values` are the workspace's own: `slug`, `time_zone`, `locale`, `currency`, `country`.
        Raises AssertionError, with the workspace erased, for a plugin that cannot be switched on.
        """
        services = await self.services([name for name in features if "." in name])
        names = self._in_order(services.features.registry, features)
        if unknown := sorted(set(settings) - set(names)):
            raise AssertionError(f"there are settings for {', '.join(unknown)}, which is not among the features")
        workspace = await self.workspace(**values)
        try:
            made = Sandbox(workspace, services)
            composition = await services.features.composition(workspace)
            async with self.database.transaction(workspace) as connection:
                await seed(connection, composition.catalog)
            for name in names:
                await made.enable(name, settings.get(name))
        except BaseException:
            await self.erase(workspace.slug)
            raise
        return made

    @staticmethod
    def _in_order(registry: PluginRegistry, features: Sequence[str]) -> list[str]:
        """The names of plugins, each after those that it requires. Raises AssertionError for one that is not there."""
        by_package = {m.package: name for name, m in registry.manifests.items()}
        order: dict[str, None] = {}

        def add(name: str) -> None:
            plugin = registry.plugins.get(name)
            if plugin is None:
                broken = registry.broken.get(name)
                reason = f"is broken: {broken.reason}" if broken else "is not installed"
                known = "" if broken else f" (installed are {', '.join(sorted(registry.plugins))}): pip install it"
                raise AssertionError(f"the plugin {name} {reason}{known}")
            for other in plugin.manifest.requires:
                add(other)
            order[name] = None

        for feature in features:
            add(by_package.get(feature, feature))
        return list(order)


class Factory:
    """Makes sandboxes as `Deployment.make` does, and keeps them in `made` to erase them in the end."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.made: list[Sandbox] = []

    async def __call__(
        self, features: Sequence[str] = (), settings: Mapping[str, Mapping[str, Any]] = NOTHING, **values: str
    ) -> Sandbox:
        """Make one."""
        sandbox = await self._deployment.make(features, settings, **values)
        self.made.append(sandbox)
        return sandbox

    async def client(self, *arguments: Any, **values: Any) -> Client:
        """A client of the only sandbox: see `Sandbox.client`. Raises AssertionError where there is not exactly one."""
        if len(self.made) != 1:
            how = "several workspaces: say which by" if self.made else "no workspace yet: make one, then"
            raise AssertionError(f"the test has {how} `await shop.client(...)`")
        return await self.made[0].client(*arguments, **values)

    async def erase(self) -> None:
        """Erase those that are still there."""
        for sandbox in self.made:
            await self._deployment.erase(sandbox.slug)
        self.made.clear()


@asynccontextmanager
async def deployment(folder: Path) -> AsyncIterator[Deployment]:
    """A deployment in an empty folder, for the block."""
    settings = settings_in(folder)
    async with database_of(settings) as database:
        opened = Deployment(settings, database)
        try:
            yield opened
        finally:
            await opened.close()
