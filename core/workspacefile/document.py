"""The text of a workspace's file: TOML, always laid out the same way."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson

from core.errors import BadInput

#: TOML has no null: a JSON value with one in it is written as text under this key, which no GraphQL name can be.
AS_TEXT = "$json"
WIDTH = 100
#: Whole numbers that JSON is read and written with are smaller.
MOST = 2**63
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def read(text: str) -> dict[str, Any]:
    """The content of a file; decimal numbers are `Decimal`. Raises BadInput where it is not TOML."""
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"the file is not valid TOML: {error}") from None


def write(content: Mapping[str, Any]) -> str:
    """The text of a file: tables under `[name]`, lists of tables under `[[name]]`, what lies deeper within lines."""
    plain = {k: v for k, v in content.items() if not _is_tables(v) and not isinstance(v, Mapping)}
    blocks = ["\n".join(_pairs(plain))] if plain else []
    for name, value in content.items():
        if isinstance(value, Mapping):
            blocks += _table(name, value)
        elif _is_tables(value):
            for table in value:
                blocks += _table(name, table, "[[{}]]")
    return "\n\n".join(blocks) + "\n"


def of_json(value: Any) -> Any:
    """A JSON value as it stands in the file."""
    return {AS_TEXT: orjson.dumps(value).decode()} if _has_null(value) or _claims(value) else value


def to_json(value: Any) -> Any:
    """A value of the file as JSON. Raises ValueError where it is neither."""
    if _claims(value):
        return orjson.loads(value[AS_TEXT])
    match value:
        case Mapping():
            return {k: to_json(v) for k, v in value.items()}
        case list():
            return [to_json(v) for v in value]
        case Decimal() if math.isfinite(float(value)):
            return float(value)
        case date() | datetime():
            return value.isoformat()
        case int() if abs(value) >= MOST:
            raise ValueError("a number out of range")
        case None | bool() | int() | float() | str():
            return value
    raise ValueError("not a JSON value")


def _claims(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {AS_TEXT} and isinstance(value[AS_TEXT], str)


def _has_null(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_null, value.values()))
    return any(map(_has_null, value)) if isinstance(value, list) else value is None


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _table(name: str, table: Mapping[str, Any], header: str = "[{}]") -> list[str]:
    """A table and the tables in it, each a block."""
    inner = {k: v for k, v in table.items() if isinstance(v, Mapping)}
    own = {k: v for k, v in table.items() if k not in inner}
    blocks = [_block(header.format(name), own)] if own or not inner or header != "[{}]" else []
    return [*blocks, *(_block(f"[{name}.{_key(key)}]", value) for key, value in inner.items())]


def _block(header: str, table: Mapping[str, Any]) -> str:
    return "\n".join((header, *_pairs(table)))


def _pairs(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        head = f"{_key(key)} = "
        yield head + _value(value, len(head))


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: Any, column: int, indent: int = 0) -> str:
    """A value, on one line where it fits; tables never break, lists do."""
    line = _line(value)
    if column + len(line) <= WIDTH or not isinstance(value, list | Mapping) or not value:
        return line
    if isinstance(value, list):
        space = " " * (indent + 4)
        items = "".join(f"{space}{_value(v, indent + 4, indent + 4)},\n" for v in value)
        return f"[\n{items}{' ' * indent}]"
    pairs = (f"{_key(k)} = {_value(v, column + len(k) + 5, indent)}" for k, v in value.items())
    return f"{{ {', '.join(pairs)} }}"


def _line(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case Mapping():
            pairs = ", ".join(f"{_key(k)} = {_line(v)}" for k, v in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case list() | tuple():
            return f"[{', '.join(map(_line, value))}]"
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
    return repr(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
