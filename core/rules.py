"""Rules: conditions that records keep, such as a tier's, as canonical JSON of the `<Type>Where` they were written as.

A field declared with `condition` holds one. It is read as a `where` of its author when it is saved, so he must be
allowed to read every field that it uses; later it is asked by the system, over all records, whatever he may do by then.
A rule that does not fit the feature set any more (a plugin is off, a custom field gone) is off until it fits again: it
matches nothing, the record shows why in `<field>Problem`, and it is logged and reported by the server's health.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any, Generic, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

import asyncpg
import orjson
from graphql import GraphQLError, GraphQLInputType, Undefined
from graphql.utilities import coerce_input_value, validate_input_value

from core.arguments import stored as argument_of_stored
from core.catalog import Catalog, Record
from core.changes import Batch, ChangeSet
from core.condition import Conditions
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.errors import ClientError, CompositionError, Forbidden, InvalidRule
from core.footprint import Footprint, footprint_of
from core.grants import SYSTEM
from core.hookspecs import hookimpl
from core.messages import text
from core.policy import Policy
from core.pool import Connection
from core.predicate import Operand, Predicate
from core.records import Computed, Field, Kind
from core.rows import Fault, Row
from core.schema.where import condition
from core.sql import Statement

#: How many compiled rules are kept for one feature set.
KEPT = 1000

#: Values of rules are tried before there is any request.
_TRYING = RequestContext(Workspace(UUID(int=0), "", "", ""), Actor(ActorKind.SYSTEM, SYSTEM))

_IDS = Operand(lambda variables, _context: variables["ids"], "ids of records")

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Rule:
    """A stored condition on a record type, compiled for one feature set."""

    record: Record
    predicate: Predicate
    footprint: Footprint


_COMPILED: WeakKeyDictionary[Catalog, OrderedDict[tuple[str, bytes], Rule | InvalidRule]] = WeakKeyDictionary()


def compile_rule(catalog: Catalog, record: str, stored: Any) -> Rule:
    """A stored condition as the system asks it; compiled once per feature set.

    Raises InvalidRule, saying why, where the condition does not fit the feature set.
    """
    kept = _COMPILED.setdefault(catalog, OrderedDict())
    try:
        key = (record, orjson.dumps(stored, option=orjson.OPT_SORT_KEYS))
    except TypeError as error:
        raise InvalidRule("it is not a condition") from error
    found = kept.get(key)
    if found is None:
        try:
            predicate = stored_condition(stored, catalog[record], system_policy(catalog))
            found = Rule(catalog[record], predicate, footprint_of(predicate, catalog[record], catalog))
        except InvalidRule as error:
            found = error
        kept[key] = found
        if len(kept) > KEPT:
            kept.popitem(last=False)
    if isinstance(found, InvalidRule):
        raise InvalidRule(found.message)
    return found


def system_policy(catalog: Catalog) -> Policy:
    """The policy of the system, as which rules are asked."""
    return Policy(catalog, SYSTEM)


def input_type(catalog: Catalog, record: str) -> GraphQLInputType:
    """The GraphQL input that conditions on a record type are written as."""
    found: Any = catalog.schema.get_type(f"{record}Where") if catalog.schema else None
    if found is None:
        raise CompositionError(f"there is no condition on {record} in this feature set")
    return found  # type: ignore[no-any-return]


def coerced(stored: Any, type_: GraphQLInputType) -> Any:
    """A stored condition, or a part of one, as GraphQL reads it. Raises InvalidRule where it does not."""

    def refuse(error: GraphQLError, path: list[str | int]) -> None:
        place = ".".join(map(str, path))
        raise InvalidRule(f"{place}: {error.message}" if place else error.message)

    try:
        validate_input_value(stored, type_, refuse, hide_suggestions=True)
        value = coerce_input_value(stored, type_)
    except RecursionError:
        value = Undefined
    if value is Undefined or stored is None:
        raise InvalidRule("it is not a condition")
    return value


def stored_condition(stored: Any, record: Record, policy: Policy) -> Predicate:
    """A stored condition as somebody asks it. Raises Forbidden for a field hidden from him, else InvalidRule."""
    type_ = input_type(policy.catalog, record.name)
    try:
        found = condition(argument_of_stored(coerced(stored, type_), type_), record, policy)
        # What values cannot be meant is known only when they are read.
        conditions = Conditions(policy)
        conditions.sql(found, conditions.alias())
        conditions.values(_TRYING)
    except (Forbidden, InvalidRule):
        raise
    except ClientError as error:
        raise InvalidRule(error.message) from error
    except (RecursionError, ValueError, TypeError, KeyError) as error:
        raise InvalidRule("it is not a condition") from error
    return found


class RuleSet(Generic[Key]):
    """Rules on records of one type, asked together; `footprint` is what they depend on, None without rules."""

    def __init__(self, catalog: Catalog, rules: Mapping[Key, Rule]) -> None:
        self.rules = rules
        self.footprint = reduce(or_, (r.footprint for r in rules.values())) if rules else None
        self._statement = self._compile(catalog) if rules else None

    def _compile(self, catalog: Catalog) -> Statement:
        policy = system_policy(catalog)
        conditions = Conditions(policy)
        alias = conditions.alias()
        record = next(iter(self.rules.values())).record
        ids = conditions.operand(_IDS, "uuid[]")
        table, where = conditions.source(policy.scope(record.name), alias)
        holds = ", ".join(f"({conditions.sql(r.predicate, alias)}) is true" for r in self.rules.values())
        where.append(f"{alias}.id = any({ids})")
        statement = f"select {alias}.id, {holds} from {table} where {' and '.join(where)}"
        return Statement(statement, tuple(conditions.parameters.sources))

    async def matching(
        self, connection: Connection, context: RequestContext, ids: Sequence[UUID]
    ) -> dict[UUID, list[Key]]:
        """The keys of the rules that each of some live records satisfies, by its id; one statement for all of them."""
        if self._statement is None or not ids:
            return {}
        values = self._statement.bind({"ids": ids}, context)
        rows = await connection.fetch(self._statement.text, *values)
        return {id_: [key for key, holds in zip(self.rules, found, strict=True) if holds] for id_, *found in rows}


class RuleChecks:
    """Core's own hooks for stored conditions."""

    @hookimpl
    async def check(self, batch: Batch, changes: ChangeSet) -> Sequence[Fault]:
        """A condition that is saved must be one that its author may ask."""
        if batch.action not in ("create", "update"):
            return ()
        faults = []
        for declared in rule_fields(batch.record):
            for row in batch.rows:
                stored = (row.after or {}).get(declared.name)
                if declared.name in row.changed and stored is not None:
                    faults += await _faults(changes, row, declared, stored)
        return faults


