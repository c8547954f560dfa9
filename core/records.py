"""Declarations: what a record type is. Everything else (GraphQL, filters, policy, history, import) follows.

A record type is declared once, by core, by a plugin or (custom fields) by a workspace; `Catalog.build` puts the
declarations of one feature set together and refuses any two that claim one name, naming both.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from core.errors import CompositionError
from core.sql import quote

if TYPE_CHECKING:
    from graphql import GraphQLSchema
    from piccolo.table import Table

    from core.arguments import Argument
    from core.changes import Batch, ChangeSet
    from core.context import RequestContext
    from core.predicate import Predicate
    from core.rows import Row

NAME = re.compile(r"^[a-z][A-Za-z0-9]*$")
TYPE_NAME = re.compile(r"^[A-Z][A-Za-z0-9]*$")


class Kind(Enum):
    """What a field holds; the value is its PostgreSQL type."""

    ID = "uuid"
    TEXT = "text"
    INT = "integer"
    DECIMAL = "numeric"
    BOOL = "boolean"
    DATE = "date"
    DATETIME = "timestamptz"
    JSON = "jsonb"
    TEXTS = "text[]"
    ENUM = "text "


class Write(Enum):
    """When a client may set a field."""

    ALWAYS = "always"
    CREATE = "create"
    NEVER = "never"


def snake(name: str) -> str:
    """`taxCode` -> `tax_code`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


@dataclass(frozen=True, slots=True)
class EnumType:
    """A closed list of values, stored as they are shown. `values` maps a value to its description."""

    name: str
    description: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a record.

    `column` is the table's column (default: the name in snake case); a field with `sql` is an expression on
    the row's alias instead and cannot be written. A field with `custom` lives under that key of the `custom`
    JSON column. `folded` names the stored column without case and accents that text operators and search use.
    `required` fields are never null and can never be hidden. `generate` makes the values that new records left
    out: it gets the connection and those rows, and returns as many JSON values. A JSON field with `condition` holds a
    rule on the records of that type: clients write it as `<condition>Where` (see `core/rules.py`).
    """

    name: str
    kind: Kind
    description: str
    column: str = ""
    enum: EnumType | None = None
    required: bool = False
    write: Write = Write.ALWAYS
    default: Any = None
    unique: bool = False
    folded: str = ""
    search: bool = False
    filterable: bool = True
    sortable: bool = True
    exposed: bool = True
    max_length: int = 10_000
    minimum: int | None = None
    maximum: int | None = None
    custom: str = ""
    sql: Callable[[str], str] | None = None
    condition: str = ""
    generate: Callable[[Any, Sequence[Any]], Awaitable[Sequence[Any]]] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    plugin: str = "core"

    def __post_init__(self) -> None:
        if not NAME.match(self.name):
            raise CompositionError(f"field name {self.name!r} is not camelCase")
        if not self.column:
            object.__setattr__(self, "column", snake(self.name))
        if self.kind is Kind.ENUM and self.enum is None:
            raise CompositionError(f"field {self.name!r} is an enum without its values")
        if self.condition and self.kind is not Kind.JSON:
            raise CompositionError(f"field {self.name!r} holds a condition, so it must be JSON")

    @property
    def type(self) -> str:
        """The PostgreSQL type of its values."""
        return self.kind.value.strip()

    @property
    def writable(self) -> bool:
        """Whether anybody may ever set it."""
        return self.write is not Write.NEVER and self.sql is None


@dataclass(frozen=True, slots=True)
class ToOne:
    """A link to at most one record of `target`, by a foreign key column of this table.

    Clients write it through `<name>Id` unless `write` is NEVER. With `through`, a link that lies in a table of its
    own, which a plugin can add to the records of others: `through` names the link's record type, of which there is at
    most one for this record, `column` its foreign key to this record and `other` its foreign key to the target. It is
    written by writing the link. `table` is the link's table, filled in by the catalog.
    """

    name: str
    target: str
    description: str
    column: str = ""
    required: bool = False
    write: Write = Write.ALWAYS
    filterable: bool = True
    through: str = ""
    other: str = ""
    table: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    plugin: str = "core"

    def __post_init__(self) -> None:
        if not self.column:
            object.__setattr__(self, "column", snake(self.name) + "_id")
        if self.through:
            object.__setattr__(self, "write", Write.NEVER)

    def sql(self, alias: str) -> str:
        """The expression of the linked record's id, on the alias of a row."""
        if not self.through:
            return f"{alias}.{quote(self.column)}"
        linked = f"link_.{quote(self.column)} = {alias}.id"
        return f"(select link_.{quote(self.other)} from {quote(self.table)} link_ where {linked})"

    @property
    def key(self) -> Field:
        """The foreign key as a field of its own, `<name>Id`."""
        return Field(
            self.name + "Id",
            Kind.ID,
            f"Id of the {self.name}.",
            column=self.column,
            required=self.required,
            write=self.write,
            sql=self.sql if self.through else None,
            labels=self.labels,
            plugin=self.plugin,
        )


