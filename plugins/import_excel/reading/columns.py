"""What is in each column of a table: how much, of which kinds, and for example."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

#: Values of a column whose text is looked at; what is no text is counted to the end.
LOOKED_AT = 2000
SAMPLES = 5

_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("email", re.compile(r"[^\s@,;]+@[^\s@,;]+\.[^\s@,;]+")),
    ("url", re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)),
    ("date", re.compile(r"\d{1,4}[/.\-]\d{1,2}[/.\-]\d{1,4}(?:[ T]\d{1,2}:\d{2}(?::\d{2})?)?")),
    ("tax", re.compile(r"\d{10}-?\d{3}|[1-9]\d{9}|\d{12}")),
    ("phone", re.compile(r"\+?[\d\s().\-]{8,18}")),
    ("number", re.compile(r"[+\-]?\d[\d.,\s]*%?")),
    ("code", re.compile(r"[A-Za-zĐđ]{1,6}[-_./]?\d{2,}")),
)
#: A Vietnamese phone number that was typed as a number and lost its 0.
_LOST = range(10**8, 10**9)


class Column:
    """Statistics of one column. `kinds` are counts by kind of value; of text, only of what was looked at."""

    __slots__ = ("distinct", "kinds", "longest", "looked", "samples", "whole")

    def __init__(self) -> None:
        self.kinds: dict[str, int] = {}
        self.samples: list[Any] = []
        self.distinct: set[Any] = set()
        self.looked = 0
        self.longest = 0
        self.whole = 0

    def see(self, values: Sequence[Any]) -> None:
        """Count values that are not blank."""
        self.whole += len(values)
        looked = max(LOOKED_AT - self.looked, 0)
        for value in values[:looked]:
            self._count(self._look(value))
        for value in values[looked:]:
            if type(value) is not str:
                self._count(_kind(value))
        texts = values if set(map(type, values)) == {str} else [v for v in values if type(v) is str]
        self.longest = max(self.longest, max(map(len, texts), default=0))

    def _count(self, kind: str) -> None:
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def _look(self, value: Any) -> str:
        """Look at one of the first values; returns its kind, of text by what is written there."""
        self.looked += 1
        self.distinct.add(str(value) if isinstance(value, dict) else value)
        if len(self.samples) < SAMPLES and value not in self.samples:
            self.samples.append(value)
        kind = _kind(value)
        if kind == "text":
            return next((name for name, pattern in _PATTERNS if pattern.fullmatch(value)), "text")
        return kind

    def plain(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "filled": self.whole,
            "kinds": self.kinds,
            "samples": [_shown(v) for v in self.samples],
            "distinct": len(self.distinct),
            "looked": self.looked,
            "longest": self.longest,
            "type": infer(self.kinds),
        }


def infer(kinds: dict[str, int]) -> str:
    """What a column holds: the kind of nine in ten of its values, else `text`; `blank` where it has none."""
    kinds = {k: n for k, n in kinds.items() if k not in ("error", "formula")}
    total = sum(kinds.values())
    if not total:
        return "blank"
    merged = dict(kinds)
    if "phone" in merged:
        merged["phone"] += merged.get("tax", 0) if merged["phone"] >= merged.get("tax", 0) else 0
    if "datetime" in merged:
        merged["datetime"] += merged.get("date", 0)
    if "float" in merged or "number" in merged:
        number = merged.get("float", 0) + merged.get("number", 0) + merged.get("int", 0)
        merged = {k: n for k, n in merged.items() if k not in ("float", "number", "int")} | {"number": number}
    name, count = max(merged.items(), key=lambda item: item[1])
    return name if count >= 0.9 * total else "text"


def _kind(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return "text"
    if kind is bool:
        return "bool"
    if kind is int:
        return "phone" if value in _LOST else "int"
    if kind is float:
        return "float"
    if "d" in value:
        return "datetime" if "T" in value["d"] else "date"
    return "error" if "e" in value else "formula"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        value = next(iter(value.values()))
    return str(value)[:200]


def see(columns: list[Column], rows: Sequence[Sequence[Any]]) -> None:
    """Count the values of some rows."""
    columns += [Column() for _ in range(max(map(len, rows), default=0) - len(columns))]
    for column, values in zip(columns, zip_longest(*rows), strict=False):
        column.see([v for v in values if v is not None])
