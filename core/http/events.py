"""Answers as server-sent events, in the distinct connections mode of GraphQL over SSE."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from graphql import GraphQLError

from core.errors import CrmError, Unauthenticated
from core.events.subscription import Subscription
from core.http.refusal import Headers
from core.schema.answer import graphql_error, refused

#: Seconds after which a comment keeps a silent stream open, and in which the client has to have taken it.
ALIVE_SECONDS = 15.0

#: Headers of an event stream besides those of any answer; proxies must not hold it back.
STREAM: Headers = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no"))


def event(name: str, data: bytes = b"") -> bytes:
    """One event; in JSON a line break is nothing but a space."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data.replace(b"\n", b" "))


def events(body: bytes) -> bytes:
    """The whole stream of an operation that has one answer."""
    return event("next", body) + event("complete")


async def stream(subscription: Subscription, receive: Any, send: Any, until: datetime | None) -> None:
    """Send a subscription's events until it ends, the client goes or stalls, or its token expires at `until`."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def told() -> None:
        try:
            async for body in subscription:
                await _send(send, event("next", body))
        except (CrmError, GraphQLError) as error:
            await _send(send, event("next", refused([graphql_error(error)]).body))
        await send({"type": "http.response.body", "body": event("complete")})

    async def alive() -> None:
        with suppress(TimeoutError):
            while True:
                await asyncio.sleep(ALIVE_SECONDS)
                async with asyncio.timeout(ALIVE_SECONDS):
                    await _send(send, b":\n\n")

    async def expired() -> None:
        if until is not None:
            await asyncio.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()))
            subscription.end(Unauthenticated("the access token has expired: refresh it"))
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(work()) for work in (gone, told, alive, expired)]
    try:
        await asyncio.wait(tasks[:3], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send(send: Any, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
