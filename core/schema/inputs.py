"""Inputs that follow from declarations: conditions, orders, groupings, create and update inputs."""

from __future__ import annotations

from core.catalog import Catalog, Record
from core.operations import InputType
from core.periods import UNITS
from core.records import Field, Filter, Kind, Write
from core.schema.aggregate import groupable, measured
from core.schema.order import order_name, sortable
from core.schema.types import Argument, Types

SCALAR_OF = {
    Kind.ID: "ID",
    Kind.TEXT: "String",
    Kind.INT: "Int",
    Kind.DECIMAL: "Decimal",
    Kind.BOOL: "Boolean",
    Kind.DATE: "Date",
    Kind.DATETIME: "DateTime",
    Kind.JSON: "JSON",
}

_EQUAL = (("eq", "{0}", "Is exactly this."), ("ne", "{0}", "Is not this; true for no value."))
_LISTED = (
    ("in", "[{0}!]", "Is one of these; an empty list matches nothing."),
    ("notIn", "[{0}!]", "Is none of these; an empty list matches nothing."),
)
_COMPARED = (
    ("lt", "{0}", "Is less than this."),
    ("lte", "{0}", "Is at most this."),
    ("gt", "{0}", "Is greater than this."),
    ("gte", "{0}", "Is at least this."),
    ("between", "{0}Range", "Lies in this range, bounds included."),
)
_TEXT = (
    ("contains", "String", "Contains this text, whatever its case and accents."),
    ("startsWith", "String", "Starts with this text, whatever its case and accents."),
    ("endsWith", "String", "Ends with this text, whatever its case and accents."),
)
_NULL = (("isNull", "Boolean", "Has no value (true) or has one (false)."),)
_WITHIN = (("within", "RelativePeriod", "Lies in a period relative to now, in the workspace's time zone."),)
_FILTERS = {
    "ID": ("IdFilter", (*_EQUAL, *_LISTED, *_NULL)),
    "String": ("TextFilter", (*_EQUAL, *_LISTED, *_COMPARED, *_TEXT, *_NULL)),
    "Int": ("IntFilter", (*_EQUAL, *_LISTED, *_COMPARED, *_NULL)),
    "Decimal": ("DecimalFilter", (*_EQUAL, *_LISTED, *_COMPARED, *_NULL)),
    "Boolean": ("BooleanFilter", (_EQUAL[0], *_NULL)),
    "Date": ("DateFilter", (*_EQUAL, *_LISTED, *_COMPARED, *_WITHIN, *_NULL)),
    "DateTime": ("DateTimeFilter", (*_EQUAL, *_LISTED, *_COMPARED, *_WITHIN, *_NULL)),
}


def shared_inputs(types: Types) -> None:
    """The inputs that every record type uses."""
    types.enum("SortDirection", "The direction of an order.", {"ASC": "Smallest first.", "DESC": "Largest first."})
    types.enum(
        "NullsOrder", "Where records without a value go.", {"FIRST": "Before all others.", "LAST": "After all others."}
    )
    types.enum("PeriodUnit", "A unit of time.", {u: f"One {u.lower()}." for u in UNITS})
    types.enum(
        "AggregateFunction",
        "What groups can be ordered by.",
        {n: f"The {n.lower()} of each group." for n in ("COUNT", "SUM", "AVG", "MIN", "MAX")},
    )
    types.input(
        "PeriodCount",
        "A number of units of time.",
        [Argument("count", "Int!", "How many."), Argument("unit", "PeriodUnit!", "Of what.")],
    )
    types.input(
        "RelativePeriod",
        "A period relative to now; exactly one member.",
        [
            Argument("last", "PeriodCount", "The last n units up to now."),
            Argument("next", "PeriodCount", "The next n units from now."),
            Argument("this", "PeriodUnit", "The calendar unit that now lies in."),
            Argument("previous", "PeriodUnit", "The calendar unit before this one."),
            Argument("following", "PeriodUnit", "The calendar unit after this one."),
        ],
        one_of=True,
    )
    for scalar, (name, operators) in _FILTERS.items():
        if any(o[0] == "between" for o in operators):
            types.input(
                f"{scalar}Range",
                f"A range of {scalar} values; a bound left out is open.",
                [Argument("from", scalar, "Lower bound, included."), Argument("to", scalar, "Upper bound, included.")],
            )
        types.input(
            name,
            f"Conditions on a {scalar} field; several mean all of them, none matches nothing.",
            [Argument(o, t.format(scalar), d) for o, t, d in operators],
        )
    types.input(
        "TextListFilter",
        "Conditions on a list of texts; several mean all of them, none matches nothing.",
        [
            Argument("has", "String", "Contains this text as a member."),
            Argument("hasAny", "[String!]", "Has at least one of these; an empty list matches nothing."),
            Argument("hasAll", "[String!]", "Has all of these; an empty list matches nothing."),
            Argument("isNull", "Boolean", "Has no value (true) or has one (false)."),
        ],
    )


def type_of(field: Field, types: Types) -> str:
    """The GraphQL type of a field's value, nullable."""
    if field.kind is Kind.TEXTS:
        return "[String!]"
    if field.enum is not None:
        types.enum(field.enum.name, field.enum.description, field.enum.values, field.plugin)
        return field.enum.name
    return SCALAR_OF[field.kind]


def _filter_of(field: Field, types: Types) -> str | None:
    if field.kind is Kind.TEXTS:
        return "TextListFilter"
    if field.kind is Kind.JSON:
        return None
    if field.enum is not None:
        name = f"{field.enum.name}Filter"
        if name not in types.named:
            scalar = type_of(field, types)
            types.input(
                name,
                f"Conditions on a {scalar} field; several mean all of them, none matches nothing.",
                [Argument(o, t.format(scalar), d) for o, t, d in (*_EQUAL, *_LISTED, *_NULL)],
            )
        return name
    return _FILTERS[SCALAR_OF[field.kind]][0]


