"""What a query should answer, worked out the slow and obvious way: every row in memory, one value at a time.

It shares nothing with the read path but the declarations and graphql-core's own coercion of arguments.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    InlineFragmentNode,
    OperationDefinitionNode,
    parse,
)
from graphql.execution.values import get_argument_values, get_directive_values, get_variable_values
from graphql.type import GraphQLIncludeDirective, GraphQLSkipDirective

from core.catalog import Catalog, Record
from core.records import Field, Kind, ToMany, ToOne
from tests.dataset import HIDDEN, NOW, PEOPLE, READERS, ROLES, Data

Row = dict[str, Any]


class Refusal(Exception):
    """The query is refused with an error of this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Near:
    """A number that is right when the first fifteen digits are."""

    value: Decimal


@dataclass(frozen=True)
class Cursor:
    """The cursor of a row: opaque, but to be the same wherever the row is shown in the same order."""

    row: Any


def fold(text: str | None) -> str | None:
    """Text without case and accents, for the letters in use in Viet Nam."""
    if text is None:
        return None
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text))
    kept = "".join(c for c in plain if not unicodedata.combining(c))
    return kept.translate({ord("đ"): "d", ord("Đ"): "D"}).lower()


async def everything(data: Data) -> dict[str, list[Row]]:
    """All rows of all tables, by table."""
    found = {}
    pool = data.database.pool(data.workspace)
    for record in data.catalog:
        rows = await pool.fetch(f"select * from {record.type.tablename} t")
        found[record.type.tablename] = [dict(r) for r in rows]
    return found


