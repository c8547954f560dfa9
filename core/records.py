"""Declarations: what a record type is. Everything else (GraphQL, filters, policy, history, import) follows.

A record type is declared once, by core, by a plugin or (custom fields) by a workspace; `core.catalog` puts the
declarations of one feature set together and refuses any two that claim one name, naming both.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from core.errors import CompositionError
from core.sql import quote

if TYPE_CHECKING:
    from piccolo.table import Table

    from core.arguments import Argument
    from core.catalog import Catalog
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


class Personal(Enum):
    """What a field tells of a person: who it is, as an email address does, or something about him."""

    IDENTIFIES = "identifies"
    DESCRIBES = "describes"


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
    rule on the records of that type: clients write it as `<condition>Where` (see `core/rules.py`). What is `personal`
    is overwritten when the person is erased; records with a field that identifies somebody are found by it.
    `reads` names the to-many relations whose records a field with `sql` is made from, and says that it is made from
    nothing else: rules that use it are then looked at again as soon as such a record is written, not only at night.
    `deprecated` says in a sentence what clients should use instead, here and in other declarations.
    An id with `refers` is that of a record of that type. What `tells_of` records of another type is hidden from those
    who may read none of them.
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
    reads: tuple[str, ...] = ()
    condition: str = ""
    refers: str = ""
    tells_of: str = ""
    personal: Personal | None = None
    generate: Callable[[Any, Sequence[Any]], Awaitable[Sequence[Any]]] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    deprecated: str = ""
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
    deprecated: str = ""
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
            refers=self.target,
            tells_of=self.target if self.through else "",
            labels=self.labels,
            deprecated=self.deprecated,
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
    deprecated: str = ""
    plugin: str = "core"

    @property
    def route(self) -> str:
        """How its records are reached, for policy: the column, or the link that lies between."""
        return f"{self.through}.{self.column}" if self.through else self.column


Relation = ToOne | ToMany


@dataclass(frozen=True, slots=True)
class Filter:
    """A key of its own in `<Type>Where`. `input` is the type of its value.

    That is an `InputType`, the name of a GraphQL input type there is (`IntFilter`), or a Strawberry input class.
    `predicate` turns the given argument into a predicate on the record; it must not touch the database. What it
    raises is an error of the query, never "no condition". `requires` are the fields of the record that it reads: who
    may not read one of them may not filter by it. Ids in the argument are those of records of `refers`.
    """

    name: str
    description: str
    input: Any
    predicate: Callable[[Argument, Catalog], Predicate]
    requires: tuple[str, ...] = ()
    refers: str = ""
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
    deprecated: str = ""
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

    `known_by` names the fields by which people know a record, so that files can refer to it without its id. Records of
    `configuration` are set up rather than worked with: they stand in the workspace's file under the type's plural, with
    the to-many relations that are `parts` of them, links to what is known by name or children with nothing but fields.
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
    known_by: tuple[str, ...] = ()
    configuration: bool = False
    parts: tuple[str, ...] = ()
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
