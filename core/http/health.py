"""Whether this process lives, and whether it should be sent requests."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from core.context import Workspace
from core.errors import CrmError, DatabaseError
from core.http.services import Services
from core.migrate import pending


class Health:
    """Looks after the parts of one process's services."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._migrated: set[UUID] = set()

    async def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether requests can be served, and the state of each part by name.

        A plugin's failure is told but keeps nobody from being served.
        """
        database = await self._database()
        parts: dict[str, Any] = {"database": database}
        if database["ok"]:
            parts["migrations"] = await self._migrations()
            if parts["migrations"]["ok"]:
                parts["plugins"] = await self._plugins()
                parts["queue"] = await self._queue()
        ready = all(part.get("ok", True) for part in parts.values())
        return ready, {"status": "ready" if ready else "not ready", **parts}

    async def _database(self) -> dict[str, Any]:
        try:
            async with self._services.database.admin() as connection:
                await connection.fetchval("select 1")
        except DatabaseError as error:
            return {"ok": False, "reason": error.message}
        except OSError:
            return {"ok": False, "reason": "the database cannot be reached"}
        return {"ok": True}

    async def _migrations(self) -> dict[str, Any]:
        services = self._services
        waiting: dict[str, list[str]] = {}
        for workspace in services.directory.all():
            if workspace.id not in self._migrated:
                steps = await pending(services.database, workspace, await services.features.apps(workspace))
                if steps:
                    waiting[workspace.slug] = steps
                else:
                    self._migrated.add(workspace.id)
        return {"ok": not waiting, "pending": waiting}

    async def _plugins(self) -> dict[str, Any]:
        workspace = await self._default()
        if workspace is None:
            return {"enabled": [], "faults": {}}
        try:
            status = await self._services.features.status(workspace)
            composition = await self._services.features.composition(workspace)
        except CrmError as error:
            return {"ok": False, "reason": error.message}
        faults = {p.name: p.reason for p in status if p.reason}
        for name, health in composition.hooks.health.items():
            if health.failures:
                faults.setdefault(name, f"{health.hook} failed {health.failures} times, last: {health.error}")
            if off := [
                f"{rule} ({why})" for rule, why in health.rules.items() if rule.startswith(f"{workspace.slug} ")
            ]:
                faults.setdefault(name, f"rules are off: {', '.join(off)}")
        return {"enabled": [p.name for p in status if p.state == "ENABLED"], "faults": faults}

    async def _queue(self) -> dict[str, Any]:
        workspace = await self._default()
        if workspace is None:
            return {"queued": 0, "running": 0}
        row = await self._services.database.pool(workspace).fetchrow(
            "select count(*) filter (where status = 'QUEUED') as queued, "
            "count(*) filter (where status = 'RUNNING') as running from job where status in ('QUEUED', 'RUNNING')"
        )
        return dict(row or {})

    async def _default(self) -> Workspace | None:
        return await self._services.directory.find(None)
