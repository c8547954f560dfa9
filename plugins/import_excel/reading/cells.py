"""Cells in JSON: text, numbers, truth values, and objects for what JSON has no word for.

`{"d": "2026-03-05"}` is a day or a time of a day, `{"e": "#N/A"}` an error, `{"f": "=A1+1"}` a formula that was never
calculated.
"""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import date, datetime, time, timedelta
from typing import Any

#: How workbooks write control characters, which XML has none of, and the line that begins what only looks like one.
_ESCAPED = re.compile(r"_x00([01][0-9A-Fa-f]|5F)_")
_UNKEPT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_EXACT = 1e15
#: Number formats that show zeros on the left, with signs between the digits, or a zero that is written before them.
_ZEROS = re.compile(r'(?:\[[^\]]*\])*((?:0|\\.|"[^"]*"|[ \-()])+)(?:;.*)?')
_ZERO_BEFORE = re.compile(r'(?:"0"|\\0)#+')
_LITERAL = re.compile(r'\\.|"[^"]*"')


def plain(value: Any) -> Any:
    """The JSON of a cell's value as a reader gives it; None where it is blank."""
    kind = type(value)
    if kind is str:
        return text(value)
    if kind is float:
        return number(value)
    if value is None or kind is bool or kind is int:
        return value
    if isinstance(value, datetime):
        if value.hour == value.minute == value.second == value.microsecond == 0:
            return {"d": value.date().isoformat()}
        return {"d": value.replace(microsecond=0, tzinfo=None).isoformat()}
    if isinstance(value, date):
        return {"d": value.isoformat()}
    if isinstance(value, time):
        return value.replace(microsecond=0).isoformat()
    if isinstance(value, timedelta):
        seconds = round(value.total_seconds())
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if isinstance(value, dict):
        return value
    return text(str(value))


def text(value: str) -> str | None:
    """Text with composed accents, real line breaks and no blanks around it; None where nothing is left."""
    if not value.isascii():
        value = unicodedata.normalize("NFC", value)
    if value.isprintable():
        return value.strip() or None
    value = value.replace("\u00a0", " ").replace("\ufeff", "")
    if "\r" in value:
        value = value.replace("\r\n", "\n").replace("\r", "\n")
    if not value.isprintable():
        value = _UNKEPT.sub("", value)
    return value.strip() or None


def unescaped(value: str) -> str:
    """Text of which a reader has left what is escaped in its written form, such as `_x000D_`."""
    return _ESCAPED.sub(lambda m: chr(int(m[1], 16)), value) if "_x00" in value else value


def number(value: float) -> Any:
    """A number as it was typed: whole ones without a point, others without what binary fractions add."""
    if value.is_integer() and abs(value) < _EXACT:
        return int(value)
    if not math.isfinite(value):
        return {"e": "#NUM!"}
    return float(f"{value:.15g}")


def padded(value: Any, pattern: str) -> Any:
    """A whole number with the leading zeros that its number format shows.

    >>> padded(912345678.0, "0000 000 000"), padded(5, '"0"####'), padded(5, "0.00"), padded(5, "0")
    ('0912345678', '05', 5, 5)
    """
    if not isinstance(value, int | float) or value < 0 or not float(value).is_integer():
        return value
    if _ZERO_BEFORE.fullmatch(pattern):
        return f"0{int(value)}"
    filled = _ZEROS.fullmatch(pattern)
    width = 0 if filled is None else _LITERAL.sub("", filled[1]).count("0")
    return str(int(value)).zfill(width) if width > 1 else value
