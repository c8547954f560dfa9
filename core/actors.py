"""What the database says of a user, as an actor: his teams, his mates, and what his roles allow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from core.context import Actor, ActorKind
from core.grants import Access, Grants, Reach, RoleGrants

#: Runs one statement that returns one JSON value.
Fetch = Callable[[str, Sequence[Any]], Awaitable[bytes | None]]

_ANY = ("*", "*")

_MEMBER = "team_member m join team t on t.id = m.team_id and t.deleted_at is null"

_ROLE = """coalesce(json_agg(json_build_object(
    'name', r.name,
    'abilities', r.abilities,
    'reaches', (select json_agg(json_build_array(g.record_type, g.action, g.scope))
                from permission_grant g where g.role_id = r.id),
    'fields', (select json_agg(json_build_array(f.record_type, f.field, f.access))
               from field_rule f where f.role_id = r.id)
  ) order by r.name), '[]'::json)"""
_ROLES = f"""(
  select {_ROLE}
  from user_role h join role r on r.id = h.role_id and r.deleted_at is null where h.user_id = u.id
)"""


def actor_sql(condition: str, columns: str = "") -> str:
    """The statement that reads one live, active user as JSON, or nothing.

    `condition` is an SQL condition on the alias `u` (its parameters numbered from $1), `columns` are further
    expressions for the JSON, each with a comma before it.
    """
    return f"""select row_to_json(x) from (select u.id, u.login, u.display_name, u.locale{columns},
array(select m.team_id from {_MEMBER} where m.user_id = u.id order by 1) as teams,
array(select distinct o.user_id from {_MEMBER} join team_member o on o.team_id = m.team_id
      where m.user_id = u.id and o.user_id <> u.id order by 1) as mates,
{_ROLES} as roles
from app_user u where u.active and u.deleted_at is null and {condition}) x"""


_BY_ID = actor_sql("u.id = $1")


_ROLES_BY_ID = f"select {_ROLE} from role r where r.id = any($1)"


async def find_roles(fetch: Fetch, ids: Iterable[Any]) -> list[RoleGrants]:
    """What roles allow, live and deleted ones; ids of none are left out."""
    data = await fetch(_ROLES_BY_ID, [list(ids)])
    return [_role(row) for row in orjson.loads(data or b"[]")]


async def find_actor(fetch: Fetch, user_id: UUID) -> Actor | None:
    """The actor a user would be if he signed in now; None where there is no such live, active user."""
    data = await fetch(_BY_ID, [user_id])
    return None if data is None else actor_of(orjson.loads(data))


def actor_of(
    row: Mapping[str, Any],
    *,
    kind: ActorKind = ActorKind.USER,
    allowed: Iterable[str] | None = None,
    token_id: UUID | None = None,
    expires_at: datetime | None = None,
) -> Actor:
    """The actor that a row of `actor_sql` describes.

    `allowed` are the pairs that an API key is limited to, written `Record:action`; None is no limit.
    """
    id_ = UUID(row["id"])
    return Actor(
        kind=kind,
        grants=Grants(tuple(map(_role, row["roles"])), allowed=None if allowed is None else _pairs(allowed)),
        user_id=id_,
        login=row["login"],
        display_name=row["display_name"],
        team_ids=tuple(map(UUID, row["teams"])),
        mate_ids=(id_, *map(UUID, row["mates"])),
        locale=row["locale"],
        token_id=token_id,
        expires_at=expires_at,
    )


def _role(row: Mapping[str, Any]) -> RoleGrants:
    """One role; a scope or an access that this version does not know allows nothing."""
    return RoleGrants(
        row["name"],
        {(r, a): Reach.__members__.get(scope, Reach.NONE) for r, a, scope in row["reaches"] or ()},
        {(r, f): Access.__members__.get(access, Access.HIDE) for r, f, access in row["fields"] or ()},
        frozenset(row["abilities"] or ()),
    )


def _pairs(allowed: Iterable[str]) -> frozenset[tuple[str, str]] | None:
    """What a key may do. Everything is no limit, so that such a key shares the plans of its user's sessions."""
    pairs = set()
    for text in allowed:
        record, _, action = text.partition(":")
        pairs.add((record, action))
    return None if _ANY in pairs else frozenset(pairs)
