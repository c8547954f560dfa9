"""Predicates become SQL conditions on an alias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from core.context import RequestContext
from core.errors import CompositionError
from core.folding import pattern
from core.periods import bounds
from core.policy import Policy, Scope
from core.predicate import (
    FEW,
    TRUE,
    Always,
    And,
    Compare,
    Linked,
    LinkedAny,
    Not,
    Operand,
    Or,
    Predicate,
    Related,
    RelatedAll,
    RelatedCount,
    Within,
)
from core.records import Field, Kind, ToMany, ToOne
from core.sql import Parameters, quote

_COMPARISONS = {"eq": "=", "ne": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_PATTERNS = {"contains": ("%", "%"), "startsWith": ("", "%"), "endsWith": ("%", "")}


def column_sql(field: Field, alias: str) -> str:
    """The expression that reads a field from a row."""
    if field.sql is not None:
        return f"({field.sql(alias)})"
    if field.custom:
        key = field.custom.replace("'", "''")
        if field.kind is Kind.TEXTS:
            return f"(select array_agg(e) from jsonb_array_elements_text({alias}.custom->'{key}') e)::text[]"
        return f"({alias}.custom->>'{key}')::{field.type}"
    return f"{alias}.{quote(field.column)}"


def folded_sql(field: Field, alias: str) -> str:
    """The expression for a text field without case and accents."""
    return f"{alias}.{quote(field.folded)}" if field.folded else f"public.crm_fold({column_sql(field, alias)})"


def pattern_sql(placeholder: str, before: str = "%", after: str = "%") -> str:
    """A LIKE pattern for folded text, whatever wildcards the text itself holds."""
    escaped = f"regexp_replace(public.crm_fold({placeholder}), '([\\\\%_])', '\\\\\\1', 'g')"
    parts = [f"'{p}'" if p else "" for p in (before, after)]
    return " || ".join(p for p in (parts[0], escaped, parts[1]) if p)


class Conditions:
    """Compiles predicates for one statement: it shares the statement's parameters and hands out aliases."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.catalog = policy.catalog
        self.parameters = Parameters()
        #: Whether conditions are on deleted rows.
        self.on_deleted = False
        self._aliases = 0

    def alias(self) -> str:
        """A table alias that nothing else in the statement has."""
        self._aliases += 1
        return f"t{self._aliases}"

    def operand(self, operand: Operand, type_: str) -> str:
        """The placeholder of an operand's value, with its type."""
        return self.parameters.add(operand.source, type_, operand.key)

    def known(self, value: Any, type_: str) -> str:
        """The placeholder of a value that is known already, with its type."""
        return self.parameters.constant(value, type_)

    def bind(self, context: RequestContext, variables: dict[str, Any] | None = None) -> list[Any]:
        """The parameters' values, in order, for one run of the statement."""
        return [source(variables or {}, context) for source in self.parameters.sources]

    def pattern(self, operand: Operand, before: str = "%", after: str = "%") -> str:
        """The LIKE pattern of an operand: folded here where that can be, else by the database, row by row at worst."""
        ready = self.operand(operand.map(lambda v: pattern(v, before, after), f"pattern {before}{after}"), "text")
        return f"coalesce({ready}, {pattern_sql(self.operand(operand, 'text'), before, after)})"

    def values(self, context: RequestContext) -> list[Any]:
        """The values of the statement's parameters in one request, in order, where none is read from variables."""
        return [source({}, context) for source in self.parameters.sources]

    def source(self, scope: Scope, alias: str) -> tuple[str, list[str]]:
        """FROM item and conditions of a scope: the only way a table gets into a statement."""
        conditions = []
        if scope.record.type.soft_delete and scope.deleted is not None:
            conditions.append(f"{alias}.deleted_at is {'not null' if scope.deleted else 'null'}")
        if scope.predicate != Always(True):
            conditions.append(self.sql(scope.predicate, alias))
        return f"{quote(scope.record.type.tablename)} {alias}", conditions

    def exists(self, scope: Scope, link: Callable[[str], str], part: Predicate, select: str = "") -> str:
        """A sub-select on a scope: rows linked to the outer row that satisfy a predicate."""
        alias = self.alias()
        table, conditions = self.source(scope, alias)
        conditions.insert(0, link(alias))
        if part != Always(True):
            conditions.append(self.sql(part, alias))
        return f"(select {select} from {table} where {' and '.join(conditions)})"

    def link(self, relation: ToMany, outer: str) -> Callable[[str], str]:
        """The condition that ties a related row (by alias) to the outer row."""
        if not relation.through:
            return lambda alias: f"{alias}.{quote(relation.column)} = {outer}.id"

        def through(alias: str) -> str:
            between = self.alias()
            table, conditions = self.source(self.policy.internal(relation.through, deleted=False), between)
            conditions.insert(0, f"{between}.{quote(relation.column)} = {outer}.id")
            linked = f"select {between}.{quote(relation.other)} from {table} where {' and '.join(conditions)}"
            return f"{alias}.id in ({linked})"

        return through

    def sql(self, predicate: Predicate, alias: str) -> str:
        """The condition, in parentheses where it needs them."""
        match predicate:
            case Always(value):
                return "true" if value else "false"
            case And(parts):
                return "(" + " and ".join(self.sql(p, alias) for p in parts) + ")"
            case Or(parts):
                return "(" + " or ".join(self.sql(p, alias) for p in parts) + ")"
            case Not(part):
                found = self._all(part, alias, joined=False) if isinstance(part, RelatedAll) else self.sql(part, alias)
                return f"({found} is not true)"
            case Compare():
                return self._compare(predicate, alias)
            case Within():
                return self._within(predicate, alias)
            case Linked(relation, part, guarded) if relation.through:
                # Written as the joins it is, so that the database may begin at either end.
                links = ToMany(relation.name, relation.through, relation.column, relation.description)
                link = ToOne(relation.name, relation.target, relation.description, relation.other)
                return self.sql(Related(links, "some", Linked(link, part, guarded), guarded=False), alias)
            case Linked(relation, part, guarded):
                scope = self._scope(relation.target, guarded)
                outer = relation.sql(alias)
                return "exists " + self.exists(scope, lambda a: f"{a}.id = {outer}", part)
            case LinkedAny(relation, ids, guarded):
                scope = self._scope(relation.target, guarded)
                listed = self.operand(ids, "uuid[]")
                found = self.exists(scope, lambda a: f"{a}.id = any({listed})", TRUE, "id")
                linked = relation.sql(alias)
                # The given ids are known when a plan is made and say how many rows there will be; which of them count
                # is only known when it runs, and must not be taken for a second chance: what is not null is likely.
                return f"({linked} = any({listed}) and nullif({linked} = any(array{found}), false) is not null)"
            case Related(relation, quantifier, part, guarded):
                wanted = Not(part) if quantifier == "every" else part
                scope = self._scope(relation.target, guarded, relation.route)
                found = "exists " + self.exists(scope, self.link(relation, alias), wanted)
                return found if quantifier == "some" else f"(not {found})"
            case RelatedCount(relation, part, operator, operand, guarded):
                scope = self._scope(relation.target, guarded, relation.route)
                counted = self.exists(scope, self.link(relation, alias), part, "count(*)")
                return self._count(counted, operator, operand)
            case RelatedAll():
                return self._all(predicate, alias)
        raise CompositionError(f"{predicate!r} is not a predicate")

    def _scope(self, record: str, guarded: bool, reached: str = "") -> Scope:
        if guarded:
            return self.policy.scope(record, reached=reached, parent_deleted=self.on_deleted)
        return self.policy.internal(record, deleted=False)

    def _all(self, predicate: RelatedAll, alias: str, *, joined: bool = True) -> str:
        """That all ids may be read, once; and one join for each of the first, which a unique index makes a plain one.

        Where some are the same the last stands for the others. Where there are more, all are counted of those who are
        left; how many that lets through cannot be foreseen, and must not be taken for next to none. Who is wanted
        because he is not `joined` to all is looked at and counted: that is nearly everybody, and a page is soon full.
        """
        relation, ids = predicate.relation, predicate.ids
        listed = self.operand(ids, "uuid[]")
        scope = self._scope(predicate.link.target, predicate.guarded)
        readable = self.exists(scope, lambda a: f"{a}.id = any({listed})", TRUE, "count(*)")
        number, key = f"cardinality({listed})", predicate.link.key
        scope, link = self._scope(relation.target, predicate.guarded, relation.route), self.link(relation, alias)
        parts = [f"{readable} = {number}"]

        def counted() -> str:
            return f"{self.exists(scope, link, Compare(key, 'in', ids), 'count(*)')} = {number}"

        if not joined:
            return f"({parts[0]} and {counted()})"
        for n in range(FEW if ids.most is None else max(1, ids.most)):
            one = Compare(key, "eq", ids.map(partial(_nth, n=n), f"at {n}"))
            parts.append(f"exists {self.exists(scope, link, one)}")
        if ids.most is None:
            parts.append(f"case when {number} <= {FEW} or {counted()} then true else false end")
        return f"({' and '.join(parts)})"

    def _count(self, counted: str, operator: str, operand: Operand) -> str:
        if operator in ("in", "notIn"):
            sign = "= any" if operator == "in" else "<> all"
            value = self.operand(operand, "bigint[]")
            return f"(cardinality({value}) > 0 and {counted} {sign}({value}))"
        if operator not in _COMPARISONS:
            return "false"
        return f"({counted} {_COMPARISONS[operator]} {self.operand(operand, 'bigint')})"

    def _compare(self, predicate: Compare, alias: str) -> str:
        field, operator = predicate.field, predicate.operator
        column = column_sql(field, alias)
        if operator in ("isNull", "notNull"):
            return f"({column} is {'not ' if operator == 'notNull' else ''}null)"
        if predicate.operand is None:
            return "false"
        if operator in _PATTERNS:
            found = f"{folded_sql(field, alias)} like {self.pattern(predicate.operand, *_PATTERNS[operator])}"
            if field.search:
                # What is in the field is in the text that search looks through, and only that is indexed. That both
                # hold is nearly as likely as that one does: a planner that took them for two chances would expect
                # few rows, and look for all of them where a page is near. The field is the shorter text: it is looked
                # at first.
                found = f"case when {found} then true else false end"
                found = f"{found} and {alias}.search_fold like {self.pattern(predicate.operand)}"
            return f"({found})"
        if operator in ("in", "notIn"):
            values = self.operand(predicate.operand, f"{field.type}[]")
            if operator == "in":
                return f"({column} = any({values}))"
            return f"(cardinality({values}) > 0 and ({column} = any({values})) is not true)"
        if operator in ("hasAny", "hasAll"):
            values = self.operand(predicate.operand, "text[]")
            sign = "&&" if operator == "hasAny" else "@>"
            return f"(cardinality({values}) > 0 and {column} {sign} {values})"
        if operator == "has":
            return f"({self.operand(predicate.operand, 'text')} = any({column}))"
        value = self.operand(predicate.operand, field.type)
        if operator == "ne":
            return f"({column} is distinct from {value})"
        return f"({column} {_COMPARISONS[operator]} {value})"

    def _within(self, predicate: Within, alias: str) -> str:
        field = predicate.field
        column = column_sql(field, alias)
        low, high = (self._bound(predicate, i) for i in (0, 1))
        if field.kind is Kind.DATE:
            closed = predicate.period in ("last", "next")
            return f"({column} >= {low} and {column} {'<=' if closed else '<'} {high})"
        return f"({column} >= {low} and {column} < {high})"

    def _bound(self, predicate: Within, which: int) -> str:
        count = predicate.count

        def read(variables: dict[str, Any], context: RequestContext) -> Any:
            n = 1 if count is None else count.source(variables, context)
            zone = context.workspace.time_zone
            at: datetime = bounds(context.now, zone, predicate.period, predicate.unit, n)[which]
            return at.astimezone(ZoneInfo(zone)).date() if predicate.field.kind is Kind.DATE else at

        return self.operand(Operand(read), predicate.field.type)


def _nth(ids: Sequence[Any], n: int) -> Any:
    """The nth of some ids, or the last; None where there are none."""
    return ids[min(n, len(ids) - 1)] if ids else None
