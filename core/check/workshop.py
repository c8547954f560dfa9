"""Where plugins are tried: a server of the check's own, and a workspace that is replaced once it is not as it was."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from core.context import Workspace
from core.database import Database
from core.features import Features
from core.migrate import migrate_workspace
from core.piccolo_app import APP_CONFIG
from core.plugins import PluginRegistry
from core.rows import new_id
from core.seed import seed
from core.testing.deployment import database_of, settings_in
from core.workspaces import Workspaces

Result = TypeVar("Result")


class Workshop:
    """Makes its server when the first plugin is tried, and ends it with the block: `with Workshop() as workshop`."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._database: Database | None = None
        self._workspace: Workspace | None = None
        self._features: Features | None = None
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.run(self._stack.aclose())
        finally:
            self._runner.close()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run what needs the server."""
        return self._runner.run(work)

    async def database(self) -> Database:
        """The server's database. Raises ConfigError or DatabaseError where the server does not come up."""
        if self._database is None:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="crm-check-"))
            self._database = await self._stack.enter_async_context(database_of(settings_in(Path(folder))))
        return self._database

    async def features(self, registry: PluginRegistry) -> Features:
        """The feature sets of workspaces with these plugins installed."""
        if self._features is None or self._features.registry is not registry:
            if self._features is not None:
                # Else it would go on following what happens in the workspace.
                await self._features.close()
            database = await self.database()
            self._features = Features(database, database.settings, registry)
            self._stack.push_async_callback(self._features.close)
        return self._features

    async def workspace(self, features: Features) -> Workspace:
        """A workspace with core's tables, the default roles, one customer and no plugin."""
        if self._workspace is None:
            database = await self.database()
            workspace = await Workspaces(database).create(f"check_{next(self._numbers)}")
            await migrate_workspace(database, workspace, [APP_CONFIG])
            composition = await features.composition(workspace)
            async with database.transaction(workspace) as connection:
                await seed(connection, composition.catalog)
                statement = "insert into customer (id, code, name) values ($1, 'KH1', 'An')"
                await connection.execute(statement, new_id())
            self._workspace = workspace
        return self._workspace

    def replace_workspace(self) -> None:
        """Let the next plugin begin in a workspace that nobody has touched."""
        self._workspace = None
