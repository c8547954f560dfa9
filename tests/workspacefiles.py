"""What the tests of workspaces' files share: features that keep what they composed, and people whom files name."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.context import Workspace
from core.database import Database
from core.features import Features
from core.plugins import PluginRegistry
from tests.featuresets import LOGINS, TEAMS
from tests.switching import Desk

USER = "mutation($input: UserCreateInput!) { userCreate(input: $input) { userErrors { code } } }"
TEAM = "mutation($input: TeamCreateInput!) { teamCreate(input: $input) { userErrors { code } } }"


@asynccontextmanager
async def keeping(database: Database, registry: PluginRegistry | None = None) -> AsyncIterator[Features]:
    """Features of one process that keep every composition, for the same ones are needed again and again."""
    features = Features(database, database.settings, registry)
    features._recent = deque(maxlen=500)
    try:
        yield features
    finally:
        await features.close()


async def people(features: Features, workspace: Workspace) -> None:
    """Users and teams that conditions and pools name; they are not part of a file."""
    desk = Desk(features.database, features, workspace)
    for login in LOGINS:
        assert (await desk.do(USER, input={"login": login, "displayName": login}))["userErrors"] == []
    for name in TEAMS:
        assert (await desk.do(TEAM, input={"name": name}))["userErrors"] == []
