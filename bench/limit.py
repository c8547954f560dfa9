"""The limit: a bare Starlette endpoint that runs one hand-written statement per question and passes the bytes on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.questions import BY_NAME, WHO

#: What the statements need to know of an actor, by the header he sends: the token is looked up, not checked.
ACTORS = orjson.loads(os.environ["LIMIT_ACTORS"])
STATEMENTS = {(name, who): question.statement(who) for name, question in BY_NAME.items() for who in WHO}


async def _init(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "json", schema="pg_catalog", format="binary", encoder=lambda b: b, decoder=lambda b: b
    )


async def _no_reset(_connection: asyncpg.Connection) -> None:
    pass


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.pool = await asyncpg.create_pool(
        os.environ["LIMIT_DSN"],
        min_size=10,
        max_size=10,
        init=_init,
        reset=_no_reset,
        server_settings={
            "search_path": os.environ["LIMIT_SCHEMA"] + ",public",
            "jit": "off",
            "max_parallel_workers_per_gather": "0",
            "timezone": "UTC",
        },
    )
    yield
    await app.state.pool.close()


async def endpoint(request: Request) -> Response:
    asked = orjson.loads(await request.body())
    actor = ACTORS[request.headers["authorization"]]
    name = asked["operationName"].lower()
    sql, extra = STATEMENTS[name, actor["who"]]
    values = asked["variables"] | asked.get("extensions", {})
    parameters = [values[v] for v in BY_NAME[name].variables] + [actor[e] for e in extra]
    async with request.app.state.pool.acquire() as connection:
        return Response(await connection.fetchval(sql, *parameters), media_type="application/json")


app = Starlette(routes=[Route("/graphql", endpoint, methods=["POST"])], lifespan=lifespan)
