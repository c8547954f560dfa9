"""Random questions to the read path: selections, conditions, orders and pages, each in three spellings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
)
from hypothesis import strategies as st

from core.catalog import Catalog, Record
from core.records import Field, Kind
from tests.dataset import NOW, TEXTS
from tests.reference import Row, shown

#: Types whose lists are asked at the root.
ROOTS = ("Customer", "Contact", "Opportunity", "Customer", "Opportunity", "User", "Team", "PermissionGrant")
#: Relations that lead to the journal, which has tests of its own.
JOURNAL = {"history", "changes"}
UNITS = ("MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR")


@dataclass(frozen=True)
class Name:
    """An enum value."""

    text: str


@dataclass(frozen=True)
class Single:
    """A list of one, given as that one value."""

    value: Any


class Absent:
    """A value left out: in literals it does not stand there, as a variable it is declared and not given."""


ABSENT = Absent()


@dataclass(frozen=True)
class Asked:
    """A field asked for. `wrapped` puts it into an inline or a named fragment on its parent type."""

    name: str
    alias: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    under: tuple[Asked, ...] = ()
    directive: tuple[str, bool] | None = None
    wrapped: str = ""
    on: str = ""


class Spelling:
    """One way to write a question: `literal`, `whole` arguments as variables, or each `leaf` as one."""

    def __init__(self, schema: GraphQLSchema, mode: str) -> None:
        self.schema = schema
        self.mode = mode
        self.variables: dict[str, Any] = {}
        self.names: dict[tuple[str, str], str] = {}
        self.declared: list[str] = []
        self.fragments: list[str] = []

    def write(self, roots: tuple[Asked, ...]) -> str:
        body = self.selection(roots, "Query")
        head = f"query ({', '.join(self.declared)}) " if self.declared else ""
        return "\n".join([head + body, *self.fragments])

    def selection(self, fields: tuple[Asked, ...], parent: str) -> str:
        return "{ " + " ".join(self.field(f, parent) for f in fields) + " }"

    def field(self, asked: Asked, parent: str) -> str:
        parent = asked.on or parent
        text = (f"{asked.alias}: " if asked.alias else "") + asked.name
        if asked.name != "__typename":
            type_: Any = self.schema.get_type(parent)
            definition = type_.fields[asked.name]
            given = [
                f"{name}: {written}"
                for name, value in asked.arguments.items()
                if (written := self.argument(value, definition.args[name].type)) is not None
            ]
            text += f"({', '.join(given)})" if given else ""
        if asked.directive:
            name, value = asked.directive
            condition = self.variable("Boolean!", value) if self.mode != "literal" else json.dumps(value)
            text += f" @{name}(if: {condition})"
        if asked.under:
            text += " " + self.selection(asked.under, get_named_type(definition.type).name)
        if asked.wrapped == "inline":
            return f"... on {parent} {{ {text} }}"
        if asked.wrapped == "named":
            name = f"F{len(self.fragments)}"
            self.fragments.append(f"fragment {name} on {parent} {{ {text} }}")
            return f"...{name}"
        return text

    def argument(self, value: Any, type_: Any) -> str | None:
        if self.mode == "whole":
            return None if value is ABSENT else self.variable(str(type_), as_json(value))
        return self.value(value, type_)

    def variable(self, type_: str, value: Any) -> str:
        key = (type_, repr(value))
        if key not in self.names:
            name = self.names[key] = f"v{len(self.names)}"
            self.declared.append(f"${name}: {type_}")
            if value is not ABSENT:
                self.variables[name] = value
        return f"${self.names[key]}"

    def value(self, value: Any, type_: Any) -> str | None:
        nullable: Any = get_nullable_type(type_)
        leaf = self.mode == "leaf"
        if value is ABSENT:
            return self.variable(str(nullable), ABSENT) if leaf else None
        if value is None:
            return self.variable(str(type_), None) if leaf else "null"
        if isinstance(value, dict):
            assert isinstance(nullable, GraphQLInputObjectType)
            members = [
                f"{key}: {written}"
                for key, inner in value.items()
                if (written := self.value(inner, nullable.fields[key].type)) is not None
            ]
            return "{" + ", ".join(members) + "}"
        if isinstance(value, Single):
            if leaf and not isinstance(value.value, dict):
                return self.variable(str(type_), as_json(value.value))
            return self.value(value.value, nullable.of_type)
        if isinstance(value, list):
            assert isinstance(nullable, GraphQLList)
            return "[" + ", ".join(str(self.value(v, nullable.of_type)) for v in value) + "]"
        if leaf:
            return self.variable(str(type_), as_json(value))
        if isinstance(nullable, GraphQLEnumType):
            return str(value.text)
        return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def as_json(value: Any) -> Any:
    """A value as a client sends it in a variable."""
    match value:
        case dict():
            return {k: as_json(v) for k, v in value.items() if v is not ABSENT}
        case list():
            return [as_json(v) for v in value]
        case Single():
            return as_json(value.value)
        case Name():
            return value.text
        case Decimal():
            return str(value)
    return value


@dataclass
class Questions:
    """Draws questions about a catalog; values are mostly such as the rows have."""

    schema: GraphQLSchema
    catalog: Catalog
    rows: Mapping[str, list[Row]]
    #: Cursors to ask with, by the record type whose list they belong to; for follow-up questions.
    pools: dict[tuple[str, str], list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for record in self.catalog:
            for f in record.fields.values():
                self.pools[record.name, f.name] = self._pool(record, f)

    def _pool(self, record: Record, f: Field) -> list[Any]:
        rows = self.rows[record.type.tablename]
        if f.sql is not None or not f.exposed:
            return []
        found = [r["custom"].get(f.custom) if f.custom else r[f.column] for r in rows]
        given = sorted({str(shown(v)) for v in found if v is not None and not isinstance(v, list)})
        match f.kind:
            case Kind.TEXT:
                return [*given, *TEXTS, "", "an", "Đ", "KH00"]
            case Kind.ID:
                return [*given, "00000000-0000-0000-0000-000000000000"]
            case Kind.INT:
                return [*map(int, given), -1, 2**31 - 1]
            case Kind.DECIMAL:
                return [*map(Decimal, given), Decimal("0.5"), Decimal("-0")]
            case Kind.BOOL:
                return [True, False]
            case Kind.ENUM:
                assert f.enum is not None
                return [Name(v) for v in f.enum.values]
            case Kind.TEXTS:
                return [*sorted({t for v in found for t in v or ()}), "none"]
            case Kind.DATETIME:
                return [*given, NOW.isoformat(), "2026-03-17T16:30:00+07:00"]
            case Kind.DATE:
                return [*given, "2026-03-16"]
        return []

    # Conditions

    def where(self, draw: Any, record: Record, depth: int = 2) -> dict[str, Any]:
        names = [f.name for f in record.exposed_fields() if f.filterable and f.kind is not Kind.JSON and f.sql is None]
        found: dict[str, Any] = {}
        for _ in range(draw(st.integers(0, 2))):
            name = draw(st.sampled_from(names))
            found[name] = self.operators(draw, record, record.fields[name])
        if depth and draw(st.integers(0, 2)) == 0:
            inner = [self.where(draw, record, depth - 1) for _ in range(draw(st.integers(0, 2)))]
            key = draw(st.sampled_from(("and", "or")))
            found[key] = Single(inner[0]) if len(inner) == 1 and draw(st.booleans()) else inner
        if depth and draw(st.integers(0, 3)) == 0:
            found["not"] = draw(st.sampled_from((None, 1, 1, 1))) and self.where(draw, record, depth - 1)
        ones = [r for r in record.to_one.values() if r.filterable and r.target in self.catalog]
        if depth and ones and draw(st.integers(0, 2)) == 0:
            one = draw(st.sampled_from(ones))
            target = self.catalog[one.target]
            found[one.name] = draw(st.sampled_from((None, 1, 1, 1, 1))) and self.where(draw, target, depth - 1)
        lists = [r for r in record.to_many.values() if r.filterable and r.exposed and r.name not in JOURNAL]
        if depth and lists and draw(st.integers(0, 2)) == 0:
            many = draw(st.sampled_from(lists))
            target = self.catalog[many.target]
            conditions: dict[str, Any] = {}
            for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2)))):
                key = draw(st.sampled_from(("some", "none", "every", "count")))
                if key == "count":
                    count = Field("count", Kind.INT, "How many.")
                    self.pools["", "count"] = [0, 1, 2, 3]
                    conditions[key] = self.operators(draw, None, count)
                else:
                    conditions[key] = draw(st.sampled_from((None, 1, 1, 1, 1))) and self.where(draw, target, depth - 1)
            found[many.name] = conditions
        return found

    def operators(self, draw: Any, record: Record | None, f: Field) -> dict[str, Any] | None:
        pool = self.pools[record.name if record else "", f.name]
        one = st.sampled_from(pool) if pool else st.just("x")
        several = st.lists(one, max_size=3)
        texts = ["contains", "startsWith", "endsWith"]
        compared = ["lt", "lte", "gt", "gte", "between"]
        allowed = {
            Kind.TEXT: ["eq", "ne", "in", "notIn", *compared, *texts, *texts],
            Kind.ID: ["eq", "ne", "in", "notIn"],
            Kind.INT: ["eq", "ne", "in", "notIn", *compared],
            Kind.DECIMAL: ["eq", "ne", "in", "notIn", *compared],
            Kind.BOOL: ["eq"],
            Kind.ENUM: ["eq", "ne", "in", "notIn"],
            Kind.TEXTS: ["has", "hasAny", "hasAll"],
            Kind.DATE: ["eq", "ne", "in", "notIn", *compared, "within", "within"],
            Kind.DATETIME: ["eq", "ne", "in", "notIn", *compared, "within", "within"],
        }[f.kind]
        if draw(st.integers(0, 24)) == 0:
            return None
        found: dict[str, Any] = {}
        for _ in range(draw(st.sampled_from((0, 1, 1, 1, 1, 1, 1, 2)))):
            name = draw(st.sampled_from([*allowed, "isNull"]))
            if name == "isNull":
                found[name] = draw(st.booleans())
            elif name in ("in", "notIn", "hasAny", "hasAll"):
                values = draw(several)
                found[name] = Single(values[0]) if len(values) == 1 and draw(st.booleans()) else values
            elif name == "between":
                bounds = {"from": draw(one), "to": draw(one)}
                dropped = draw(st.sampled_from((None, None, "from", "to", "null")))
                if dropped == "null":
                    bounds["to"] = None
                found[name] = {k: v for k, v in bounds.items() if k != dropped}
            elif name == "within":
                found[name] = self.period(draw)
            else:
                found[name] = draw(one)
            if draw(st.integers(0, 19)) == 0:
                found[name] = draw(st.sampled_from((None, ABSENT)))
        return found

    @staticmethod
    def period(draw: Any) -> dict[str, Any]:
        name = draw(st.sampled_from(("last", "next", "this", "previous", "following")))
        unit = Name(draw(st.sampled_from(UNITS)))
        if name in ("last", "next"):
            return {name: {"count": draw(st.sampled_from((0, 1, 3, 30, 400))), "unit": unit}}
        return {name: unit}

    # Lists

    def order(self, draw: Any, record: Record) -> list[dict[str, Any]] | Single:
        names = list(self.schema.get_type(f"{record.name}OrderField").values)  # type: ignore[union-attr]
        found = []
        for _ in range(draw(st.integers(0, 3))):
            item: dict[str, Any] = {"field": Name(draw(st.sampled_from(names)))}
            if draw(st.booleans()):
                item["direction"] = Name(draw(st.sampled_from(("ASC", "DESC"))))
            if draw(st.booleans()):
                item["nulls"] = Name(draw(st.sampled_from(("FIRST", "LAST"))))
            found.append(item)
        return Single(found[0]) if len(found) == 1 and draw(st.booleans()) else found

    def filters(self, draw: Any, record: Record, depth: int = 2) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if draw(st.integers(0, 2)):
            found["where"] = draw(st.sampled_from((None, ABSENT, *[1] * 12)))
            if found["where"] == 1:
                found["where"] = self.where(draw, record, depth)
        if any(f.search for f in record.fields.values()) and draw(st.integers(0, 5)) == 0:
            words = ("an", "Nguyễn VĂN", "  cong   ty ", "%", "_", "\\", "kh 0", "", "090 ", "đ", "an ex")
            found["search"] = draw(st.sampled_from((None, *words)))
        return found

    def page(self, draw: Any, record: Record) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if draw(st.integers(0, 2)):
            found["orderBy"] = self.order(draw, record)
        size = draw(st.sampled_from(("first", "first", "last", "")))
        if size:
            found[size] = draw(st.sampled_from((0, 1, 2, 3, 5, 200, None)))
        return found

    # Selections

    def fields(self, draw: Any, record: Record, depth: int) -> tuple[Asked, ...]:
        """What is asked of a record."""
        names = [f.name for f in record.exposed_fields() if f.sql is None]
        found = [Asked(n) for n in draw(st.lists(st.sampled_from([*names, "__typename"]), min_size=1, max_size=4))]
        ones = [r for r in record.to_one.values() if r.target in self.catalog]
        lists = [r for r in record.to_many.values() if r.exposed and r.name not in JOURNAL]
        if depth and ones and draw(st.booleans()):
            one = draw(st.sampled_from(ones))
            found.append(Asked(one.name, under=self.fields(draw, self.catalog[one.target], depth - 1)))
        if depth and lists and draw(st.booleans()):
            many = draw(st.sampled_from(lists))
            target = self.catalog[many.target]
            if draw(st.integers(0, 3)) == 0:
                found.append(self.aggregate(draw, target, many.name + "Aggregate", depth=1))
            else:
                found.append(self.connection(draw, target, many.name, depth - 1))
        return self.decorated(draw, found)

    def decorated(self, draw: Any, fields: list[Asked]) -> tuple[Asked, ...]:
        """Fields with aliases, fragments, directives and doubles."""
        found: list[Asked] = []
        for i, asked in enumerate(fields):
            item = asked
            if item.arguments or item.under or draw(st.integers(0, 5)) == 0:
                item = replace(item, alias=f"{item.name[:20]}_{i}")
            if draw(st.integers(0, 7)) == 0:
                item = replace(item, wrapped=draw(st.sampled_from(("inline", "named"))))
            if draw(st.integers(0, 11)) == 0:
                directive = (draw(st.sampled_from(("skip", "include"))), draw(st.booleans()))
                item = replace(item, directive=directive)
            found.append(item)
            if len(item.under) > 1 and draw(st.integers(0, 5)) == 0:
                half = len(item.under) // 2
                found[-1] = replace(item, under=item.under[:half])
                found.append(replace(item, under=item.under[half:]))
        return tuple(found)

    def connection(
        self, draw: Any, record: Record, name: str, depth: int, more: Mapping[str, Any] | None = None
    ) -> Asked:
        arguments = {**self.filters(draw, record, depth), **self.page(draw, record), **(more or {})}
        parts: list[Asked] = []
        kinds = st.sampled_from(("nodes", "nodes", "edges", "pageInfo", "totalCount", "__typename"))
        for kind in draw(st.lists(kinds, min_size=1, max_size=3)):
            match kind:
                case "nodes":
                    parts.append(Asked("nodes", under=self.fields(draw, record, depth)))
                case "edges":
                    inner = Asked("node", under=self.fields(draw, record, depth))
                    parts.append(Asked("edges", under=(Asked("cursor"), Asked("__typename"), inner)))
                case "pageInfo":
                    members = ("hasNextPage", "hasPreviousPage", "startCursor", "endCursor", "__typename")
                    parts.append(Asked("pageInfo", under=tuple(Asked(m) for m in members)))
                case _:
                    parts.append(Asked(kind))
        return Asked(name, arguments=arguments, under=self.decorated(draw, parts))

    def measures(self, draw: Any, record: Record) -> list[Asked]:
        found = [Asked("count")]
        for function in ("sum", "avg", "min", "max"):
            type_: Any = self.schema.get_type(f"{record.name}{function.capitalize()}")
            if type_ is not None and draw(st.integers(0, 2)) == 0:
                members = draw(st.lists(st.sampled_from(list(type_.fields)), min_size=1, max_size=3, unique=True))
                found.append(Asked(function, under=tuple(Asked(m) for m in members)))
        return found

    def group_keys(self, draw: Any, record: Record, chosen: list[str]) -> Asked:
        type_: Any = self.schema.get_type(f"{record.name}GroupKey")
        by_enum = {"".join(f"_{c}" if c.isupper() else c for c in n).upper(): n for n in type_.fields}
        names = [by_enum[c] for c in chosen]
        if "createdAt" in type_.fields and draw(st.integers(0, 4)) == 0:
            names.append("createdAt")
        members = []
        for name in dict.fromkeys(names):
            if name in record.to_one:
                target = self.catalog[record.to_one[name].target]
                members.append(Asked(name, under=self.fields(draw, target, 0)))
            else:
                members.append(Asked(name))
        return Asked("key", under=tuple(members))

    def aggregate(self, draw: Any, record: Record, name: str, depth: int = 2, **more: Any) -> Asked:
        arguments = {**self.filters(draw, record, depth), **more}
        parts = self.measures(draw, record)
        if draw(st.integers(0, 2)):
            type_: Any = self.schema.get_type(f"{record.name}GroupField")
            chosen = draw(st.lists(st.sampled_from(list(type_.values)), min_size=1, max_size=2, unique=True))
            by = []
            for c in chosen:
                unit = draw(st.sampled_from((None, *UNITS)))
                by.append({"field": Name(c)} | ({"unit": Name(unit)} if unit else {}))
            arguments["groupBy"] = Single(by[0]) if len(by) == 1 and draw(st.booleans()) else by
            measures: Any = self.schema.get_type(f"{record.name}MeasureField")
            if measures is not None and draw(st.booleans()):
                function = draw(st.sampled_from(("COUNT", "MIN", "MAX")))
                order: dict[str, Any] = {"by": Name(function)}
                if function != "COUNT":
                    order["field"] = Name(draw(st.sampled_from(list(measures.values))))
                if draw(st.booleans()):
                    order["direction"] = Name(draw(st.sampled_from(("ASC", "DESC"))))
                arguments["orderBy"] = [order]
            if draw(st.booleans()):
                arguments["first"] = draw(st.sampled_from((0, 1, 3, 1000)))
            parts.append(Asked("groups", under=(self.group_keys(draw, record, chosen), *self.measures(draw, record))))
        return Asked(name, arguments=arguments, under=self.decorated(draw, parts))

    def board(self, draw: Any, record: Record, **more: Any) -> Asked:
        type_: Any = self.schema.get_type(f"{record.name}GroupField")
        chosen = draw(st.sampled_from(list(type_.values)))
        arguments = {"by": Name(chosen), **self.filters(draw, record), **self.page(draw, record), **more}
        arguments.pop("last", None)
        parts = [
            self.group_keys(draw, record, [chosen]),
            Asked("totalCount"),
            Asked("nodes", under=self.fields(draw, record, 1)),
        ]
        return Asked(record.type.plural + "Grouped", arguments=arguments, under=self.decorated(draw, parts))

    def root(self, draw: Any) -> Asked:
        record = self.catalog[draw(st.sampled_from(ROOTS))]
        ids = [str(r["id"]) for r in self.rows[record.type.tablename]]
        kind = draw(
            st.sampled_from(("list", "list", "list", "list", "one", "aggregate", "aggregate", "board", "nodes"))
        )
        trash = {"deleted": draw(st.booleans())} if record.type.soft_delete and draw(st.integers(0, 9)) == 0 else {}
        match kind:
            case "one":
                by: dict[str, Any] = {"id": draw(st.sampled_from([*ids, "no id"]))}
                if record.name == "Customer" and draw(st.booleans()):
                    name = draw(st.sampled_from(("code", "secret")))
                    by = {name: draw(st.sampled_from(self.pools["Customer", name])), "id": None}
                return Asked(record.type.singular, arguments=by, under=self.fields(draw, record, 2))
            case "aggregate":
                return self.aggregate(draw, record, record.type.plural + "Aggregate", **trash)
            case "board":
                return self.board(draw, record, **trash)
            case "nodes":
                other = self.catalog[draw(st.sampled_from(("Contact", "Opportunity", "User")))]
                others = [str(r["id"]) for r in self.rows[other.type.tablename]]
                wanted = draw(st.lists(st.sampled_from([*ids, *others, "no id"]), max_size=6))
                under = (
                    Asked("__typename"),
                    Asked("id"),
                    *(replace(f, on=record.name, wrapped="inline") for f in self.fields(draw, record, 1)),
                )
                if wanted and draw(st.booleans()):
                    return Asked("node", arguments={"id": wanted[0]}, under=under)
                given = Single(wanted[0]) if len(wanted) == 1 else wanted
                return Asked("nodes", arguments={"ids": given}, under=under)
        return self.connection(draw, record, record.type.plural, 2, trash)

    def question(self, draw: Any) -> tuple[Asked, ...]:
        """One to three root fields, each under an alias of its own."""
        roots = [self.root(draw) for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3))))]
        return tuple(replace(r, alias=f"r{i}") for i, r in enumerate(roots))

    def spellings(self, roots: tuple[Asked, ...]) -> list[tuple[str, dict[str, Any]]]:
        """The text and variables of each spelling."""
        found = []
        for mode in ("literal", "whole", "leaf"):
            spelling = Spelling(self.schema, mode)
            found.append((spelling.write(roots), spelling.variables))
        return found