@dataclass(frozen=True, slots=True)
class ToMany:
    """The records of `target` whose foreign key `column` is this record's id; shown as a connection.

    With `through`, a many-to-many link: `through` names the link's record type, `column` its foreign key to
    this record and `other` its foreign key to the target.
    """

    name: str
    target: str
    column: str
    description: str
    through: str = ""
    other: str = ""
    filterable: bool = True
    exposed: bool = True
    plugin: str = "core"

    @property
    def route(self) -> str:
        """How its records are reached, for policy: the column, or the link that lies between."""
        return f"{self.through}.{self.column}" if self.through else self.column


Relation = ToOne | ToMany


@dataclass(frozen=True, slots=True)
class Filter:
    """A key of its own in `<Type>Where`. `input` is the Strawberry input class of its value.

    `predicate` turns the given argument into a predicate on the record; it must not touch the database. What it
    raises is an error of the query, never "no condition".
    """

    name: str
    description: str
    input: Any
    predicate: Callable[[Argument, Catalog], Predicate]
    plugin: str = "core"


@dataclass(frozen=True, slots=True)
class Computed:
    """A field computed in Python, for a whole batch at once, from other fields of the same records.

    `resolve` gets one dict of the `requires` fields (JSON values, by field name) per record, in order, and
    returns as many JSON values; a to-many relation among them stands for how many of its records the actor may read.
    It runs after the statement, once per place in the query.
    """

    name: str
    kind: Kind
    description: str
    requires: tuple[str, ...]
    resolve: Callable[[RequestContext, Sequence[dict[str, Any]]], Awaitable[Sequence[Any]]]
    plugin: str = "core"


class Invariant:
    """Something that always holds among the records of a type, whoever writes them.

    Each batch passes through it inside its transaction; what it writes itself goes through `changes.system()`.
    """

    async def prepare(self, changes: ChangeSet, batch: Batch) -> Sequence[Row]:  # noqa: ARG002 - for those who need it
        """Adjust the rows of a checked batch, and write others, before it is written; returns the rows to write."""
        return batch.rows

    async def settle(self, changes: ChangeSet, batch: Batch) -> None:
        """Write what follows from a batch after it was written."""


@dataclass(frozen=True, slots=True)
class RecordType:
    """A declared kind of record: a Piccolo table plus the fields and relations it shows.

    `owner` is the column of the owning user and `viewers` the relation that lists who else may see a row, each for
    one of `viewer_sources` or for a plugin whose extension lets viewers in;
    `ability` is demanded, besides the grants, of whoever writes. `parent` names the to-one relation a child follows
    in policy; a type that `follows` has no grants at all and is read by whoever reached it through a relation (links,
    journal rows), and where it tells of records of other types, `about` names its fields for their type and id, so
    that it tells nobody of what he may not read. `exposed` types have root fields. Types with `soft_delete` keep
    deleted rows (`deleted_at`) for restoring; others are really removed, and undo puts them back from the journal.
    `actions` are what permissions can be granted for. `invariant` is kept by every change set.
    """

    name: str
    plural: str
    table: type[Table]
    description: str
    fields: tuple[Field, ...]
    relations: tuple[Relation, ...] = ()
    filters: tuple[Filter, ...] = ()
    computed: tuple[Computed, ...] = ()
    owner: str = ""
    viewers: str = ""
    viewer_sources: tuple[str, ...] = ()
    parent: str = ""
    actions: tuple[str, ...] = ("read", "create", "update", "delete", "restore")
    exposed: bool = True
    ability: str = ""
    follows: bool = False
    about: tuple[str, str] | None = None
    soft_delete: bool = True
    versioned: bool = True
    journaled: bool = True
    invariant: Invariant | None = None
    default_order: tuple[tuple[str, bool], ...] = (("createdAt", True),)
    labels: Mapping[str, str] = field(default_factory=dict)
    plugin: str = "core"

    @property
    def singular(self) -> str:
        """`Customer` -> `customer`: the root field of one record and the prefix of its mutations."""
        return self.name[0].lower() + self.name[1:]

    @property
    def tablename(self) -> str:
        """The table's name in the workspace's schema."""
        return str(self.table._meta.tablename)  # noqa: SLF001 - Piccolo's public name for it