async def _faults(changes: ChangeSet, row: Row, declared: Field, stored: Any) -> list[Fault]:
    """What keeps an author from saving a condition."""
    policy = changes.policy
    record = policy.catalog[declared.condition]
    code, reason = "INVALID_RULE", ""
    try:
        predicate = stored_condition(stored, record, policy)
        conditions = Conditions(policy)
        alias = conditions.alias()
        table, where = conditions.source(policy.internal(record.name), alias)
        where.append(conditions.sql(predicate, alias))
        # The database itself is asked, too: it may not take every value.
        statement = f"select from {table} where {' and '.join(where)} limit 0"
        await changes.connection.fetch(statement, *conditions.values(changes.context))
    except Forbidden as error:
        code, reason = "FORBIDDEN", error.message
    except InvalidRule as error:
        reason = error.message
    except asyncpg.DataError:
        reason = "a value is out of range"
    if not reason:
        return []
    params = {"field": declared.name, "reason": reason}
    return [Fault(row, code, text("invalid_rule", changes.context.locale, **params), declared.name, params)]


def rule_fields(record: Record) -> list[Field]:
    """The fields of a record type that hold conditions."""
    return [f for f in record.fields.values() if f.condition]


def problem(catalog: Catalog, declared: Field, stored: Any) -> str:
    """Why a stored condition is off; empty where there is none or all is well."""
    if stored is None:
        return ""
    try:
        compile_rule(catalog, declared.condition, stored)
    except InvalidRule as error:
        return error.message
    return ""


def show_problems(catalog: Catalog) -> Catalog:
    """The catalog with a field `<field>Problem` beside each that holds a condition."""
    for name, record in catalog.records.items():
        fields = rule_fields(record)
        if not fields:
            continue
        computed = dict(record.computed)
        for declared in fields:
            shown = _problem_field(catalog, declared)
            if shown.name in {**record.fields, **record.to_one, **record.to_many, **computed}:
                raise CompositionError(f"{name}.{shown.name} is core's, beside {declared.name} of {declared.plugin}")
            computed[shown.name] = shown
        catalog.records = {**catalog.records, name: replace(record, computed=computed)}
    return catalog


def _problem_field(catalog: Catalog, declared: Field) -> Computed:
    async def resolve(context: RequestContext, rows: Sequence[Mapping[str, Any]]) -> Sequence[str | None]:
        reasons = [problem(catalog, declared, row[declared.name]) for row in rows]
        return [text("invalid_rule", context.locale, reason=reason) if reason else None for reason in reasons]

    description = (
        f"Why `{declared.name}` is off: it does not fit the workspace's fields and plugins. Null when it is on."
    )
    return Computed(f"{declared.name}Problem", Kind.TEXT, description, (declared.name,), resolve, declared.plugin)