class Reference:
    """Answers queries for one actor from rows in memory. `cursors` are the rows behind cursors seen before."""

    def __init__(self, data: Data, rows: Mapping[str, list[Row]], actor: str) -> None:
        self.schema = data.composition.schema
        self.catalog: Catalog = data.catalog
        self.zone = ZoneInfo(data.workspace.time_zone)
        self.rows = rows
        self.actor = actor
        self.key = actor == "key"
        self.me = UUID(int=0x100 + list(PEOPLE).index("eve" if self.key else actor))
        self.roles = ("admin",) if self.key else PEOPLE[actor][0]
        teams = () if self.key else PEOPLE[actor][1]
        self.teams = {t["id"] for t in rows["team"] if t["name"] in teams and t["deleted_at"] is None}
        self.mates = {m["user_id"] for m in rows["team_member"] if m["team_id"] in self.teams} | {self.me}
        self.by_id = {table: {r["id"]: r for r in part} for table, part in rows.items()}
        self.cursors: dict[str, Any] = {}
        self._may: dict[tuple[str, Any], bool] = {}

    # Who may read what

    def reach(self, record: str, action: str) -> str:
        """How far the actor may read, or restore, by the most generous of his roles."""
        if self.key and (record, action) not in {("Customer", "read"), ("Contact", "read"), ("Contact", "restore")}:
            return "NONE"
        order = ("NONE", "OWN", "TEAM", "ALL")
        roles = [r for r in self.roles if action == "read" or r not in READERS]
        return max((ROLES[r].get(record, "NONE") for r in roles), key=order.index, default="NONE")

    def shows(self, record: Record, name: str) -> bool:
        """Whether a field is shown: unless all roles that speak of its type hide it; what is required is."""
        if record.fields[name].required:
            return True
        speaking = [r for r in self.roles if record.name in {*ROLES[r], *(n for n, _ in HIDDEN.get(r, {}))}]
        return any(HIDDEN.get(r, {}).get((record.name, name)) != "HIDE" for r in speaking or self.roles)

    def owned(self, row: Row, column: str, reach: str) -> bool:
        if reach == "ALL":
            return True
        if not column or reach == "NONE" or row[column] is None:
            return False
        return row[column] == self.me if reach == "OWN" else row[column] in self.mates

    def may(self, record: Record, row: Row) -> bool:
        """Whether the actor may read a live row, however he came to it."""
        key = (record.name, row["id"])
        if key not in self._may:
            self._may[key] = self._decide(record, row, "read")
        return self._may[key]

    def _decide(self, record: Record, row: Row, action: str) -> bool:
        t, reach = record.type, self.reach(record.name, action)
        if t.follows:
            return True
        if reach == "NONE" or (action != "read" and t.ability and (self.key or "admin" not in self.roles)):
            return False
        if t.parent:
            relation = record.to_one[t.parent]
            parent = self.linked(record, relation, row)
            inside = parent is not None
            if t.owner:
                return (inside and self.owned(row, t.owner, reach)) or row[t.owner] == self.me
            target = self.catalog[relation.target]
            return inside and (self.owned(parent, target.type.owner, reach) or self.views(target, parent, action))
        return self.owned(row, t.owner, reach) or (action == "read" and self.views(record, row, action))

    def views(self, record: Record, row: Row, action: str) -> bool:
        """Whether the actor is a viewer of a customer; one who may edit, for anything but reading."""
        if record.name != "Customer":
            return False
        return any(
            v["everyone"] or v["user_id"] == self.me or v["team_id"] in self.teams
            for v in self.rows["customer_viewer"]
            if v["customer_id"] == row["id"] and (v["can_edit"] or action == "read") and self.counts(v)
        )

    @staticmethod
    def counts(viewer: Row) -> bool:
        """Whether a viewer counts: one whom a plugin let in does so only while that is on, and here none is."""
        return viewer["source"] in ("share", "transfer")

    def all(self, record: Record, *, deleted: bool = False) -> list[Row]:
        """The rows of a type that the actor may read; deleted ones as far as he may restore them."""
        rows = self.rows[record.type.tablename]
        if record.name == "CustomerViewer":
            rows = [r for r in rows if self.counts(r)]
        if deleted:
            gone = [r for r in rows if r.get("deleted_at") is not None and self.may(record, r)]
            return [r for r in gone if self._decide(record, r, "restore")]
        return [r for r in rows if r.get("deleted_at") is None and self.may(record, r)]

    def linked(self, record: Record, relation: ToOne, row: Row) -> Row | None:
        target = self.catalog[relation.target]
        found = self.by_id[target.type.tablename].get(row[relation.column])
        if found is None or found.get("deleted_at") is not None or not self.may(target, found):
            return None
        return found

    def link_of(self, relation: ToMany) -> str:
        """The field of the related records that leads back."""
        return next(f.name for f in self.catalog[relation.target].fields.values() if f.column == relation.column)

    def related(self, relation: ToMany, row: Row) -> list[Row]:
        target = self.catalog[relation.target]
        if relation.through:
            between = self.rows[self.catalog[relation.through].type.tablename]
            ids = {b[relation.other] for b in between if b[relation.column] == row["id"]}
            return [r for r in self.all(target) if r["id"] in ids]
        if not self.shows(target, self.link_of(relation)):
            return []
        return [r for r in self.all(target) if r[relation.column] == row["id"]]

    # Values

    def value(self, field: Field, row: Row) -> Any:
        """A field's value as Python has it."""
        if not field.custom:
            return row[field.column]
        found = row["custom"].get(field.custom)
        if found is None or field.kind not in (Kind.DECIMAL, Kind.DATETIME):
            return found
        return Decimal(found) if field.kind is Kind.DECIMAL else datetime.fromisoformat(found)

    def _shown(self, record: Record, field: Field, row: Row) -> Any:
        return shown(self.value(field, row)) if self.shows(record, field.name) else None

    # Conditions

    def demand(self, record: Record, name: str) -> None:
        if not self.shows(record, name):
            raise Refusal("FORBIDDEN")

    def check_where(self, where: Any, record: Record) -> None:  # noqa: PLR0912
        """Refuse conditions on what is hidden, whether or not there are rows to try them on."""
        for key, value in (where or {}).items():
            if value is None:
                if key in record.to_one:
                    self.demand(record, key + "Id")
                elif key in record.to_many and not record.to_many[key].through:
                    self.demand(self.catalog[record.to_many[key].target], self.link_of(record.to_many[key]))
                elif key in record.fields:
                    self.demand(record, key)
            elif key in ("and", "or"):
                for part in value:
                    self.check_where(part, record)
            elif key == "not":
                self.check_where(value, record)
            elif key in record.to_one:
                self.demand(record, key + "Id")
                self.check_where(value, self.catalog[record.to_one[key].target])
            elif key in record.to_many:
                if not record.to_many[key].through:
                    self.demand(self.catalog[record.to_many[key].target], self.link_of(record.to_many[key]))
                for name, part in value.items():
                    if name != "count":
                        self.check_where(part, self.catalog[record.to_many[key].target])
            else:
                self.demand(record, key)

    def holds(self, where: Mapping[str, Any] | None, record: Record, row: Row) -> bool:
        """Whether a row satisfies a condition."""
        return where is not None and all(self._member(key, value, record, row) for key, value in where.items())

    def _member(self, key: str, value: Any, record: Record, row: Row) -> bool:
        if value is None:
            return False
        if key == "and":
            return bool(value) and all(self.holds(part, record, row) for part in value)
        if key == "or":
            return any(self.holds(part, record, row) for part in value)
        if key == "not":
            return not self.holds(value, record, row)
        if key in record.to_one:
            found = self.linked(record, record.to_one[key], row)
            return found is not None and self.holds(value, self.catalog[record.to_one[key].target], found)
        if key in record.to_many:
            return bool(value) and all(self._list(k, v, record.to_many[key], row) for k, v in value.items())
        field = record.fields[key]
        return bool(value) and all(self.compare(k, v, field, self.value(field, row)) for k, v in value.items())

    def _list(self, quantifier: str, value: Any, relation: ToMany, row: Row) -> bool:
        if value is None:
            return False
        target = self.catalog[relation.target]
        rows = self.related(relation, row)
        if quantifier == "count":
            count = Field("count", Kind.INT, "How many.")
            return bool(value) and all(self.compare(k, v, count, len(rows)) for k, v in value.items())
        found = [self.holds(value, target, r) for r in rows]
        return {"some": any(found), "none": not any(found), "every": all(found)}[quantifier]

    def compare(self, operator: str, operand: Any, field: Field, value: Any) -> bool:
        if operand is None:
            return False
        if operator == "isNull":
            return (value is None) == operand
        if operator == "ne":
            return value is None or value != self.operand(operand, field)
        if operator == "notIn":
            return bool(operand) and value not in [self.operand(o, field) for o in operand]
        if value is None:
            return False
        if operator == "between":
            if not operand or None in operand.values():
                return False
            low, high = operand.get("from"), operand.get("to")
            return (low is None or value >= low) and (high is None or value <= high)
        if operator == "within":
            return self.within(operand, field, value)
        if operator in ("contains", "startsWith", "endsWith"):
            text, part = fold(value) or "", fold(operand) or ""
            tests = {"contains": part in text, "startsWith": text.startswith(part), "endsWith": text.endswith(part)}
            return tests[operator]
        if operator == "has":
            return operand in value
        if operator in ("hasAny", "hasAll"):
            found = set(operand) & set(value)
            return bool(operand) and (bool(found) if operator == "hasAny" else found == set(operand))
        if operator == "in":
            return value in [self.operand(o, field) for o in operand]
        operand = self.operand(operand, field)
        tests: dict[str, Callable[[], bool]] = {
            "eq": lambda: value == operand,
            "lt": lambda: value < operand,
            "lte": lambda: value <= operand,
            "gt": lambda: value > operand,
            "gte": lambda: value >= operand,
        }
        return tests[operator]()

    @staticmethod
    def operand(value: Any, field: Field) -> Any:
        return UUID(value) if field.kind is Kind.ID else plain(value)

    def within(self, period: Mapping[str, Any], field: Field, value: Any) -> bool:
        [(name, given)] = period.items()
        now = NOW.astimezone(self.zone)
        if given is None:
            return False
        if name in ("last", "next"):
            edge = shift(now, plain(given["unit"]), given["count"] * (-1 if name == "last" else 1))
            low, high = sorted((edge, now))
            if field.kind is Kind.DATE:
                return bool(low.date() <= value <= high.date())
            return bool(low <= value <= high) if name == "last" else bool(low <= value < high)
        unit = plain(given)
        start = shift(floor(now, unit), unit, {"this": 0, "previous": -1, "following": 1}[name])
        end = shift(start, unit, 1)
        if field.kind is Kind.DATE:
            return bool(start.date() <= value < end.date())
        return bool(start <= value < end)

    def searches(self, text: str, record: Record, row: Row) -> bool:
        names = {
            "Customer": ("code", "name", "email", "phone", "taxCode"),
            "Contact": ("name", "email"),
            "Opportunity": ("name",),
        }[record.name]
        inside = fold(" ".join(row[record.fields[n].column] or "" for n in names)) or ""
        return all((fold(word) or "") in inside for word in text.split())

    # Orders and pages

    def keys(
        self, orders: Iterable[Mapping[str, Any]], record: Record
    ) -> list[tuple[Callable[[Row], Any], bool, bool]]:
        """(value of a row, descending, nulls first) per key."""
        found: list[tuple[Callable[[Row], Any], bool, bool]] = []
        for order in orders:
            name = plain(order["field"])
            found.append(
                (self._key(name, record), plain(order["direction"]) == "DESC", plain(order["nulls"]) == "FIRST")
            )
        if not found:
            for name, descending in record.type.default_order:
                if self.shows(record, name):
                    found.append((functools.partial(self._sort_value, record.fields[name]), descending, False))
        last = found[-1][1] if found else record.type.default_order[-1][1]
        return [*found, (lambda row: row["id"], last, False)]

    def _sort_value(self, field: Field, row: Row) -> Any:
        value = self.value(field, row)
        return fold(value) if field.folded else value

    def _key(self, name: str, record: Record) -> Callable[[Row], Any]:
        for field in record.fields.values():
            if upper(field.name) == name and field.exposed:
                self.demand(record, field.name)
                return functools.partial(self._sort_value, field)
        for relation in record.to_one.values():
            target = self.catalog[relation.target]
            for field in target.fields.values():
                if (
                    f"{upper(relation.name)}_{upper(field.name)}" == name
                    and field.exposed
                    and field.kind is not Kind.ID
                ):
                    self.demand(record, relation.name + "Id")
                    self.demand(target, field.name)

                    def read(row: Row, relation: ToOne = relation, field: Field = field) -> Any:
                        found = self.linked(record, relation, row)
                        return None if found is None else self._sort_value(field, found)

                    return read
        raise AssertionError(name)

    def sort(self, rows: list[Row], orders: Iterable[Mapping[str, Any]], record: Record) -> list[Row]:
        keys = self.keys(orders, record)

        def compare(one: Row, other: Row) -> int:
            for read, descending, nulls_first in keys:
                a, b = read(one), read(other)
                if a == b:
                    continue
                if a is None or b is None:
                    return -1 if (a is None) == nulls_first else 1
                return -1 if (a < b) != descending else 1
            return 0

        return sorted(rows, key=functools.cmp_to_key(compare))

    def matching(self, rows: list[Row], arguments: Mapping[str, Any], record: Record) -> list[Row]:
        where, search = arguments.get("where"), arguments.get("search")
        if where is not None:
            rows = [r for r in rows if self.holds(where, record, r)]
        if search is not None:
            rows = [r for r in rows if self.searches(search, record, r)]
        return rows

    def check_list(self, arguments: Mapping[str, Any], record: Record) -> None:
        self.check_where(arguments.get("where"), record)
        if arguments.get("search") is not None:
            for field in record.fields.values():
                if field.search:
                    self.demand(record, field.name)

    def page(self, rows: list[Row], arguments: Mapping[str, Any], record: Record) -> tuple[list[Row], bool, bool]:
        """The rows of a page, and whether more follow and come before."""
        rows = self.sort(rows, arguments.get("orderBy") or [], record)
        ids = [r["id"] for r in rows]
        after, before = arguments.get("after"), arguments.get("before")
        low = ids.index(self.cursors[after]) + 1 if after is not None else 0
        high = ids.index(self.cursors[before]) if before is not None else len(rows)
        inside = rows[low : max(low, high)]
        first, last = arguments.get("first"), arguments.get("last")
        if last is not None or (before is not None and first is None):
            size = 50 if last is None else last
            return inside[max(0, len(inside) - size) :], before is not None, len(inside) > size
        size = 50 if first is None else first
        return inside[:size], len(inside) > size, after is not None

    def check_page(self, arguments: Mapping[str, Any], record: Record) -> None:
        self.check_list(arguments, record)
        self.keys(arguments.get("orderBy") or [], record)
        sizes = [s for s in (arguments.get("first"), arguments.get("last")) if s is not None]
        if len(sizes) > 1 or any(not 0 <= s <= 200 for s in sizes):
            raise Refusal("BAD_USER_INPUT")

    # Selections

    def ask(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any] | Refusal:
        """The data a query answers, or why it is refused."""
        try:
            return self._ask(query, variables)
        except Refusal as refusal:
            return refusal

    def _ask(self, query: str, variables: dict[str, Any] | None) -> dict[str, Any]:
        document = parse(query)
        operation = next(d for d in document.definitions if isinstance(d, OperationDefinitionNode))
        self.fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        coerced = get_variable_values(self.schema, operation.variable_definitions or (), variables or {})
        assert not isinstance(coerced, list), coerced
        self.variables = coerced
        query_type = self.schema.query_type
        assert query_type is not None
        fields = self.collect(query_type, [operation.selection_set])
        for nodes in fields.values():
            self._check_root(nodes)
        return {key: self._root(nodes) for key, nodes in fields.items()}

    def arguments(self, parent: str, nodes: list[FieldNode]) -> dict[str, Any]:
        type_: Any = self.schema.get_type(parent)
        found: dict[str, Any] = get_argument_values(type_.fields[nodes[0].name.value], nodes[0], self.variables)
        return found

    def collect(self, type_: Any, sets: Iterable[Any]) -> dict[str, list[FieldNode]]:
        found: dict[str, list[FieldNode]] = {}
        for selection_set in sets:
            for node in self._flat(type_, selection_set):
                found.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
        return found

    def _flat(self, type_: GraphQLObjectType, selection_set: Any) -> Iterator[FieldNode]:
        for node in selection_set.selections:
            skip = get_directive_values(GraphQLSkipDirective, node, self.variables)
            include = get_directive_values(GraphQLIncludeDirective, node, self.variables)
            if (skip and skip["if"]) or (include and not include["if"]):
                continue
            if isinstance(node, FieldNode):
                yield node
                continue
            inner = self.fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
            assert isinstance(inner, FragmentDefinitionNode | InlineFragmentNode)
            on = inner.type_condition.name.value if inner.type_condition else type_.name
            if on == type_.name or on in [i.name for i in type_.interfaces]:
                yield from self._flat(type_, inner.selection_set)

    def under(self, type_: str, nodes: list[FieldNode]) -> dict[str, list[FieldNode]]:
        return self.collect(self.schema.get_type(type_), [n.selection_set for n in nodes if n.selection_set])

    def _root_of(self, name: str) -> tuple[Record, str]:
        for record in self.catalog.exposed():
            kinds = {record.type.singular: "one", record.type.plural: "list"}
            kinds |= {record.type.plural + "Aggregate": "aggregate", record.type.plural + "Grouped": "grouped"}
            if name in kinds:
                return record, kinds[name]
        raise AssertionError(name)

    def _check_root(self, nodes: list[FieldNode]) -> None:
        name = nodes[0].name.value
        if name in ("node", "nodes"):
            for record in self.catalog.exposed():
                self._check_record(record, nodes)
            return
        record, kind = self._root_of(name)
        self._check(kind, record, nodes, self.arguments("Query", nodes))

    def _check(  # noqa: PLR0912
        self, kind: str, record: Record, nodes: list[FieldNode], arguments: Mapping[str, Any]
    ) -> None:
        """Refuse what is hidden, wherever it stands in a selection, whether or not a row leads to it."""
        name = record.name
        if kind == "one":
            for given, value in arguments.items():
                if value is not None:
                    self.demand(record, given)
            self._check_record(record, nodes)
        elif kind == "list":
            parts = self.under(f"{name}Connection", nodes)
            if {part[0].name.value for part in parts.values()} & {"nodes", "edges", "pageInfo"}:
                self.check_page(arguments, record)
            elif any(part[0].name.value == "totalCount" for part in parts.values()):
                self.check_list(arguments, record)
            for part in parts.values():
                if part[0].name.value == "nodes":
                    self._check_record(record, part)
                if part[0].name.value == "edges":
                    for member in self.under(f"{name}Edge", part).values():
                        if member[0].name.value == "node":
                            self._check_record(record, member)
        elif kind == "aggregate":
            self.check_list(arguments, record)
            for part in self.under(f"{name}Aggregate", nodes).values():
                if part[0].name.value == "groups":
                    self._check_groups(record, arguments.get("groupBy") or [])
                    for order in arguments.get("orderBy") or []:
                        if plain(order["by"]) != "COUNT":
                            field = next(
                                f for f in record.fields.values() if upper(f.name) == plain(order.get("field"))
                            )
                            self.demand(record, field.name)
                    for member in self.under(f"{name}AggregateGroup", part).values():
                        self._check_measure(record, member)
                        if member[0].name.value == "key":
                            self._check_key(record, member, arguments["groupBy"])
                else:
                    self._check_measure(record, part)
        else:
            self.check_list(arguments, record)
            self._check_groups(record, [{"field": arguments["by"]}])
            for part in self.under(f"{name}Group", nodes).values():
                if part[0].name.value == "nodes":
                    self.check_page(arguments, record)
                    self._check_record(record, part)
                elif part[0].name.value == "key":
                    self._check_key(record, part, [{"field": arguments["by"]}])

    def _check_record(self, record: Record, nodes: list[FieldNode]) -> None:
        for part in self.under(record.name, nodes).values():
            name = part[0].name.value
            if name in record.to_one and self.shows(record, name + "Id"):
                self._check_record(self.catalog[record.to_one[name].target], part)
            elif name in record.to_many or name.removesuffix("Aggregate") in record.to_many:
                target = self.catalog[record.to_many[name.removesuffix("Aggregate")].target]
                kind = "list" if name in record.to_many else "aggregate"
                self._check(kind, target, part, self.arguments(record.name, part))

    def _check_measure(self, record: Record, nodes: list[FieldNode]) -> None:
        function = nodes[0].name.value
        if function in ("sum", "avg", "min", "max"):
            for member in self.under(f"{record.name}{function.capitalize()}", nodes).values():
                if member[0].name.value != "__typename":
                    self.demand(record, member[0].name.value)

    def _check_groups(self, record: Record, by: list[Mapping[str, Any]]) -> None:
        if not 1 <= len(by) <= 4:
            raise Refusal("BAD_USER_INPUT")
        for item in by:
            part = self._grouped_by(record, plain(item["field"]))
            self.demand(record, part.name + "Id" if isinstance(part, ToOne) else part.name)

    def _check_key(self, record: Record, nodes: list[FieldNode], by: list[Mapping[str, Any]]) -> None:
        grouped = [self._grouped_by(record, plain(item["field"])).name for item in by]
        for member in self.under(f"{record.name}GroupKey", nodes).values():
            relation = record.to_one.get(member[0].name.value)
            if relation is not None and relation.name in grouped:
                self._check_record(self.catalog[relation.target], member)

    def _root(self, nodes: list[FieldNode]) -> Any:
        name = nodes[0].name.value
        arguments = self.arguments("Query", nodes)
        if name == "node":
            return self._any(arguments["id"], nodes)
        if name == "nodes":
            return [self._any(id_, nodes) for id_ in arguments["ids"]]
        record, kind = self._root_of(name)
        if kind == "one":
            given = {k: v for k, v in arguments.items() if v is not None}
            if len(given) != 1:
                raise Refusal("BAD_USER_INPUT")
            [(by, value)] = given.items()
            field = record.fields[by]
            wanted = uuid_of(value) if field.kind is Kind.ID else value
            found = [r for r in self.all(record) if wanted is not None and self.value(field, r) == wanted]
            return self.record(record, found[0], nodes) if found else None
        rows = self.all(record, deleted=bool(arguments.get("deleted")))
        return self._list_of(kind, record, rows, nodes, arguments)

    def _any(self, id_: str, nodes: list[FieldNode]) -> Any:
        for record in self.catalog.exposed():
            for row in self.all(record):
                if record.fields["id"].kind is Kind.ID and row["id"] == uuid_of(id_):
                    return self.record(record, row, nodes)
        return None

    def _list_of(
        self, kind: str, record: Record, rows: list[Row], nodes: list[FieldNode], arguments: Mapping[str, Any]
    ) -> Any:
        rows = self.matching(rows, arguments, record)
        if kind == "list":
            return self._connection(record, rows, nodes, arguments)
        if kind == "aggregate":
            return self._aggregate(record, rows, nodes, arguments)
        return self._board(record, rows, nodes, arguments)

    def record(self, record: Record, row: Row, nodes: list[FieldNode]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, part in self.under(record.name, nodes).items():
            name = part[0].name.value
            if name == "__typename":
                found[key] = record.name
            elif name in record.to_one:
                relation = record.to_one[name]
                linked = self.linked(record, relation, row) if self.shows(record, name + "Id") else None
                found[key] = None if linked is None else self.record(self.catalog[relation.target], linked, part)
            elif name in record.fields:
                found[key] = self._shown(record, record.fields[name], row)
            else:
                many = record.to_many[name.removesuffix("Aggregate")]
                kind = "list" if name in record.to_many else "aggregate"
                arguments = self.arguments(record.name, part)
                found[key] = self._list_of(kind, self.catalog[many.target], self.related(many, row), part, arguments)
        return found

    def _connection(self, record: Record, rows: list[Row], nodes: list[FieldNode], arguments: Mapping[str, Any]) -> Any:
        parts = self.under(f"{record.name}Connection", nodes)
        page: list[Row] = []
        more = earlier = False
        if {part[0].name.value for part in parts.values()} & {"nodes", "edges", "pageInfo"}:
            page, more, earlier = self.page(rows, arguments, record)
        found: dict[str, Any] = {}
        for key, part in parts.items():
            match part[0].name.value:
                case "nodes":
                    found[key] = [self.record(record, r, part) for r in page]
                case "edges":
                    found[key] = [self._edge(record, r, part) for r in page]
                case "totalCount":
                    found[key] = len(rows)
                case "pageInfo":
                    info = {
                        "hasNextPage": more,
                        "hasPreviousPage": earlier,
                        "startCursor": Cursor(page[0]["id"]) if page else None,
                        "endCursor": Cursor(page[-1]["id"]) if page else None,
                        "__typename": "PageInfo",
                    }
                    members = self.under("PageInfo", part)
                    found[key] = {k: info[m[0].name.value] for k, m in members.items()}
                case _:
                    found[key] = f"{record.name}Connection"
        return found

    def _edge(self, record: Record, row: Row, nodes: list[FieldNode]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, part in self.under(f"{record.name}Edge", nodes).items():
            match part[0].name.value:
                case "cursor":
                    found[key] = Cursor(row["id"])
                case "node":
                    found[key] = self.record(record, row, part)
                case _:
                    found[key] = f"{record.name}Edge"
        return found

    # Totals

    def _measure(self, record: Record, rows: list[Row], nodes: list[FieldNode]) -> Any:
        function = nodes[0].name.value
        if function == "count":
            return len(rows)
        found: dict[str, Any] = {}
        type_ = f"{record.name}{function.capitalize()}"
        for key, part in self.under(type_, nodes).items():
            if part[0].name.value == "__typename":
                found[key] = type_
                continue
            found[key] = shown(self._total(function, record.fields[part[0].name.value], rows))
            if isinstance(found[key], int) and function in ("sum", "avg"):
                found[key] = str(found[key])
        return found

    def _total(self, function: str, field: Field, rows: list[Row]) -> Any:
        values = [v for r in rows if (v := self.value(field, r)) is not None]
        if not values:
            return None
        if function == "avg":
            return Near(Decimal(sum(values)) / len(values))
        totals: dict[str, Callable[[list[Any]], Any]] = {"sum": sum, "min": min, "max": max}
        return totals[function](values)

    def _aggregate(self, record: Record, rows: list[Row], nodes: list[FieldNode], arguments: Mapping[str, Any]) -> Any:
        found: dict[str, Any] = {}
        for key, part in self.under(f"{record.name}Aggregate", nodes).items():
            match part[0].name.value:
                case "__typename":
                    found[key] = f"{record.name}Aggregate"
                case "groups":
                    found[key] = self._groups(record, rows, part, arguments)
                case _:
                    found[key] = self._measure(record, rows, part)
        return found

    def _grouped_by(self, record: Record, name: str) -> Field | ToOne:
        for field in record.exposed_fields():
            if upper(field.name) == name and field.kind is not Kind.ID:
                return field
        return next(r for r in record.to_one.values() if upper(r.name) == name)

    def _group_value(self, part: Field | ToOne, unit: str, row: Row) -> Any:
        if isinstance(part, ToOne):
            return row[part.column]
        value = self.value(part, row)
        if value is None or part.kind not in (Kind.DATE, Kind.DATETIME):
            return value
        if part.kind is Kind.DATE:
            return floor(datetime(value.year, value.month, value.day, tzinfo=UTC), unit).date()
        return floor(value.astimezone(self.zone), unit).astimezone(UTC)

    def _partition(
        self, by: list[tuple[Field | ToOne, str]], rows: list[Row]
    ) -> list[tuple[tuple[Any, ...], list[Row]]]:
        """Rows by their keys, in the order of the keys, nulls last."""
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(self._group_value(part, unit, row) for part, unit in by), []).append(row)

        def compare(one: Any, other: Any) -> int:
            for a, b in zip(one[0], other[0], strict=True):
                if a != b:
                    return 1 if a is None else -1 if b is None or a < b else 1
            return 0

        return sorted(groups.items(), key=functools.cmp_to_key(compare))

    def _group_key(self, record: Record, by: list[tuple[Field | ToOne, str]], key: Any, nodes: list[FieldNode]) -> Any:
        found: dict[str, Any] = {}
        for name, part in self.under(f"{record.name}GroupKey", nodes).items():
            found[name] = f"{record.name}GroupKey" if part[0].name.value == "__typename" else None
            for (chosen, _), value in zip(by, key, strict=True):
                if chosen.name == part[0].name.value:
                    found[name] = shown(value)
                    if isinstance(chosen, ToOne):
                        linked = self.linked(record, chosen, {chosen.column: value})
                        target = self.catalog[chosen.target]
                        found[name] = None if linked is None else self.record(target, linked, part)
        return found

    def _groups(self, record: Record, rows: list[Row], nodes: list[FieldNode], arguments: Mapping[str, Any]) -> Any:
        items = arguments.get("groupBy") or []
        by = [(self._grouped_by(record, plain(i["field"])), plain(i.get("unit")) or "DAY") for i in items]
        groups = self._partition(by, rows)
        for order in reversed(arguments.get("orderBy") or []):
            function = plain(order["by"])
            field = next((f for f in record.fields.values() if upper(f.name) == plain(order.get("field"))), None)

            def total(group: Any, function: str = function, field: Field | None = field) -> Any:
                if function == "COUNT":
                    return len(group[1])
                assert field is not None
                found = self._total(function.lower(), field, group[1])
                return found.value if isinstance(found, Near) else found

            some = [g for g in groups if total(g) is not None]
            some.sort(key=total, reverse=plain(order["direction"]) == "DESC")
            groups = some + [g for g in groups if total(g) is None]
        size = arguments.get("first")
        found = []
        for key, part in groups[: 100 if size is None else size]:
            shown_: dict[str, Any] = {}
            for name, member in self.under(f"{record.name}AggregateGroup", nodes).items():
                match member[0].name.value:
                    case "__typename":
                        shown_[name] = f"{record.name}AggregateGroup"
                    case "key":
                        shown_[name] = self._group_key(record, by, key, member)
                    case _:
                        shown_[name] = self._measure(record, part, member)
            found.append(shown_)
        return found

    def _board(self, record: Record, rows: list[Row], nodes: list[FieldNode], arguments: Mapping[str, Any]) -> Any:
        by = [(self._grouped_by(record, plain(arguments["by"])), "DAY")]
        found = []
        for key, part in self._partition(by, rows):
            shown_: dict[str, Any] = {}
            for name, member in self.under(f"{record.name}Group", nodes).items():
                match member[0].name.value:
                    case "__typename":
                        shown_[name] = f"{record.name}Group"
                    case "key":
                        shown_[name] = self._group_key(record, by, key, member)
                    case "totalCount":
                        shown_[name] = len(part)
                    case _:
                        page, _, _ = self.page(part, arguments, record)
                        shown_[name] = [self.record(record, r, member) for r in page]
            found.append(shown_)
        return found


def upper(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).upper()


def plain(value: Any) -> Any:
    return value.name if isinstance(value, Enum) else value


def uuid_of(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def shown(value: Any) -> Any:
    """A value as JSON shows it."""
    match value:
        case Decimal():
            text = f"{value:f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
        case datetime():
            text = value.astimezone(UTC).isoformat()
            return re.sub(r"(\.\d*?)0+\+", r"\1+", text)
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
    return value


def floor(t: datetime, unit: str) -> datetime:
    """The start of the calendar unit that a time lies in."""
    starts = {"MINUTE": 4, "HOUR": 3}
    parts = [t.year, t.month, t.day, t.hour, t.minute]
    if unit in starts:
        return datetime(*(parts[: starts[unit] + 1]), tzinfo=t.tzinfo)  # type: ignore[misc]
    day = datetime(t.year, t.month, t.day, tzinfo=t.tzinfo)
    if unit == "WEEK":
        return day - timedelta(days=day.weekday())
    if unit == "DAY":
        return day
    first = {"MONTH": t.month, "QUARTER": (t.month - 1) // 3 * 3 + 1, "YEAR": 1}[unit]
    return day.replace(month=first, day=1)


def shift(t: datetime, unit: str, count: int) -> datetime:
    """A time some units later; the last day of the month where there is no such day."""
    days = {"DAY": 1, "WEEK": 7}
    if unit in days:
        return t + timedelta(days=days[unit] * count)
    if unit in ("MINUTE", "HOUR"):
        return (t.astimezone(UTC) + timedelta(**{unit.lower() + "s": count})).astimezone(t.tzinfo)
    month = t.month - 1 + count * {"MONTH": 1, "QUARTER": 3, "YEAR": 12}[unit]
    year, month = t.year + month // 12, month % 12 + 1
    following = date(year + month // 12, month % 12 + 1, 1)
    return t.replace(year=year, month=month, day=min(t.day, (following - timedelta(days=1)).day))


def differences(expected: Any, found: Any, cursors: dict[str, Any], way: str = "data") -> Iterator[str]:
    """Where an answer is not what it should be; takes down the cursors it comes by."""
    match expected:
        case dict():
            if not isinstance(found, dict) or list(expected) != list(found):
                yield f"{way}: {list(expected)} != {found}"
                return
            for key, value in expected.items():
                yield from differences(value, found[key], cursors, f"{way}.{key}")
        case list():
            if not isinstance(found, list) or len(expected) != len(found):
                yield f"{way}: {expected} != {found}"
                return
            for i, value in enumerate(expected):
                yield from differences(value, found[i], cursors, f"{way}[{i}]")
        case Cursor(row):
            if not isinstance(found, str) or cursors.setdefault(found, row) != row:
                yield f"{way}: a cursor of {row} is {found}"
        case Near(value):
            if found is None or abs(Decimal(found) - value) > abs(value) * Decimal("1e-15"):
                yield f"{way}: {value} != {found}"
        case _:
            if type(expected) is not type(found) or expected != found:
                yield f"{way}: {expected!r} != {found!r}"


__all__ = ["Reference", "Refusal", "differences", "everything"]
