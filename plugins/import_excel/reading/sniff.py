"""What a file is, by its bytes and never by its name."""

from __future__ import annotations

import re
from pathlib import Path

from plugins.import_excel.reading import compound
from plugins.import_excel.reading.limits import Limits
from plugins.import_excel.reading.package import Findings, examine
from plugins.import_excel.reading.problem import Unreadable

_HEAD = 4096

#: How files begin that are no spreadsheets, and what people call them.
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF", "not_excel", "not_excel_pdf"),
    (b"{\\rtf", "not_excel", "not_excel_document"),
    (b"\x89PNG", "not_excel", "not_excel_picture"),
    (b"\xff\xd8\xff", "not_excel", "not_excel_picture"),
    (b"GIF8", "not_excel", "not_excel_picture"),
    (b"BM", "not_excel", "not_excel_picture"),
    (b"\x1f\x8b", "not_excel", "not_excel_archive"),
    (b"7z\xbc\xaf\x27\x1c", "not_excel", "not_excel_archive"),
    (b"Rar!", "not_excel", "not_excel_archive"),
    (b"BZh", "not_excel", "not_excel_archive"),
    (b"\xfd7zXZ", "not_excel", "not_excel_archive"),
    (b"MZ", "not_excel", "not_excel_program"),
    (b"\x7fELF", "not_excel", "not_excel_program"),
    (b"SQLite format 3", "not_excel", "not_excel_database"),
    (b"\x00\x01\x00\x00Standard", "not_excel", "not_excel_database"),
    (b"ID;", "unsupported", "unsupported_old"),
    (b"TABLE\r\n0,1", "unsupported", "unsupported_old"),
    (b"\x09\x00\x04\x00", "unsupported", "unsupported_old"),
    (b"\x09\x02\x06\x00", "unsupported", "unsupported_old"),
    (b"\x09\x04\x06\x00", "unsupported", "unsupported_old"),
    (b"\x09\x08\x08\x00", "unsupported", "unsupported_old"),
    (b"\x09\x08\x10\x00", "unsupported", "unsupported_old"),
    (b"\x00\x00\x02\x00", "unsupported", "unsupported_old"),
    (b"PAR1", "unsupported", "unsupported_data"),
)
_PAGE = re.compile(rb"<(?:!doctype html|html|head|body|table|div|meta|style|script)\b", re.IGNORECASE)
#: Text that is no table: JSON, two header fields of a mail one below the other, settings such as a link's.
_WORDY: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"[\[{]\s*[\"\[{\]}]"), "not_excel_markup"),
    (re.compile(rb"(?=[^\x00]*From:)(?:[A-Z][A-Za-z\-]*: [^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*){2}"), "not_excel_mail"),
    (re.compile(rb"\[[A-Za-z0-9.{}\- ]+\]\r?\n[A-Za-z0-9]+="), "not_excel_text"),
)
#: The owner file that Office keeps beside an open document: the length of a name, the name, and padding.
_LOCK_SIZES = (54, 162, 165)


def sniff(path: Path, limits: Limits) -> Findings:
    """What a file is: `xlsx`, `xlsb`, `xls`, `ods` or `text`. Raises Unreadable for what is none of these."""
    size = path.stat().st_size
    if size == 0:
        raise Unreadable("not_excel", "not_excel_nothing")
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK00PK")):
        return examine(path, limits)
    if head.startswith(compound.MAGIC):
        return Findings(_old(path))
    if size in _LOCK_SIZES and 0 < head[0] < 54 and not head[head[0] + 1 : 54].strip(b"\x00 "):
        raise Unreadable("not_excel", "not_excel_lock")
    for start, kind, code in _FOREIGN:
        if head.startswith(start) and not (start.isalpha() and _goes_on(head)):
            raise Unreadable(kind, code)
    text = head.lstrip(b"\xef\xbb\xbf \r\n\t\x00")
    if text.startswith(b"<"):
        plain = head.replace(b"\x00", b"")
        if b"urn:schemas-microsoft-com:office:spreadsheet" in plain or b"mso-application" in plain:
            raise Unreadable("unsupported", "unsupported_xml")
        if b"office:document" in plain:
            raise Unreadable("unsupported", "unsupported_xml")
        raise Unreadable("not_excel", "not_excel_page" if _PAGE.search(plain) else "not_excel_markup")
    if b"MIME-Version:" in head and b"<html" in head.lower():
        raise Unreadable("not_excel", "not_excel_page")
    for pattern, code in _WORDY:
        if pattern.match(text):
            raise Unreadable("not_excel", code)
    return Findings("text")


def _goes_on(head: bytes) -> bool:
    """Whether what begins like a picture or a program goes on like text, such as a list of `BMW` cars."""
    return b"\x00" not in head and not any(c < 9 for c in head)


def _old(path: Path) -> str:
    streams = {name.lower(): size for name, size in compound.root_streams(path).items()}
    lower = set(streams)
    if "encryptedpackage" in lower:
        raise Unreadable("encrypted" if streams["encryptedpackage"] <= path.stat().st_size else "corrupt")
    if lower & {"workbook", "book"}:
        return "xls"
    if lower & {"worddocument", "powerpoint document"}:
        raise Unreadable("not_excel", "not_excel_document")
    if any(n.startswith(("__substg1.0", "__properties")) for n in lower):
        raise Unreadable("not_excel", "not_excel_mail")
    if lower & {"wksssworkbook", "contents", "nativecontent_main"} and "workbook" not in lower:
        raise Unreadable("unsupported", "unsupported_old")
    damaged = not lower or any(n.startswith(("workbook", "book")) for n in lower)
    raise Unreadable("corrupt" if damaged else "not_excel")
