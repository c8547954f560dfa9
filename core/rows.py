"""Rows on their way into a table: values in JSON terms, defaults, and the checks that follow from declarations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import uuid_utils.compat

from core.catalog import Record
from core.errors import UserError
from core.messages import text
from core.records import Field, Kind

Path = tuple[str | int, ...]

#: Digits behind the point that the tables keep; more would be rounded, and the journal would tell another value.
DECIMALS = 4
#: Digits before the point that they keep.
MAX_DIGITS = 15

_UNKEPT = re.compile("[\x00\ud800-\udfff]")


@dataclass(slots=True)
class Row:
    """One record in a batch: before and after, by field name, in JSON terms.

    `before` is None for a new record, `after` is None for one that is really removed. `changed` are the names of
    the fields whose values differ; `path` leads to the record in the mutation's arguments.
    """

    id: UUID | int
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    changed: frozenset[str] = frozenset()
    path: Path = ()
    version: int = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one row cannot be written. `kind` and `fields` are those of a plugin's own type of user error.

    A `warning` lets the row through: it is told in the payload's `warnings`.
    """

    row: Row
    code: str
    message: str
    field: str = ""
    params: Mapping[str, Any] = default(default_factory=dict)
    kind: str = "SimpleUserError"
    fields: Mapping[str, Any] = default(default_factory=dict)
    warning: bool = False

    def user_error(self) -> UserError:
        """The fault as it goes into a payload."""
        path = (*self.row.path, self.field) if self.field else self.row.path
        params = dict(self.params)
        if self.row.before is not None:
            # A path into a condition, or to one value for many records, does not say which record it is.
            params.setdefault("recordId", str(self.row.id))
        return UserError(path, self.code, self.message, params, self.kind, dict(self.fields))


def new_id() -> UUID:
    """A UUIDv7: ids sort by the time they were made."""
    return uuid_utils.compat.uuid7()


def to_json(declared: Field, value: Any) -> Any:
    """A value as it stands in JSON: what GraphQL shows and the journal keeps. Blank text is no value.

    Raises ValueError where the value is not of the field's kind.
    """
    if value is None:
        return None
    match declared.kind:
        case Kind.ID:
            return str(UUID(str(value)))
        case Kind.DECIMAL:
            return plain_decimal(value)
        case Kind.INT:
            if isinstance(value, bool) or int(value) != value or abs(int(value)) >= 2**31:
                raise ValueError("not a 32-bit integer")
            return int(value)
        case Kind.BOOL:
            if not isinstance(value, bool):
                raise ValueError("not a boolean")
            return value
        case Kind.DATE:
            return (date.fromisoformat(value) if isinstance(value, str) else value).isoformat()
        case Kind.DATETIME:
            at = datetime.fromisoformat(value) if isinstance(value, str) else value
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            return at.astimezone(UTC).isoformat()
        case Kind.TEXTS:
            texts = [_text(v) for v in ([value] if isinstance(value, str) else value)]
            # Among custom values an empty list is read as no list.
            return texts or (None if declared.custom else [])
        case Kind.JSON:
            return plain_json(value) if declared.condition else value
        case Kind.TEXT:
            return _text(value) if _text(value).strip() else None
    return _text(value)


def plain_json(value: Any) -> Any:
    """A coerced GraphQL input as JSON that coerces to the same again.

    Raises ValueError where it holds something that no input does.
    """
    match value:
        case dict():
            return {_text(k): plain_json(v) for k, v in value.items()}
        case list():
            return [plain_json(v) for v in value]
        case str():
            return _text(value)
        case None | bool() | int() | float():
            return value
        case Decimal() | UUID():
            return str(value)
        case datetime():
            at = value if value.tzinfo else value.replace(tzinfo=UTC)
            return at.astimezone(UTC).isoformat()
        case date():
            return value.isoformat()
    raise ValueError("not a JSON value")


def plain_decimal(value: Any) -> str:
    """A decimal without exponent and without zeros that mean nothing; one out of all range keeps its exponent.

    Raises ValueError where it has more than `DECIMALS` digits behind the point.
    """
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("not a number") from None
    if not number.is_finite():
        raise ValueError("not a finite number")
    if not number:
        return "0"
    if number.adjusted() > MAX_DIGITS:
        # Written out, 1e999999999 would fill the memory; the range is checked later.
        return str(number)
    if number.adjusted() < -DECIMALS:
        raise ValueError("a number with too many decimals")
    shown = f"{number:f}"
    shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    if len(shown.partition(".")[2]) > DECIMALS:
        raise ValueError("a number with too many decimals")
    return shown


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    if not value.isprintable() and _UNKEPT.search(value):
        raise ValueError("text with a character that cannot be kept")
    return value


