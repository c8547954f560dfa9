"""The workbook that people fill in: headers, types, drop-down lists, notes and a guide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xlsxwriter

from core import Kind, text
from plugins.import_excel.faults import PACKAGE
from plugins.import_excel.targets import Goal

#: Rows that are prepared.
ROWS = 10_000
_WIDTH = 22


def write(path: Path, columns: Sequence[Goal], choices: Mapping[str, Sequence[str]], locale: str) -> None:
    """Write the template. `choices` are labels by field; codes and phone numbers are text, so that zeros stay."""
    book = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False})
    head = book.add_format({"bold": True, "bg_color": "#DDEBF7", "border": 1})
    needed = book.add_format({"bold": True, "bg_color": "#FCE4D6", "border": 1})
    formats: dict[Kind, Any] = {
        Kind.DATE: book.add_format({"num_format": "dd/mm/yyyy"}),
        Kind.DATETIME: book.add_format({"num_format": "dd/mm/yyyy hh:mm"}),
        Kind.INT: book.add_format({"num_format": "0"}),
        Kind.DECIMAL: book.add_format({"num_format": "#,##0.####"}),
    }
    words = book.add_format({"num_format": "@"})
    sheet = book.add_worksheet(text("export_name", locale, PACKAGE))
    guide = book.add_worksheet(text("guide_sheet", locale, PACKAGE))
    lists = book.add_worksheet(text("choices_sheet", locale, PACKAGE))
    sheet.freeze_panes(1, 0)
    for i, key in enumerate(("guide_column", "guide_type", "guide_note")):
        guide.write_string(0, i, text(key, locale, PACKAGE), head)
    guide.set_column(0, 1, _WIDTH)
    guide.set_column(2, 2, 90)
    at = 0
    for i, goal in enumerate(columns):
        label = goal.labels.get(locale) or goal.labels.get("en") or goal.name
        sheet.set_column(i, i, _WIDTH, formats.get(goal.field.kind, words))
        sheet.write_string(0, i, label, needed if goal.name == "name" else head)
        note = text(f"type_{goal.field.kind.name.lower()}", locale, PACKAGE)
        sheet.write_comment(0, i, note)
        guide.write_string(i + 1, 0, label)
        guide.write_string(i + 1, 1, goal.type)
        offered = choices.get(goal.name, ())
        if offered:
            for n, choice in enumerate(offered):
                lists.write_string(n, at, choice)
            note += " " + ", ".join(offered)
        guide.write_string(i + 1, 2, note[:32_000])
        if offered and goal.field.kind is Kind.ENUM:
            column = xlsxwriter.utility.xl_col_to_name(at, col_abs=True)
            source = f"='{lists.get_name()}'!{column}$1:{column}${len(offered)}"
            sheet.data_validation(1, i, ROWS, i, {"validate": "list", "source": source})
        at += bool(offered)
        if goal.field.kind is Kind.BOOL:
            yes, no = text("yes", locale, PACKAGE), text("no", locale, PACKAGE)
            sheet.data_validation(1, i, ROWS, i, {"validate": "list", "source": [yes, no]})
    lists.hide()
    book.close()