def _own_input(declared: Filter, types: Types) -> str:
    """The name of the input type of a filter, which is made where it is only declared."""
    if isinstance(declared.input, str):
        return declared.input
    if isinstance(declared.input, InputType):
        types.declared(declared.input, declared.plugin)
        return declared.input.name
    name = str(declared.input.__strawberry_definition__.name)
    types.add(name, declared.input, declared.plugin)
    return name


def record_inputs(types: Types, record: Record, catalog: Catalog) -> None:
    """`<Type>Where`, its order, grouping and list inputs."""
    name = record.name
    members = [
        Argument("and", f"[{name}Where!]", "All of these; an empty list matches nothing."),
        Argument("or", f"[{name}Where!]", "At least one of these; an empty list matches nothing."),
        Argument("not", f"{name}Where", "Not this."),
    ]
    for field in record.exposed_fields():
        operators = _filter_of(field, types) if field.filterable else None
        if operators:
            members.append(Argument(field.name, operators, f"Condition on: {field.description}"))
    for one in record.to_one.values():
        if one.filterable:
            members.append(
                Argument(one.name, f"{one.target}Where", f"Condition on the linked record: {one.description}")
            )
    for many in record.to_many.values():
        if many.filterable and many.exposed:
            members.append(Argument(many.name, f"{many.target}ListWhere", f"Condition on the list: {many.description}"))
    for own in record.filters.values():
        members.append(Argument(own.name, _own_input(own, types), own.description))
    types.input(f"{name}Where", f"A condition on {record.type.plural}; several keys mean all of them.", members)
    types.input(
        f"{name}ListWhere",
        f"A condition on a list of {record.type.plural}; several keys mean all of them.",
        [
            Argument("some", f"{name}Where", "At least one of them satisfies this."),
            Argument("none", f"{name}Where", "None of them satisfies this."),
            Argument("every", f"{name}Where", "Every one of them satisfies this; true for an empty list."),
            Argument("count", "IntFilter", "How many there are."),
        ],
    )
    _order_inputs(types, record, catalog)


def _order_inputs(types: Types, record: Record, catalog: Catalog) -> None:
    name = record.name
    orders = {order_name(f): f"By: {f.description}" for f in sortable(record)}
    for one in record.to_one.values():
        for field in sortable(catalog[one.target]):
            if field.kind is not Kind.ID:
                orders.setdefault(order_name(field, one.name), f"By, of the {one.name}: {field.description}")
    types.enum(f"{name}OrderField", f"What {record.type.plural} can be ordered by.", orders)
    types.input(
        f"{name}OrderBy",
        f"One key of an order of {record.type.plural}; the id is always the last key.",
        [
            Argument("field", f"{name}OrderField!", "What to order by."),
            Argument("direction", "SortDirection!", "Which way.", types.named["SortDirection"].ASC),
            Argument("nulls", "NullsOrder!", "Where records without a value go.", types.named["NullsOrder"].LAST),
        ],
    )
    groups = {key: f"By: {part.description}" for key, part in groupable(record).items()}
    types.enum(f"{name}GroupField", f"What {record.type.plural} can be grouped by.", groups)
    types.input(
        f"{name}GroupBy",
        f"One key of a grouping of {record.type.plural}.",
        [
            Argument("field", f"{name}GroupField!", "What to group by."),
            Argument("unit", "PeriodUnit", "For dates and times, the period a group covers; a day when left out."),
        ],
    )
    measures = {order_name(f): f"Of: {f.description}" for f in measured(record, "min")}
    order = [
        Argument("by", "AggregateFunction!", "The function to order by."),
        Argument("direction", "SortDirection!", "Which way.", types.named["SortDirection"].DESC),
    ]
    if measures:
        types.enum(f"{name}MeasureField", f"What of {record.type.plural} can be added up or compared.", measures)
        order.append(Argument("field", f"{name}MeasureField", "The field the function is of; not for COUNT."))
    types.input(f"{name}GroupOrderBy", "One key of an order of groups; the group's key is always the last.", order)


def write_inputs(types: Types, record: Record) -> None:
    """`<Type>CreateInput`, `<Type>UpdateInput`, `<Type>Patch` and `<Type>Target`."""
    name = record.name

    def member(field: Field, *, creating: bool) -> Argument:
        required = creating and field.required and field.default is None and field.generate is None
        type_ = f"{field.condition}Where" if field.condition else type_of(field, types)
        return Argument(field.name, type_ + ("!" if required else ""), field.description)

    writable = [f for f in record.exposed_fields() if f.writable]
    types.input(
        f"{name}CreateInput",
        f"A new {record.type.singular}; a field left out takes its default.",
        [member(f, creating=True) for f in writable],
    )
    patch = [member(f, creating=False) for f in writable if f.write is Write.ALWAYS]
    version = [Argument("expectedVersion", "Int", "Refuse the change where the record has another version by now.")]
    types.input(
        f"{name}UpdateInput",
        f"Changes to one {record.type.singular}; a field left out is untouched, null clears.",
        [Argument("id", "ID!", "The record."), *(version if record.type.versioned else ()), *patch],
    )
    if patch:
        types.input(f"{name}Patch", "Changes to many records; a field left out is untouched, null clears.", patch)
    types.input(
        f"{name}Target",
        f"Which {record.type.plural} to act on; exactly one member.",
        [Argument("ids", "[ID!]", "These."), Argument("where", f"{name}Where", "All that satisfy this.")],
        one_of=True,
    )
