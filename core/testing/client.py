"""Asking a workspace's GraphQL API as a server would answer: text and variables in, JSON out."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import orjson

from core.actors import find_actor
from core.context import Actor, RequestContext
from core.errors import ClientError
from core.http.exchange import new_request_id
from core.http.parameters import Parameters
from core.http.refusal import Refusal
from core.http.runner import Runner
from core.rows import plain_json
from core.schema.execute import Answer as Answered
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
        services, workspace = self.sandbox.services, self.sandbox.workspace
        with unwatched():
            # What a server has at hand already when a request comes.
            await services.features.composition(workspace)
            await services.documents.trusted_only(workspace)
            await self._look_up()
        context = RequestContext(
            workspace, self.actor, new_request_id(), self.locale, client="test", extra=dict(services.at_hand)
        )
        try:
            answered = await Runner(services).run(
                context, Parameters(query, {name: _plain(value) for name, value in variables.items()})
            )
        except ClientError as error:
            answered = Answered(Refusal.of(error).body)
        except Refusal as refusal:
            answered = Answered(refusal.body)
        if not isinstance(answered, Answered):
            answered.close()
            raise AssertionError("subscriptions are not asked by `ask`")
        return Answer(answered.body, answered.statements)

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
