"""Custom fields: the fields that a workspace adds to record types itself, stored in their `custom` JSON column."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core import tables
from core.catalog import Catalog
from core.errors import CompositionError
from core.records import (
    NAME,
    Computed,
    EnumType,
    Extension,
    Field,
    Filter,
    Kind,
    Personal,
    RecordType,
    ToOne,
    Write,
    snake,
)
from core.rows import check_value, to_json
from core.schema.audit import ID
from core.schema.order import order_name, sortable

RECORD = "CustomField"

KIND = EnumType(
    "CustomFieldKind",
    "What a custom field holds.",
    {
        "TEXT": "A line of text.",
        "LONG_TEXT": "Text of any length.",
        "INTEGER": "A whole number.",
        "DECIMAL": "A decimal number.",
        "BOOLEAN": "Yes or no.",
        "DATE": "A day.",
        "DATETIME": "A day and a time.",
        "CHOICE": "One of the choices.",
        "CHOICES": "Any number of the choices.",
        "USER": "The id of a user.",
        "URL": "An http or https address.",
        "EMAIL": "An email address.",
        "PHONE": "A phone number.",
    },
)

_KINDS: Mapping[str, tuple[Kind, int]] = {
    "TEXT": (Kind.TEXT, 1000),
    "LONG_TEXT": (Kind.TEXT, 100_000),
    "INTEGER": (Kind.INT, 0),
    "DECIMAL": (Kind.DECIMAL, 0),
    "BOOLEAN": (Kind.BOOL, 0),
    "DATE": (Kind.DATE, 0),
    "DATETIME": (Kind.DATETIME, 0),
    "CHOICE": (Kind.ENUM, 0),
    "CHOICES": (Kind.TEXTS, 200),
    "USER": (Kind.ID, 0),
    "URL": (Kind.TEXT, 2000),
    "EMAIL": (Kind.TEXT, 320),
    "PHONE": (Kind.TEXT, 100),
}

#: Kinds that a unique index can serve, and the longest text such an index takes whatever its script.
UNIQUE_KINDS = frozenset({"TEXT", "INTEGER", "DECIMAL", "URL", "EMAIL", "PHONE"})
UNIQUE_LENGTH = 500
WITH_CHOICES = frozenset({"CHOICE", "CHOICES"})

#: Words that the inputs and arguments of every record type use themselves.
RESERVED = frozenset({"and", "or", "not", "expectedVersion", "where", "ids", "count", "custom"})

_FORMATS = {
    "URL": re.compile(r"https?://[^\s/?#]+[^\s]*", re.IGNORECASE),
    "EMAIL": re.compile(r"[^\s@]+@[^\s@.]+(\.[^\s@.]+)+"),
    "PHONE": re.compile(r"\+?[\d\s().\-/]*\d[\d\s().\-/]*"),
}


def _text(name: str, description: str, **more: Any) -> Field:
    return Field(name, Kind.TEXT, description, **more)


#: Follows: no role grants it. Everyone reads the definitions, the ability `custom_fields` changes them.
CUSTOM_FIELD = RecordType(
    RECORD,
    "customFields",
    tables.CustomField,
    "The workspace's own fields of record types.",
    (
        ID,
        _text("recordType", "The record type, such as `Customer`.", required=True, write=Write.CREATE, max_length=100),
        _text("name", "Its name in GraphQL, such as `shoeSize`.", required=True, write=Write.CREATE, max_length=40),
        Field("kind", Kind.ENUM, "What it holds.", enum=KIND, required=True, write=Write.CREATE),
        _text("label", "Its name for people.", max_length=200),
        _text("description", "What it means.", max_length=2000),
        Field("required", Kind.BOOL, "Whether every record has a value.", required=True, default=False),
        Field("unique", Kind.BOOL, "Whether no two have the same.", column="is_unique", required=True, default=False),
        Field("default", Kind.JSON, "The value of records that are given none.", column="default_value"),
        Field(
            "choices",
            Kind.TEXTS,
            "The choices: `VALUE=Label`, or just a label, from which the value is made (`Miền Bắc`: MIEN_BAC).",
            max_length=200,
        ),
    ),
    actions=(),
    exposed=False,
    follows=True,
    soft_delete=False,
    versioned=False,
    known_by=("recordType", "name"),
    configuration=True,
    default_order=(("recordType", False), ("name", False)),
    labels={"vi": "Trường tuỳ chỉnh", "en": "Custom field"},
)

#: What to select from its table to get a definition by field name.
COLUMNS = ", ".join(f'{f.column} as "{f.name}"' for f in CUSTOM_FIELD.fields)


@dataclass(frozen=True, slots=True)
class CustomField:
    """One custom field as its workspace defines it; `id` is its key in the records' `custom` column."""

    id: UUID
    record: str
    name: str
    kind: str
    label: str = ""
    description: str = ""
    required: bool = False
    unique: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()

    @classmethod
    def of(cls, id_: UUID, values: Mapping[str, Any]) -> CustomField:
        """From the values of a `CustomField` record by field name."""
        return cls(
            id_,
            values["recordType"],
            values["name"],
            values["kind"],
            values.get("label") or "",
            values.get("description") or "",
            bool(values.get("required")),
            bool(values.get("unique")),
            values.get("default"),
            tuple(values.get("choices") or ()),
        )

    def field(self) -> Field:
        """Its declaration. Raises CompositionError for a kind this version does not know, or choices it cannot use."""
        if self.kind not in _KINDS:
            raise CompositionError(f"custom field {self.record}.{self.name} is of the unknown kind {self.kind!r}")
        kind, length = _KINDS[self.kind]
        description = self.description or self.label or "A field of the workspace's own."
        options = self.options() if self.kind in WITH_CHOICES else {}
        enum = None
        if self.kind == "CHOICE":
            type_name = f"{self.record}{self.name[0].upper()}{self.name[1:]}Choice"
            enum = EnumType(type_name, f"The choices of: {description}", options)
        if self.kind == "CHOICES":
            description += " Any of: " + ", ".join(f"{value} ({label})" for value, label in options.items())
        return Field(
            self.name,
            kind,
            description,
            enum=enum,
            required=self.required,
            default=self.default,
            unique=self.unique,
            custom=str(self.id),
            # What it says of whom nobody can know.
            personal=Personal.IDENTIFIES if self.kind in ("EMAIL", "PHONE") else Personal.DESCRIBES,
            max_length=min(length, UNIQUE_LENGTH) if self.unique else length,
            sortable=self.kind != "LONG_TEXT",
            refers="User" if self.kind == "USER" else "",
            labels={"vi": self.label, "en": self.label} if self.label else {},
        )

    def extension(self) -> Extension:
        """What it adds to its record type."""
        return Extension(self.record, fields=(self.field(),))

    def options(self) -> dict[str, str]:
        """Labels by value. Raises CompositionError where there are none, or two make one value."""
        found: dict[str, str] = {}
        for choice in self.choices:
            value, label = parse_choice(choice)
            if not value or value in found:
                raise CompositionError(f"the choice {choice!r} has no value of its own")
            found[value] = label
        if not found:
            raise CompositionError("there are no choices")
        return found

    def fits(self, value: Any) -> bool:
        """Whether a JSON value that fits the declared type also fits the kind."""
        if value is None or value == "":
            return True
        if pattern := _FORMATS.get(self.kind):
            return pattern.fullmatch(value) is not None
        if self.kind == "CHOICES":
            return set(value) <= self.options().keys()
        return True

    def default_fits(self) -> bool:
        """Whether its default could be typed in as a value."""
        if self.default is None:
            return True
        field = self.field()
        try:
            value = to_json(field, self.default)
        except (ValueError, TypeError, AttributeError):
            return False
        return check_value(field, value, "en") is None and self.fits(value)


