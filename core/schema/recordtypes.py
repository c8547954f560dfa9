"""The GraphQL types of a record type: itself, its pages, its totals and groups, and the arguments of its lists."""

from __future__ import annotations

from core.catalog import Catalog, Record
from core.records import Field
from core.schema.aggregate import FUNCTIONS, groupable, measured
from core.schema.inputs import SCALAR_OF, type_of
from core.schema.types import Argument, Member, Types

_PAGE = (
    Argument("first", "Int", "How many records from the start (or after a cursor); 50 when left out."),
    Argument("after", "String", "Only records after this cursor."),
    Argument("last", "Int", "How many records from the end (or before a cursor)."),
    Argument("before", "String", "Only records before this cursor."),
)


def list_arguments(record: Record, *, paged: bool = True) -> tuple[Argument, ...]:
    """The arguments that say which records of a type, in what order, which page."""
    name = record.name
    found = [Argument("where", f"{name}Where", "Only records that satisfy this.")]
    if any(f.search for f in record.fields.values()):
        found.append(
            Argument(
                "search",
                "String",
                "Only records that contain all these words, in any order, whatever case and accents.",
            )
        )
    if paged:
        found.append(Argument("orderBy", f"[{name}OrderBy!]", "The order; newest first when left out."))
        found.extend(_PAGE)
    return tuple(found)


def record_types(types: Types, record: Record, catalog: Catalog) -> None:
    """Add the types of what is answered about a record type."""
    name, t = record.name, record.type
    members = [_field_member(f, types) for f in record.exposed_fields()]
    members += [
        Member(one.name, one.target, f"{one.description} Null where it may not be read.", deprecated=one.deprecated)
        for one in record.to_one.values()
    ]
    for many in record.to_many.values():
        if many.exposed:
            target = catalog[many.target]
            members.append(
                Member(
                    many.name,
                    f"{many.target}Connection!",
                    many.description,
                    list_arguments(target),
                    many.deprecated,
                )
            )
            members.append(
                Member(
                    f"{many.name}Aggregate",
                    f"{many.target}Aggregate!",
                    f"Totals of: {many.description}",
                    (*list_arguments(target, paged=False), *group_arguments(target)),
                    many.deprecated,
                )
            )
    members += [
        Member(c.name, SCALAR_OF[c.kind], f"{c.description} Computed.", deprecated=c.deprecated)
        for c in record.computed.values()
    ]
    uuid_id = record.fields["id"].type == "uuid"
    types.object(name, t.description, members, interface="Node" if uuid_id else "", plugin=t.plugin)
    types.object(
        f"{name}Edge",
        f"A {t.singular} at its place in a list.",
        [
            Member("cursor", "String!", "Its place, for `after` and `before`."),
            Member("node", f"{name}!", "The record."),
        ],
        plugin=t.plugin,
    )
    types.object(
        f"{name}Connection",
        f"A page of {t.plural}.",
        [
            Member("nodes", f"[{name}!]!", "The records of the page."),
            Member("edges", f"[{name}Edge!]!", "The records with their cursors."),
            Member("pageInfo", "PageInfo!", "Where the page lies."),
            Member("totalCount", "Int", "How many records the whole list has; counted only when asked for."),
        ],
        plugin=t.plugin,
    )
    _aggregate_types(types, record)


def _field_member(field: Field, types: Types) -> Member:
    hidden = "" if field.required else " Null where it is hidden from you."
    type_ = type_of(field, types) + ("!" if field.required else "")
    return Member(field.name, type_, field.description + hidden, deprecated=field.deprecated)


def group_arguments(record: Record) -> tuple[Argument, ...]:
    """The arguments that say how totals are grouped."""
    return (
        Argument("groupBy", f"[{record.name}GroupBy!]", "What `groups` are by."),
        Argument("orderBy", f"[{record.name}GroupOrderBy!]", "The order of `groups`."),
        Argument("first", "Int", "How many `groups`; 100 when left out, at most 1000."),
    )


def _aggregate_types(types: Types, record: Record) -> None:
    name, t = record.name, record.type
    totals = [Member("count", "Int!", "How many records.")]
    for function in FUNCTIONS:
        fields = measured(record, function)
        if fields:
            type_name = f"{name}{function.capitalize()}"
            exact = function in ("sum", "avg")
            types.object(
                type_name,
                f"The {function} of each number of {t.plural}.",
                [Member(f.name, "Decimal" if exact else type_of(f, types), f"Of: {f.description}") for f in fields],
                plugin=t.plugin,
            )
            totals.append(Member(function, f"{type_name}!", f"The {function} of each."))
    keys = [
        Member(part.name, type_of(part, types) if isinstance(part, Field) else part.target, part.description)
        for part in groupable(record).values()
    ]
    types.object(f"{name}GroupKey", f"What a group of {t.plural} has in common.", keys, plugin=t.plugin)
    key = Member("key", f"{name}GroupKey!", "What the group has in common; null where it was not grouped by that.")
    types.object(f"{name}AggregateGroup", f"Totals of a group of {t.plural}.", [key, *totals], plugin=t.plugin)
    groups = Member("groups", f"[{name}AggregateGroup!]!", "Totals per group, by `groupBy`.")
    types.object(f"{name}Aggregate", f"Totals of {t.plural}.", [*totals, groups], plugin=t.plugin)
    types.object(
        f"{name}Group",
        f"A group of {t.plural}, as on a board.",
        [
            key,
            Member("totalCount", "Int!", "How many records the group has."),
            Member("nodes", f"[{name}!]!", "The first records of the group."),
        ],
        plugin=t.plugin,
    )
