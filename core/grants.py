"""What roles allow, as one value: the union of an actor's roles, most generous first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

#: Core's own abilities; whoever has all of them is an administrator.
ABILITIES = frozenset({"custom_fields", "files", "jobs", "plugins", "roles", "settings", "undo", "users"})


class Reach(IntEnum):
    """How far a grant reaches: no rows, the actor's own, his teams', all."""

    NONE = 0
    OWN = 1
    TEAM = 2
    ALL = 3


class Access(IntEnum):
    """What a role may do with one field of the rows it reaches."""

    HIDE = 0
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class RoleGrants:
    """One role: reaches by (record type, action), accesses by (record type, field), abilities by name.

    A field without a rule may be read and written.
    """

    name: str
    reaches: Mapping[tuple[str, str], Reach] = field(default_factory=dict)
    fields: Mapping[tuple[str, str], Access] = field(default_factory=dict)
    abilities: frozenset[str] = frozenset()

    def speaks_of(self, record: str) -> bool:
        """Whether it says anything about a record type: reaches some of its rows, or has a rule for a field of it."""
        reached = any(name == record and reach > Reach.NONE for (name, _), reach in self.reaches.items())
        return reached or any(name == record for name, _ in self.fields)


@dataclass(frozen=True)
class Grants:
    """The union of an actor's roles. `unlimited` is the system, which needs no role.

    `allowed`, when given, is all that an API key may do of it: (record type, action) pairs, with `*` for any;
    such a key has no abilities.
    """

    roles: tuple[RoleGrants, ...] = ()
    unlimited: bool = False
    allowed: frozenset[tuple[str, str]] | None = None

    def __post_init__(self) -> None:
        facts = [(r.name, sorted(r.reaches.items()), sorted(r.fields.items()), sorted(r.abilities)) for r in self.roles]
        allowed = None if self.allowed is None else sorted(self.allowed)
        text = repr((facts, self.unlimited, allowed)).encode()
        object.__setattr__(self, "fingerprint", hashlib.sha256(text).hexdigest()[:16])

    fingerprint: str = field(init=False, compare=False)

    def reach(self, record: str, action: str) -> Reach:
        """How far the actor's most generous role reaches."""
        if self.allowed is not None and not (
            {(record, action), (record, "*"), ("*", action), ("*", "*")} & self.allowed
        ):
            return Reach.NONE
        if self.unlimited:
            return Reach.ALL
        return max((role.reaches.get((record, action), Reach.NONE) for role in self.roles), default=Reach.NONE)

    def access(self, record: str, name: str) -> Access:
        """What the actor's most generous role may do with a field, of those that say anything about the record type."""
        if self.unlimited:
            return Access.WRITE
        speaking = [role for role in self.roles if role.speaks_of(record)] or self.roles
        return max((role.fields.get((record, name), Access.WRITE) for role in speaking), default=Access.HIDE)

    def able(self, ability: str) -> bool:
        """Whether any role has a named ability."""
        if self.allowed is not None and ("*", "*") not in self.allowed:
            return False
        return self.unlimited or any(ability in role.abilities for role in self.roles)

    @property
    def administers(self) -> bool:
        """Whether the actor is the system or an administrator, who may give what he does not have."""
        return self.unlimited or all(map(self.able, ABILITIES))

    def cover(self, other: Grants) -> bool:
        """Whether one may do or give all that another may, so that acting in his name is no way to rise above oneself.

        Compared are reaches, fields and abilities; that "own" rows are other rows for another user is not.
        """
        if self.administers or other.unlimited:
            return self.unlimited or not other.unlimited
        reaches = {pair for role in other.roles for pair in role.reaches}
        fields = {(r, f) for role in self.roles for r, f in role.fields if any(o.speaks_of(r) for o in other.roles)}
        abilities = {name for role in other.roles for name in role.abilities}
        return (
            all(self.reach(*pair) >= other.reach(*pair) for pair in reaches)
            and all(self.access(*pair) >= other.access(*pair) for pair in fields)
            and all(self.able(name) for name in abilities if other.able(name))
        )

    def naming(self, record: str, action: str) -> Iterable[tuple[str, Reach]]:
        """The roles that grant an action, with how far each reaches."""
        for role in self.roles:
            if reach := role.reaches.get((record, action), Reach.NONE):
                yield role.name, reach


SYSTEM = Grants(unlimited=True)
NOBODY = Grants()
