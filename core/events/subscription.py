"""One subscriber: whom it is for, what he asked, and the events that wait for his connection to take them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from core.context import Actor, RequestContext
from core.errors import LimitExceeded
from core.events.watch import Asked, Event, Question, Watch
from core.meters import DROPPED, EVENTS

#: The most that may wait for a connection: events, and their bytes.
WAITING, WAITING_BYTES = 1000, 4_000_000


Renew = Callable[[], Awaitable[Actor]]


class TooSlow(LimitExceeded):
    """The connection takes events more slowly than they come."""


class Subscription:
    """Yields the bodies of its events until it ends; raises the error it ended with.

    `renew` looks up its actor anew, and raises Unauthenticated where the token is no longer good.
    """

    def __init__(self, context: RequestContext, asked: Asked, renew: Renew) -> None:
        self.context = context
        self.asked = asked
        self.renew = renew
        self.question: Question | None = None
        self.watch: Watch | None = None
        self.close: Callable[[], None] = lambda: None
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._more = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None

    def put(self, event: Event) -> None:
        """Have an event wait for the connection; one that is too slow is dropped."""
        if self._ended:
            return
        EVENTS.add()
        self._waiting.append(event.body)
        self._bytes += len(event.body)
        if len(self._waiting) > WAITING or self._bytes > WAITING_BYTES:
            self._waiting.clear()
            DROPPED.add()
            self.end(TooSlow("you take events more slowly than they come: subscribe again from your last cursor"))
        self._more.set()

    def end(self, error: Exception | None = None) -> None:
        """End it, with an error where it was not to end; what waits is still delivered."""
        if not self._ended:
            self._ended, self._error = True, error
            self._more.set()

    @property
    def ended(self) -> bool:
        """Whether nothing will be added any more."""
        return self._ended

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> bytes:
        while not self._waiting:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        body = self._waiting.popleft()
        self._bytes -= len(body)
        return body
