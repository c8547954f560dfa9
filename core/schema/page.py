"""Connections: a page of records by keyset, with edges, page info and a total only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from core.arguments import Argument, words
from core.catalog import Record
from core.errors import BadInput
from core.policy import Scope
from core.predicate import (
    And,
    Compare,
    Linked,
    Operand,
    Or,
    Predicate,
    Related,
    RelatedAll,
    RelatedCount,
)
from core.records import Kind
from core.schema.order import Key, beyond, cursor_sql, keys_of
from core.schema.select import Selection
from core.schema.where import condition
from core.sql import Columns, json_object, literal

if TYPE_CHECKING:
    from core.schema.compile import Reader

Link = Callable[[str], str]

#: Most words in one search.
MOST_WORDS = 20


def matching(
    reader: Reader, record: Record, selection: Selection, scope: Scope, link: Link | None, alias: str
) -> tuple[str, list[str]]:
    """FROM and conditions of the rows a list is about: scope, link to the outer row, `where` and `search`."""
    table, conditions = reader.source(scope, alias)
    if link:
        conditions.insert(0, link(alias))
    where = selection.argument("where")
    if where is not None and not where.is_null:
        wanted = condition(where, record, reader.policy)
        reader.on_deleted = bool(scope.deleted)
        conditions.append(reader.sql(wanted, alias))
        reader.on_deleted = False
        reader.weighed |= link is None and _weighed(wanted)
    search = selection.argument("search")
    if search is not None and not search.is_null:
        conditions += _searched(reader, record, search, alias)
        reader.weighed |= link is None
    return table, conditions


def _searched(reader: Reader, record: Record, search: Argument, alias: str) -> list[str]:
    """One condition for each word that is searched for, so that an index finds them in any order."""
    for field in record.fields.values():
        if field.search:
            reader.policy.demand_readable(record, field.name)
    count = len(words(search.choice))
    if count > MOST_WORDS:
        raise BadInput(f"at most {MOST_WORDS} words can be searched for")

    def word(i: int) -> Operand:
        return search.operand.map(lambda text: words(text)[i], f"word {i} of {count}")

    return [f"{alias}.search_fold like {reader.pattern(word(i))}" for i in range(count)]


def _weighed(predicate: Predicate) -> bool:
    """Whether only the values in a condition tell how many rows satisfy it: next to none, or nearly all."""
    match predicate:
        case And(parts) | Or(parts):
            return any(map(_weighed, parts))
        case Linked(part=part) | Related(part=part) | RelatedCount(part=part):
            return _weighed(part)
        case Compare(_, "contains" | "startsWith" | "endsWith") | RelatedAll():
            return True
        case _:
            return False


def _belonging(predicate: Predicate) -> bool:
    match predicate:
        case And(parts):
            return any(map(_belonging, parts))
        case Compare(field, "eq" | "in"):
            return field.kind is Kind.ID
        case _:
            return False


def clause(conditions: list[str]) -> str:
    """The WHERE clause of conditions; nothing where all are true."""
    kept = [c for c in conditions if c != "true"]
    return f" where {' and '.join(kept)}" if kept else ""


def connection(
    reader: Reader,
    record: Record,
    selection: Selection,
    path: tuple[str, ...],
    scope: Scope,
    link: Link | None = None,
) -> str:
    """The connection as one JSON expression."""
    parts = selection.under()
    page = _Page(reader, record, selection, scope, link)
    only = [p for p in parts if p.name == "nodes"]
    plain = len(only) == 1 and not page.backward and all(p.name in ("nodes", "totalCount", "__typename") for p in parts)
    columns: Columns = []
    if not plain and any(p.name in ("nodes", "edges", "pageInfo") for p in parts):
        page.number()
    for part in parts:
        here = (*path, part.key)
        match part.name:
            case "nodes" if plain:
                columns.append((part.key, page.nodes(part, here)))
            case "nodes":
                columns.append((part.key, page.list_of(page.row(part, here))))
            case "edges":
                columns.append((part.key, page.list_of(page.edge(part, here))))
            case "pageInfo":
                columns.append((part.key, page.info(part)))
            case "totalCount":
                columns.append((part.key, page.total()))
            case _:
                columns.append((part.key, f"{literal(selection.type.name)}::text"))
    return json_object(columns, page.rows())


class _Page:
    """One page being compiled: which rows, in what order, and what is taken from each."""

    def __init__(self, reader: Reader, record: Record, selection: Selection, scope: Scope, link: Link | None) -> None:
        self.reader = reader
        self.record = record
        self.selection = selection
        self.scope = scope
        self.link = link
        arguments = {name: selection.argument(name) for name in ("first", "last", "after", "before")}
        given = {name: a for name, a in arguments.items() if a is not None and not a.is_null}
        if "first" in given and "last" in given:
            raise BadInput("ask for `first` or for `last`, not for both")
        self.backward = "last" in given or ("before" in given and "first" not in given)
        self.after: Argument | None = given.get("after")
        self.before: Argument | None = given.get("before")
        self.limit: Argument | None = given.get("last") or given.get("first")
        self.alias = reader.alias()
        self.taken: list[str] = []
        self._from = ""

    # Compiled only where a part of the page needs it: every parameter must stand in the statement.
    @cached_property
    def keys(self) -> list[Key]:
        keys = keys_of(self.reader, self.selection.argument("orderBy"), self.record, self.alias, self.reader.policy)
        return [k.reversed() for k in keys] if self.backward else keys

    @property
    def size(self) -> int:
        """The page's size. It stands in the text: PostgreSQL plans for it, and plans once."""
        size = self.reader.default_page if self.limit is None else self.limit.choice
        if not isinstance(size, int) or not 0 <= size <= self.reader.max_page:
            raise BadInput(f"a page has between 0 and {self.reader.max_page} records")
        return size

    def rows_of(self, alias: str) -> tuple[str, list[str]]:
        """FROM and conditions of the rows between the page's cursors."""
        table, conditions = matching(self.reader, self.record, self.selection, self.scope, self.link, alias)
        forward = [k.reversed() for k in self.keys] if self.backward else self.keys
        if self.after is not None:
            conditions.append(beyond(self.reader, forward, self.after.operand))
        if self.before is not None:
            conditions.append(beyond(self.reader, [k.reversed() for k in forward], self.before.operand))
        return table, conditions

    def firsts(self) -> tuple[str, list[str]]:
        """The same of as many rows as the page may hold, and one more, in any order; of the others, some are left out.

        Where rows are let in for several reasons, they are the first of each.
        """
        scopes = self.reader.policy.parted(self.scope)
        if len(scopes) == 1 or self._few():
            return self.rows_of(self.alias)
        found = []
        for scope in scopes:
            page = _Page(self.reader, self.record, self.selection, scope, None)
            table, conditions = page.rows_of(page.alias)
            rows = f"{table}{clause(conditions)} order by {page.order()} limit {page.size + 1}"
            found.append(f"(select {page.alias}.id from {rows})")
        table, conditions = self.reader.source(self.reader.policy.internal(self.record.name), self.alias)
        return table, [f"{self.alias}.id in ({' union all '.join(found)})", *conditions]

    def _few(self) -> bool:
        """Whether only rows that belong to some record are asked for: they are few, whoever asks."""
        if self.link is not None:
            return True
        where = self.selection.argument("where")
        return where is not None and not where.is_null and _belonging(condition(where, self.record, self.reader.policy))

    def order(self) -> str:
        return ", ".join(k.clause() for k in self.keys)

    def nodes(self, part: Selection, path: tuple[str, ...]) -> str:
        """The records alone, straight from an ordered sub-select: the cheapest form."""
        table, conditions = self.firsts()
        asked, row = self.reader.listed(self.record, self.alias, part.under(), path)
        return (
            f"(select coalesce(json_agg({row}), '[]'::json) from (select {asked} from {table}"
            f"{clause(conditions)} order by {self.order()} limit {self.size}) r)"
        )

    def number(self) -> None:
        """Number the rows of the page, one more than asked for, so that what is taken from them can be put together."""
        table, conditions = self.firsts()
        rows = f"{table}{clause(conditions)} order by {self.order()} limit {self.size + 1}"
        self._from = f"(select {self.alias}.* from {rows}) {self.alias}"
        self.taken.append("row_number() over () as n")

    def rows(self) -> str:
        return f" from (select {', '.join(self.taken)} from {self._from}) p group by ()" if self._from else ""

    def take(self, sql: str) -> str:
        """Take a value from each row; returns its name in the page."""
        self.taken.append(f"{sql} as v{len(self.taken)}")
        return f"p.v{len(self.taken) - 1}"

    def row(self, part: Selection, path: tuple[str, ...]) -> str:
        return self.take(self.reader.object(self.record, self.alias, part.under(), path))

    def cursor(self) -> str:
        return cursor_sql(self.keys)

    def edge(self, part: Selection, path: tuple[str, ...]) -> str:
        columns: Columns = []
        for member in part.under():
            if member.name == "cursor":
                value = self.cursor()
            elif member.name == "node":
                value = self.reader.object(self.record, self.alias, member.under(), (*path, member.key))
            else:
                value = f"{literal(part.type.name)}::text"
            columns.append((member.key, value))
        return self.take(json_object(columns))

    def list_of(self, value: str) -> str:
        back = " desc" if self.backward else ""
        return f"coalesce(json_agg({value} order by p.n{back}) filter (where p.n <= {self.size}), '[]'::json)"

    def info(self, part: Selection) -> str:
        more = f"coalesce(max(p.n) > {self.size}, false)"
        columns: Columns = []
        for member in part.under():
            match member.name:
                case "hasNextPage":
                    value = ("true" if self.before is not None else "false") if self.backward else more
                case "hasPreviousPage":
                    value = more if self.backward else ("true" if self.after is not None else "false")
                case "startCursor" | "endCursor":
                    cursor = self.take(self.cursor())
                    first = (member.name == "startCursor") != self.backward
                    order = "p.n" if first else "p.n desc"
                    value = f"(array_agg({cursor} order by {order}) filter (where p.n <= {self.size}))[1]"
                case _:
                    value = f"{literal('PageInfo')}::text"
            columns.append((member.key, value))
        return json_object(columns)

    def total(self) -> str:
        alias = self.reader.alias()
        table, conditions = matching(self.reader, self.record, self.selection, self.scope, self.link, alias)
        return f"(select count(*) from {table}{clause(conditions)})"
