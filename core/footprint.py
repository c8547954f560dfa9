"""What a predicate depends on, so that a rule is looked at again only where it may have changed its answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from core.catalog import Catalog, Record
from core.changes import Batch
from core.pool import Connection
from core.predicate import (
    Always,
    And,
    Compare,
    Linked,
    LinkedAny,
    Not,
    Or,
    Predicate,
    Related,
    RelatedAll,
    RelatedCount,
    Within,
)
from core.records import Field, Relation, ToMany, ToOne
from core.rows import Row
from core.sql import quote


@dataclass(frozen=True, slots=True)
class Step:
    """One link on the way from a record type to another: `column` is that of `source` or, `backward`, of `target`."""

    source: str
    column: str
    target: str
    backward: bool = False


#: The links from the record type of a predicate to another.
Route = tuple[Step, ...]


@dataclass(frozen=True)
class Footprint:
    """What a predicate depends on.

    `reads` are (record type, field), through relations and counts, too; `routes` lead from the predicate's record type
    to each other one. `recurring` is whether its answer may change without a write that these tell: by the clock, or
    by an expression that does not say what it reads.
    """

    record: str
    reads: frozenset[tuple[str, str]] = frozenset()
    routes: frozenset[tuple[str, Route]] = frozenset()
    recurring: bool = False

    def __or__(self, other: Footprint) -> Footprint:
        return Footprint(
            self.record, self.reads | other.reads, self.routes | other.routes, self.recurring or other.recurring
        )

    def concerned(self, batch: Batch) -> list[Row]:
        """The rows of a written batch that may change the predicate's answer for some record."""
        name = batch.record.name
        if batch.action == "update":
            fields = {f for type_, f in self.reads if type_ == name}
            return [row for row in batch.rows if not fields.isdisjoint(row.changed)] if fields else []
        if name == self.record:
            return list(batch.rows) if batch.action != "delete" else []
        return list(batch.rows) if any(type_ == name for type_, _ in self.routes) else []

    async def affected(
        self, connection: Connection, catalog: Catalog, batch: Batch, limit: int
    ) -> frozenset[UUID] | None:
        """The ids of the records for which a written batch may change the answer; None where more than `limit` are.

        Found from the rows as they were and as they are, so that a record that lost something counts, too.
        """
        rows = self.concerned(batch)
        found: set[UUID] = set()
        if batch.record.name == self.record:
            found.update(row.id for row in rows if isinstance(row.id, UUID))
        for type_, route in self.routes if rows else ():
            if type_ == batch.record.name and len(found) <= limit:
                found |= await _sources(connection, catalog, route, rows, limit)
        return frozenset(found) if len(found) <= limit else None


def footprint_of(predicate: Predicate, record: Record, catalog: Catalog) -> Footprint:
    """What a predicate on a record type depends on."""
    found = _Walk(catalog)
    found.walk(predicate, record, ())
    routes = frozenset((type_, route) for type_, route in found.routes if route)
    return Footprint(record.name, frozenset(found.reads), routes, found.recurring)


@dataclass
class _Walk:
    """Collects what the parts of a predicate read."""

    catalog: Catalog
    reads: set[tuple[str, str]] = field(default_factory=set)
    routes: set[tuple[str, Route]] = field(default_factory=set)
    recurring: bool = False

    def walk(self, predicate: Predicate, record: Record, route: Route) -> None:
        match predicate:
            case Always():
                pass
            case And(parts) | Or(parts):
                for part in parts:
                    self.walk(part, record, route)
            case Not(part):
                self.walk(part, record, route)
            case Compare(field=read) if link := _link_of(record, read):
                self._follow(link, record, route)
            case Compare(field=read):
                self._read(record, read, route)
            case Within(field=read):
                self._read(record, read, route)
                self.recurring = True
            case Linked(relation, part) | Related(relation, _, part) | RelatedCount(relation, part):
                self.walk(part, self.catalog[relation.target], self._follow(relation, record, route))
            case LinkedAny(relation):
                self._follow(relation, record, route)
            case RelatedAll(relation, link):
                self._follow(link, self.catalog[relation.target], self._follow(relation, record, route))

    def _read(self, record: Record, read: Field, route: Route) -> None:
        self.reads.add((record.name, read.name))
        for name in read.reads:
            relation = record.to_many[name]
            self._follow(relation, record, route)
            self.reads |= {(relation.target, f.name) for f in self.catalog[relation.target].by_column().values()}
        # An expression that does not mention the row is the same for all of them.
        if read.sql is not None and not read.reads and read.sql("t1") != read.sql("t2"):
            self.recurring = True

    def _follow(self, relation: Relation, record: Record, route: Route) -> Route:
        """The route to a relation's records; whom they are linked to is read on the way."""
        for step in steps(relation, record):
            route = (*route, step)
            holder = self.catalog[step.target if step.backward else step.source]
            link = holder.by_column().get(step.column)
            if link is not None:
                self.reads.add((holder.name, link.name))
            self.routes.add((step.target, route))
        return route


def _link_of(record: Record, read: Field) -> ToOne | None:
    """The link through a table whose key a field is."""
    return next((r for r in record.to_one.values() if r.through and r.key.name == read.name), None)


def steps(relation: Relation, record: Record) -> Iterable[Step]:
    """The links that a relation of a record type goes along."""
    if relation.through:
        return (
            Step(record.name, relation.column, relation.through, backward=True),
            Step(relation.through, relation.other, relation.target),
        )
    return (Step(record.name, relation.column, relation.target, backward=isinstance(relation, ToMany)),)


async def _sources(
    connection: Connection, catalog: Catalog, route: Route, rows: Iterable[Row], limit: int
) -> set[UUID]:
    """The ids at the beginning of a route that leads, or led, to one of some rows at its end; limit + 1 at most."""
    *rest, last = route
    if last.backward:
        # The rows themselves say whom they belong to, also where they are gone or belong to another by now.
        link = catalog[last.target].by_column()[last.column].name
        images = (image for row in rows for image in (row.before, row.after) if image)
        ids = {UUID(image[link]) for image in images if image.get(link)}
    else:
        ids = {row.id for row in rows if isinstance(row.id, UUID)}
        rest = [*rest, last]
    if not rest:
        return ids
    statement = "select unnest($1::uuid[])"
    for step in reversed(rest):
        column = quote(step.column)
        wanted, given = (column, "t.id") if step.backward else ("id", f"t.{column}")
        table = quote(catalog[step.target if step.backward else step.source].type.tablename)
        statement = f"select t.{wanted} from {table} t where {given} in ({statement})"
    rows_ = await connection.fetch(f"select distinct x.* from ({statement} limit $2) x", list(ids), limit + 1)
    return {row[0] for row in rows_ if row[0] is not None}
