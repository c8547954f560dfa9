"""The workbook of the rows that failed: as they were, with what is wrong, to be corrected and uploaded again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from core import JobContext, text
from plugins.import_excel.faults import PACKAGE
from plugins.import_excel.sheets import XLSX, Workbook

PURPOSE = "import_excel.failed"
KEPT = timedelta(days=30)
_PART = 2000

_FAILED = """
select r.row_no, r.cells::text as cells, f.reasons, f.columns
from (select row_no, array_agg(distinct reason || ' ' || fix) as reasons,
             array_agg(distinct column_index) filter (where column_index is not null) as columns
      from import_fault where import_id = $1 and not skipped and row_no > $2 group by row_no order by row_no limit $3) f
join import_row r on r.import_id = $1 and r.row_no = f.row_no order by r.row_no
"""


async def failed_rows(job: JobContext, import_id: UUID, row: Mapping[str, Any], locale: str) -> UUID | None:
    """Make the workbook and keep it; returns the file's id, None where no row failed."""
    async with job.connection() as connection:
        part = await connection.fetch(_FAILED, import_id, 0, _PART)
    if not part:
        return None
    columns = row["found"]["columns"]
    headers = [c["header"] or c["name"] for c in columns] + [text("error_column", locale, PACKAGE)]
    stem = row["file_name"].rpartition(".")[0] or row["file_name"]
    name = text("failed_name", locale, PACKAGE, name=stem) + ".xlsx"
    sheet = text("failed_sheet", locale, PACKAGE)
    async with job.files.draft(name, XLSX) as draft:
        book = Workbook(draft.path, sheet, headers, [18] * len(columns[:100]) + [60] * (len(columns) <= 100))
        while part:
            await asyncio.to_thread(_write, book, part, len(columns))
            async with job.connection() as connection:
                part = await connection.fetch(_FAILED, import_id, part[-1]["row_no"], _PART)
        await asyncio.to_thread(book.close)
        upload = await draft.finished()
        async with job.database.transaction(job.workspace) as connection:
            return (await job.files.keep(connection, upload, purpose=PURPOSE, expires_in=KEPT)).id


def _write(book: Workbook, part: Sequence[Any], width: int) -> None:
    for found in part:
        cells = orjson.loads(found["cells"])[:width]
        cells += [None] * (width - len(cells))
        marked = frozenset(found["columns"] or ())
        book.row([*map(_as_it_was, cells), "\n".join(found["reasons"])], marked)


def _as_it_was(cell: Any) -> Any:
    """A staged cell as a value of a workbook: text stays text, so that no zero is lost on the way back."""
    if not isinstance(cell, dict):
        return cell
    if "d" in cell:
        at = datetime.fromisoformat(cell["d"])
        return at if "T" in cell["d"] else date(at.year, at.month, at.day)
    return next(iter(cell.values()))