@dataclass(frozen=True, slots=True)
class Extension:
    """What a plugin adds to a record type it does not own: read-only fields, relations, filters, computed fields.

    With `lets_in` the plugin also makes viewers of such records. They have its name as their `source`, and count as
    long as it is switched on; purging it removes them.
    """

    record: str
    fields: tuple[Field, ...] = ()
    relations: tuple[Relation, ...] = ()
    filters: tuple[Filter, ...] = ()
    computed: tuple[Computed, ...] = ()
    lets_in: bool = False


Whole = TypeVar("Whole", RecordType, Extension)
Part = TypeVar("Part", Field, ToOne, ToMany, Filter, Computed)


@dataclass(frozen=True, slots=True)
class Record:
    """A record type as one feature set composes it: its own declaration plus everything added to it, by name.

    `viewer_sources` are the sources of the viewers that count, for a type with viewers and for that of its viewers.
    """

    type: RecordType
    fields: Mapping[str, Field]
    to_one: Mapping[str, ToOne]
    to_many: Mapping[str, ToMany]
    filters: Mapping[str, Filter]
    computed: Mapping[str, Computed]
    viewer_sources: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The record type's name."""
        return self.type.name

    def exposed_fields(self) -> list[Field]:
        """The fields that clients see."""
        return [f for f in self.fields.values() if f.exposed]

    def key_of(self, relation: ToOne) -> Field:
        """The foreign key of a to-one relation, as a field."""
        return self.fields[relation.name + "Id"]

    def by_column(self) -> dict[str, Field]:
        """Fields that are stored in a column of their own, by column."""
        return {f.column: f for f in self.fields.values() if f.sql is None and not f.custom}


class Catalog:
    """All record types of one feature set, composed and checked.

    `schema` is the GraphQL schema that follows from it, once that is built: stored conditions are read by its inputs.
    """

    def __init__(self, records: Mapping[str, Record]) -> None:
        self.records = records
        self.schema: GraphQLSchema | None = None

    def __getitem__(self, name: str) -> Record:
        return self.records[name]

    def __contains__(self, name: str) -> bool:
        return name in self.records

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records.values())

    def exposed(self) -> list[Record]:
        """The record types that have root fields."""
        return [r for r in self.records.values() if r.type.exposed]

    @classmethod
    def build(cls, types: Iterable[RecordType], extensions: Iterable[tuple[str, Extension]] = ()) -> Catalog:
        """Compose record types with extensions, given as (contributing plugin, extension).

        Raises CompositionError naming both contributors where two claim one name, and where a relation or an
        extension leads to a record type that is not there.
        """
        declared: dict[str, RecordType] = {}
        plurals: dict[str, RecordType] = {}
        for t in types:
            for taken in (declared.get(t.name), plurals.get(t.plural)):
                if taken:
                    raise CompositionError(
                        f"record type {t.name!r} of {t.plugin} is already declared by {taken.plugin}"
                    )
            if not TYPE_NAME.match(t.name) or not NAME.match(t.plural):
                raise CompositionError(f"record type name {t.name!r} ({t.plural!r}) of {t.plugin} is not usable")
            declared[t.name] = plurals[t.plural] = t
        added: dict[str, list[Extension]] = {}
        extensions = tuple(extensions)
        for plugin, extension in extensions:
            if extension.record not in declared:
                raise CompositionError(f"{plugin} extends {extension.record!r}, which no one declares")
            added.setdefault(extension.record, []).append(_tabled(_owned(extension, plugin), declared))
        sources = _viewer_sources(declared, extensions)
        catalog = cls(
            {
                name: _compose(_tabled(t, declared), added.get(name, []), sources.get(name, ()))
                for name, t in declared.items()
            }
        )
        for record in catalog.records.values():
            relations: list[Relation] = [*record.to_one.values(), *record.to_many.values()]
            for relation in relations:
                for target in (relation.target, relation.through):
                    if target and target not in catalog:
                        raise CompositionError(
                            f"{record.name}.{relation.name} of {relation.plugin} leads to {target!r}, "
                            "which no one declares"
                        )
            for f in record.fields.values():
                if f.condition and f.condition not in catalog:
                    raise CompositionError(
                        f"{record.name}.{f.name} of {f.plugin} holds a condition on {f.condition!r}, "
                        "which no one declares"
                    )
        return catalog


