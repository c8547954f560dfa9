"""Zip packages: .xlsx, .xlsm, .xlsb and .ods, weighed and searched before any reader opens them."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from posixpath import join, normpath
from xml.etree import ElementTree as ET

from plugins.import_excel.reading.cells import padded
from plugins.import_excel.reading.limits import MEGABYTE, Limits
from plugins.import_excel.reading.problem import Unreadable

STRICT = b"http://purl.oclc.org/ooxml/spreadsheetml/main"
_CHUNK = 1 << 18
_PROLOG = 1 << 16
_OVERLAP = 512

_ELEMENT = re.compile(r"<[A-Za-z_]")
_ERROR_TYPE = b'calcext:value-type="error"'
_ERROR_CELL = re.compile(rb"<(?:\w+:)?c [^>]*\bt=\"e\"")
_NO_VALUE = re.compile(
    rb"(?:</(?:\w+:)?f>|<(?:\w+:)?f(?: [^>]*)?/>)\s*"
    rb"(?:<(?:\w+:)?v(?: [^>]*)?/>|<(?:\w+:)?v></(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
_HIDDEN_ROW = re.compile(rb"<(?:\w+:)?row [^>]*\bhidden=\"(?:1|true)\"")
_FORMAT = re.compile(rb"formatCode=\"([^\"]{2,255})\"")


@dataclass
class Findings:
    """What the parts of a workbook hold that decides how it must be read. `hidden` counts hidden rows by part."""

    kind: str
    strict: bool = False
    errors: bool = False
    formulas: bool = False
    zeros: bool = False
    largest: int = 0
    hidden: dict[str, int] = field(default_factory=dict)
    sheets: dict[str, str] = field(default_factory=dict)


def examine(path: Path, limits: Limits) -> Findings:
    """What a zip package is and holds. Raises Unreadable where it is no workbook, damaged, hostile or too large."""
    try:
        with zipfile.ZipFile(path) as package:
            return _examine(package, path.stat().st_size, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ET.ParseError) as error:
        raise Unreadable("corrupt") from error
    except RuntimeError as error:
        # What zipfile raises for a member with a password.
        raise Unreadable("encrypted") from error


def _examine(package: zipfile.ZipFile, size: int, limits: Limits) -> Findings:
    members = {m.filename.replace("\\", "/"): m for m in package.infolist() if not m.is_dir()}
    _weigh(package.infolist(), size, limits)
    if (manifest := members.get("META-INF/manifest.xml")) and b"encryption-data" in _head(package, manifest):
        raise Unreadable("encrypted")
    for name, member in members.items():
        if name.lower().endswith((".xml", ".rels", ".vml")):
            _prolog(package, member)
    kind = _kind(package, members)
    findings = Findings(kind)
    if (links := members.get("_rels/.rels")) is not None and kind != "ods":
        ET.fromstring(_head(package, links))  # noqa: S314 - its prolog has no DTD
    if kind == "ods":
        if content := members.get("content.xml"):
            findings.errors = any(_ERROR_TYPE in chunk for chunk in _chunks(package, content))
        return findings
    for name, member in members.items():
        lower = name.lower()
        if "/worksheets/" in lower and lower.endswith(".xml"):
            findings.largest = max(findings.largest, member.file_size)
            _search(package, member, name, findings)
        elif lower.endswith("styles.xml"):
            findings.zeros |= _shows_zeros(package, member)
        elif lower.startswith("xl/") and lower.endswith(".xml") and "/" not in lower[3:]:
            findings.strict |= STRICT in _head(package, member)
    findings.sheets = _sheets(package, members)
    return findings


def _weigh(members: list[zipfile.ZipInfo], size: int, limits: Limits) -> None:
    unpacked = sum(m.file_size for m in members)
    strings = sum(m.file_size for m in members if m.filename.lower().endswith("sharedstrings.xml"))
    if len(members) > limits.parts or unpacked > limits.unpacked or strings > limits.strings:
        raise Unreadable("too_large", "unpacks_too_large")
    if unpacked > 100 * MEGABYTE and unpacked > limits.ratio * size:
        raise Unreadable("too_large", "unpacks_too_large")


def _kind(package: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> str:
    names = {n.lower() for n in members}
    if "mimetype" in names:
        # Of an OpenDocument package: it comes first and says what it is.
        kind = next(_head(package, m) for n, m in members.items() if n.lower() == "mimetype").decode("latin-1").strip()
        if "opendocument" in kind and "spreadsheet" not in kind:
            raise Unreadable("not_excel", "not_excel_document")
        if "opendocument" in kind:
            return "ods"
    if any(n.endswith(".iwa") or n.rpartition("/")[2] in ("index.zip", "index.apxl") for n in names):
        raise Unreadable("unsupported", "unsupported_numbers")
    if any(n.startswith("word/") for n in names):
        raise Unreadable("not_excel", "not_excel_document")
    if any(n.startswith("ppt/") for n in names):
        raise Unreadable("not_excel", "not_excel_slides")
    types = next((_head(package, m) for n, m in members.items() if n.lower() == "[content_types].xml"), b"")
    if b"wordprocessingml" in types and b"spreadsheetml.sheet" not in types:
        raise Unreadable("not_excel", "not_excel_document")
    if any(n.endswith("workbook.bin") for n in names):
        return "xlsb"
    if any(n.endswith("workbook.xml") or "/worksheets/" in n or n.startswith("xl/") for n in names):
        return "xlsx"
    if b"spreadsheetml" in types:
        return "xlsx"
    if "content.xml" in names:
        return "ods"
    if b"<Types" in types or any(n.startswith("_rels/") for n in names):
        raise Unreadable("corrupt")
    raise Unreadable("not_excel", "not_excel_archive")


def _chunks(package: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """The bytes of a part in chunks, checked against its checksum and the size it declares."""
    with package.open(member) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _head(package: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with package.open(member) as stream:
        return stream.read(_PROLOG)


def _prolog(package: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Refuse document type definitions, which can expand without end or fetch what is elsewhere."""
    head = _head(package, member)
    if not head.strip(b"\x00 \r\n\t\xef\xbb\xbf"):
        return
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head.decode("utf-16", "replace")
    elif head[:4] in (b"<\x00?\x00", b"<\x00!\x00"):
        text = head.decode("utf-16-le", "replace")
    elif head[:4] in (b"\x00<\x00?", b"\x00<\x00!"):
        text = head.decode("utf-16-be", "replace")
    elif b"<" not in head[:64]:
        # An encoding in which no tag can be found is none that a workbook is written in.
        raise Unreadable("corrupt")
    else:
        text = head.decode("latin-1")
    element = _ELEMENT.search(text)
    if "<!DOCTYPE" in text[: element.start() if element else None].upper() or "<!ENTITY" in text.upper():
        raise Unreadable("hostile")
    if element is None and len(head) == _PROLOG:
        raise Unreadable("hostile")