def parse_choice(choice: str) -> tuple[str, str]:
    """A choice's value and label; the value is empty where none can be made of it.

    >>> parse_choice("VIP=Khách VIP"), parse_choice("Đồng Nai")
    (('VIP', 'Khách VIP'), ('DONG_NAI', 'Đồng Nai'))
    """
    given, equals, label = choice.partition("=")
    plain = unicodedata.normalize("NFD", given.replace("đ", "d").replace("Đ", "D")).upper()
    value = re.sub(r"[^A-Z0-9]+", "_", "".join(c for c in plain if not unicodedata.combining(c))).strip("_")
    if value[:1].isdigit():
        value = f"N{value}"
    return value, (label if equals else given).strip() or value


def owner_of_name(catalog: Catalog, record: str, name: str) -> str:
    """Who declares a name on a record type, in a way that a custom field of that name would clash; empty for no one."""
    found = catalog[record]
    owners = dict.fromkeys(RESERVED, "core")
    parts: Iterable[Computed | Filter | ToOne] = (
        *found.computed.values(),
        *found.filters.values(),
        *found.to_one.values(),
    )
    owners |= {part.name: part.plugin for part in parts}
    owners |= {f.name: "custom field" if f.custom else f.plugin for f in found.fields.values()}
    for many in found.to_many.values():
        owners |= {many.name: many.plugin, f"{many.name}Aggregate": many.plugin}
    orders = {snake(n).upper(): owner for n, owner in owners.items()}
    for one in found.to_one.values():
        for field in sortable(catalog[one.target]):
            orders.setdefault(order_name(field, one.name), one.plugin)
    return owners.get(name) or orders.get(snake(name).upper(), "")


def name_is_usable(name: str) -> bool:
    """Whether a custom field can have a name at all."""
    return NAME.fullmatch(name) is not None and len(name) <= 40


def can_have_custom_fields(catalog: Catalog, record: str) -> bool:
    """Whether a record type has the column that keeps them."""
    return record in catalog and hasattr(catalog[record].type.table, "custom")
