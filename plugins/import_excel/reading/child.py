"""The process that reads one file: `python -m plugins.import_excel.reading.child REQUEST`.

Its answer on stdout are frames, each a letter, a length of four bytes and that many bytes: `R` rows as lines of
PostgreSQL's COPY text format, `S` the summary, `E` why the file cannot be read. Whatever kills it — a reader's abort, a
panic, the memory cap — its parent sees no `S`.
"""

from __future__ import annotations

import json
import resource
import struct
import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from plugins.import_excel.reading import header
from plugins.import_excel.reading.cells import plain, text
from plugins.import_excel.reading.columns import Column, see
from plugins.import_excel.reading.limits import Limits
from plugins.import_excel.reading.problem import Unreadable
from plugins.import_excel.reading.sniff import sniff
from plugins.import_excel.reading.workbook import Rows, Workbook, clean, openers

_CHUNK = 2000


class Frames:
    """Writes frames."""

    def __init__(self, out: BinaryIO) -> None:
        self.out = out
        self.wrote_rows = False

    def send(self, letter: bytes, body: bytes) -> None:
        """Write one frame."""
        self.wrote_rows |= letter == b"R"
        self.out.write(letter + struct.pack(">I", len(body)))
        self.out.write(body)
        self.out.flush()


def cap(limits: Limits, seconds: float) -> None:
    """Bound the memory and the processor time of this process, and let it leave no core dump."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    whole = int(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))


def filled(rows: Rows, limits: Limits) -> Iterator[tuple[int, list[Any]]]:
    """The rows that are not blank, in plain JSON, without blanks at their ends."""
    count = 0
    for number, row in rows:
        cells = [text(v) if type(v) is str else plain(v) for v in row]
        while cells and cells[-1] is None:
            cells.pop()
        if not cells:
            continue
        count += 1
        if count > limits.rows:
            raise Unreadable("too_large", "too_many_rows", limit=limits.rows)
        if len(cells) > limits.columns:
            raise Unreadable("too_large", "too_many_columns", limit=limits.columns)
        yield number, cells


def choose(book: Workbook, wanted: str | None, limits: Limits) -> tuple[str, Iterator[tuple[int, list[Any]]], Any]:
    """The sheet to read with its first row: the wanted one, else the first visible one that has data.

    Hidden sheets are looked at last.
    """
    names = [n for n, _ in book.sheets]
    if wanted is not None and wanted not in names:
        raise Unreadable("empty", "no_such_sheet", sheet=wanted)
    shown = [n for n, visible in book.sheets if visible] + [n for n, visible in book.sheets if not visible]
    for name in [wanted] if wanted is not None else shown:
        rows = filled(book.rows(name), limits)
        if (first := next(rows, None)) is not None:
            return name, rows, first
    raise Unreadable("empty")


def head(first: Any, rows: Iterator[tuple[int, list[Any]]], least: int) -> list[tuple[int, list[Any]]]:
    """The first rows, in which the header is looked for."""
    found = [first]
    for row in rows:
        found.append(row)
        if len(found) >= header.DEPTH and row[0] >= least:
            break
    return found


def read(request: dict[str, Any], frames: Frames, limits: Limits) -> dict[str, Any]:
    """Read the file that a request names, sending its rows; returns the summary."""
    path = Path(request["path"])
    findings = sniff(path, limits)
    failure: BaseException | None = None
    for opener in openers(path, findings, limits):
        try:
            book = opener()
            return table(request, book, frames, limits) | {
                "kind": findings.kind,
                "strict": findings.strict,
                "hiddenRows": findings.hidden.get(findings.sheets.get(request.get("chosen", ""), ""), 0),
            }
        except (Unreadable, MemoryError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            failure = error
            if "limit exceeded" in str(error):
                # calamine's own word for a table that would not fit into memory.
                raise Unreadable("too_large", "unpacks_too_large") from error
            if frames.wrote_rows:
                break
    raise Unreadable("corrupt") from failure


def table(request: dict[str, Any], book: Workbook, frames: Frames, limits: Limits) -> dict[str, Any]:
    """Send the rows of one table of a workbook; returns what is known of it."""
    wanted_header: int | None = request.get("header")
    sheet, rows, first = choose(book, request.get("sheet"), limits)
    request["chosen"] = sheet
    top = head(first, rows, wanted_header or 0)
    above = header.find(top)
    deep = header.depth(top, above - 1) if above else 0
    if wanted_header is not None:
        above = sum(number <= wanted_header for number, _ in top) if wanted_header else 0
        deep = min(above, 1)
    columns: list[Column] = []
    count = last = 0
    label = request.get("label", "").encode()
    data = chain(top[above:], rows)
    while chunk := list(islice(data, _CHUNK)):
        see(columns, [row for _, row in chunk])
        count += len(chunk)
        last = chunk[-1][0]
        lines = b"".join(b"%s\t%d\t%s\n" % (label, number, orjson.dumps(row)) for number, row in chunk)
        frames.send(b"R", lines.replace(b"\\", b"\\\\"))
    titles = [row for _, row in top[above - deep : above]]
    width = max([len(columns), *(len(r) for r in titles)])
    columns += [Column() for _ in range(width - len(columns))]
    names = header.names(titles, width)
    return {
        "engine": book.engine,
        "sheets": [{"name": n, "visible": v} for n, v in book.sheets],
        "sheet": sheet,
        "headerRow": top[above - 1][0] if above else 0,
        "titles": [[str(v) for v in row if v is not None] for _, row in top[: above - deep]][:20],
        "rows": count,
        "filledRows": count + above,
        "lastRow": last,
        "columns": [
            {"index": i, "letter": header.letters(i), "header": name, "name": label, **column.plain()}
            for i, (name, label, column) in enumerate(zip(names, header.distinct(names), columns, strict=True))
        ],
        **book.notes,
    }


def main(argument: str) -> None:
    """Read what the request asks for and send the answer."""
    request = json.loads(argument)
    limits = Limits(**request["limits"])
    cap(limits, request["seconds"])
    frames = Frames(sys.stdout.buffer)
    try:
        summary = read(request, frames, limits)
        frames.send(b"S", orjson.dumps(summary))
    except Unreadable as error:
        frames.send(b"E", orjson.dumps({"kind": error.kind, "code": error.code, "params": error.params}))
    except MemoryError:
        frames.send(b"E", orjson.dumps({"kind": "too_large", "code": "needs_too_much_memory", "params": {}}))
    except BaseException:  # noqa: BLE001 - whatever a reader throws, the file is to blame
        frames.send(b"E", orjson.dumps({"kind": "corrupt", "code": "corrupt", "params": {}}))
    finally:
        clean()


if __name__ == "__main__":
    main(sys.argv[1])
