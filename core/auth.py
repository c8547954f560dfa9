"""Tokens become actors: checked, resolved in one statement, and remembered until access changes."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import orjson

from core import tokens
from core.actors import actor_of, actor_sql
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.errors import Unauthenticated
from core.grants import NOBODY
from core.settings import Settings

#: Where changes of access are announced, with the slug of their workspace; an empty one is every workspace.
CHANNEL = "crm_access"
ANONYMOUS = Actor(ActorKind.USER, NOBODY)

_ALGORITHM = "HS256"
_LONGEST = 2_000
_REMEMBERED = 5_000
#: Seconds an actor is believed without asking again. Notifications only travel within the deployment's own
#: database, so a workspace that lives in another is asked again each second.
_BELIEVED, _BELIEVED_ELSEWHERE = 60.0, 1.0
#: Seconds after `forget` in which nothing is remembered: its caller's transaction may commit that late.
_UNSETTLED = 2.0

_SESSION = actor_sql(
    "u.id = $1 and exists (select from refresh_token s where s.family = $2 and s.user_id = u.id "
    "and s.expires_at > now()) and not exists (select from refresh_token s where s.family = $2 "
    "and s.revoked_at is not null)"
)
_KEY_HOLDS = "k.id = $1 and k.hash = $2 and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())"
_KEY = (
    f"with used as (update api_key k set last_used_at = now() where {_KEY_HOLDS} "
    "and (k.last_used_at is null or k.last_used_at < now() - interval '1 minute')) "
    + actor_sql(
        f"exists (select from api_key k where k.user_id = u.id and {_KEY_HOLDS})",
        ", (select k.allowed from api_key k where k.id = $1) as allowed"
        ", (select extract(epoch from k.expires_at) from api_key k where k.id = $1) as until",
    )
)


class Authenticator:
    """Knows who stands behind a token, for every workspace of the deployment.

    `await start()` makes it hear of changes made by other processes. The app puts it into
    `RequestContext.extra["auth"]`, where sign-in finds it.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._key = hmac.digest(settings.signing_key().encode(), b"crm access token", "sha256")
        self._access = timedelta(minutes=settings.access_token_minutes)
        #: How long a session can be refreshed.
        self.session = timedelta(days=settings.refresh_token_days)
        self._actors: dict[tuple[str, UUID], OrderedDict[str, tuple[Actor, float]]] = {}
        self._unsettled: dict[str, float] = {}

    async def start(self) -> None:
        """Listen for changes of access. Raises DatabaseError where the database cannot be reached."""
        await self._database.listen(CHANNEL, self._drop)

    async def actor(self, workspace: Workspace, token: str | None) -> Actor:
        """The actor behind an access token or an API key; without a token one who may do nothing.

        Raises Unauthenticated for a token that is malformed, expired, revoked or of another workspace, and
        where its user is deleted or no longer active.
        """
        if token is None:
            return ANONYMOUS
        known = self._actors.get((workspace.slug, workspace.id))
        if known is not None and (found := known.get(token)) is not None and found[1] > time.time():
            known.move_to_end(token)
            return found[0]
        return await self._resolve(workspace, token)

    def access_token(
        self, workspace: Workspace, user_id: UUID, session_id: UUID, now: datetime
    ) -> tuple[str, datetime]:
        """Sign an access token for a user's session in one workspace; returns it and when it expires."""
        expires_at = now.replace(microsecond=0) + self._access
        claims = {
            "sub": str(user_id), "ws": workspace.slug, "sid": str(session_id), "iat": now, "exp": expires_at,
        }  # fmt: skip
        return jwt.encode(claims, self._key, _ALGORITHM), expires_at

    def forget(self, slug: str) -> None:
        """Know nothing any more of a workspace's actors, as when one has lost a right.

        Call it after the change or, better, inside its transaction: for two seconds nothing is remembered.
        """
        self._unsettled[slug] = time.monotonic() + _UNSETTLED
        self._drop(slug)

    def _drop(self, slug: str | None) -> None:
        for key in [k for k in self._actors if not slug or k[0] == slug]:
            del self._actors[key]

    async def _resolve(self, workspace: Workspace, token: str) -> Actor:
        # Taken before the database is asked: what it says is kept nowhere if access changes meanwhile.
        known = self._actors.setdefault((workspace.slug, workspace.id), OrderedDict())
        known.pop(token, None)
        if len(token) > _LONGEST:
            raise Unauthenticated("the token is not valid")
        by_key = token.startswith(f"{tokens.API_KEY}_")
        actor = await (self._by_key if by_key else self._by_session)(workspace, token)
        if time.monotonic() >= self._unsettled.get(workspace.slug, 0.0):
            believed = time.time() + (_BELIEVED_ELSEWHERE if workspace.database_url else _BELIEVED)
            until = actor.expires_at.timestamp() if actor.expires_at else believed
            known[token] = (actor, min(believed, until))
            if len(known) > _REMEMBERED:
                known.popitem(last=False)
        return actor

    async def _by_session(self, workspace: Workspace, token: str) -> Actor:
        try:
            claims = jwt.decode(token, self._key, [_ALGORITHM], options={"require": ["sub", "ws", "sid", "iat", "exp"]})
            user_id, session_id = UUID(claims["sub"]), UUID(claims["sid"])
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the access token has expired: refresh it") from None
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
            raise Unauthenticated("the token is not valid") from None
        if claims["ws"] != workspace.slug:
            raise Unauthenticated("the token is for another workspace")
        row = await self._row(workspace, _SESSION, user_id, session_id)
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        return actor_of(row, token_id=session_id, expires_at=expires_at)

    async def _by_key(self, workspace: Workspace, token: str) -> Actor:
        id_ = tokens.id_in(tokens.API_KEY, token)
        if id_ is None:
            raise Unauthenticated("the token is not valid")
        row = await self._row(workspace, _KEY, id_, tokens.digest(token))
        until = row["until"]
        return actor_of(
            row,
            kind=ActorKind.API_KEY,
            allowed=row["allowed"] or (),
            token_id=id_,
            expires_at=None if until is None else datetime.fromtimestamp(float(until), UTC),
        )

    async def _row(self, workspace: Workspace, statement: str, *values: Any) -> dict[str, Any]:
        data = await self._database.pool(workspace).fetchval(statement, *values)
        if data is None:
            raise Unauthenticated("the token is not valid or has been revoked")
        row: dict[str, Any] = orjson.loads(data)
        return row


def of(context: RequestContext) -> Authenticator:
    """The authenticator that the app put into a request."""
    found: Authenticator = context.extra["auth"]
    return found
