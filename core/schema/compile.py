"""Selections become one SQL statement that returns the finished JSON.

`Reader` compiles what is asked below a record; connections are in `page`, totals in `aggregate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.catalog import Catalog, Record
from core.condition import Conditions, column_sql
from core.errors import BadInput, CompositionError
from core.policy import Policy, Scope
from core.predicate import TRUE, Compare, Operand, Predicate
from core.records import Computed, Field, Kind, ToMany, ToOne
from core.schema.aggregate import aggregate, grouped
from core.schema.page import connection
from core.schema.select import Selection
from core.schema.where import uuid_or_none
from core.sql import Columns, Statement, json_object, literal, select_list

#: The key under which `many` tells which record is which; no response key can be it.
IDENTITY = "$id"
#: Never looked at, but believed to take longer than anything else.
_FORTUNE = "(select count(*) from generate_series(1, 1000000000)) = 0"


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the answer that Python fills in: the path of response keys to it, through any lists."""

    path: tuple[str, ...]
    computed: Computed


@dataclass(frozen=True, slots=True)
class Read:
    """A compiled read: its statement, whose single value is a JSON object, and the slots to fill."""

    statement: Statement
    slots: tuple[Slot, ...]


class Reader(Conditions):
    """Compiles one read for one actor's policy."""

    def __init__(self, policy: Policy, default_page: int = 50, max_page: int = 200) -> None:
        super().__init__(policy)
        self.default_page = default_page
        self.max_page = max_page
        self.slots: list[Slot] = []
        #: The response keys of lists of deleted records.
        self.trash: set[str] = set()
        #: Whether it depends on the values it is given how the statement is best run.
        self.weighed = False

    def read(self, roots: list[tuple[str, Callable[[Reader], str]]]) -> Read:
        """One statement for several root fields, given as (response key, what compiles it)."""
        text = f"select {json_object([(key, compile_(self)) for key, compile_ in roots])}"
        if self.weighed:
            # A plan for any values seems to cost a fortune, so that PostgreSQL makes one for these, each time.
            text += f" where ({self.known(True, 'boolean')} or {_FORTUNE})"
        return Read(Statement(text, tuple(self.parameters.sources)), tuple(self.slots))

    def one(
        self,
        record: Record,
        selection: Selection,
        path: tuple[str, ...],
        by: Predicate,
        *,
        deleted: bool | None = False,
    ) -> str:
        """The record that satisfies a predicate on a unique value, as a JSON object or null."""
        return self._row(record, selection, path, lambda alias: self.sql(by, alias), deleted)

    def many(
        self, record: Record, selection: Selection, path: tuple[str, ...], ids: Operand, *, deleted: bool | None = None
    ) -> str:
        """The records with given ids as a JSON array, each with its `IDENTITY`; those not readable are left out."""
        alias = self.alias()
        table, conditions = self.source(self.policy.scope(record.name, deleted=deleted), alias)
        wanted = self.operand(ids, "uuid[]")
        conditions.insert(0, f"{alias}.id = any({wanted})")
        asked = self.object(record, alias, selection.under(), path, first=[(IDENTITY, f"{alias}.id")])
        rows = f"select {asked} as j from {table} where {' and '.join(conditions)}"
        return f"(select coalesce(json_agg(x.j), '[]'::json) from ({rows}) x)"

    def node(self, selection: Selection, path: tuple[str, ...], id_: str) -> str:
        """Whichever record has an id (an SQL expression), as the `Node` interface shows it, or null."""
        found = []
        for record in self.catalog.exposed():
            type_ = selection.document.schema.get_type(record.name)
            if record.fields["id"].kind is Kind.ID:
                found.append(self._row(record, selection, path, lambda alias: f"{alias}.id = {id_}", False, type_))
        return f"coalesce({', '.join(found)})"

    def nodes(self, selection: Selection, path: tuple[str, ...], ids: Operand) -> str:
        """The records with given ids in their order, null in the place of each that cannot be read."""
        wanted = self.operand(ids.map(lambda values: [uuid_or_none(v) for v in values], "uuids or none"), "uuid[]")
        return (
            f"(select coalesce(json_agg({self.node(selection, path, 'u.id')} order by u.n), '[]'::json) "
            f"from unnest({wanted}) with ordinality u(id, n))"
        )

    def _row(
        self,
        record: Record,
        selection: Selection,
        path: tuple[str, ...],
        by: Callable[[str], str],
        deleted: bool | None,
        type_: Any = None,
    ) -> str:
        alias = self.alias()
        table, conditions = self.source(self.policy.scope(record.name, deleted=deleted), alias)
        conditions.insert(0, by(alias))
        return self.object(record, alias, selection.under(type_), path, (table, conditions))

    def columns(
        self, record: Record, alias: str, selections: list[Selection], path: tuple[str, ...], custom: str = ""
    ) -> Columns:
        """What is asked of a row, each value under its response key; custom fields are read from the row `custom`."""
        return [(s.key, self._column(record, alias, s, (*path, s.key), custom or alias)) for s in selections]

    def object(
        self,
        record: Record,
        alias: str,
        selections: list[Selection],
        path: tuple[str, ...],
        row: tuple[str, list[str]] | None = None,
        *,
        first: Sequence[tuple[str, str]] = (),
    ) -> str:
        """What is asked of a row as a JSON object, after `first`: of one at hand or of `row` (its FROM and conditions).

        Each reading of a field from the JSON of a row's custom fields begins with decompressing all of it. Where there
        are several, it is decompressed before, once (PostgreSQL hands on unchanged what nothing is added to).
        """
        custom, tables = "", [row[0]] if row else []
        if several_custom(record, selections):
            custom = self.alias()
            tables.append(f"lateral (select {alias}.custom || '{{}}' as custom offset 0) {custom}")
        rows = f" from {', '.join(tables)}" if tables else ""
        if row:
            rows += f" where {' and '.join(row[1])}"
        return json_object([*first, *self.columns(record, alias, selections, path, custom)], rows)

    def listed(self, record: Record, alias: str, selections: list[Selection], path: tuple[str, ...]) -> tuple[str, str]:
        """What is asked of rows, in the cheapest form: a select list, and what of its row `r` is the JSON."""
        if several_custom(record, selections):
            return f"{self.object(record, alias, selections, path)} as j", "r.j"
        return select_list(self.columns(record, alias, selections, path)), "r"

    def _column(self, record: Record, alias: str, selection: Selection, path: tuple[str, ...], custom: str) -> str:
        name = selection.name
        if name == "__typename":
            return f"{literal(record.name)}::text"
        if field := record.fields.get(name):
            return self.value(record, field, custom if field.custom else alias)
        if to_one := record.to_one.get(name):
            return self.to_one(record, to_one, alias, selection, path)
        if to_many := record.to_many.get(name):
            return self._to_many(to_many, alias, selection, path, connection)
        if to_many := record.to_many.get(name.removesuffix("Aggregate")):
            return self._to_many(to_many, alias, selection, path, aggregate)
        if computed := record.computed.get(name):
            return self._computed(record, computed, alias, path)
        raise CompositionError(f"{record.name}.{name} is declared in GraphQL but not in the catalog")

    def value(self, record: Record, field: Field, alias: str) -> str:
        """A field's value, in JSON terms; null where policy hides it."""
        if not self.policy.readable(record, field.name):
            return "null"
        sql = column_sql(field, alias)
        if field.kind is Kind.DECIMAL:
            return f"trim_scale({sql})::text"
        return sql

    def to_one(
        self, record: Record, relation: ToOne, alias: str, selection: Selection, path: tuple[str, ...], column: str = ""
    ) -> str:
        """The linked record as a JSON object, null where there is none or it may not be read."""
        if not self.policy.readable(record, relation.key.name):
            return "null"
        target = self.catalog[relation.target]
        inner = self.alias()
        table, conditions = self.source(self.policy.scope(relation.target), inner)
        conditions.insert(0, f"{inner}.id = {column or relation.sql(alias)}")
        return self.object(target, inner, selection.under(), path, (table, conditions))

    def _to_many(
        self,
        relation: ToMany,
        alias: str,
        selection: Selection,
        path: tuple[str, ...],
        compile_: Callable[..., str],
    ) -> str:
        target, scope = self.catalog[relation.target], self._children(relation, path)
        return compile_(self, target, selection, path, scope, self.link(relation, alias))

    def _children(self, relation: ToMany, path: tuple[str, ...]) -> Scope:
        return self.policy.scope(relation.target, reached=relation.route, parent_deleted=path[0] in self.trash)

    def _computed(self, record: Record, computed: Computed, alias: str, path: tuple[str, ...]) -> str:
        self.slots.append(Slot(path, computed))
        return json_object([(name, self._required(record, name, alias, path)) for name in computed.requires])

    def _required(self, record: Record, name: str, alias: str, path: tuple[str, ...]) -> str:
        if name in record.fields:
            return self.value(record, record.fields[name], alias)
        relation = record.to_many[name]
        return self.exists(self._children(relation, path), self.link(relation, alias), TRUE, "count(*)")