def check_value(declared: Field, value: Any, locale: str) -> tuple[str, str, dict[str, Any]] | None:
    """What is wrong with one JSON value by its declaration: (code, message, params), or None."""
    if value is None:
        if declared.required:
            return "REQUIRED", text("required", locale, field=declared.name), {"field": declared.name}
        return None
    params: dict[str, Any]
    if declared.kind in (Kind.TEXT, Kind.TEXTS):
        longest = max(map(len, value), default=0) if isinstance(value, list) else len(value)
        if longest > declared.max_length:
            params = {"field": declared.name, "limit": declared.max_length}
            return "TOO_LONG", text("too_long", locale, **params), params
    if declared.kind is Kind.ENUM and declared.enum is not None and value not in declared.enum.values:
        params = {"field": declared.name, "value": value}
        return "INVALID", text("invalid", locale, **params), params
    if declared.kind in (Kind.INT, Kind.DECIMAL):
        number = Decimal(str(value))
        if declared.kind is Kind.DECIMAL and number.adjusted() >= MAX_DIGITS:
            params = {"field": declared.name, "minimum": f"-10^{MAX_DIGITS}", "maximum": f"10^{MAX_DIGITS}"}
            return "OUT_OF_RANGE", text("out_of_range", locale, **params), params
        low, high = declared.minimum, declared.maximum
        if (low is not None and number < low) or (high is not None and number > high):
            params = {"field": declared.name, "minimum": low, "maximum": high}
            return "OUT_OF_RANGE", text("out_of_range", locale, **params), params
    return None


def normalise(record: Record, values: Mapping[str, Any], row: Row, locale: str) -> tuple[dict[str, Any], list[Fault]]:
    """Values by field name in JSON terms, with the faults of those that do not fit their declarations."""
    found: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, value in values.items():
        declared = record.fields[name]
        if type(value) is str:
            # Nearly every value is a short plain text or a choice: nothing to convert and nothing to find.
            if declared.kind is Kind.TEXT:
                if len(value) <= declared.max_length and value.isprintable() and value and not value.isspace():
                    found[name] = value
                    continue
            elif declared.kind is Kind.ENUM and declared.enum is not None and value in declared.enum.values:
                found[name] = value
                continue
        elif value is None and not declared.required:
            found[name] = None
            continue
        try:
            found[name] = to_json(declared, value)
        except (ValueError, TypeError, AttributeError, OverflowError):
            params = {"field": name, "value": str(value)[:100]}
            faults.append(Fault(row, "INVALID", text("invalid", locale, **params), name, params))
            continue
        if problem := check_value(declared, found[name], locale):
            code, message, params = problem
            faults.append(Fault(row, code, message, name, params))
    return found, faults


def same(declared: Field, one: Any, other: Any) -> bool:
    """Whether two JSON values of a field mean the same."""
    if one == other:
        return True
    if one is None or other is None:
        return False
    if declared.kind is Kind.DECIMAL:
        return Decimal(one) == Decimal(other)
    if declared.kind is Kind.DATETIME:
        return datetime.fromisoformat(one) == datetime.fromisoformat(other)
    return False


def stored_columns(record: Record, names: Iterable[str]) -> dict[str, str]:
    """The columns, with their types, that hold fields; custom fields share one."""
    columns: dict[str, str] = {}
    for name in names:
        declared = record.fields[name]
        if declared.custom:
            columns["custom"] = "jsonb"
        elif declared.sql is None:
            columns[declared.column] = declared.type
    return columns


class Storing:
    """Puts rows by field name into the columns that hold some fields."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._columns = [(f.column, f.name) for f in fields if not f.custom]
        self._custom = [(f.custom, f.name) for f in fields if f.custom]

    def values(self, after: Mapping[str, Any]) -> dict[str, Any]:
        """A row by column."""
        get = after.get
        values: dict[str, Any] = {column: get(name) for column, name in self._columns}
        if self._custom:
            values["custom"] = {key: get(name) for key, name in self._custom}
        return values
