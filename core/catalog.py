"""Record types composed: what one feature set makes of the declarations, by name, checked.

`Catalog.build` puts the declarations of core, plugins and custom fields together and refuses any two that claim one
name, naming both.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from core.errors import CompositionError
from core.records import (
    NAME,
    TYPE_NAME,
    Computed,
    Extension,
    Field,
    Filter,
    RecordType,
    Relation,
    ToMany,
    ToOne,
)

if TYPE_CHECKING:
    from graphql import GraphQLSchema

#: Sections of a workspace's file that are no record types.
FILE_SECTIONS = frozenset({"slug", "workspace", "plugins"})

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
            _check_names(record, catalog)
        return catalog


def _check_names(record: Record, catalog: Catalog) -> None:
    """Raise CompositionError where a record type cannot be written in files as it declares."""
    t = record.type
    if unknown := [name for name in t.known_by if name not in record.fields]:
        raise CompositionError(f"{t.name} of {t.plugin} is known by {unknown[0]!r}, which no one declares")
    if t.configuration and not t.known_by:
        raise CompositionError(f"{t.name} of {t.plugin} is configuration, so it must be known by something")
    if t.configuration and t.plural in FILE_SECTIONS:
        raise CompositionError(f"{t.name} of {t.plugin} cannot stand in a file as {t.plural!r}")
    for name in t.parts:
        relation = record.to_many.get(name)
        if relation is None or not catalog[relation.target].type.known_by:
            raise CompositionError(f"{t.name}.{name} of {t.plugin} is no relation to what is known by something")


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
    record = Record(t, fields, to_one, to_many, filters, computed, viewer_sources)
    _demand_needed(record)
    return record


def _demand_needed(record: Record) -> None:
    """Raise CompositionError where a part of a record type is made from a field or relation that is not there."""
    needs: list[tuple[Computed | Filter | Field, tuple[str, ...], Container[str]]] = []
    needs += [(c, c.requires, {*record.fields, *record.to_many}) for c in record.computed.values()]
    needs += [(x, x.requires, record.fields) for x in record.filters.values()]
    needs += [(f, f.reads, record.to_many) for f in record.fields.values()]
    for part, names, there in needs:
        for name in names:
            if name not in there:
                said = f"{record.name}.{part.name} of {part.plugin}"
                raise CompositionError(f"{said} requires {name!r}, which no one declares")
