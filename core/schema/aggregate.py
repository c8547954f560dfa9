"""Totals: count, sum, avg, min and max of the rows a list is about, in groups where asked, and boards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.arguments import Argument
from core.catalog import Record
from core.condition import column_sql
from core.context import RequestContext
from core.errors import BadInput
from core.policy import Scope
from core.predicate import Operand
from core.records import Field, Kind, ToOne
from core.schema.order import order_name
from core.schema.page import Link, _Page, clause, matching
from core.schema.select import Selection
from core.sql import literal, quote

if TYPE_CHECKING:
    from core.schema.compile import Reader

NUMBERS = frozenset({Kind.INT, Kind.DECIMAL})
MEASURED = NUMBERS | {Kind.DATE, Kind.DATETIME}
GROUPED = frozenset({Kind.TEXT, Kind.INT, Kind.BOOL, Kind.DATE, Kind.DATETIME, Kind.ENUM})
FUNCTIONS = ("sum", "avg", "min", "max")
MOST_GROUPS = 1000


def groupable(record: Record) -> dict[str, Field | ToOne]:
    """What rows can be grouped by, by enum value: plain fields and to-one links."""
    found: dict[str, Field | ToOne] = {
        order_name(f): f for f in record.exposed_fields() if f.kind in GROUPED and f.filterable
    }
    found.update({order_name(r.key).removesuffix("_ID"): r for r in record.to_one.values()})
    return found


def measured(record: Record, function: str) -> list[Field]:
    """The fields a function can be asked of."""
    kinds = NUMBERS if function in ("sum", "avg") else MEASURED
    return [f for f in record.exposed_fields() if f.kind in kinds and f.filterable and f.name != "version"]


class _Measures:
    """The aggregate expressions of one grouping, each computed once, by name."""

    def __init__(self, reader: Reader, record: Record, alias: str) -> None:
        self.reader = reader
        self.record = record
        self.alias = alias
        self.columns: dict[str, str] = {}

    def name(self, sql: str) -> str:
        return self.columns.setdefault(sql, f"m{len(self.columns)}")

    def of(self, function: str, field: Field) -> str:
        self.reader.policy.demand_readable(self.record, field.name)
        return self.name(f"{function}({column_sql(field, self.alias)})")

    def json(self, part: Selection, source: str, typename: str) -> str:
        """`count`, `sum {…}` and so on as JSON over the computed columns of `source`."""
        if part.name == "count":
            return f"{source}.{self.name('count(*)')}"
        if part.name not in FUNCTIONS:
            return f"{literal(typename)}::text"
        columns = []
        for member in part.under():
            field = self.record.fields.get(member.name)
            if field is None:
                value = f"{literal(part.type.name)}::text"
            else:
                value = f"{source}.{self.of(part.name, field)}"
                if field.kind is Kind.DECIMAL or part.name in ("sum", "avg"):
                    value = f"trim_scale({value}::numeric)::text"
            columns.append(f"{value} as {quote(member.key)}")
        return f"(select row_to_json(v) from (select {', '.join(columns)}) v)"

    def select(self) -> list[str]:
        return [f"{sql} as {name}" for sql, name in self.columns.items()]


def aggregate(
    reader: Reader,
    record: Record,
    selection: Selection,
    path: tuple[str, ...],
    scope: Scope,
    link: Link | None = None,
) -> str:
    """`<plural>Aggregate` as one JSON expression."""
    alias = reader.alias()
    table, conditions = matching(reader, record, selection, scope, link, alias)
    measures = _Measures(reader, record, alias)
    columns = []
    for part in selection.under():
        if part.name == "groups":
            value = _groups(reader, record, selection, part, (*path, part.key), scope, link)
        else:
            value = measures.json(part, "s", selection.type.name)
        columns.append(f"{value} as {quote(part.key)}")
    inner = ", ".join(measures.select()) or "count(*)"
    return (
        f"(select row_to_json(q) from (select {', '.join(columns)} from (select {inner} from {table}"
        f"{clause(conditions)}) s) q)"
    )


class _Keys:
    """What a grouping is by: the expressions and how a group's key is shown."""

    def __init__(self, reader: Reader, record: Record, items: list[Argument], alias: str) -> None:
        self.reader = reader
        self.record = record
        self.by: list[tuple[Field | ToOne, str]] = []
        choices = groupable(record)
        for item in items:
            field, unit = item.get("field"), item.get("unit")
            chosen = choices.get(field.choice if field else item.choice)
            if chosen is None:
                raise BadInput(f"{record.name} cannot be grouped by that")
            name = chosen.key.name if isinstance(chosen, ToOne) else chosen.name
            reader.policy.demand_readable(record, name)
            self.by.append((chosen, self._expression(chosen, alias, unit.choice if unit else None)))
        if not self.by or len(self.by) > 4:
            raise BadInput("group by one to four fields")

    def _expression(self, chosen: Field | ToOne, alias: str, unit: str | None) -> str:
        if isinstance(chosen, ToOne):
            return chosen.sql(alias)
        column = column_sql(chosen, alias)
        if chosen.kind is Kind.DATE:
            return f"date_trunc({literal((unit or 'DAY').lower())}, {column})::date"
        if chosen.kind is Kind.DATETIME:
            zone = self.reader.operand(Operand(_zone, "time zone"), "text")
            return f"date_trunc({literal((unit or 'DAY').lower())}, {column}, {zone})"
        return column

    def select(self) -> list[str]:
        return [f"{sql} as k{i}" for i, (_, sql) in enumerate(self.by)]

    def grouping(self) -> str:
        return ", ".join(str(i + 1) for i in range(len(self.by)))

    def json(self, part: Selection, source: str, path: tuple[str, ...]) -> str:
        """The group's key as a JSON object; what it was not grouped by is null."""
        columns = []
        for member in part.under():
            value = "null"
            if member.name == "__typename":
                value = f"{literal(part.type.name)}::text"
            for i, (chosen, _) in enumerate(self.by):
                if member.name == chosen.name:
                    value = f"{source}.k{i}"
                    if isinstance(chosen, ToOne):
                        value = self.reader.to_one(self.record, chosen, "", member, (*path, member.key), column=value)
            columns.append(f"{value} as {quote(member.key)}")
        return f"(select row_to_json(v) from (select {', '.join(columns)}) v)"


