"""Sessions: families of refresh tokens, each good once. One used twice was stolen, and ends its family."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from core import tokens
from core.auth import CHANNEL, Authenticator
from core.context import Workspace
from core.rows import new_id


@dataclass(frozen=True, slots=True)
class Session:
    """The tokens of a session: the access token until `expires_at`, the refresh token for the next pair."""

    id: UUID
    user_id: UUID
    access_token: str
    refresh_token: str
    expires_at: datetime


async def open_session(
    connection: asyncpg.Connection, auth: Authenticator, workspace: Workspace, user_id: UUID, now: datetime
) -> Session:
    """Begin a session of a user, whose password or identity the caller has checked."""
    await connection.execute("delete from refresh_token where user_id = $1 and expires_at < $2", user_id, now)
    return await _next(connection, auth, workspace, user_id, new_id(), now, now + auth.session)


async def refresh(
    connection: asyncpg.Connection, auth: Authenticator, workspace: Workspace, token: str, now: datetime
) -> Session | None:
    """The next tokens of a session; None where the token is not good, which then has ended its family.

    The caller commits in both cases.
    """
    found = tokens.id_in(tokens.REFRESH, token)
    if found is None:
        return None
    row = await connection.fetchrow(
        "select r.user_id, r.hash, r.family, r.expires_at, r.used_at, "
        "u.active and u.deleted_at is null as live "
        "from refresh_token r join app_user u on u.id = r.user_id where r.id = $1 for update of r",
        found,
    )
    if row is None or not hmac.compare_digest(row["hash"], tokens.digest(token)):
        return None
    family = row["family"]
    if row["used_at"] is not None:
        await end_session(connection, auth, workspace, family)
        return None
    # Asked once the row is locked, so that a session just ended is seen to be.
    ended = await connection.fetchval(
        "select exists (select from refresh_token where family = $1 and revoked_at is not null)", family
    )
    if ended or not row["live"] or row["expires_at"] <= now:
        return None
    await connection.execute("update refresh_token set used_at = $2 where id = $1", found, now)
    return await _next(connection, auth, workspace, row["user_id"], family, now, row["expires_at"])


async def end_session(
    connection: asyncpg.Connection, auth: Authenticator, workspace: Workspace, session_id: UUID
) -> None:
    """End a session everywhere: its access tokens too are worth nothing once this is committed."""
    await connection.execute(
        "update refresh_token set revoked_at = now() where family = $1 and revoked_at is null", session_id
    )
    await access_changed(connection, auth, workspace)


async def access_changed(connection: asyncpg.Connection, auth: Authenticator, workspace: Workspace) -> None:
    """Make this process, and with the commit every other, ask anew who may do what in the workspace."""
    auth.forget(workspace.slug)
    await connection.execute("select pg_notify($1, $2)", CHANNEL, workspace.slug)


async def _next(
    connection: asyncpg.Connection,
    auth: Authenticator,
    workspace: Workspace,
    user_id: UUID,
    family: UUID,
    now: datetime,
    until: datetime,
) -> Session:
    id_ = new_id()
    token = tokens.new_token(tokens.REFRESH, id_)
    await connection.execute(
        "insert into refresh_token (id, user_id, hash, family, issued_at, expires_at) "
        "values ($1, $2, $3, $4, $5, $6)",
        id_, user_id, tokens.digest(token), family, now, until,
    )  # fmt: skip
    access, expires_at = auth.access_token(workspace, user_id, family, now)
    return Session(family, user_id, access, token, expires_at)
