"""What the mutations of sign-in demand of those who ask, and how they refuse."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from core.actors import find_actor
from core.context import Actor, ActorKind, RequestContext
from core.errors import Forbidden, Unauthenticated, UserError
from core.messages import text
from core.operations import Call, Payload

#: The ability to act on other people's ways to sign in.
USERS = "users"


def demand_person(context: RequestContext) -> tuple[Actor, UUID]:
    """The signed-in user himself, and his id.

    Raises Unauthenticated without one, and Forbidden for an API key: one that makes keys or sets passwords
    would outgrow its limits.
    """
    actor = context.actor
    if actor.user_id is None:
        raise Unauthenticated("sign in first")
    if actor.kind is not ActorKind.USER:
        raise Forbidden("an API key may not do this")
    return actor, actor.user_id


async def find_user(call: Call, user_id: UUID | None) -> Actor | None:
    """The actor that a live, active user would be."""
    fetchval = call.changes.connection.fetchval
    return None if user_id is None else await find_actor(lambda sql, values: fetchval(sql, *values), user_id)


async def demand_cover(call: Call, user_id: UUID) -> None:
    """Raise Forbidden where a user may do more than the actor, who must not come to act in his name."""
    other = await find_user(call, user_id)
    if other is not None and not call.policy.grants.cover(other.grants):
        raise Forbidden("that user may do more than you")


def refuse(call: Call, code: str, message: str, name: str = "", **params: Any) -> Payload:
    """A payload that refuses what was asked. `message` is a key of the messages, `name` a member of the input."""
    path = ("input", name) if name else ("input",)
    return Payload({}, [UserError(path, code, text(message, call.context.locale, **params), params)])


def refuse_and_keep(call: Call, code: str, message: str, name: str = "", **params: Any) -> Payload:
    """A refusal whose writes must stand: a failure that was counted, a family that was revoked."""
    # With `skip_failed` a change set's errors do not undo the rest of it.
    call.changes.skip_failed = True
    return refuse(call, code, message, name, **params)


def refuse_user(call: Call) -> Payload:
    """The refusal where `userId` names no user."""
    label = call.policy.catalog["User"].type.labels.get(call.context.locale, "User")
    return refuse(call, "NOT_FOUND", "not_found", "userId", record=label)
