"""Who asks: users with roles and teams, made as a test needs them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from operator import methodcaller
from uuid import UUID

from core.actors import find_actor
from core.context import Actor
from core.contributions import Composed
from core.grants import Access, Reach
from core.passwords import create_user
from core.pool import Connection
from core.rows import new_id

#: Failures show the test's own lines.
__tracebackhide__ = methodcaller("errisinstance", AssertionError)


@dataclass(frozen=True)
class Role:
    """What a role allows: scopes by `Record:action`, abilities, and accesses by `Record.field`.

    `Role({"Customer:read": "TEAM"}, abilities=("loyalty_give",), fields={"Customer.phone": "HIDE"})`. A scope is OWN,
    TEAM or ALL, an access HIDE, READ or WRITE; what is not named is not allowed, but that fields without an access may
    be written. Without a `name` it gets one.
    """

    grants: Mapping[str, str] = field(default_factory=dict)
    abilities: Collection[str] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def check(self, composed: Composed) -> None:
        """Raise AssertionError for the first name that the workspace's feature set does not know."""
        catalog = composed.composition.catalog
        for pair, scope in self.grants.items():
            record, _, action = pair.partition(":")
            _known(record, catalog.records, "record type", pair)
            _known(action, catalog[record].type.actions, f"action on {record}", pair)
            _known(scope, Reach.__members__, "scope", f"{pair} {scope}")
        for pair, access in self.fields.items():
            record, _, name = pair.partition(".")
            _known(record, catalog.records, "record type", pair)
            _known(name, catalog[record].fields, f"field of {record}", pair)
            _known(access, Access.__members__, "access", f"{pair} {access}")
        for ability in self.abilities:
            _known(ability, composed.abilities, "ability", ability)


def _known(name: str, names: Iterable[str], what: str, given: str) -> None:
    if name not in set(names):
        raise AssertionError(f"{given!r}: there is no {what} {name!r}; there are {', '.join(sorted(names))}")


async def make_role(connection: Connection, role: Role) -> str:
    """Write a role with its grants and field rules; returns its name."""
    id_ = new_id()
    name = role.name or f"role {id_.hex[-6:]}"
    await connection.execute(
        "insert into role (id, name, abilities) values ($1, $2, $3)", id_, name, sorted(role.abilities)
    )
    await connection.executemany(
        "insert into permission_grant (id, role_id, record_type, action, scope) values ($1, $2, $3, $4, $5)",
        [(new_id(), id_, *pair.split(":"), scope) for pair, scope in role.grants.items()],
    )
    await connection.executemany(
        "insert into field_rule (id, role_id, record_type, field, access) values ($1, $2, $3, $4, $5)",
        [(new_id(), id_, *pair.split("."), access) for pair, access in role.fields.items()],
    )
    return name


async def make_user(connection: Connection, login: str, roles: Iterable[str], teams: Iterable[str]) -> Actor:
    """Make a user with roles, and in teams that are made where there are none of these names.

    Raises BadInput for a login that is taken and a role that is not there.
    """
    user_id = await create_user(connection, login, None, login.title(), roles, locale="en")
    for team in teams:
        await connection.execute(
            "insert into team_member (id, team_id, user_id) values ($1, $2, $3)",
            new_id(),
            await _team(connection, team),
            user_id,
        )
    actor = await find_actor(lambda text, values: connection.fetchval(text, *values), user_id)
    assert actor is not None
    return actor


async def _team(connection: Connection, name: str) -> UUID:
    found: UUID | None = await connection.fetchval("select id from team where name = $1 and deleted_at is null", name)
    if found is None:
        found = new_id()
        await connection.execute("insert into team (id, name) values ($1, $2)", found, name)
    return found
