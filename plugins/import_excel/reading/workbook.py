"""The sheets of a file and their rows, by the library that loses nothing of them.

calamine is fast, but shows error cells and formulas without values as blanks and knows no number formats; a workbook
that has any of these is read by openpyxl, and so is one whose sheets are too large to be held in memory.
"""

from __future__ import annotations

import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugins.import_excel.reading import delimited
from plugins.import_excel.reading.cells import padded
from plugins.import_excel.reading.limits import Limits
from plugins.import_excel.reading.package import Findings
from plugins.import_excel.reading.problem import Unreadable

Rows = Iterator[tuple[int, list[Any]]]

_STRICT = (
    (b"http://purl.oclc.org/ooxml/spreadsheetml/main", b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"),
    (
        b"http://purl.oclc.org/ooxml/officeDocument/relationships",
        b"http://schemas.openxmlformats.org/officeDocument/2006/relationships",
    ),
)


@dataclass
class Workbook:
    """An open file: its sheets (name, visible) and how to read one. `engine` is the library that reads it."""

    engine: str
    sheets: list[tuple[str, bool]]
    rows: Callable[[str], Rows]
    notes: dict[str, Any] = field(default_factory=dict)


def open_text(path: Path) -> Workbook:
    """A delimited text file as a workbook of one sheet."""
    coding = delimited.encoding(path)
    delimiter = delimited.separator(delimited.sample(path, coding))
    notes = {"encoding": coding, "separator": delimiter}
    return Workbook("csv", [("", True)], lambda _name: delimited.rows(path, coding, delimiter), notes)


def openers(path: Path, findings: Findings, limits: Limits) -> list[Callable[[], Workbook]]:
    """Ways to open a file, best first; the next is tried where one fails."""
    if findings.kind == "text":
        return [lambda: open_text(path)]
    fast: Callable[[], Workbook] = lambda: _calamine(path, findings.kind)  # noqa: E731 - one of two of a kind
    if findings.kind != "xlsx":
        return [fast]
    slow: Callable[[], Workbook] = lambda: _openpyxl(path, findings)  # noqa: E731
    lossy = findings.errors or findings.formulas or findings.zeros or findings.largest > limits.held
    return [slow, fast] if lossy else [fast, slow]


def _calamine(path: Path, kind: str) -> Workbook:
    from python_calamine import (  # noqa: PLC0415
        CalamineWorkbook,
        PasswordError,
        SheetTypeEnum,
        SheetVisibleEnum,
    )

    try:
        book = CalamineWorkbook.from_path(str(_named(path, kind)))
    except PasswordError as error:
        raise Unreadable("encrypted") from error
    sheets = [
        (m.name, m.visible == SheetVisibleEnum.Visible)
        for m in book.sheets_metadata
        if m.typ == SheetTypeEnum.WorkSheet
    ]

    def rows(name: str) -> Rows:
        sheet = book.get_sheet_by_name(name)
        if sheet.start is not None:
            yield from enumerate(sheet.iter_rows(), 1)

    return Workbook("calamine", sheets, rows)


def _named(path: Path, kind: str) -> Path:
    """The file under a name that says what it is: calamine goes by names."""
    link = Path(tempfile.mkdtemp()) / f"book.{kind}"
    link.symlink_to(path.resolve())
    _MADE.append(link)
    return link


def _openpyxl(path: Path, findings: Findings) -> Workbook:
    os.environ.setdefault("OPENPYXL_DEFUSEDXML", "False")
    os.environ.setdefault("OPENPYXL_LXML", "False")
    from openpyxl import load_workbook  # noqa: PLC0415

    warnings.simplefilter("ignore")
    source = _transitional(path) if findings.strict else path
    book = load_workbook(source, read_only=True, data_only=True, keep_links=False)
    formulas = load_workbook(source, read_only=True, keep_links=False) if findings.formulas else None
    sheets = [(s.title, s.sheet_state == "visible") for s in book.worksheets]
    if not sheets:
        raise Unreadable("corrupt")

    def rows(name: str) -> Rows:
        sheet = book[name]
        sheet.reset_dimensions()
        other = None
        if formulas is not None:
            formulas[name].reset_dimensions()
            other = formulas[name].iter_rows()
        for i, cells in enumerate(sheet.iter_rows(), 1):
            written = next(other, ()) if other is not None else ()
            yield i, [_cell(c, written[n] if n < len(written) else None) for n, c in enumerate(cells)]

    return Workbook("openpyxl", sheets, rows)


def _cell(cell: Any, written: Any) -> Any:
    value = cell.value
    if value is None:
        formula = None if written is None else written.value
        return {"f": formula} if isinstance(formula, str) and formula.startswith("=") else None
    if cell.data_type == "e":
        return {"e": value}
    if cell.data_type == "n" and type(value) in (int, float):
        return padded(value, cell.number_format)
    return value


def _transitional(path: Path) -> Path:
    """A copy of a Strict workbook in the dialect that openpyxl reads; deleted when the process ends."""
    handle, name = tempfile.mkstemp(suffix=".xlsx")
    os.close(handle)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(name, "w", zipfile.ZIP_STORED) as new:
        for member in old.infolist():
            data = old.read(member)
            if member.filename.lower().endswith((".xml", ".rels")):
                for strict, loose in _STRICT:
                    data = data.replace(strict, loose)
            new.writestr(member.filename, data)
    copy = Path(name)
    _MADE.append(copy)
    return copy


_MADE: list[Path] = []


def clean() -> None:
    """Delete what was made on the way."""
    for made in _MADE:
        with suppress(OSError):
            made.unlink()
            if made.parent != Path(tempfile.gettempdir()):
                made.parent.rmdir()
