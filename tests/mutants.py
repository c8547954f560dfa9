"""Spreadsheets gone wrong, made from a sound one, each with what reading it may lead to."""

from __future__ import annotations

import csv
import io
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import xlsxwriter

ROWS = 12
SHEET, STRINGS, STYLES = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml"
TABLE = (
    ("Mã KH", "Tên khách hàng", "Điện thoại", "Ghi chú"),
    ("KH1", "Đặng Thị Hà", "0912345678", "a, b; c|d"),
    ("KH2", "Trần Văn Ơn", "0912345679", "dòng 1\ndòng 2"),
    ("KH3", 'Nguyễn "Tý" Ưng', "0912345670", "x"),
)

#: Name, bytes, and the kinds of outcome that are right; `rows=13` where these and no other number are.
Mutant = tuple[str, bytes, set[str]]
READ, BROKEN = {f"rows={ROWS + 1}"}, {"corrupt"}
EITHER = READ | BROKEN


def sound(path: Path) -> bytes:
    """A workbook of customers with padded phones, dates, an error and formulas."""
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet("KH")
    day, zeros = book.add_format({"num_format": "dd/mm/yyyy"}), book.add_format({"num_format": "0000000000"})
    sheet.write_row(0, 0, ["Mã KH", "Tên khách hàng", "Điện thoại", "Ngày sinh", "Doanh thu", "Lỗi", "Công thức"])
    for i in range(1, ROWS + 1):
        sheet.write_row(i, 0, [f"KH{i:03}", f"Nguyễn Văn {i}"])
        sheet.write_number(i, 2, 912_000_000 + i, zeros)
        sheet.write_datetime(i, 3, date(1990, 1, i), day)
        sheet.write_number(i, 4, 1000.5 * i)
        sheet.write_formula(i, 6, f"=E{i + 1}*2", None, 2001 * i)
    sheet.write_formula(3, 5, "=NA()", None, "#N/A")
    book.close()
    return path.read_bytes()


