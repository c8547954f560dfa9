"""Passwords: how they are kept and checked, and how users come to have one."""

from __future__ import annotations

import asyncio
import os
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID

import argon2
import asyncpg

from core.auth import CHANNEL
from core.errors import BadInput, TooManyRequests
from core.messages import text
from core.rows import new_id

Result = TypeVar("Result")

SHORTEST, LONGEST = 8, 200
#: The facts in the messages that `weakness` names.
LIMITS = {"shortest": SHORTEST, "longest": LONGEST}

#: Argon2id as OWASP advises, with one more pass: 20 MB and about 30 ms a check.
_HASHER = argon2.PasswordHasher(time_cost=3, memory_cost=19_456, parallelism=1)
#: The hash of a random password that nobody knows, so that a login nobody has costs as much as any.
_DUMMY = "$argon2id$v=19$m=19456,t=3,p=1$piBFY6NwCVhRiET8X9lJCg$W2q1U+9knTEZbBYZoToMwpP+shMcftXrGH4Db2wMa1Y"


#: So many at once: each keeps a processor busy.
_THREADS = ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1)), "passwords")
#: So many may wait for their turn, which is some seconds.
QUEUE = 200
_waiting: set[object] = set()


async def _aside(work: Callable[..., Result], *arguments: Any) -> Result:
    """Do some work in one of few threads. Raises TooManyRequests where too many wait for that already."""
    if len(_waiting) >= QUEUE:
        raise TooManyRequests("too many people are signing in at this moment", retry_after=5)
    turn = object()
    _waiting.add(turn)
    try:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, work, *arguments)
    finally:
        _waiting.remove(turn)


async def hashed(password: str) -> str:
    """The hash to keep of a password, made in a thread."""
    return await _aside(_HASHER.hash, _bytes(password))


async def matches(kept: str | None, password: str) -> bool:
    """Whether a password is the one whose hash is kept; without a hash it takes as long and is False."""
    return await _aside(_verify, kept, password)


def outdated(kept: str) -> bool:
    """Whether a hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(kept)


def weakness(password: str, login: str) -> str | None:
    """Why a password may not be used, as a key of the messages; None where it may."""
    if len(password) < SHORTEST:
        return "password_too_short"
    if len(password) > LONGEST:
        return "password_too_long"
    if password.casefold() == login.casefold():
        return "password_is_login"
    return None


#: What a change set would have written of a new user and his roles.
_JOURNAL = """
with made as (
    insert into change_set (id, at, actor_kind, source, operation, counts)
    values ($1, now(), 'SYSTEM', 'COMMAND', 'userCreate',
            jsonb_build_object('created', $3::integer, 'updated', 0, 'deleted', 0, 'restored', 0))
)
insert into change (change_set_id, record_type, record_id, action, version, after)
select $1, 'User', id, 'CREATE', version, jsonb_strip_nulls(jsonb_build_object('login', login, 'displayName',
       display_name, 'email', email, 'locale', locale, 'timeZone', time_zone, 'active', active))
from app_user where id = $2
union all
select $1, 'UserRole', id, 'CREATE', 1, jsonb_build_object('userId', user_id, 'roleId', role_id)
from user_role where user_id = $2
"""


async def create_user(
    connection: asyncpg.Connection,
    login: str,
    password: str | None,
    display_name: str = "",
    role_names: Iterable[str] = (),
    *,
    email: str | None = None,
    locale: str = "vi",
    time_zone: str | None = None,
) -> UUID:
    """Make a user with his roles, as the command line does, in the caller's transaction and journaled; returns his id.

    Without a password he cannot sign in yet. Raises BadInput for a login that is empty or taken, a role that
    does not exist, or a password that may not be used.
    """
    login = login.strip()
    if not 1 <= len(login) <= 100:
        raise BadInput("a login has 1 to 100 characters")
    names = list(dict.fromkeys(role_names))
    roles = await connection.fetch("select id, name from role where name = any($1) and deleted_at is null", names)
    if missing := sorted(set(names) - {r["name"] for r in roles}):
        raise BadInput(f"there is no role {', '.join(missing)}", roles=missing)
    kept = None if password is None else await _usable(password, login)
    id_ = new_id()
    made = await connection.fetchval(
        "insert into app_user (id, login, display_name, email, locale, time_zone, password_hash) "
        "values ($1, $2, $3, $4, $5, $6, $7) "
        "on conflict (lower(login)) where deleted_at is null do nothing returning id",
        id_, login, display_name.strip() or login, email, locale, time_zone, kept,
    )  # fmt: skip
    if made is None:
        raise BadInput(f"the login {login!r} is in use", login=login)
    await connection.executemany(
        "insert into user_role (id, user_id, role_id) values ($1, $2, $3)", [(new_id(), id_, r["id"]) for r in roles]
    )
    await connection.execute(_JOURNAL, new_id(), id_, len(roles) + 1)
    return id_


async def set_password(connection: asyncpg.Connection, user_id: UUID, password: str) -> None:
    """Give a user another password and end his sessions, in the caller's transaction; API keys go on.

    Raises BadInput for a user that does not exist and for a password that may not be used.
    """
    login = await connection.fetchval("select login from app_user where id = $1 and deleted_at is null", user_id)
    if login is None:
        raise BadInput("there is no such user")
    await replace(connection, user_id, await _usable(password, login))
    # The connection knows no slug, and this is rare enough to let every workspace be asked anew.
    await connection.execute("select pg_notify($1, '')", CHANNEL)


async def replace(connection: asyncpg.Connection, user_id: UUID, kept: str, keep_session: UUID | None = None) -> None:
    """Give a user the hash of another password, and end his sessions but for one."""
    await keep(connection, user_id, kept)
    await connection.execute(
        "update refresh_token set revoked_at = now() "
        "where user_id = $1 and revoked_at is null and family is distinct from $2",
        user_id,
        keep_session,
    )


async def keep(connection: asyncpg.Connection, user_id: UUID, kept: str) -> None:
    """Keep the hash of a user's password, and let him try again at once."""
    await connection.execute(
        "update app_user set password_hash = $2, failed_logins = 0, locked_until = null where id = $1",
        user_id,
        kept,
    )


async def _usable(password: str, login: str) -> str:
    if (problem := weakness(password, login)) is not None:
        raise BadInput(text(problem, "en", shortest=SHORTEST, longest=LONGEST))
    return await hashed(password)


def _bytes(password: str) -> bytes:
    """One form for texts that look alike: keyboards differ in how they write Vietnamese letters."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _verify(kept: str | None, password: str) -> bool:
    try:
        _HASHER.verify(kept or _DUMMY, _bytes(password[: LONGEST + 1]))
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    return kept is not None and len(password) <= LONGEST
