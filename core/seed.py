"""The roles that a new workspace starts with, as data; its administrators change them as they like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from core.catalog import Catalog, Record
from core.grants import ABILITIES, Reach
from core.pool import Connection
from core.rows import new_id

#: What salespeople may do with what they own; to carry whole lists out of the house takes a manager.
_OWN_WORK = frozenset({"read", "create", "update", "delete", "restore", "import", "transfer", "share"})
_PEOPLE = ("User", "Team")
_JOURNAL = "ChangeSet"
#: What everyone reads of his own only.
_OWN = ("Job", "File")
#: What those may do besides who work with customers.
_WORK_ABILITIES = ("files",)


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """A role to create: its reaches by (record type, action), NONE where not said, and its abilities."""

    name: str
    description: str
    reaches: Mapping[tuple[str, str], Reach]
    abilities: tuple[str, ...] = ()


def default_roles(catalog: Catalog) -> list[RoleSpec]:
    """Admin, Manager, Salesperson and Read-only, with grants for the record types of a catalog.

    Record types that have owners, or hang on one that has, are granted by ownership. Of the others everyone
    reads users and teams; the rest, a plugin's included, is the admin's until he grants it to others.
    """
    granted = [r for r in catalog if not r.type.follows]
    owned = [r for r in granted if r.name not in (_JOURNAL, *_OWN) and _has_owner(catalog, r)]
    read_own = {(name, "read"): Reach.OWN for name in _OWN if name in catalog}
    read_people = {(name, "read"): Reach.ALL for name in _PEOPLE if name in catalog}
    look_up = {(r.name, "lookup"): Reach.ALL for r in granted if "lookup" in r.type.actions}
    return [
        RoleSpec("Admin", "May do everything.", _every(granted, Reach.ALL), tuple(sorted(ABILITIES))),
        RoleSpec(
            "Manager",
            "Works with all that the members of his teams own, and reads the whole journal.",
            _every(owned, Reach.TEAM) | look_up | read_people | {(_JOURNAL, "read"): Reach.ALL, **read_own},
            _WORK_ABILITIES,
        ),
        RoleSpec(
            "Salesperson",
            "Works with what he owns, and with what is shared with him.",
            _every(owned, Reach.OWN, _OWN_WORK) | look_up | read_people | {(_JOURNAL, "read"): Reach.OWN, **read_own},
            _WORK_ABILITIES,
        ),
        RoleSpec(
            "Read-only",
            "Reads all customers and what belongs to them, and changes nothing.",
            _every(owned, Reach.ALL, {"read"}) | read_people | read_own,
        ),
    ]


async def seed(connection: Connection, catalog: Catalog) -> None:
    """Insert the default roles with their grants into a workspace that has none of these names.

    Raises asyncpg.UniqueViolationError where a live role has such a name; run it in a transaction.
    """
    roles = [(new_id(), spec) for spec in default_roles(catalog)]
    await connection.executemany(
        "insert into role (id, name, description, abilities) values ($1, $2, $3, $4)",
        [(id_, spec.name, spec.description, list(spec.abilities)) for id_, spec in roles],
    )
    await connection.executemany(
        "insert into permission_grant (id, role_id, record_type, action, scope) values ($1, $2, $3, $4, $5)",
        [
            (new_id(), id_, record, action, reach.name)
            for id_, spec in roles
            for (record, action), reach in spec.reaches.items()
        ],
    )


def _every(
    records: Iterable[Record], reach: Reach, actions: AbstractSet[str] | None = None
) -> dict[tuple[str, str], Reach]:
    """The same reach for all actions of record types, or for those of them that are named."""
    return {(r.name, a): reach for r in records for a in r.type.actions if actions is None or a in actions}


def _has_owner(catalog: Catalog, record: Record) -> bool:
    """Whether rows of a type are somebody's: by an owner of their own, or through their parents'."""
    t = record.type
    return bool(t.owner) or bool(t.parent and _has_owner(catalog, catalog[record.to_one[t.parent].target]))
