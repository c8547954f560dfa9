"""The sheets of a file and their rows, by the library that loses nothing of them.

calamine is fast, but shows error cells and formulas without values as blanks and knows no number formats; a workbook
that has any of these is read by openpyxl, and so is one whose sheets are too large to be held in memory. xlrd loses
nothing of an .xls. Of an .ods with errors calamine reads a copy in which they are text.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugins.import_excel.reading import delimited
from plugins.import_excel.reading.cells import padded, unescaped
from plugins.import_excel.reading.limits import Limits
from plugins.import_excel.reading.package import Findings
from plugins.import_excel.reading.problem import Unreadable

_BLANKS_AFTER = re.compile(rb"(</?(?:table|office):[^<>]*>)\s+(?=<)")
_BLANKS_BEFORE = re.compile(rb"(?<=>)\s+(</?(?:table|office):)")
_ERROR_TEXT = re.compile(rb"(<table:table-cell [^<>]*?)\s+office:string-value=\"\"([^<>]*calcext:value-type=\"error\")")
#: What spreadsheets show of errors.
ERRORS = frozenset({"#N/A", "#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NULL!", "#NUM!"})
#: The last row that a sheet can have.
LAST_ROW = 1_048_576

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

    def fast() -> Workbook:
        return _calamine(path, findings.kind)

    match findings.kind:
        case "text":
            return [lambda: open_text(path)]
        case "xlsx":
            lossy = findings.errors or findings.formulas or findings.zeros or findings.largest > limits.held
            ways = [fast, lambda: _openpyxl(path, findings)]
            return ways[::-1] if lossy else ways
        case "xls":
            return [lambda: _xlrd(path), fast]
        case "ods":
            ways = [fast, lambda: _calamine(_tidied(path), "ods")]
            return ways[::-1] if findings.errors else ways
    return [fast]


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
    if not book.sheets_metadata:
        raise Unreadable("corrupt")
    sheets = [
        (m.name, m.visible == SheetVisibleEnum.Visible)
        for m in book.sheets_metadata
        if m.typ == SheetTypeEnum.WorkSheet
    ]

    def rows(name: str) -> Rows:
        sheet = book.get_sheet_by_name(name)
        if sheet.start is None:
            return
        for i, row in enumerate(sheet.iter_rows(), 1):
            yield i, [{"e": v} if v in ERRORS else v for v in row] if kind == "ods" else row

    return Workbook("calamine", sheets, rows)


def _named(path: Path, kind: str) -> Path:
    """The file under a name that says what it is: calamine goes by names."""
    link = Path(tempfile.mkdtemp()) / f"book.{kind}"
    link.symlink_to(path.resolve())
    _MADE.append(link)
    return link


def _xlrd(path: Path) -> Workbook:
    import xlrd  # noqa: PLC0415

    try:
        book = xlrd.open_workbook(str(path), formatting_info=True, ragged_rows=True, logfile=io.StringIO())
    except xlrd.XLRDError as error:
        if "encrypted" in str(error):
            raise Unreadable("encrypted") from error
        raise

    def value(cell: Any) -> Any:
        if cell.ctype == xlrd.XL_CELL_ERROR:
            return {"e": xlrd.error_text_from_code.get(cell.value, "#N/A")}
        if cell.ctype == xlrd.XL_CELL_BOOLEAN:
            return bool(cell.value)
        if cell.ctype == xlrd.XL_CELL_DATE:
            try:
                at = xlrd.xldate.xldate_as_datetime(cell.value, book.datemode)
            except (ValueError, OverflowError):
                return cell.value
            return at.time() if 0 <= cell.value < 1 else at
        if cell.ctype == xlrd.XL_CELL_NUMBER:
            return padded(cell.value, book.format_map[book.xf_list[cell.xf_index].format_key].format_str)
        return cell.value

    def rows(name: str) -> Rows:
        sheet = book.sheet_by_name(name)
        for i in range(sheet.nrows):
            yield i + 1, [value(c) for c in sheet.row(i)]

    return Workbook("xlrd", [(s.name, s.visibility == 0) for s in book.sheets()], rows)


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
            if i > LAST_ROW:
                raise Unreadable("corrupt")
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
    return unescaped(value) if type(value) is str else value


def _rewritten(path: Path, suffix: str, change: Callable[[str, bytes], bytes], more: dict[str, str]) -> Path:
    """A copy of a package with its parts changed, and with parts that it may lack; deleted when the process ends."""
    handle, name = tempfile.mkstemp(suffix=suffix)
    os.close(handle)
    copy = Path(name)
    _MADE.append(copy)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as new:
        for part in more.keys() - set(old.namelist()):
            new.writestr(part, more[part])
        for member in old.infolist():
            new.writestr(member.filename, change(member.filename, old.read(member)))
    return copy


def _transitional(path: Path) -> Path:
    """A Strict workbook in the dialect that openpyxl reads."""

    def change(part: str, data: bytes) -> bytes:
        if part.lower().endswith((".xml", ".rels")):
            for strict, loose in _STRICT:
                data = data.replace(strict, loose)
        return data

    return _rewritten(path, ".xlsx", change, {})


def _tidied(path: Path) -> Path:
    """An OpenDocument sheet as calamine reads it: no blanks between cells, and errors as the text that shows them."""

    def change(part: str, data: bytes) -> bytes:
        if part == "content.xml":
            data = _BLANKS_AFTER.sub(rb"\1", _BLANKS_BEFORE.sub(rb"\1", data))
            data = _ERROR_TEXT.sub(rb"\1\2", data)
        return data

    return _rewritten(path, ".ods", change, {"mimetype": "application/vnd.oasis.opendocument.spreadsheet"})


_MADE: list[Path] = []


def clean() -> None:
    """Delete what was made on the way."""
    for made in _MADE:
        with suppress(OSError):
            made.unlink()
            if made.parent != Path(tempfile.gettempdir()):
                made.parent.rmdir()
