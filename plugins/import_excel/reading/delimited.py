"""Delimited text: its encoding and its separator, found from what is in it."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plugins.import_excel.reading import tcvn
from plugins.import_excel.reading.problem import Unreadable

#: How much of a file decides.
_LOOKED_AT = 1 << 20
_SEPARATORS = ",;\t|"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Marks that follow a letter in windows-1258, and its letters that windows-1252 has others for.
_MARKS = "\u0300\u0301\u0303\u0309\u0323"
_LETTERS = frozenset("đĐăĂơƠưƯ")
#: What stands for bytes that are no UTF-8, and what is not ASCII.
_ESCAPED = re.compile("[\udc80-\udcff]")
_WIDE = re.compile("[^\x00-\x7f]")
#: The longest cell in characters, and a line after the last one that shows whether a quotation mark was left open.
_LONGEST = 1 << 24
_END = "\x1f"
#: What a guarded cell begins with after its apostrophe.
_GUARDED = ("''", "'=", "'+", "'-", "'@", "'\t", "'\r")


def encoding(path: Path) -> str:
    """The encoding of a text file. Raises Unreadable where it is no text."""
    with path.open("rb") as stream:
        head = stream.read(_LOOKED_AT)
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    if wide := _wide(head):
        return wide
    if sum(c < 9 for c in head) > len(head) // 50:
        raise Unreadable("not_excel")
    return "utf-8" if _is_utf8(path) else _narrow(_beyond_ascii(path))


def _is_utf8(path: Path) -> bool:
    """Whether a text is in UTF-8, damaged here and there or cut off as it may be. All of it decides."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    sound = damaged = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_LOOKED_AT):
            text = decoder.decode(chunk)
            if text.isascii():
                continue
            bad = len(_ESCAPED.findall(text))
            damaged += bad
            sound += len(_WIDE.findall(text)) - bad
    return damaged * 4 <= sound


def _beyond_ascii(path: Path) -> bytes:
    """The lines of a file that are not all ASCII, as many as decide."""
    found: list[bytes] = []
    size = 0
    with path.open("rb") as stream:
        for line in stream:
            if not line.isascii():
                found.append(line)
                size += len(line)
                if size > _LOOKED_AT:
                    break
    return b"".join(found)


def _wide(head: bytes) -> str:
    """UTF-16 without a mark: nearly every other byte is nothing."""
    if len(head) < 4:
        return ""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    half = len(head) / 2
    if odd > 0.6 * half and even < 0.1 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.6 * half and odd < 0.1 * half else ""


def _narrow(lines: bytes) -> str:
    """TCVN3 or windows-1258 where what stands there is Vietnamese by them, else western (windows-1252)."""
    if tcvn.written_in(lines):
        return tcvn.NAME
    text = lines.decode("cp1258", "replace")
    marked = [(a, b) for a, b in itertools.pairwise(text) if b in _MARKS]
    composed = sum(len(unicodedata.normalize("NFC", a + b)) == 1 for a, b in marked)
    vietnamese = sum(c in _LETTERS for c in text)
    if "\ufffd" not in text and composed == len(marked) and composed + vietnamese > 0:
        return "cp1258"
    return "cp1252"


def separator(text: str) -> str:
    """What separates the cells of a text. Raises Unreadable for text that is no table."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise Unreadable("empty")
    if lines[0].lower().startswith("sep=") and len(lines[0]) >= 5:
        return lines[0][4]
    best, best_score = "", 0.0
    for candidate in _SEPARATORS:
        try:
            rows = [r for r in csv.reader(lines[:200], delimiter=candidate) if r]
        except csv.Error:
            continue
        widths = Counter(len(r) for r in rows)
        if not widths:
            continue
        width, often = max(widths.items(), key=lambda item: (item[1], item[0]))
        wide = sum(n for w, n in widths.items() if w > 1) / len(rows)
        if width > 1 or wide >= 0.8:
            score = often / len(rows) * wide * min(max(widths), 20) ** 0.25
            if score > best_score:
                best, best_score = candidate, score
    if best and (len(lines) > 1 or best == "\t" or best_score > 0) and best_score >= 0.3:
        return best
    words = [len(line.split()) for line in lines]
    if len(lines) >= 2 and max(map(len, lines)) <= 200 and sum(words) / len(words) <= 6:
        # A list of one column.
        return ","
    raise Unreadable("not_excel", "not_excel_text")


def rows(path: Path, coding: str, delimiter: str) -> Iterator[tuple[int, list[Any]]]:
    """The rows of a text file with the number of the line in the file, as spreadsheets would number them.

    Raises Unreadable where a quotation mark is never closed: all that follows it would be one cell.
    """
    csv.field_size_limit(_LONGEST)
    number = 0
    with path.open(encoding=coding, errors="replace", newline="") as stream:
        clean = (line.replace("\x00", "") for line in stream)
        reader = csv.reader(itertools.chain(clean, (_END,)), delimiter=delimiter)
        try:
            for number, row in enumerate(reader, 1):
                if row == [_END]:
                    return
                if row and row[-1].endswith(_END):
                    break
                if number == 1 and row and row[0].lower().startswith("sep="):
                    continue
                yield number, [_cell(c) for c in row]
        except csv.Error:
            number += 1
        except UnicodeError as error:
            raise Unreadable("corrupt") from error
    raise Unreadable("corrupt", "unclosed_quote", row=number)


def _cell(text: str) -> Any:
    """A cell without what guards it: an apostrophe before what would be a formula, or `="0912"` around digits."""
    if text.startswith(_GUARDED):
        return text[1:]
    if text.startswith('="') and text.endswith('"') and len(text) > 2:
        return text[2:-1].replace('""', '"')
    # Bytes that are no text in the file's encoding: what stood there is lost, and it must not pass for a value.
    return {"e": text} if "\ufffd" in text else text


def sample(path: Path, coding: str) -> str:
    """The beginning of a text file, up to the last whole line."""
    with path.open(encoding=coding, errors="replace", newline="") as stream:
        text = stream.read(1 << 16)
    text = text.replace("\x00", "")
    cut = text.rfind("\n")
    return text[: cut + 1] if len(text) >= 1 << 16 and cut > 0 else text