def _groups(
    reader: Reader,
    record: Record,
    selection: Selection,
    part: Selection,
    path: tuple[str, ...],
    scope: Scope,
    link: Link | None,
) -> str:
    alias = reader.alias()
    table, conditions = matching(reader, record, selection, scope, link, alias)
    by = selection.argument("groupBy")
    keys = _Keys(reader, record, list(by.items or ()) if by else [], alias)
    measures = _Measures(reader, record, alias)
    columns = []
    for member in part.under():
        if member.name == "key":
            value = keys.json(member, "s", (*path, member.key))
        else:
            value = measures.json(member, "s", part.type.name)
        columns.append(f"{value} as {quote(member.key)}")
    order = [*_group_order(selection.argument("orderBy"), record, measures), *(f"s.k{i}" for i in range(len(keys.by)))]
    size = _size(selection.argument("first"))
    inner = ", ".join([*keys.select(), *measures.select()])
    return (
        f"(select coalesce(json_agg(r), '[]'::json) from (select {', '.join(columns)} from (select {inner} from {table}"
        f"{clause(conditions)} group by {keys.grouping()}) s order by {', '.join(order)} limit {size}) r)"
    )


def _group_order(argument: Argument | None, record: Record, measures: _Measures) -> list[str]:
    clauses = []
    for item in (argument.items or ()) if argument else ():
        by, field, direction = item.get("by"), item.get("field"), item.get("direction")
        function = by.choice.lower() if by else "count"
        descending = direction is not None and direction.choice == "DESC"
        if function == "count":
            name = measures.name("count(*)")
        else:
            chosen = {order_name(f): f for f in measured(record, function)}.get(field.choice if field else "")
            if chosen is None:
                raise BadInput(f"groups cannot be ordered by {function} of that field")
            name = measures.of(function, chosen)
        clauses.append(f"s.{name}{' desc' if descending else ''} nulls last")
    return clauses