def _shows_zeros(package: zipfile.ZipFile, styles: zipfile.ZipInfo) -> bool:
    """Whether there is a number format that shows zeros on the left."""
    rest = b""
    for chunk in _chunks(package, styles):
        part = rest + chunk
        if any(padded(1, unescape(code.decode("utf-8", "replace"))) != 1 for code in set(_FORMAT.findall(part))):
            return True
        rest = part[-_OVERLAP:]
    return False


def _search(package: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, findings: Findings) -> None:
    rest = b""
    hidden = 0
    for chunk in _chunks(package, member):
        part = rest + chunk
        findings.errors = findings.errors or (b't="e"' in part and _ERROR_CELL.search(part) is not None)
        findings.formulas = findings.formulas or (
            (b"<f" in part or b":f" in part) and _NO_VALUE.search(part) is not None
        )
        if b"hidden=" in part:
            hidden += sum(1 for m in _HIDDEN_ROW.finditer(part) if m.end() > len(rest))
        rest = part[-_OVERLAP:]
    if hidden:
        findings.hidden[name] = hidden


def _sheets(package: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> dict[str, str]:
    """The part of each sheet by its name, as far as the workbook can be understood."""
    found: dict[str, str] = {}
    book = next((n for n in members if n.lower().endswith("workbook.xml")), "")
    if not book or members[book].file_size > 10 * MEGABYTE:
        return found
    folder, _, base = book.rpartition("/")
    links = members.get(f"{folder}/_rels/{base}.rels" if folder else f"_rels/{base}.rels")
    if links is None or links.file_size > 10 * MEGABYTE:
        return found
    try:
        targets = {
            e.get("Id"): normpath(join(folder, t) if not (t := e.get("Target") or "").startswith("/") else t[1:])
            for e in ET.fromstring(package.read(links))  # noqa: S314 - its prolog has no DTD
        }
        for element in ET.fromstring(package.read(members[book])).iter():  # noqa: S314 - likewise
            if element.tag.rpartition("}")[2] == "sheet":
                link = next((v for k, v in element.attrib.items() if k.rpartition("}")[2] == "id"), None)
                if link in targets:
                    found[element.get("name", "")] = targets[link]
    except ET.ParseError:
        pass
    return found
