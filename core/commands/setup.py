"""What a new workspace needs before anybody can sign in to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.migrate import migrate_workspace
from core.seed import seed

if TYPE_CHECKING:
    from core.commands.console import Deployment
    from core.context import Workspace


async def set_up(opened: Deployment, workspace: Workspace) -> None:
    """Make a workspace's tables and, where it has no role yet, the default ones. Doing it twice does no harm."""
    await migrate_workspace(opened.database, workspace, await opened.features.apps(workspace))
    composition = await opened.features.composition(workspace)
    async with opened.database.transaction(workspace) as connection:
        if not await connection.fetchval("select exists (select from role)"):
            await seed(connection, composition.catalog)
