"""What the HTTP surface stands on, opened once per process."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from core.auth import Authenticator
from core.database import Database
from core.events.hubs import Hubs
from core.features import Features
from core.files import FileStore
from core.http.access import AccessLog
from core.http.allowance import Allowance
from core.http.answered import Answered
from core.http.directory import Directory
from core.http.documents import Documents
from core.http.metrics import Metrics
from core.plugins import PluginRegistry
from core.schema.measure import Limits
from core.settings import Settings
from core.workspaces import Workspaces


@dataclass(slots=True)
class Services:
    """The parts of an open application."""

    settings: Settings
    database: Database
    features: Features
    authenticator: Authenticator
    directory: Directory
    documents: Documents
    files: FileStore
    allowance: Allowance
    hubs: Hubs
    limits: Limits
    answered: Answered
    closing: AsyncExitStack

    @property
    def at_hand(self) -> dict[str, Any]:
        """What requests find in their context's `extra`."""
        return {"auth": self.authenticator, "files": self.files}

    async def close(self) -> None:
        """Close everything that was opened, last first."""
        self.answered.settle()
        await self.closing.aclose()


async def open_services(settings: Settings) -> Services:
    """Open everything an application stands on.

    Raises ConfigError or DatabaseError, with nothing left open.
    """
    async with AsyncExitStack() as stack:
        database = await Database.open(settings)
        stack.push_async_callback(database.close)
        return await services_over(database, settings, stack)


async def services_over(
    database: Database, settings: Settings, closing: AsyncExitStack, registry: PluginRegistry | None = None
) -> Services:
    """The services over an open database; they take over what `closing` holds once they are complete.

    `registry` are the plugins there are; all that are installed unless it is given.
    """
    authenticator = Authenticator(database, settings)
    await authenticator.start()
    features = Features(database, settings, registry)
    closing.push_async_callback(features.close)
    allowance = Allowance(database, settings)
    closing.push_async_callback(allowance.close)
    hubs = Hubs(database, features, Limits.of(settings), settings)
    await hubs.start()
    closing.push_async_callback(hubs.close)
    directory = Directory(database, Workspaces(database), settings.default_workspace)
    closing.push_async_callback(directory.close)
    await directory.open()
    return Services(
        settings,
        database,
        features,
        authenticator,
        directory,
        Documents(database),
        FileStore(settings),
        allowance,
        hubs,
        Limits.of(settings),
        Answered(Metrics(), AccessLog(settings)),
        closing.pop_all(),
    )
