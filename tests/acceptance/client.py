"""A client of the application inside the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import httpx

from core.database import Database
from core.http.application import Application
from core.http.services import Services
from core.settings import Settings
from tests.acceptance.assembly import LOGIN, PASSWORD, over, workspace_of

GRAPHQL = "application/graphql-response+json"
BASE = "http://crm.example"
_NUMBERS = count(1)


class Client:
    """Asks the application; `post` sends one operation as somebody signed in, `raw` whatever it is given."""

    def __init__(self, application: Application, http: httpx.AsyncClient) -> None:
        self.application = application
        self.raw = http
        self.token = ""

    @property
    def services(self) -> Services:
        assert self.application.services is not None
        return self.application.services

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}", "accept": GRAPHQL}

    async def post(self, query: str, *, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
        return await self.send({"query": query, **members}, headers=headers)

    async def send(self, body: Any, *, headers: dict[str, str] | None = None) -> httpx.Response:
        return await self.raw.post("/graphql", json=body, headers={**self.headers, **(headers or {})})

    async def get(self, *, headers: dict[str, str] | None = None, **parameters: str) -> httpx.Response:
        preflight = {"graphql-require-preflight": "1"}
        return await self.raw.get(
            "/graphql", params=parameters, headers={**self.headers, **preflight, **(headers or {})}
        )

    async def sign_in(self, path: str = "/graphql") -> str:
        query = "mutation($l: String!, $p: String!) { login(input: {login: $l, password: $p}) { accessToken } }"
        body = {"query": query, "variables": {"l": LOGIN, "p": PASSWORD}}
        token: str = (await self.raw.post(path, json=body)).json()["data"]["login"]["accessToken"]
        return token

    async def workspace(self, slug: str, hostname: str | None = None) -> None:
        await workspace_of(self.services, slug, hostname)


@asynccontextmanager
async def opened(database: Database, settings: Settings, **changes: Any) -> AsyncIterator[Client]:
    """The application over a database that is open, with a workspace of its own; `changes` are settings."""
    changed = Settings.load(
        data_dir=settings.data_dir,
        secret=settings.secret,
        **{"default_workspace": f"http_{next(_NUMBERS)}", "log_level": "error", **changes},
    )

    async def open_services(given: Settings) -> Services:
        return await over(database, given, AsyncExitStack())

    application = Application(changed, open_services)
    transport = httpx.ASGITransport(application)
    async with (
        application._pages.router.lifespan_context(application._pages),
        httpx.AsyncClient(transport=transport, base_url=BASE) as http,
    ):
        client = Client(application, http)
        client.token = await client.sign_in()
        yield client


def code(response: httpx.Response) -> str:
    """The code of the only error in an answer."""
    (error,) = response.json()["errors"]
    found: str = error["extensions"]["code"]
    return found
