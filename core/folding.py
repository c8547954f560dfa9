"""Text without case and accents, as the database's `crm_fold` makes it, for the letters that are typed nearly always.

A pattern that is folded before it is sent is compared as it stands; one that the database must fold is folded
anew for every row where the plan is a general one.
"""

from __future__ import annotations

import re
import unicodedata

#: ASCII, and the letters of Vietnamese with their marks, precomposed or not, as `unaccent` knows them.
_PLAIN = {chr(code): chr(code).lower() for code in range(0x20, 0x7F)}
_MARKS = "\u0300\u0301\u0303\u0309\u0323"
_LETTERS = {
    unicodedata.normalize("NFC", base + mark): unicodedata.normalize("NFD", base)[0].lower()
    for base in "aăâeêioôơuưyAĂÂEÊIOÔƠUƯY"
    for mark in ("", *_MARKS)
}
_FOLDED = str.maketrans(_PLAIN | _LETTERS | {"đ": "d", "Đ": "d"})
_KNOWN = frozenset(map(chr, _FOLDED))
_SPECIAL = re.compile(r"([\\%_])")


def fold(text: str) -> str | None:
    """The text without case and accents; None where it has letters that only the database can fold."""
    composed = unicodedata.normalize("NFC", text)
    return composed.translate(_FOLDED) if _KNOWN.issuperset(composed) else None


def pattern(text: str, before: str, after: str) -> str | None:
    """The LIKE pattern of the folded text between two pieces of pattern; None where `fold` gives none."""
    folded = fold(text)
    return None if folded is None else before + _SPECIAL.sub(r"\\\1", folded) + after
