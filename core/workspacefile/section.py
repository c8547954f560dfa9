"""One section of a file: the records of one type of configuration, as they are there and as the file has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import orjson

from core.catalog import Record
from core.changes import ChangeSet
from core.condition import Conditions
from core.errors import BadInput, InvalidRule
from core.predicate import Compare, constant
from core.records import Field, Kind, ToMany
from core.rows import Row, new_id, normalise, same
from core.rules import coerced, input_type
from core.schema.bulk import named
from core.targets import image_sql
from core.workspacefile import document
from core.workspacefile.references import References, key_of, shown

Values = dict[str, Any]


@dataclass(eq=False)
class Stored:
    """A record that is there: its values by field name, and its parts with their ids by what they are known by.

    `aside` are values that it has only for the moment, so that another record can take its own.
    """

    id: UUID
    values: Values
    parts: dict[str, dict[tuple[Any, ...], Stored]] = field(default_factory=dict)
    aside: Values = field(default_factory=dict)


@dataclass
class Wanted:
    """A record that is to be there; `problems` say what cannot be meant."""

    values: Values
    parts: dict[str, dict[tuple[Any, ...], Values]]
    problems: list[str]


class Section:
    """Reads and writes the records of one type in the file's terms."""

    def __init__(self, record: Record, references: References, parent: str = "") -> None:
        self.record = record
        self._references = references
        self._catalog = references.catalog
        of_link = {relation.key.name: relation.name for relation in record.to_one.values()}
        #: The fields that stand in the file, by the names they have there.
        self.fields: dict[str, Field] = {
            of_link.get(f.name, f.name): f
            for f in record.fields.values()
            if f.exposed and f.writable and f.name != parent
        }
        self.parts: dict[str, Section] = {}
        for name in record.type.parts:
            relation = record.to_many[name]
            link = self._catalog[relation.through or relation.target]
            self.parts[name] = Section(link, references, link.by_column()[relation.column].name)

    @property
    def name(self) -> str:
        """What the section is called."""
        return self.record.type.plural

    def relation(self, part: str) -> ToMany:
        """The relation that leads to a part."""
        return self.record.to_many[part]

    def parent_field(self, part: str) -> str:
        """The field of a part that holds the record's id."""
        return self.parts[part].record.by_column()[self.relation(part).column].name

    def other_field(self, part: str) -> Field:
        """The field of a link that holds the id of what is linked."""
        return self.parts[part].record.by_column()[self.relation(part).other]

    def key(self, table: Mapping[str, Any]) -> tuple[Any, ...]:
        """What a table of the file is known by, lists as tuples."""
        return tuple(_hashable(table.get(n)) for n in self.record.type.known_by)

    def place(self, table: Mapping[str, Any]) -> str:
        """Where a table of the file is, for people."""
        name = shown({n: table[n] for n in self.record.type.known_by if table.get(n) is not None})
        return f'{self.name} "{name}"'

    async def stored(self, changes: ChangeSet) -> list[Stored]:
        """The live records, by what they are known by."""
        found = [Stored(id_, values) for id_, values in await _rows(changes, self.record)]
        for name, part in self.parts.items():
            parent = self.parent_field(name)
            by_parent: dict[str, dict[tuple[Any, ...], Stored]] = {}
            for id_, values in await _rows(changes, part.record, parent, [s.id for s in found]) if found else ():
                if self.relation(name).through:
                    other = self.other_field(name)
                    if not await self._references.live(other.refers, values[other.name]):
                        continue
                    key: tuple[Any, ...] = (values[other.name],)
                else:
                    key = part.key(values)
                by_parent.setdefault(values[parent], {})[key] = Stored(id_, values)
            for record in found:
                record.parts[name] = by_parent.get(str(record.id), {})
        return sorted(found, key=lambda s: (_sortable(self.key(s.values)), orjson.dumps(s.values)))

    async def table(self, stored: Stored) -> dict[str, Any]:
        """A record as it stands in the file, without what goes without saying."""
        found = await self._values(stored.values)
        for name, part in self.parts.items():
            if self.relation(name).through:
                target = self.other_field(name).refers
                names = [await self._references.name(target, id_) for (id_,) in stored.parts[name]]
                if names:
                    found[name] = sorted(names, key=shown)
            elif leaves := {key: await part.leaf(one.values) for key, one in sorted(stored.parts[name].items())}:
                found[name] = _nested(leaves)
        return found

    async def leaf(self, values: Values) -> Any:
        """What a part says beside what it is known by: one value, or a table where it may be several."""
        known_by = self.record.type.known_by
        own = [(label, f) for label, f in self.fields.items() if f.name not in known_by]
        if len(own) == 1:
            return await self.to_file(own[0][1], values[own[0][1].name])
        found = await self._values(values)
        return {label: value for label, value in found.items() if label not in known_by}

    async def to_file(self, declared: Field, value: Any) -> Any:
        """A value of a field as it stands in the file."""
        if value is None:
            return None
        if declared.condition:
            record = self._catalog[declared.condition]
            return document.of_json(await self._references.condition(value, record, self._references.name, ""))
        match declared.kind:
            case Kind.ID if declared.refers:
                return await self._references.name(declared.refers, value)
            case Kind.DECIMAL:
                return Decimal(value)
            case Kind.DATE:
                return date.fromisoformat(value)
            case Kind.DATETIME:
                return datetime.fromisoformat(value)
            case Kind.JSON:
                return document.of_json(value)
        return value

    async def wanted(self, table: Mapping[str, Any], place: str, there: Stored | None) -> Wanted:
        """What a table of the file means; records it refers to must be there."""
        wanted = Wanted({}, {}, [])
        for label in table.keys() - self.fields.keys() - self.parts.keys():
            wanted.problems.append(f"{place}.{label}: a {self.record.name} has no such field")
        await self._read(self.fields, table, place, there, wanted)
        for name, part in self.parts.items():
            wanted.parts[name] = {}
            given = table.get(name)
            if given is None:
                continue
            try:
                if self.relation(name).through:
                    wanted.parts[name] = await self._links(name, given, f"{place}.{name}")
                    continue
                for key, leaf in _flat(given, len(part.record.type.known_by), f"{place}.{name}"):
                    inner = await part.of_leaf(key, leaf, ".".join((place, name, *key)))
                    wanted.parts[name][key] = inner.values
                    wanted.problems += inner.problems
            except BadInput as error:
                wanted.problems.append(error.message)
        return wanted

    async def of_leaf(self, key: tuple[str, ...], leaf: Any, place: str) -> Wanted:
        """What a part of a table means."""
        known_by = self.record.type.known_by
        own = [label for label, f in self.fields.items() if f.name not in known_by]
        table = {own[0]: leaf} if len(own) == 1 else leaf
        if not isinstance(table, Mapping):
            raise BadInput(f"{place}: must be a table of {', '.join(own)}")
        return await self.wanted({**table, **dict(zip(known_by, key, strict=True))}, place, None)

    async def named(self, table: Mapping[str, Any]) -> list[tuple[str, tuple[Any, ...]]]:
        """The records that a table of the file refers to, by type and what they are known by."""
        found: list[tuple[str, tuple[Any, ...]]] = []

        async def note(type_: str, name: Any, _path: str) -> Any:
            try:
                found.append((type_, key_of(self._catalog[type_], name)))
            except BadInput:
                return name
            return name

        for label, f in self.fields.items():
            if f.condition and table.get(label) is not None:
                # What no JSON value can be is told when it is read.
                with suppress(ValueError):
                    given = document.to_json(table[label])
                    await self._references.condition(given, self._catalog[f.condition], note, "")
            elif f.refers and table.get(label) is not None:
                await note(f.refers, table[label], "")
        for name in self.parts:
            if self.relation(name).through and isinstance(table.get(name), list):
                for one in table[name]:
                    await note(self.other_field(name).refers, one, "")
        return found

    def alike(self, name: str, one: Any, other: Any) -> bool:
        """Whether two values of a field mean the same; no list and an empty one do."""
        declared = self.record.fields[name]
        return same(declared, one, other) or (declared.kind is Kind.TEXTS and not one and not other)

    async def _values(self, values: Values) -> dict[str, Any]:
        given = {label: (f, values[f.name]) for label, f in self.fields.items()}
        return {
            label: await self.to_file(f, value)
            for label, (f, value) in given.items()
            if not self.alike(f.name, value, f.default)
        }

    async def _read(
        self, fields: Mapping[str, Field], table: Mapping[str, Any], place: str, there: Stored | None, wanted: Wanted
    ) -> None:
        given: Values = {}
        for label, f in fields.items():
            raw = table.get(label)
            if raw is None and f.generate is not None:
                continue
            kept = there.values.get(f.name) if there else None
            try:
                given[f.name] = f.default if raw is None else await self._of_file(f, raw, f"{place}.{label}", kept)
            except BadInput as error:
                wanted.problems.append(error.message)
            except ValueError:
                wanted.problems.append(f"{place}.{label}: not a JSON value")
        wanted.values, faults = normalise(self.record, given, Row(new_id(), None, None), "en")
        labels = {f.name: label for label, f in fields.items()}
        wanted.problems += [f"{place}.{labels[f.field]}: {f.message}" for f in faults]

    async def _of_file(self, declared: Field, raw: Any, place: str, kept: Any) -> Any:
        """A value of the file in JSON terms; a condition as the workspace would keep it."""
        change = partial(self._id, kept=orjson.dumps(kept).decode())
        if declared.condition:
            record = self._catalog[declared.condition]
            found = await self._references.condition(document.to_json(raw), record, change, place)
            try:
                return named(coerced(found, input_type(self._catalog, declared.condition)))
            except InvalidRule as error:
                # One that was off stays off.
                if found == kept:
                    return found
                raise BadInput(f"{place}: {error.message}") from None
        if declared.kind is Kind.ID and declared.refers:
            return await change(declared.refers, raw, place)
        return document.to_json(raw) if declared.kind is Kind.JSON else raw

    async def _id(self, type_: str, name: Any, place: str, kept: str = "") -> str:
        """The id that a name stands for; an id that stands in the record already needs no record."""
        if isinstance(name, Mapping) and name.keys() == {"id"} and f'"{name["id"]}"' in kept:
            return str(name["id"])
        return await self._references.id(type_, name, place)

    async def _links(self, part: str, given: Any, place: str) -> dict[tuple[Any, ...], Values]:
        if not isinstance(given, list):
            raise BadInput(f"{place}: must be a list")
        other = self.other_field(part)
        ids = [await self._references.id(other.refers, name, f"{place}.{i}") for i, name in enumerate(given)]
        return {(id_,): {other.name: id_} for id_ in ids}


