"""The core without its HTTP surface: a token and an operation in, the answer's bytes out, as bare ASGI.

What `bench.surface` holds the whole server against. Every body is trusted: nothing is limited, negotiated, counted,
logged or refused here.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import orjson

from core.context import RequestContext
from core.http.services import open_services
from core.schema.execute import run
from core.settings import Settings

HEADERS = [(b"content-type", b"application/json")]


class Bare:
    """The ASGI application."""

    def __init__(self) -> None:
        self._closing = AsyncExitStack()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        asked = orjson.loads((await receive())["body"])
        token = dict(scope["headers"])[b"authorization"].removeprefix(b"Bearer ").decode()
        services, workspace, pool = self._services, self._workspace, self._pool
        actor = await services.authenticator.actor(workspace, token)
        composition = await services.features.composition(workspace)

        async def fetch(text: str, values: Sequence[Any]) -> bytes | None:
            found: bytes | None = await pool.fetchval(text, *values)
            return found

        context = RequestContext(workspace, actor)
        answer = await run(
            composition, context, fetch, asked["query"], asked["variables"], asked["operationName"],
            limits=services.limits,
        )  # fmt: skip
        length = (b"content-length", b"%d" % len(answer.body))
        await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, length]})
        await send({"type": "http.response.body", "body": answer.body})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        self._services = await open_services(Settings.load())
        workspace = await self._services.directory.find(None)
        assert workspace is not None
        self._workspace, self._pool = workspace, self._services.database.pool(workspace)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._services.close()
        await send({"type": "lifespan.shutdown.complete"})


app = Bare()
