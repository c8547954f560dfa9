"""What the HTTP surface stands on, opened once per process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from core.auth import Authenticator
from core.context import Actor, Workspace
from core.database import Database
from core.events.hubs import Hubs
from core.features import Features
from core.files import FileStore
from core.http.access import AccessLog
from core.http.allowance import Allowance
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
    metrics: Metrics
    access: AccessLog
    closing: AsyncExitStack

    @property
    def at_hand(self) -> dict[str, Any]:
        """What requests find in their context's `extra`."""
        return {"auth": self.authenticator, "files": self.files}

    def record(
        self,
        request_id: str,
        workspace: Workspace | None,
        actor: Actor | None,
        *,
        kind: str,
        operation: str,
        status: int,
        codes: Sequence[str],
        statements: int,
        seconds: float,
    ) -> None:
        """Count an operation that has been answered and log it; `status` is that of HTTP, 0 on a socket."""
        known = actor is not None and actor.user_id is not None
        self.metrics.request(kind, status, operation, codes, statements, seconds, known=known)
        if self.access.on:
            self.access.write(
                seconds,
                request_id=request_id,
                workspace=workspace.slug if workspace else None,
                operation=operation[:100],
                kind=kind,
                actor_id=actor.user_id if actor else None,
                status=status,
                codes=codes,
                statements=statements,
            )

    async def close(self) -> None:
        """Close everything that was opened, last first."""
        self.access.flush()
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
        Metrics(),
        AccessLog(settings),
        closing.pop_all(),
    )
