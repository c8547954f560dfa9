"""Row conditions as values: what a `where`, a rule and policy become before they are SQL.

The tree is two-valued: a comparison with null is false, and `Not` of it is true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from core.context import RequestContext
from core.records import Field, ToMany, ToOne
from core.sql import Source

#: Lists are told apart by their length up to this one, so that a planner may begin with the rarest of their values.
FEW = 3


@dataclass(frozen=True, slots=True)
class Operand:
    """Where a value comes from when the statement runs; `key` identifies equal operands.

    `most` is how many values a list has at most, where a statement is planned for just so many: see `few`.
    """

    source: Source
    key: Any = None
    most: int | None = None

    def map(self, change: Callable[[Any], Any], name: str) -> Operand:
        """The operand with its value changed by a pure function, named so that equal ones still meet."""
        source = self.source
        key = None if self.key is None else (self.key, name)
        return Operand(lambda v, c: change(source(v, c)), key, self.most)


def few(values: Any) -> int | None:
    """How many values a list has, where they are so few that a statement is planned for their number; else None."""
    return len(values) if isinstance(values, list | tuple) and len(values) <= FEW else None


def constant(value: Any) -> Operand:
    """An operand that is always the same."""
    try:
        hash(value)
        key: Any = ("constant", type(value), value)
    except TypeError:
        key = None
    return Operand(lambda _v, _c: value, key, few(value))


def from_context(name: str, read: Callable[[RequestContext], Any]) -> Operand:
    """An operand read from the request, such as the actor's id."""
    return Operand(lambda _v, c: read(c), ("context", name))


@dataclass(frozen=True, slots=True)
class Always:
    """True or false for every row."""

    value: bool


@dataclass(frozen=True, slots=True)
class And:
    """Every part is true; true without parts."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part is true; false without parts."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part is not true."""

    part: Predicate


@dataclass(frozen=True, slots=True)
class Compare:
    """A field against an operand.

    `operator` is one of eq, ne, in, notIn, lt, lte, gt, gte, contains, startsWith, endsWith, isNull, notNull, has,
    hasAny and hasAll; the null ones take no operand.
    """

    field: Field
    operator: str
    operand: Operand | None = None


@dataclass(frozen=True, slots=True)
class Within:
    """A date or time in a period relative to now: `last`/`next` n units, or `this`/`previous`/`following` unit."""

    field: Field
    period: str
    unit: str
    count: Operand | None = None


@dataclass(frozen=True, slots=True)
class Linked:
    """The to-one record satisfies a predicate (and may be read, unless policy itself asks)."""

    relation: ToOne
    part: Predicate
    guarded: bool = True


@dataclass(frozen=True, slots=True)
class LinkedAny:
    """The to-one record is one of those that `ids` names (and may be read, unless policy itself asks).

    Which of them there are is found out once, not for each row.
    """

    relation: ToOne
    ids: Operand
    guarded: bool = True


@dataclass(frozen=True, slots=True)
class Related:
    """Some, none or every one of the related records satisfies a predicate."""

    relation: ToMany
    quantifier: str
    part: Predicate
    guarded: bool = True


@dataclass(frozen=True, slots=True)
class RelatedCount:
    """The number of related records that satisfy a predicate, compared with an operand."""

    relation: ToMany
    part: Predicate
    operator: str
    operand: Operand
    guarded: bool = True


@dataclass(frozen=True, slots=True)
class RelatedAll:
    """Among the related records there is, for each of `ids`, one whose `link` leads to it.

    All of the ids, each given once, must be those of records that may be read (unless policy itself asks); false
    without ids. It relies on no two related records having the same link, as in a table of members.
    """

    relation: ToMany
    link: ToOne
    ids: Operand
    guarded: bool = True


#: A condition on the rows of one record type, as a tree; it is two-valued: a comparison with null is false.
Predicate = Always | And | Or | Not | Compare | Within | Linked | LinkedAny | Related | RelatedCount | RelatedAll

#: Holds for every row.
TRUE = Always(True)
#: Holds for no row.
FALSE = Always(False)


def all_of(*parts: Predicate) -> Predicate:
    """Conjunction; nothing to satisfy is true."""
    rest = tuple(p for p in parts if p != TRUE)
    if any(p == FALSE for p in rest):
        return FALSE
    return rest[0] if len(rest) == 1 else And(rest) if rest else TRUE


def any_of(*parts: Predicate) -> Predicate:
    """Disjunction; nothing to choose from is false."""
    rest = tuple(p for p in parts if p != FALSE)
    if any(p == TRUE for p in rest):
        return TRUE
    return rest[0] if len(rest) == 1 else Or(rest) if rest else FALSE


def alternatives(predicate: Predicate, most: int) -> list[Predicate]:
    """Predicates of which one at least holds wherever the given one does: its reasons, each by itself.

    What has more than `most` of them stays as it is.
    """
    found: list[Predicate] = [predicate]
    match predicate:
        case Or(parts):
            found = [each for part in parts for each in alternatives(part, most)]
        case And(parts):
            reasons = [alternatives(part, most) for part in parts]
            if prod(map(len, reasons)) <= most:
                found = [all_of(*combined) for combined in product(*reasons)]
        case Linked(part=part):
            found = [replace(predicate, part=each) for each in alternatives(part, most)]
    return found if len(found) <= most else [predicate]
