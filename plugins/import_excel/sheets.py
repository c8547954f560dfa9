"""Writing workbooks and delimited text in constant memory; text is always text, never a formula."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import xlsxwriter

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = "text/csv"
#: What a spreadsheet would take for the beginning of a formula.
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
#: The most characters a cell of a workbook holds, and the most rows a sheet has.
#: Whole numbers from here on lose digits in a workbook.
EXACT = 1e15
LONGEST, MOST = 32_767, 1_048_576


class Out(Protocol):
    """A table being written."""

    def row(self, values: Sequence[Any], marked: frozenset[int] = frozenset()) -> None:
        """Write one row; `marked` are the columns to be shown as wrong."""

    def close(self) -> None:
        """Finish the file."""


class Workbook:
    """A workbook of one table, going on in further sheets where one is full."""

    def __init__(self, path: Path, sheet: str, headers: Sequence[str], widths: Sequence[int] = ()) -> None:
        options = {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "use_zip64": True,
        }
        self.book = xlsxwriter.Workbook(str(path), options)
        self.head = self.book.add_format({"bold": True, "bg_color": "#DDEBF7", "border": 1, "num_format": "@"})
        self.text = self.book.add_format({"num_format": "@"})
        self.day = self.book.add_format({"num_format": "dd/mm/yyyy"})
        self.time = self.book.add_format({"num_format": "dd/mm/yyyy hh:mm:ss"})
        self.bad = self.book.add_format({"bg_color": "#FFC7CE", "num_format": "@"})
        self.name, self.headers, self.widths, self.sheets = sheet, headers, widths, 0
        self._next_sheet()

    def _next_sheet(self) -> None:
        self.sheets += 1
        self.sheet = self.book.add_worksheet(self.name if self.sheets == 1 else f"{self.name[:25]} {self.sheets}")
        for i, width in enumerate(self.widths):
            self.sheet.set_column(i, i, width)
        self.sheet.freeze_panes(1, 0)
        for i, header in enumerate(self.headers):
            self.sheet.write_string(0, i, header[:LONGEST], self.head)
        self.at = 1

    def row(self, values: Sequence[Any], marked: frozenset[int] = frozenset()) -> None:
        """Write one row."""
        if self.at == MOST:
            self._next_sheet()
        for i, value in enumerate(values):
            if value is None:
                if i in marked:
                    self.sheet.write_blank(self.at, i, None, self.bad)
                continue
            self._cell(i, value, self.bad if i in marked else None)
        self.at += 1

    def _cell(self, column: int, value: Any, shown: Any) -> None:
        sheet, at = self.sheet, self.at
        if isinstance(value, bool):
            sheet.write_boolean(at, column, value, shown)
        elif isinstance(value, int | float | Decimal) and abs(float(value)) < EXACT:
            sheet.write_number(at, column, value, shown)
        elif isinstance(value, datetime):
            sheet.write_datetime(at, column, value.replace(tzinfo=None), self.time)
        elif isinstance(value, date):
            sheet.write_datetime(at, column, datetime(value.year, value.month, value.day), self.day)  # noqa: DTZ001
        else:
            sheet.write_string(at, column, str(value)[:LONGEST], shown or self.text)

    def close(self) -> None:
        """Finish the file."""
        self.book.close()


class Text:
    """Delimited text in UTF-8, as spreadsheets open it; a cell that could be a formula is guarded by an apostrophe."""

    def __init__(self, path: Path, headers: Sequence[str]) -> None:
        self.file = path.open("w", encoding="utf-8-sig", newline="")
        self.out = csv.writer(self.file)
        self.row(headers)

    def row(self, values: Sequence[Any], marked: frozenset[int] = frozenset()) -> None:  # noqa: ARG002 - text has no colours
        """Write one row."""
        self.out.writerow(["" if v is None else guarded(v) for v in values])

    def close(self) -> None:
        """Finish the file."""
        self.file.close()


def guarded(value: Any) -> str:
    """A cell of delimited text that no spreadsheet takes for a formula; importing drops the apostrophe again."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    words = str(value)
    return f"'{words}" if isinstance(value, str) and words.startswith((*_DANGEROUS, "'")) else words
