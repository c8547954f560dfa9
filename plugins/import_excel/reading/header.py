"""Finding the header of a table: below titles, in one row or two, or not there at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

#: Rows that are looked at for a header.
DEPTH = 50

_DATA = re.compile(r"^[\d\s.,:/+()\-%]+$|[^\s@]+@[^\s@]+\.\w+|^https?://|^\+?\d[\d\s.\-]{7,}$")
_LONG = 120

Row = Sequence[Any]


def find(rows: Sequence[tuple[int, Row]]) -> int:
    """How many of the first rows lie above the data, header included; 0 where there is no header.

    The header is the first row that is about as wide as the table, all words, no two alike, and followed by rows.
    """
    if not rows:
        return 0
    widths = sorted(_filled(row) for _, row in rows)
    typical = widths[len(widths) // 2]
    best, best_score = 0, 0.0
    for i, (_, row) in enumerate(rows[: DEPTH - 1]):
        filled = _filled(row)
        if filled == 0 or filled < 0.5 * typical or (filled == 1 and typical > 1):
            continue
        if filled >= typical and _looks_like_data(row):
            break
        score = _likeness(row, rows[i + 1 :]) + min(filled / max(typical, 1), 1.2)
        if score > best_score + 0.15:
            best, best_score = i + 1, score
    if best == 0 or _looks_like_data(rows[best - 1][1]):
        return 0
    if best < len(rows) and is_second(rows[best - 1][1], rows[best][1]):
        return best + 1
    return best


def depth(rows: Sequence[tuple[int, Row]], last: int) -> int:
    """Of how many rows the header consists whose last is the one with index `last`: 1 or 2."""
    return 2 if last > 0 and is_second(rows[last - 1][1], rows[last][1]) else 1


def _filled(row: Row) -> int:
    return sum(v is not None for v in row)


def _looks_like_data(row: Row) -> bool:
    cells = [v for v in row if v is not None]
    marks = sum(map(_is_data, cells))
    return marks * 3 > len(cells) or (marks > 1 and marks * 3 == len(cells))


def _likeness(row: Row, below: Sequence[tuple[int, Row]]) -> float:
    """How much a row is like a header, from 0 to 2."""
    cells = [v for v in row if v is not None]
    words = [v for v in cells if isinstance(v, str) and len(v) <= _LONG and not _is_data(v)]
    score = len(words) / len(cells)
    distinct = len({w.casefold() for w in words}) / max(len(words), 1)
    if not below:
        return score * distinct
    following = below[:10]
    unlike = sum(any(_is_data(_at(r, c)) for _, r in following) for c, v in enumerate(row) if isinstance(v, str))
    return score * distinct + min(unlike / len(cells), 1) * 0.5


def _is_data(value: Any) -> bool:
    """Whether a cell is rather a value than a name of values; a long text is neither."""
    if value is None or isinstance(value, str):
        return value is not None and len(value) <= _LONG and _DATA.search(value) is not None
    return True


def is_second(first: Row, second: Row) -> bool:
    """Whether a row goes on with a header whose cells were merged: it names what that leaves blank, in words."""
    if _looks_like_data(second) or not all(isinstance(v, str) and len(v) <= _LONG for v in second if v is not None):
        return False
    width = max(len(first), len(second))
    pairs = [(_at(first, c), _at(second, c)) for c in range(width)]
    fills = sum(a is None and b is not None for a, b in pairs)
    leaves = sum(a is not None and b is None for a, b in pairs)
    both = sum(a is not None and b is not None for a, b in pairs)
    return fills >= 1 and leaves >= 1 and both <= fills


def _at(row: Row, column: int) -> Any:
    return row[column] if column < len(row) else None


def names(rows: Sequence[Row], width: int) -> list[str]:
    """The header of each column from the one or two rows of it; blank where it has none."""
    if not rows:
        return [""] * width
    if len(rows) == 1:
        return [_label(_at(rows[0], c)) for c in range(width)]
    upper: list[str] = []
    above = ""
    for c in range(width):
        here, below = _label(_at(rows[0], c)), _label(_at(rows[1], c))
        above = here or (above if below else "")
        upper.append(" ".join(part for part in (above, below) if part))
    return upper


def _label(value: Any) -> str:
    return "" if value is None else " ".join(str(value).split())


def distinct(given: Sequence[str]) -> list[str]:
    """Headers with which every column can be told: blank ones are called by their letter, later twins numbered."""
    found: list[str] = []
    taken: set[str] = set()
    for i, name in enumerate(given):
        base = name or letters(i)
        label, n = base, 2
        while label.casefold() in taken:
            label, n = f"{base} ({n})", n + 1
        taken.add(label.casefold())
        found.append(label)
    return found


def letters(column: int) -> str:
    """The letters by which spreadsheets call a column, counted from 0.

    >>> letters(0), letters(25), letters(26), letters(16383)
    ('A', 'Z', 'AA', 'XFD')
    """
    found = ""
    column += 1
    while column:
        column, digit = divmod(column - 1, 26)
        found = chr(65 + digit) + found
    return found
