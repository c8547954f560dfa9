"""Why a record does or does not satisfy a rule: each part of the rule, whether it holds, and the value it is about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from core.arguments import stored as argument_of_stored
from core.catalog import Record
from core.condition import Conditions, column_sql
from core.context import RequestContext
from core.errors import Forbidden, NotFound
from core.operations import Member, ObjectType
from core.policy import Policy
from core.predicate import TRUE, Linked, Predicate, constant
from core.records import Field, Kind, ToOne
from core.rules import coerced, compile_rule, input_type, system_policy
from core.schema.where import condition
from core.sql import quote

#: Runs a statement with its parameters and returns its only value.
Fetch = Callable[..., Awaitable[Any]]

EXPLANATION = ObjectType(
    "ConditionExplanation",
    "One part of a condition, and whether it holds for a record.",
    (
        Member("path", "[String!]!", "The way to it from the whole condition, whose path is empty."),
        Member("condition", "JSON!", "The part by itself."),
        Member(
            "holds",
            "Boolean",
            "Whether the part by itself holds; null where that would tell what is hidden from you.",
        ),
        Member("actual", "JSON", "The value it is about, where it is about one and you may read it."),
    ),
)


#: A record type and its relation that leads on.
_Link = tuple[Record, ToOne]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a condition: on a record that `links` lead to from the one that is explained."""

    path: tuple[str, ...]
    condition: dict[str, Any]
    record: Record
    links: tuple[_Link, ...] = ()
    key: str = ""

    def predicate(self, policy: Policy) -> Predicate:
        """The part as somebody asks it. Raises Forbidden where it is about a field hidden from him."""
        for holder, link in self.links:
            policy.demand_readable(holder, link.key.name)
        type_ = input_type(policy.catalog, self.record.name)
        found = condition(argument_of_stored(coerced(self.condition, type_), type_), self.record, policy)
        for _, link in reversed(self.links):
            found = Linked(link, found)
        return found


async def explain_rule(
    fetch: Fetch, context: RequestContext, policy: Policy, record: str, stored: Mapping[str, Any], id_: UUID
) -> list[dict[str, Any]]:
    """The parts of a stored condition as `ConditionExplanation`s for one record, the whole condition first.

    What holds is what holds for the system, as which rules are asked; where it does not for the one who asks, because
    he may not read all that decides it, he is not told. Raises InvalidRule for a rule that is off, NotFound where the
    record may not be read.
    """
    catalog = policy.catalog
    compile_rule(catalog, record, stored)
    parts = list(_parts(catalog[record], dict(stored), (), (), policy))
    conditions = _Both(policy)
    alias = conditions.alias()
    table, where = conditions.source(policy.scope(record), alias)
    where.append(f"{alias}.id = {conditions.operand(constant(id_), 'uuid')}")
    holds = ", ".join(conditions.both(part, alias) for part in parts)
    values = ", ".join(f"{conditions.actual(part, alias)} as {quote(str(i))}" for i, part in enumerate(parts))
    statement = (
        f"select json_build_array(to_json(array[{holds}]::boolean[]), "
        f"(select row_to_json(v) from (select {values}) v)) from {table} where {' and '.join(where)}"
    )
    answer = await fetch(statement, conditions.values(context))
    if answer is None:
        raise NotFound(f"no such {catalog[record].type.singular}", id=str(id_))
    held, actual = orjson.loads(answer)
    return [
        {"path": list(part.path), "condition": part.condition, "holds": holds, "actual": actual[str(i)]}
        for i, (part, holds) in enumerate(zip(parts, held, strict=True))
    ]


def _parts(
    record: Record, given: dict[str, Any], path: tuple[str, ...], links: tuple[_Link, ...], policy: Policy
) -> Iterator[_Part]:
    """A condition and, below it, its parts."""
    yield _Part(path, given, record, links, next(iter(given)) if len(given) == 1 else "")
    for key, value in given.items():
        here = (*path, key)
        if key in ("and", "or"):
            members = value if isinstance(value, list) else [value]
            for i, member in enumerate(members):
                yield from _parts(record, member, (*here, str(i)), links, policy)
        elif key == "not" and value is not None:
            yield from _parts(record, value, here, links, policy)
        elif key in record.to_one and value is not None:
            relation = record.to_one[key]
            yield from _parts(policy.catalog[relation.target], value, here, (*links, (record, relation)), policy)
        elif len(given) > 1:
            yield _Part(here, {key: value}, record, links, key)


class _Both(Conditions):
    """Compiles each part twice: as the system asks it, and as the one who wants to know may ask it."""

    def both(self, part: _Part, alias: str) -> str:
        """Whether a part holds; null where the answer differs, or the actor may not even ask."""
        asker, system = self.policy, system_policy(self.catalog)
        try:
            asked = part.predicate(asker)
        except Forbidden:
            return "null"
        seen = f"({self.sql(asked, alias)}) is true"
        self.policy = system
        try:
            holds = f"({self.sql(part.predicate(system), alias)}) is true"
        finally:
            self.policy = asker
        return f"case when ({holds}) = ({seen}) then {holds} end"

    def actual(self, part: _Part, alias: str, depth: int = 0) -> str:
        """The value that a part is about."""
        if depth < len(part.links):
            holder, relation = part.links[depth]
            if not self.policy.readable(holder, relation.key.name):
                return "null"
            inner = self.alias()
            table, where = self.source(self.policy.scope(relation.target), inner)
            where.append(f"{inner}.id = {relation.sql(alias)}")
            return f"(select {self.actual(part, inner, depth + 1)} from {table} where {' and '.join(where)})"
        relation_ = part.record.to_many.get(part.key)
        if relation_ is not None:
            scope = self.policy.scope(relation_.target, reached=relation_.route)
            return self.exists(scope, self.link(relation_, alias), TRUE, "count(*)")
        field = part.record.fields.get(part.key)
        if field is None or not self.policy.readable(part.record, field.name):
            return "null"
        return _shown(field, alias)


def _shown(field: Field, alias: str) -> str:
    sql = column_sql(field, alias)
    return f"trim_scale({sql})::text" if field.kind is Kind.DECIMAL else sql
