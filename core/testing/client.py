"""Asking a workspace's GraphQL API as a server would answer: text and variables in, JSON out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import orjson

from core.actors import find_actor
from core.context import Actor, RequestContext
from core.errors import ClientError
from core.events.subscription import Subscription
from core.http.exchange import new_request_id
from core.http.parameters import Parameters
from core.http.refusal import Refusal
from core.http.runner import Runner
from core.rows import plain_json
from core.schema.answer import Answer as Answered
from core.testing.statements import unwatched

if TYPE_CHECKING:
    from core.testing.sandbox import Sandbox

#: Failures show the test's own lines.
__tracebackhide__ = methodcaller("errisinstance", AssertionError)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one operation. `statements` counts the SQL statements that its reads took."""

    body: bytes
    statements: int = 0

    @property
    def response(self) -> dict[str, Any]:
        """All of it, with `data`, `errors` and `extensions` where there are any."""
        found: dict[str, Any] = orjson.loads(self.body)
        return found

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The top-level errors; none where all went well."""
        found: list[dict[str, Any]] = self.response.get("errors", [])
        return found

    @property
    def data(self) -> dict[str, Any]:
        """The data. Raises AssertionError, with the messages, where there are top-level errors."""
        if self.errors:
            raise AssertionError("the operation has errors:" + "".join(map(_line, self.errors)))
        found: dict[str, Any] = self.response["data"]
        return found

    @property
    def value(self) -> Any:
        """The one root field of the data. Raises AssertionError for errors and for several root fields."""
        data = self.data
        if len(data) != 1:
            raise AssertionError(f"the operation has {len(data)} root fields: {', '.join(data)}")
        return next(iter(data.values()))

    @property
    def user_errors(self) -> list[dict[str, Any]]:
        """The `userErrors` of the mutations' payloads, as far as the operation asks for them."""
        payloads = [p for p in (self.response.get("data") or {}).values() if isinstance(p, dict)]
        return [error for payload in payloads for error in payload.get("userErrors") or ()]

    @property
    def codes(self) -> list[str]:
        """The codes of the top-level errors and of the user errors, in their order."""
        codes = [str(e.get("extensions", {}).get("code", "")) for e in self.errors]
        return codes + [str(e.get("code", "")) for e in self.user_errors]


class Events:
    """The events of a subscription, one after the other."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    async def next(self, within: float = 5.0) -> Any:
        """The value of the root field of the next event. Raises AssertionError where none comes in so many seconds."""
        try:
            async with asyncio.timeout(within):
                return Answer(await anext(self._subscription)).value
        except TimeoutError:
            raise AssertionError(f"no event came within {within:g} seconds") from None
        except StopAsyncIteration:
            raise AssertionError("the subscription has ended") from None


@dataclass
class Client:
    """Asks one workspace as one actor, by the way that requests over HTTP take once they are let in.

    A user's roles and teams are looked up anew for each operation.
    """

    sandbox: Sandbox
    actor: Actor
    locale: str = "en"
    _found: bool = field(default=False, repr=False)

    @property
    def user_id(self) -> str | None:
        """The id of the user who asks, None for the system."""
        return None if self.actor.user_id is None else str(self.actor.user_id)

    @property
    def login(self) -> str:
        """The login of the user who asks."""
        return self.actor.login

    async def ask(self, query: str, /, **variables: Any) -> Answer:
        """Run one operation and give its answer, whatever that is."""
        try:
            answered = await Runner(self.sandbox.services).run(await self._context(), _parameters(query, variables))
        except ClientError as error:
            return Answer(Refusal.of(error).body)
        except Refusal as refusal:
            return Answer(refusal.body)
        assert isinstance(answered, Answered)
        return Answer(answered.body, answered.statements)

    @asynccontextmanager
    async def events(self, subscription: str, /, **variables: Any) -> AsyncIterator[Events]:
        """Subscribe for the block. Raises AssertionError where that is refused."""
        runner, parameters = Runner(self.sandbox.services), _parameters(subscription, variables)
        try:
            found = await runner.run(await self._context(), parameters, renew=self._renewed)
        except (ClientError, Refusal) as error:
            raise AssertionError(f"the subscription was refused: {error}") from error
        if isinstance(found, Answered):
            _ = Answer(found.body).data
            raise AssertionError("this is no subscription")
        try:
            yield Events(found)
        finally:
            found.close()

    async def data(self, query: str, /, **variables: Any) -> dict[str, Any]:
        """The data of an operation. Raises AssertionError where it has top-level errors."""
        return (await self.ask(query, **variables)).data

    async def do(self, query: str, /, **variables: Any) -> Any:
        """The one root field of an operation. Raises AssertionError where it has errors or user errors."""
        answer = await self.ask(query, **variables)
        value = answer.value
        if answer.user_errors:
            raise AssertionError("the mutation was refused:" + "".join(map(_line, answer.user_errors)))
        return value

    async def codes(self, query: str, /, **variables: Any) -> list[str]:
        """The codes of what an operation is refused for. Raises AssertionError where nothing was refused."""
        answer = await self.ask(query, **variables)
        if not answer.codes:
            raise AssertionError(f"nothing was refused: {answer.body.decode()[:500]}")
        return answer.codes

    async def _context(self) -> RequestContext:
        """A request's context, once there is at hand what a server has at hand when a request comes."""
        services, workspace = self.sandbox.services, self.sandbox.workspace
        with unwatched():
            await services.features.composition(workspace)
            await services.documents.trusted_only(workspace)
            await self._look_up()
        extra = dict(services.at_hand)
        return RequestContext(workspace, self.actor, new_request_id(), self.locale, client="test", extra=extra)

    async def _renewed(self) -> Actor:
        await self._look_up()
        return self.actor

    async def _look_up(self) -> None:
        """Bring the actor up to date; one that was given ready-made and is no user of the workspace stays as it is."""
        user_id = self.actor.user_id
        if not self._found or user_id is None:
            return
        pool = self.sandbox.database.pool(self.sandbox.workspace)
        found = await find_actor(lambda text, values: pool.fetchval(text, *values), user_id)
        if found is None:
            raise AssertionError(f"the user {self.actor.login} is not there any more, or is not active")
        self.actor = found


def _parameters(query: str, variables: dict[str, Any]) -> Parameters:
    return Parameters(query, {name: _plain(value) for name, value in variables.items()})


def _plain(value: Any) -> Any:
    """A variable as a client sends it: ids, dates and decimals as text. What is no JSON, an upload, stays as it is."""
    try:
        return plain_json(value)
    except ValueError:
        return value


def _line(error: dict[str, Any]) -> str:
    code = error.get("code") or error.get("extensions", {}).get("code", "")
    path = ".".join(str(p) for p in error.get("path") or ())
    return f"\n  {code}: {error.get('message', '(its message was not asked for)')}{f' (at {path})' if path else ''}"
