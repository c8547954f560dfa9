"""Signing in and out, and passwords.

Mutations that carry a secret take neither `dryRun` nor `idempotencyKey`: a password could be guessed by trying
without being counted, and a stored answer would keep the secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from core import apikeys, auth, guards, passwords, sessions, viewer
from core.context import ActorKind
from core.errors import Forbidden, Unauthenticated
from core.operations import Argument, Call, Member, Mutation, ObjectType, Payload, Records
from core.schema.where import uuid_or_none
from core.throttle import Attempt


async def _login(call: Call) -> Payload:
    context, connection = call.context, call.changes.connection
    attempt = await _attempt(call, call.input["login"])
    if attempt.wait:
        return _too_many(call, attempt, "login")
    user, password = attempt.user, call.input["password"]
    right = await passwords.matches(user["password_hash"] if user else None, password)
    if user is None or not right or not user["active"]:
        await attempt.failed()
        return guards.refuse_and_keep(call, "INVALID_CREDENTIALS", "invalid_credentials")
    await attempt.succeeded()
    if passwords.outdated(user["password_hash"]):
        await passwords.keep(connection, user["id"], await passwords.hashed(password))
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


async def _password_change(call: Call) -> Payload:
    actor, user_id = guards.demand_person(call.context)
    attempt = await _attempt(call, actor.login)
    if attempt.wait:
        return _too_many(call, attempt, "currentPassword")
    user = attempt.user
    if not await passwords.matches(user["password_hash"] if user else None, call.input["currentPassword"]):
        await attempt.failed()
        return guards.refuse_and_keep(call, "INVALID_CREDENTIALS", "wrong_password", "currentPassword")
    if problem := passwords.weakness(call.input["newPassword"], actor.login):
        return guards.refuse(call, "WEAK_PASSWORD", problem, "newPassword", **passwords.LIMITS)
    await _replace(call, user_id, call.input["newPassword"], keep_session=actor.token_id)
    return Payload()


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
    await _replace(call, user_id, call.input["password"])
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


async def _replace(call: Call, user_id: UUID, password: str, keep_session: UUID | None = None) -> None:
    connection, context = call.changes.connection, call.context
    await passwords.replace(connection, user_id, await passwords.hashed(password), keep_session)
    await sessions.access_changed(connection, auth.of(context), context.workspace)


def _too_many(call: Call, attempt: Attempt, name: str) -> Payload:
    return guards.refuse(call, "TOO_MANY_ATTEMPTS", "too_many_attempts", name, retryAfter=attempt.wait)


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
    ),
    *apikeys.MUTATIONS,
)

QUERIES = (*viewer.QUERIES, *apikeys.QUERIES)
