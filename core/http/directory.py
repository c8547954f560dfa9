"""The workspaces of the deployment as one process knows them: found without asking the database."""

from __future__ import annotations

import asyncio
import time

from core.context import Workspace
from core.database import Database
from core.errors import DatabaseError
from core.log import logger
from core.workspaces import CHANNEL, Workspaces

LOG = logger("crm.directory")
#: How often an unknown name may make this process look again.
AGAIN_SECONDS = 1.0


class Directory:
    """Finds workspaces by slug or host name; follows the registry's notifications."""

    def __init__(self, database: Database, workspaces: Workspaces, default: str) -> None:
        self._database = database
        self._workspaces = workspaces
        self._default = default
        self._by_slug: dict[str, Workspace] = {}
        self._by_hostname: dict[str, Workspace] = {}
        self._read_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Read the registry and begin to follow it. Raises DatabaseError."""
        await self._database.listen(CHANNEL, self._changed)
        await self._read()

    async def close(self) -> None:
        """Stop following."""
        for task in self._tasks:
            task.cancel()

    def all(self) -> list[Workspace]:
        """Every workspace, by slug."""
        return [self._by_slug[slug] for slug in sorted(self._by_slug)]

    def bound(self, hostname: str) -> Workspace | None:
        """The workspace a host name belongs to."""
        return self._by_hostname.get(hostname)

    @property
    def has_hostnames(self) -> bool:
        """Whether any workspace has a host name of its own."""
        return bool(self._by_hostname)

    async def find(self, slug: str | None, hostname: str = "") -> Workspace | None:
        """The workspace with a slug; without one that of the host name, else the default one."""
        found = self._lookup(slug, hostname)
        if found is None and time.monotonic() - self._read_at > AGAIN_SECONDS:
            await self._read()
            found = self._lookup(slug, hostname)
        return found

    def _lookup(self, slug: str | None, hostname: str) -> Workspace | None:
        if slug is not None:
            return self._by_slug.get(slug)
        return self._by_hostname.get(hostname) or self._by_slug.get(self._default)

    async def _read(self) -> None:
        self._read_at = time.monotonic()
        found = await self._workspaces.list()
        known, self._by_slug = self._by_slug.values(), {w.slug: w for w in found}
        self._by_hostname = {w.hostname.lower(): w for w in found if w.hostname}
        places = {(w.role, w.database_url) for w in found}
        for workspace in known:
            # It was erased, or lives elsewhere now.
            if (workspace.role, workspace.database_url) not in places:
                await self._database.forget(workspace)

    def _changed(self, _slug: str | None) -> None:
        task = asyncio.get_running_loop().create_task(self._follow())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self) -> None:
        try:
            await self._read()
        except DatabaseError as error:
            # The listener calls again after the connection is back.
            LOG.warning("directory_not_read", reason=error.message)