def _viewer_sources(
    declared: Mapping[str, RecordType], extensions: Iterable[tuple[str, Extension]]
) -> dict[str, tuple[str, ...]]:
    """The sources of viewers that count, for each type that has viewers and for that of its viewers."""
    sources = {t.name: t.viewer_sources for t in declared.values() if t.viewers}
    for plugin, extension in extensions:
        if extension.lets_in:
            if extension.record not in sources:
                raise CompositionError(f"{plugin} lets viewers in to {extension.record!r}, which has none")
            sources[extension.record] += (plugin,)
    for name in tuple(sources):
        link = next(r.target for r in declared[name].relations if r.name == declared[name].viewers)
        sources[link] = sources[name]
    return sources


def _owned(extension: Extension, plugin: str) -> Extension:
    """The extension with its contributor's name on every part; stored columns are refused."""
    for f in extension.fields:
        if f.sql is None and not f.custom:
            raise CompositionError(
                f"{plugin} adds {extension.record}.{f.name} as a column; a plugin adds side tables, not columns"
            )
    for r in extension.relations:
        if isinstance(r, ToOne) and not r.through:
            raise CompositionError(
                f"{plugin} adds {extension.record}.{r.name} as a column; a plugin adds links through tables of its own"
            )
    return Extension(
        extension.record,
        tuple(replace(x, plugin=plugin) for x in extension.fields),
        tuple(replace(x, plugin=plugin) for x in extension.relations),
        tuple(replace(x, plugin=plugin) for x in extension.filters),
        tuple(replace(x, plugin=plugin) for x in extension.computed),
        extension.lets_in,
    )


def _tabled(part: Whole, declared: Mapping[str, RecordType]) -> Whole:
    """A record type or extension whose links through other record types know those types' tables."""
    tables = {t.name: t.tablename for t in declared.values() if any(r.through == t.name for r in part.relations)}
    relations = (replace(r, table=tables.get(r.through, "")) if isinstance(r, ToOne) else r for r in part.relations)
    return replace(part, relations=tuple(relations)) if tables else part


def _compose(t: RecordType, extensions: Sequence[Extension], viewer_sources: tuple[str, ...]) -> Record:
    names: dict[str, str] = {}
    filter_names: dict[str, str] = {"and": "core", "or": "core", "not": "core"}

    def claim(taken: dict[str, str], name: str, plugin: str) -> None:
        if name in taken:
            raise CompositionError(f"{t.name}.{name} of {plugin} is already declared by {taken[name]}")
        taken[name] = plugin

    def own(part: Part) -> Part:
        return part if part.plugin != "core" else replace(part, plugin=t.plugin)

    fields: dict[str, Field] = {}
    to_one: dict[str, ToOne] = {}
    to_many: dict[str, ToMany] = {}
    filters: dict[str, Filter] = {}
    computed: dict[str, Computed] = {}
    parts: list[RecordType | Extension] = [t, *extensions]
    for part in parts:
        for f in map(own, part.fields):
            claim(names, f.name, f.plugin)
            fields[f.name] = f
            if f.filterable and f.exposed:
                claim(filter_names, f.name, f.plugin)
        for relation in part.relations:
            claim(names, relation.name, relation.plugin)
            if relation.filterable:
                claim(filter_names, relation.name, relation.plugin)
            if isinstance(relation, ToOne):
                to_one[relation.name] = own(relation)
                claim(names, relation.key.name, relation.plugin)
                fields[relation.key.name] = own(relation.key)
                claim(filter_names, relation.key.name, relation.plugin)
            else:
                to_many[relation.name] = own(relation)
        for c in map(own, part.computed):
            claim(names, c.name, c.plugin)
            computed[c.name] = c
        for x in map(own, part.filters):
            claim(filter_names, x.name, x.plugin)
            filters[x.name] = x
    for c in computed.values():
        for name in c.requires:
            if name not in fields and name not in to_many:
                raise CompositionError(f"{t.name}.{c.name} of {c.plugin} requires {name!r}, which no one declares")
    return Record(t, fields, to_one, to_many, filters, computed, viewer_sources)