def several_custom(record: Record, selections: list[Selection]) -> bool:
    """Whether more than one custom field of a row is asked for."""
    return sum(s.name in record.fields and bool(record.fields[s.name].custom) for s in selections) > 1


def root_of(catalog: Catalog, selection: Selection) -> Callable[[Reader], str] | None:
    """What compiles a root field of a query; None where the field is not a read of records."""
    name, path = selection.name, (selection.key,)
    if name == "node" and (given := selection.argument("id")) is not None:
        id_ = given.operand.map(uuid_or_none, "uuid or none")
        return lambda r: r.node(selection, path, r.operand(id_, "uuid"))
    if name == "nodes" and (given := selection.argument("ids")) is not None:
        ids = given.operand
        return lambda r: r.nodes(selection, path, ids)
    for record in catalog.exposed():
        if name == record.type.singular:
            return lambda r: _single(r, record, selection, path)
        if name == record.type.plural:
            return lambda r: connection(r, record, selection, path, _root_scope(r, record, selection))
        if name == record.type.plural + "Aggregate":
            return lambda r: aggregate(r, record, selection, path, _root_scope(r, record, selection))
        if name == record.type.plural + "Grouped":
            return lambda r: grouped(r, record, selection, path, _root_scope(r, record, selection))
    return None


def _root_scope(reader: Reader, record: Record, selection: Selection) -> Scope:
    deleted = selection.argument("deleted")
    if deleted is not None and deleted.choice:
        reader.trash.add(selection.key)
        return reader.policy.scope(record.name, "restore", deleted=True)
    return reader.policy.scope(record.name)


def _single(reader: Reader, record: Record, selection: Selection, path: tuple[str, ...]) -> str:
    """One record by its id or by one of its unique fields. Raises Forbidden where that field is hidden."""
    given = [
        (f, a)
        for f in record.fields.values()
        if f.name == "id" or f.unique
        if (a := selection.argument(f.name)) is not None and not a.is_null
    ]
    if len(given) != 1:
        raise BadInput(f"{selection.name} needs exactly one of its arguments")
    field, argument = given[0]
    reader.policy.demand_readable(record, field.name)
    operand = argument.operand
    if field.kind is Kind.ID:
        operand = operand.map(uuid_or_none, "uuid or none")
    return reader.one(record, selection, path, Compare(field, "eq", operand))
