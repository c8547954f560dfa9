"""Whether a value is what a record has already, as far as a spreadsheet can tell."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from core import Kind, Record
from plugins.import_excel.reading.cells import text
from plugins.import_excel.sheets import LONGEST


def changed(record: Record, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The wanted values without those that say again, in a spreadsheet's spelling, what is there.

    Spreadsheets keep no more than `LONGEST` characters, no fractions of seconds, and here accents are composed.
    """
    different = [(k, v) for k, v in wanted.items() if before.get(k) != v]
    return {k: v for k, v in different if not _alike(record.fields[k].kind, before.get(k), v)}


def _alike(kind: Kind, there: Any, value: Any) -> bool:
    if there is None or value is None:
        return there is value
    if kind is Kind.TEXT:
        return bool(text(there[:LONGEST]) == value)
    if kind is Kind.TEXTS:
        return [text(t) for t in there] == list(value)
    if kind is Kind.DATETIME:
        one, other = datetime.fromisoformat(there), datetime.fromisoformat(value)
        return one.replace(microsecond=0) == other.replace(microsecond=0)
    return False