async def _rows(changes: ChangeSet, record: Record, link: str = "", ids: list[UUID] | None = None) -> list[Any]:
    """The ids and values of live records, or of those whose link is one of some ids."""
    policy = changes.system().policy
    conditions = Conditions(policy)
    table, where = conditions.source(
        policy.internal(record.name, deleted=False if record.type.soft_delete else None), "t"
    )
    if link:
        where.append(conditions.sql(Compare(record.fields[link], "in", constant(tuple(ids or ()))), "t"))
    statement = f"select t.id, {image_sql(record, 't')} from {table} where {' and '.join(where) or 'true'}"
    values = [s({}, changes.context) for s in conditions.parameters.sources]
    return [(row[0], orjson.loads(row[1])) for row in await changes.connection.fetch(statement, *values)]


def _nested(leaves: Mapping[tuple[Any, ...], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, leaf in leaves.items():
        inner = found
        for step in key[:-1]:
            inner = inner.setdefault(step, {})
        inner[key[-1]] = leaf
    return found


def _flat(given: Any, depth: int, place: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The leaves of a nested table by the keys that lead to them. Raises BadInput where it is no such table."""
    if depth == 0:
        yield (), given
        return
    if not isinstance(given, Mapping):
        raise BadInput(f"{place}: must be a table")
    for key, value in given.items():
        for rest, leaf in _flat(value, depth - 1, f"{place}.{key}"):
            yield (key, *rest), leaf


def _hashable(value: Any) -> Any:
    """A value that can be looked up; what no key can be is like nothing else."""
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return repr(value) if isinstance(value, Mapping) else value


def _sortable(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(("", "") if v is None else ("1", str(v)) for v in key)
