"""A workspace with users of several roles, and requests to it as the app would run them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import orjson

from core.auth import Authenticator
from core.catalog import Catalog
from core.context import Actor, RequestContext, Workspace
from core.database import Database
from core.explain import OBJECTS as EXPLAIN_OBJECTS
from core.explain import QUERIES as EXPLAIN_QUERIES
from core.hooks import Hooks
from core.passwords import create_user, hashed
from core.schema.composition import Composition
from core.schema.declared import CORE
from core.schema.execute import run
from core.schema.mutate import Mutator
from core.schema.mutations import standard_mutations
from core.seed import seed
from core.settings import Settings
from core.signin import ERROR_CODES, MUTATIONS, OBJECTS, QUERIES

PASSWORD = "đúng mật khẩu 1"
CODES = {c: c for c in ("REQUIRED", "TOO_LONG", "INVALID", "OUT_OF_RANGE", "DUPLICATE", "NOT_FOUND", "STALE")}

LOGIN = """mutation($login: String!, $password: String!) { login(input: {login: $login, password: $password}) {
  accessToken refreshToken expiresAt user { id login displayName locale roles }
  userErrors { path code message params } changeSet { id } } }"""
REFRESH = """mutation($refresh: String!) { tokenRefresh(input: {refreshToken: $refresh}) {
  accessToken refreshToken expiresAt user { login } userErrors { path code message } } }"""


@cache
def _hash() -> asyncio.Future[str]:
    return asyncio.ensure_future(hashed(PASSWORD))


def composed(narrowings: Any = None) -> Composition:
    return _composed() if narrowings is None else _compose(narrowings)


def _compose(narrowings: Any) -> Composition:
    catalog = Catalog.build(CORE)
    return Composition(
        "test",
        catalog,
        (*QUERIES, *EXPLAIN_QUERIES),
        (*standard_mutations(catalog), *MUTATIONS),
        (*OBJECTS, *EXPLAIN_OBJECTS),
        CODES | dict(ERROR_CODES),
        narrowings,
        Hooks(),
    )


@cache
def _composed() -> Composition:
    return _compose({})


@dataclass
class Desk:
    """Asks one workspace; `users` are ids by login."""

    database: Database
    workspace: Workspace
    auth: Authenticator
    composition: Composition
    users: dict[str, UUID] = field(default_factory=dict)

    @classmethod
    async def open(cls, database: Database, settings: Settings, workspace: Workspace, **staff: str) -> Desk:
        """`staff` are role names by login; the default roles are there, all users have `PASSWORD`."""
        auth = Authenticator(database, settings)
        await auth.start()
        desk = cls(database, workspace, auth, composed())
        async with database.transaction(workspace) as connection:
            # The workspace may be one that other tests have used.
            await connection.execute("truncate app_user, role, team, login_failure cascade")
            await seed(connection, desk.composition.catalog)
            for login, role in staff.items():
                desk.users[login] = await create_user(connection, login, None, login.title(), [role])
            await connection.execute("update app_user set password_hash = $1", await _hash())
        return desk

    async def ask(
        self,
        query: str,
        token: str | None = None,
        *,
        actor: Actor | None = None,
        client: str = "",
        later: timedelta = timedelta(),
        locale: str = "en",
        **variables: Any,
    ) -> dict[str, Any]:
        """Run one operation with a token, as at some time from now, and return the response."""
        actor = actor or await self.auth.actor(self.workspace, token)
        context = RequestContext(
            self.workspace,
            actor,
            locale=locale,
            now=datetime.now(UTC) + later,
            client=client,
            extra={"auth": self.auth},
        )
        pool = self.database.pool(self.workspace)
        answer = await run(
            self.composition,
            context,
            lambda text, values: pool.fetchval(text, *values),
            query,
            variables,
            mutate=Mutator(lambda: self.database.transaction(self.workspace)),
        )
        return orjson.loads(answer.body)

    async def do(self, query: str, token: str | None = None, **options: Any) -> Any:
        """The one root field of an operation that must have no top-level errors."""
        answer = await self.ask(query, token, **options)
        assert "errors" not in answer, answer
        (result,) = answer["data"].values()
        return result

    async def login(self, login: str, password: str = PASSWORD, **options: Any) -> dict[str, Any]:
        return await self.do(LOGIN, login=login, password=password, **options)

    async def token(self, login: str) -> str:
        return (await self.login(login))["accessToken"]

    async def row(self, statement: str, *values: Any) -> Any:
        return await self.database.pool(self.workspace).fetchrow(statement, *values)


def code_of(answer: dict[str, Any]) -> str:
    """The code of a response's only top-level error."""
    (error,) = answer["errors"]
    return error["extensions"]["code"]
