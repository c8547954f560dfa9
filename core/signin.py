"""Signing in and out, and passwords.

Mutations that carry a secret take neither `dryRun` nor `idempotencyKey`: a password could be guessed by trying
without being counted, and a stored answer would keep the secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from core import apikeys, auth, guards, passwords, sessions, viewer
from core.context import ActorKind
from core.errors import Forbidden, Unauthenticated
from core.operations import Argument, Call, Member, Mutation, ObjectType, Payload, Prelude, Records
from core.schema.where import uuid_or_none
from core.throttle import Attempt


@dataclass(frozen=True, slots=True)
class _Proof:
    """What came of looking at a password: seconds to `wait`, or whether it is the one whose hash is `kept`.

    `renewed` is a hash to keep instead: of a new password, or of the same with today's parameters.
    """

    wait: int = 0
    kept: str | None = None
    right: bool = False
    renewed: str | None = None


async def _prove(prelude: Prelude, login: str, password: str) -> _Proof:
    """Look at a password while no connection is held for it."""
    context = prelude.context
    async with prelude.begin() as connection:
        attempt = await Attempt.begin(connection, login, context.client, context.now)
        if attempt.wait:
            return _Proof(attempt.wait)
        await attempt.count()
    kept = attempt.user["password_hash"] if attempt.user else None
    return _Proof(0, kept, await passwords.matches(kept, password))


async def _settled(call: Call, login: str) -> tuple[Attempt, Any]:
    """The attempt that `before` proved, alone for its login again, and its user; None where the proof does not hold.

    The password may have been changed since.
    """
    attempt, proof = await _attempt(call, login), call.prepared
    holds = proof.right and attempt.user is not None and attempt.user["password_hash"] == proof.kept
    return attempt, attempt.user if holds else None


async def _login_proof(prelude: Prelude) -> _Proof:
    password = prelude.input["password"]
    proof = await _prove(prelude, prelude.input["login"], password)
    if proof.right and proof.kept and passwords.outdated(proof.kept):
        return replace(proof, renewed=await passwords.hashed(password))
    return proof


async def _login(call: Call) -> Payload:
    context, connection, proof = call.context, call.changes.connection, call.prepared
    if proof.wait:
        return _too_many(call, proof.wait, "login")
    attempt, user = await _settled(call, call.input["login"])
    if user is None or not user["active"]:
        await attempt.failed()
        return guards.refuse_and_keep(call, "INVALID_CREDENTIALS", "invalid_credentials")
    await attempt.succeeded()
    if proof.renewed:
        await passwords.keep(connection, user["id"], proof.renewed)
    session = await sessions.open_session(connection, auth.of(context), context.workspace, user["id"], context.now)
    return await _signed_in(call, session)


async def _refresh(call: Call) -> Payload:
    context, token = call.context, call.input["refreshToken"]
    session = await sessions.refresh(call.changes.connection, auth.of(context), context.workspace, token, context.now)
    if session is None:
        return guards.refuse_and_keep(call, "INVALID_TOKEN", "invalid_token", "refreshToken")
    return await _signed_in(call, session)


async def _logout(call: Call) -> Payload:
    context = call.context
    if context.actor.token_id is None or context.actor.kind is not ActorKind.USER:
        raise Forbidden("only a session can be ended; an API key is revoked")
    await sessions.end_session(call.changes.connection, auth.of(context), context.workspace, context.actor.token_id)
    return Payload()


async def _change_proof(prelude: Prelude) -> _Proof:
    actor, _ = guards.demand_person(prelude.context)
    proof = await _prove(prelude, actor.login, prelude.input["currentPassword"])
    new = prelude.input["newPassword"]
    if not proof.right or passwords.weakness(new, actor.login):
        return proof
    return replace(proof, renewed=await passwords.hashed(new))


async def _password_change(call: Call) -> Payload:
    actor, user_id = guards.demand_person(call.context)
    proof = call.prepared
    if proof.wait:
        return _too_many(call, proof.wait, "currentPassword")
    attempt, user = await _settled(call, actor.login)
    if user is None:
        await attempt.failed()
        return guards.refuse_and_keep(call, "INVALID_CREDENTIALS", "wrong_password", "currentPassword")
    if problem := passwords.weakness(call.input["newPassword"], actor.login):
        # Whoever knows the password has not failed.
        await attempt.succeeded()
        return guards.refuse_and_keep(call, "WEAK_PASSWORD", problem, "newPassword", **passwords.LIMITS)
    await _replace(call, user_id, proof.renewed, keep_session=actor.token_id)
    return Payload()


async def _set_proof(prelude: Prelude) -> str | None:
    """The hash of the new password, where it is worth the work: `_password_set` says what is wrong with it."""
    password = prelude.input["password"]
    if not prelude.policy.grants.able(guards.USERS) or passwords.weakness(password, ""):
        return None
    return await passwords.hashed(password)


async def _password_set(call: Call) -> Payload:
    if call.context.actor.user_id is None and not call.policy.grants.unlimited:
        raise Unauthenticated("sign in first")
    if call.context.actor.kind is ActorKind.API_KEY:
        # Else a key that is about to be revoked could make itself a session.
        raise Forbidden("an API key may not do this")
    call.policy.demand(guards.USERS)
    user_id = uuid_or_none(call.input["userId"])
    login = await call.changes.connection.fetchval(
        "select login from app_user where id = $1 and deleted_at is null", user_id
    )
    if user_id is None or login is None:
        return guards.refuse_user(call)
    await guards.demand_cover(call, user_id)
    if problem := passwords.weakness(call.input["password"], login):
        return guards.refuse(call, "WEAK_PASSWORD", problem, "password", **passwords.LIMITS)
    # Waits for whoever is signing in with the old password, so that his session too is ended.
    await _attempt(call, login)
    await _replace(call, user_id, call.prepared)
    return Payload({"user": Records("User", [user_id], single=True)})


async def _signed_in(call: Call, session: sessions.Session) -> Payload:
    actor = await guards.find_user(call, session.user_id)
    if actor is None:
        raise Unauthenticated("the user has just been deleted or deactivated")
    user = {
        "id": str(session.user_id),
        "login": actor.login,
        "displayName": actor.display_name,
        "locale": actor.locale,
        "roles": [role.name for role in actor.grants.roles],
    }
    tokens = {"accessToken": session.access_token, "refreshToken": session.refresh_token}
    return Payload({**tokens, "expiresAt": session.expires_at, "user": user})


async def _attempt(call: Call, login: str) -> Attempt:
    return await Attempt.begin(call.changes.connection, login, call.context.client, call.context.now)


async def _replace(call: Call, user_id: UUID, kept: str, keep_session: UUID | None = None) -> None:
    connection, context = call.changes.connection, call.context
    await passwords.replace(connection, user_id, kept, keep_session)
    await sessions.access_changed(connection, auth.of(context), context.workspace)


def _too_many(call: Call, wait: int, name: str) -> Payload:
    return guards.refuse(call, "TOO_MANY_ATTEMPTS", "too_many_attempts", name, retryAfter=wait)


_SIGNED_IN = (
    Member("accessToken", "String", "Send it as `Authorization: Bearer`; good for this workspace only."),
    Member("refreshToken", "String", "Good once, for `tokenRefresh`; keep it safe."),
    Member("expiresAt", "DateTime", "When the access token expires."),
    Member("user", "SignedInUser", "Who signed in."),
)
_NEW_PASSWORD = f"{passwords.SHORTEST} to {passwords.LONGEST} characters, and not the login."

ERROR_CODES: Mapping[str, str] = {
    "INVALID_CREDENTIALS": "The login or the password is wrong.",
    "TOO_MANY_ATTEMPTS": "Too many failures: wait `params.retryAfter` seconds.",
    "INVALID_TOKEN": "The refresh token is not good: unknown, used, expired or revoked.",
    "WEAK_PASSWORD": "The new password may not be used.",
}

OBJECTS: tuple[ObjectType, ...] = (
    ObjectType(
        "SignedInUser",
        "Who has signed in.",
        (
            Member("id", "ID!", "The user's id."),
            Member("login", "String!", "Name to sign in with."),
            Member("displayName", "String!", "Name as others see it."),
            Member("locale", "String!", "Language of messages."),
            Member("roles", "[String!]!", "Names of the roles the user holds."),
        ),
    ),
    *viewer.OBJECTS,
    *apikeys.OBJECTS,
)

MUTATIONS = (
    Mutation(
        "login",
        "Signs in with a password. Failures make the next attempt wait, for this login and this address.",
        _login,
        (
            Argument("login", "String!", "The login, whatever its case."),
            Argument("password", "String!", "The password."),
        ),
        _SIGNED_IN,
        signed_in=False,
        tokenless=True,
        before=_login_proof,
    ),
    Mutation(
        "tokenRefresh",
        "Exchanges a refresh token for the next pair of tokens. One used twice ends its whole session.",
        _refresh,
        (Argument("refreshToken", "String!", "The latest refresh token of the session."),),
        _SIGNED_IN,
        signed_in=False,
        tokenless=True,
    ),
    Mutation("logout", "Ends the session: its tokens are worth nothing from now on.", _logout),
    Mutation(
        "passwordChange",
        "Changes one's own password and ends one's other sessions.",
        _password_change,
        (
            Argument("currentPassword", "String!", "The password so far."),
            Argument("newPassword", "String!", f"The new one: {_NEW_PASSWORD}"),
        ),
        signed_in=False,
        before=_change_proof,
    ),
    Mutation(
        "userPasswordSet",
        "Gives a user who may do no more than oneself a password, and ends his sessions. Needs: users.",
        _password_set,
        (
            Argument("userId", "ID!", "The user."),
            Argument("password", "String!", f"The password: {_NEW_PASSWORD}"),
        ),
        (Member("user", "User", "The user, null where it was refused."),),
        signed_in=False,
        before=_set_proof,
    ),
    *apikeys.MUTATIONS,
)

QUERIES = (*viewer.QUERIES, *apikeys.QUERIES)
