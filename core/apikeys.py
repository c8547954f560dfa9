"""API keys: long-lived tokens that act for a user, limited to what they were made for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from core import auth, guards, sessions, tokens
from core.errors import BadInput, Unauthenticated
from core.operations import Argument, Ask, Call, Member, Mutation, ObjectType, Payload, Query
from core.rows import new_id
from core.schema.where import uuid_or_none

EVERYTHING = ("*:*",)

_KEYS = """select coalesce(json_agg(x order by x.id desc), '[]'::json) from (
select id, user_id as "userId", name, coalesce(allowed, '{}') as allowed, created_at as "createdAt",
expires_at as "expiresAt", revoked_at as "revokedAt", last_used_at as "lastUsedAt" from api_key where """


async def issue_api_key(
    connection: asyncpg.Connection,
    user_id: UUID,
    name: str,
    allowed: Iterable[str] = EVERYTHING,
    expires_at: datetime | None = None,
) -> str:
    """Make a key that acts for a user and return it. Only its hash is kept: this is the one time it is seen.

    `allowed` are pairs `Record:action`, `*` for any; nothing beyond what the user himself may do. Raises
    BadInput where there is no such live user, or a pair is not a pair.
    """
    pairs = list(allowed)
    if any(pair.count(":") != 1 for pair in pairs):
        raise BadInput("what a key is allowed is written Record:action, with * for any")
    id_ = new_id()
    key = tokens.new_token(tokens.API_KEY, id_)
    made = await connection.fetchval(
        "insert into api_key (id, user_id, name, hash, allowed, expires_at) select $1, u.id, $3, $4, $5, $6 "
        "from app_user u where u.id = $2 and u.deleted_at is null returning id",
        id_, user_id, name, tokens.digest(key), pairs, expires_at,
    )  # fmt: skip
    if made is None:
        raise BadInput("there is no such user")
    return key


async def _create(call: Call) -> Payload:
    _, own_id = guards.demand_person(call.context)
    asked = call.input.get("userId")
    user_id = own_id if asked is None else uuid_or_none(asked)
    if user_id != own_id:
        call.policy.demand(guards.USERS)
        if user_id is None or await guards.find_user(call, user_id) is None:
            return guards.refuse_user(call)
        await guards.demand_cover(call, user_id)
    name, allowed = call.input["name"].strip(), call.input["allowed"]
    if not name:
        return guards.refuse(call, "REQUIRED", "required", "name", field="name")
    if len(name) > 100:
        return guards.refuse(call, "TOO_LONG", "too_long", "name", field="name", limit=100)
    if unknown := [pair for pair in allowed if not _is_permission(call, pair)]:
        return guards.refuse(call, "INVALID", "unknown_permission", "allowed", value=unknown[0][:100])
    expires_at = _utc(call.input.get("expiresAt"))
    if expires_at is not None and expires_at <= call.context.now:
        return guards.refuse(call, "INVALID", "not_in_future", "expiresAt", field="expiresAt")
    connection = call.changes.connection
    key = await issue_api_key(connection, user_id, name, allowed, expires_at)
    made = await connection.fetchval(f"{_KEYS} hash = $1) x", tokens.digest(key))
    return Payload({"key": key, "apiKey": _shown(made)[0]})


async def _revoke(call: Call) -> Payload:
    context, connection = call.context, call.changes.connection
    id_ = uuid_or_none(call.input["id"])
    owner = await connection.fetchval("select user_id from api_key where id = $1", id_)
    if owner is None or (owner != context.actor.user_id and not call.policy.grants.able(guards.USERS)):
        return guards.refuse(call, "NOT_FOUND", "not_found", "id", record="ApiKey")
    await connection.execute(
        "update api_key set revoked_at = $2 where id = $1 and revoked_at is null", id_, context.now
    )
    await sessions.access_changed(connection, auth.of(context), context.workspace)
    return Payload({"id": str(id_)})


async def _keys(ask: Ask) -> list[dict[str, Any]]:
    own_id = ask.context.actor.user_id
    if own_id is None:
        raise Unauthenticated("sign in first")
    asked = ask.arguments.get("userId")
    user_id = own_id if asked is None else uuid_or_none(asked)
    if user_id != own_id:
        ask.policy.demand(guards.USERS)
    return _shown(await ask.fetch(f"{_KEYS} user_id = $1) x", [user_id]))


def _shown(data: bytes) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = orjson.loads(data)
    return [
        {name: datetime.fromisoformat(v) if name.endswith("At") and v else v for name, v in key.items()} for key in keys
    ]


def _is_permission(call: Call, pair: str) -> bool:
    record, _, action = pair.partition(":")
    catalog = call.policy.catalog
    if record == "*":
        return action == "*" or any(action in r.type.actions for r in catalog)
    return record in catalog and (action == "*" or action in catalog[record].type.actions)


def _utc(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


OBJECTS = (
    ObjectType(
        "ApiKey",
        "A long-lived token that acts for a user.",
        (
            Member("id", "ID!", "Its id."),
            Member("userId", "ID!", "The user it acts for."),
            Member("name", "String!", "What it is called."),
            Member("allowed", "[String!]!", "What it is limited to, as `Record:action` with `*` for any."),
            Member("createdAt", "DateTime!", "When it was made."),
            Member("expiresAt", "DateTime", "When it ends by itself."),
            Member("revokedAt", "DateTime", "When it was revoked."),
            Member("lastUsedAt", "DateTime", "When it was last used, to within two minutes."),
        ),
    ),
)

MUTATIONS = (
    Mutation(
        "apiKeyCreate",
        "Makes a key that acts for oneself or, with the ability users, for one who may do no more than oneself.",
        _create,
        (
            Argument("name", "String!", "What to call it."),
            Argument(
                "allowed",
                "[String!]!",
                "What to limit it to, as `Record:action` with `*` for any, such as `Customer:read`; only one "
                "that may do everything has its user's abilities.",
            ),
            Argument("expiresAt", "DateTime", "When it ends by itself; never when left out."),
            Argument("userId", "ID", "The user it acts for; oneself when left out."),
        ),
        (
            Member("key", "String", "The key; it is shown this once."),
            Member("apiKey", "ApiKey", "What is kept of it."),
        ),
        signed_in=False,
    ),
    Mutation(
        "apiKeyRevoke",
        "Ends an API key of oneself or, with the ability users, of anybody.",
        _revoke,
        (Argument("id", "ID!", "The key's id."),),
        (Member("id", "ID", "Its id, null where it was refused."),),
    ),
)

QUERIES = (
    Query(
        "apiKeys",
        "One's own API keys or, with the ability users, another user's; newest first.",
        "[ApiKey!]!",
        _keys,
        (Argument("userId", "ID", "Whose keys; one's own when left out."),),
    ),
)