def packed(base: bytes, change: Callable[[str, bytes], bytes | None], **more: bytes) -> bytes:
    """A package with its parts changed (None leaves one out) and parts added to it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(base)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if (data := change(name, old.read(name))) is not None:
                new.writestr(name, data)
        for name, data in more.items():
            new.writestr(name, data)
    return out.getvalue()


def within(part: str, old: bytes, new: bytes) -> Callable[[str, bytes], bytes]:
    """A change of some bytes of one part."""

    def change(name: str, data: bytes) -> bytes:
        if name != part:
            return data
        assert old in data, old
        return data.replace(old, new)

    return change


def wounded(base: bytes) -> Iterator[Mutant]:
    """Cut off, flipped, overwritten."""
    for percent in (3, 10, 30, 50, 80, 95, 99):
        yield f"cut to {percent} %", base[: len(base) * percent // 100], BROKEN
    yield "without its last byte", base[:-1], EITHER
    yield "nothing but a beginning", base[:4], BROKEN
    yield "bytes behind it", base + b"\0" * 1000, EITHER
    dice = random.Random(1)
    for n in range(10):
        flipped = bytearray(base)
        flipped[dice.randrange(len(base))] ^= 1 << dice.randrange(8)
        yield f"flip {n}", bytes(flipped), EITHER | {"encrypted", "not_excel"}
    for n in range(4):
        noisy = bytearray(base)
        for _ in range(30):
            noisy[dice.randrange(len(base))] = dice.randrange(256)
        yield f"noise {n}", bytes(noisy), EITHER | {"not_excel", "too_large"}
    for name in zipfile.ZipFile(io.BytesIO(base)).namelist():
        lost = packed(base, lambda n, data, name=name: None if n == name else data)  # type: ignore[misc]
        yield f"without {name}", lost, EITHER


def hostile(base: bytes) -> Iterator[Mutant]:
    """Bombs, entities, and dimensions that no sheet has."""

    def keep(_: str, data: bytes) -> bytes:
        return data

    end = b"</sheetData>"
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    yield (
        "an entity",
        packed(base, within(SHEET, b"<worksheet", b'<!DOCTYPE a [<!ENTITY x "y">]><worksheet')),
        {"hostile"},
    )
    yield "blanks without end", packed(base, within(SHEET, end, b" " * 400_000_000 + end)), {"too_large"}
    yield "parts without end", packed(base, keep, **{f"x/{i}.xml": b"<a/>" for i in range(11_000)}), {"too_large"}
    yield "a wrong dimension", packed(base, within(SHEET, b"A1:G13", b"A1:XFD1048576")), READ
    yield "the last cell", packed(base, within(SHEET, end, far + end)), {f"rows={ROWS + 2}"}
    over = far.replace(b"1048576", b"99999999")
    yield "a row that cannot be", packed(base, within(SHEET, end, over + end)), BROKEN | {f"rows={ROWS + 2}"}
    yield "a string that is not there", packed(base, within(SHEET, b't="s"><v>', b't="s"><v>99')), BROKEN
    yield "half a sheet", packed(base, lambda n, data: data[: len(data) // 2] if n == SHEET else data), BROKEN
    slow = b'formatCode="' + b"&quot;" * 60 + b'0x"'
    yield "a number format to hang by", packed(base, within(STYLES, b'formatCode="0000000000"', slow)), READ
    link = b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
    link += b'Type="x" Target="file:///etc/passwd" TargetMode="External"/></Relationships>'
    yield "a link to elsewhere", packed(base, keep, **{"xl/externalLinks/_rels/a.xml.rels": link}), READ
    yield "a path out", packed(base, keep, **{"../../evil": b"x"}), READ
    yield "macros", packed(base, keep, **{"xl/vbaProject.bin": b"\0" * 3000}), READ
    yield "workbooks inside", packed(base, keep, **{"xl/embeddings/a.xlsx": base, "xl/embeddings/b.zip": base}), READ


def odd(base: bytes) -> Iterator[Mutant]:
    """Sound, but not as most are."""
    yield "1904", packed(base, within("xl/workbook.xml", b"<workbookPr", b'<workbookPr date1904="1"')), READ
    yield "hidden", packed(base, within("xl/workbook.xml", b"<sheet name", b'<sheet state="veryHidden" name')), READ
    never = packed(base, lambda n, d: re.sub(rb"</f><v>\d+</v>", b"</f>", d) if n == SHEET else d)
    yield "formulas never calculated", never, READ
    merged = b'</sheetData><mergeCells count="1"><mergeCell ref="A1:XFD1048576"/></mergeCells>'
    yield "all cells merged", packed(base, within(SHEET, b"</sheetData>", merged)), READ
    for part in (SHEET, STRINGS):
        wide = packed(
            base, lambda n, d, p=part: d.decode().replace("UTF-8", "UTF-16").encode("utf-16") if n == p else d
        )  # type: ignore[misc]
        yield f"{part} in UTF-16", wide, READ


def foreign(base: bytes) -> Iterator[Mutant]:
    """Other files under a spreadsheet's name."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.xlsx", base)
    not_excel = {"not_excel"}
    yield "an archive", inner.getvalue(), not_excel
    yield "a page", b"\xef\xbb\xbf<table><tr><td>a</td></tr></table>", not_excel
    yield "a mail", b"From: a@b.vn\r\nTo: c@d.vn\r\nSubject: x\r\n\r\nhi\r\n", not_excel
    yield "a link", b"[InternetShortcut]\r\nURL=https://a.vn\r\n", not_excel
    yield "a PDF", b"%PDF-1.7\n" * 50, not_excel
    yield "JSON", b'{\n "a": 1}\n', not_excel
    yield "XML of 2003", b'<?mso-application progid="Excel.Sheet"?><Workbook/>', {"unsupported"}
    yield "zeros", b"\0" * 5000, not_excel
    yield "blanks", b" " * 5000, {"empty"}
    yield "the head of an .xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, BROKEN


def delimited() -> Iterator[Mutant]:
    """Text in every dialect."""
    right = {f"rows={len(TABLE)}"}
    for separator in ",;\t|":
        text = io.StringIO()
        csv.writer(text, delimiter=separator).writerows(TABLE)
        for coding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"):
            yield f"{separator!r} in {coding}", text.getvalue().encode(coding), right
    yield "a quotation mark left open", 'Mã,Tên\nKH1,"Anh Ba\nKH2,Chị Tư\n'.encode(), BROKEN
    yield "quotation marks inside", 'Mã,Tên\nKH1,Anh "Ba" Phi\nKH2,5" ống\n'.encode(), {"rows=3"}
    yield "a cell longer than any", f"Mã,Ghi chú\nKH1,{'x' * 200_000}\nKH2,y\n".encode(), {"rows=3"}
    yield "cut within a letter", "Mã,Tên\nKH1,Nguyễn\nKH2,Trầ".encode()[:-1], {"rows=3"}
    yield "a title, a gap, blank columns", "BÁO CÁO\n\nMã,Tên,SĐT,,\nK1,An,0912,,\n,,,,\n".encode(), {"rows=3"}


def mutants(folder: Path) -> Iterator[Mutant]:
    """All of them."""
    base = sound(folder / "sound.xlsx")
    yield "sound", base, READ
    for some in (wounded, hostile, odd, foreign):
        yield from some(base)
    yield from delimited()