def _size(given: Argument | None) -> int:
    size = 100 if given is None or given.is_null else given.choice
    if not isinstance(size, int) or not 0 <= size <= MOST_GROUPS:
        raise BadInput(f"between 0 and {MOST_GROUPS} groups can be asked for")
    return size


def grouped(reader: Reader, record: Record, selection: Selection, path: tuple[str, ...], scope: Scope) -> str:
    """`<plural>Grouped` as one JSON expression: each group with its total and its first n records.

    However many groups there are, the records are looked through once.
    """
    page = _Page(reader, record, selection, scope, None)
    by = selection.argument("by")
    keys = _Keys(reader, record, [by] if by else [], page.alias)
    parts = [(part, (*path, part.key)) for part in selection.under()]
    nodes = [part.key for part, _ in parts if part.name == "nodes"]
    columns = []
    for part, here in parts:
        if part.name == "key":
            value = keys.json(part, "s", here)
        elif part.name == "totalCount":
            value = "s.total"
        elif part.name == "nodes":
            value = f"s.v{nodes.index(part.key)}"
        else:
            value = f"{literal(selection.type.name)}::text"
        columns.append(f"{value} as {quote(part.key)}")
    shown = [(part, here) for part, here in parts if part.name == "nodes"]
    groups = _first_of_groups(page, keys.by[0][1], shown) if shown else _counted_groups(page, keys.by[0][1])
    listed = f"select {', '.join(columns)} from ({groups}) s order by s.g"
    return f"(select coalesce(json_agg(r), '[]'::json) from ({listed}) r)"


def _counted_groups(page: _Page, key: str) -> str:
    """The groups by number, with their keys and totals."""
    table, conditions = page.rows_of(page.alias)
    counted = f"select {key} as k0, count(*) as total from {table}{clause(conditions)} group by 1"
    return f"select k0, total, row_number() over (order by k0) as g from ({counted}) c order by k0 limit {MOST_GROUPS}"


def _first_of_groups(page: _Page, key: str, shown: list[tuple[Selection, tuple[str, ...]]]) -> str:
    """The same, with the first records of each group as JSON, once for each place that shows them."""
    table, conditions = page.rows_of(page.alias)
    # Only ids and numbers are sorted; what is shown is looked up for the few that are first.
    numbered = (
        f"select {page.alias}.id, {key} as k0, count(*) over (partition by {key}) as total, "
        f"dense_rank() over (order by {key}) as g, row_number() over (partition by {key} order by {page.order()}) as n "
        f"from {table}{clause(conditions)}"
    )
    row = page.reader.alias()
    whole, _ = page.reader.source(page.reader.policy.internal(page.record.name), row)
    values, lists = [], []
    for i, (part, here) in enumerate(shown):
        values.append(f"{page.reader.object(page.record, row, part.under(), here)} as v{i}")
        lists.append(f"coalesce(json_agg(v{i} order by n) filter (where n <= {page.size}), '[]'::json) as v{i}")
    first = (
        f"select w.k0, w.total, w.g, w.n, {', '.join(values)} from ({numbered}) w join {whole} on {row}.id = w.id "
        f"where w.g <= {MOST_GROUPS} and w.n <= {max(page.size, 1)}"
    )
    return f"select k0, total, g, {', '.join(lists)} from ({first}) f group by k0, total, g"


def _zone(_variables: dict[str, Any], context: RequestContext) -> str:
    return context.workspace.time_zone
