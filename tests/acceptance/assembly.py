"""The application over a database of its own, with one user who may do everything and one field that fails."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from core.context import Workspace
from core.contributions import Operations
from core.database import Database
from core.errors import NotFound
from core.http.services import Services, services_over
from core.migrate import migrate_workspace
from core.operations import Query
from core.passwords import create_user
from core.piccolo_app import APP_CONFIG
from core.seed import seed
from core.settings import Settings
from core.workspaces import Workspaces

LOGIN, PASSWORD = "keeper", "mật khẩu của kit 1"
SECRET = "postgres://root:secret@nowhere"


async def _boom(_ask: Any) -> Any:
    raise RuntimeError(SECRET)


BOOM = Query("boom", "Fails with an exception that holds a secret.", "String", _boom)


async def services(settings: Settings) -> Services:
    """Open services; the default workspace is made where it is missing."""
    async with AsyncExitStack() as stack:
        database = await Database.open(settings)
        stack.push_async_callback(database.close)
        return await over(database, settings, stack)


async def over(database: Database, settings: Settings, stack: AsyncExitStack) -> Services:
    """Services over an open database."""
    made = await services_over(database, settings, stack)
    made.features._operations += Operations(queries=(BOOM,))
    await workspace_of(made, settings.default_workspace)
    return made


async def workspace_of(made: Services, slug: str, hostname: str | None = None) -> Workspace:
    """The workspace with a slug, with default roles and one administrator."""
    database = made.database
    workspaces = Workspaces(database)
    try:
        return await workspaces.get(slug)
    except NotFound:
        workspace = await workspaces.create(slug, hostname=hostname)
    await migrate_workspace(database, workspace, [APP_CONFIG])
    composition = await made.features.composition(workspace)
    async with database.transaction(workspace) as connection:
        await seed(connection, composition.catalog)
        await create_user(connection, LOGIN, PASSWORD, "Keeper", ["Admin"])
    return workspace
