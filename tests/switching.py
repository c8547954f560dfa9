"""A workspace with plugins, and requests to it as the app would run them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import orjson

from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.features import Features
from core.files import FileStore
from core.grants import SYSTEM, Grants, Reach, RoleGrants
from core.schema.execute import run
from core.schema.mutate import Mutator

CUSTOMERS = ("read", "create", "update", "delete", "restore")


def actor(
    reaches: Mapping[tuple[str, str], Reach] | None = None, abilities: tuple[str, ...] = (), user_id: UUID | None = None
) -> Actor:
    """A user with one role."""
    role = RoleGrants("role", reaches or {}, abilities=frozenset(abilities))
    return Actor(ActorKind.USER, Grants((role,)), user_id or uuid4())


@dataclass
class Desk:
    """Asks one workspace, as the system unless another actor is given."""

    database: Database
    features: Features
    workspace: Workspace
    system: Actor = field(default_factory=lambda: Actor(ActorKind.SYSTEM, SYSTEM))
    statements: int = 0
    mutator: Mutator | None = None

    async def ask(self, query: str, actor: Actor | None = None, **variables: Any) -> dict[str, Any]:
        """Run one operation and return the response."""
        extra = {"files": FileStore(self.database.settings)}
        context = RequestContext(self.workspace, actor or self.system, locale="en", extra=extra)
        pool = self.database.pool(self.workspace)
        answer = await run(
            await self.features.composition(self.workspace),
            context,
            lambda text, values: pool.fetchval(text, *values),
            query,
            variables,
            mutate=self.mutator or Mutator(lambda: self.database.transaction(self.workspace)),
        )
        self.statements = answer.statements
        return orjson.loads(answer.body)

    async def do(self, query: str, actor: Actor | None = None, **variables: Any) -> Any:
        """The one root field of an operation that must have no top-level errors."""
        answer = await self.ask(query, actor, **variables)
        assert "errors" not in answer, answer
        (result,) = answer["data"].values()
        return result

    async def fetch(self, statement: str, *values: Any) -> Any:
        return await self.database.pool(self.workspace).fetchval(statement, *values)

    async def code(self, query: str, actor: Actor | None = None, **variables: Any) -> str:
        """The code of the operation's only top-level error, or of its only user error."""
        answer = await self.ask(query, actor, **variables)
        if "errors" in answer:
            (error,) = answer["errors"]
            return error["extensions"]["code"]
        (result,) = answer["data"].values()
        (error,) = result["userErrors"]
        return error["code"]

    async def customer(self, name: str, **values: Any) -> str:
        made = await self.do(
            "mutation($input: CustomerCreateInput!) "
            "{ customerCreate(input: $input) { customer { id } userErrors { code } } }",
            input={"name": name, "kind": "PERSON", **values},
        )
        assert made["userErrors"] == []
        return made["customer"]["id"]
