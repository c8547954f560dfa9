"""Reading files that nobody has reason to trust."""

from __future__ import annotations

import asyncio
import csv
import shutil
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from core.messages import text
from plugins.import_excel.reading.limits import Limits
from plugins.import_excel.reading.problem import Unreadable
from plugins.import_excel.reading.reader import Reading
from tests.importing import book, shared
from tests.mutants import mutants, sound

ACCEPTED = {
    "rows_or_corrupt": ("rows", "corrupt", "empty"),
    "rows_or_unsupported": ("rows", "unsupported"),
    "rows_or_encrypted": ("rows", "encrypted"),
}
#: Small ones of every class, for every run; the whole corpus is read at night.
SOME = frozenset(
    {
        "cal_errors.xlsx",
        "cal_issue_594_dos.ods",
        "cal_pass_protected.ods",
        "cxml_lockfile.xlsx",
        "cxml_strict.xlsx",
        "own_bitflip.xlsx",
        "own_cp1258.csv",
        "own_utf16.csv",
        "own_two_row_header.xlsx",
        "own_docx_named.xlsx",
        "own_xxe_sheet.xlsx",
        "php_oleloop.xls",
        "php_zip_backslash.xlsx",
        "poi_54764.xlsx",
        "poi_craftonhills_report.xlsx",
        "roo_text_named.xlsx",
        "roo_xls_named.xlsx",
        "sjs_Attendance.numbers",
        "own_zipbomb_sst.xlsx",
        "opx_nonstandard_workbook_name.xlsx",
    }
)


async def read(path: Path, **more: Any) -> tuple[dict[str, Any], list[list[Any]]]:
    """The summary and the rows of a file."""
    import json

    reading = Reading(path, label="x", **more)
    lines = b"".join([chunk async for chunk in reading]).decode().splitlines()
    return reading.summary, [json.loads(line.split("\t")[2].replace("\\\\", "\\")) for line in lines]


async def outcome(row: dict[str, str], folder: Path) -> str:
    """What is wrong with how a file of the corpus was read; empty where all is as it should be."""
    started = time.monotonic()
    longest = 0.0

    async def others() -> None:
        """What else the server does meanwhile."""
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)

    beside = asyncio.create_task(others())
    try:
        summary, _ = await read(folder / row["file"])
        found, rows = "rows", str(summary["filledRows"])
    except Unreadable as problem:
        found, rows = problem.kind, ""
        for locale in ("vi", "en"):
            sentence = text(f"unreadable_{problem.code}", locale, "plugins.import_excel", **problem.params)
            assert sentence.endswith(".")
            assert len(sentence) < 160
    finally:
        beside.cancel()
    if found not in ACCEPTED.get(row["expected_class"], (row["expected_class"],)):
        return f"{row['file']}: {found} instead of {row['expected_class']}"
    expected = row["expected_rows_first_visible_sheet"]
    if found == "rows" and expected and rows != expected:
        return f"{row['file']}: {rows} rows instead of {expected}"
    if time.monotonic() - started > 10 or longest > 2:
        return f"{row['file']}: {time.monotonic() - started:.1f} s, the loop stood still for {longest:.2f} s"
    return ""


def corpus() -> tuple[Path, list[dict[str, str]]]:
    folder = shared() / "spreadsheets"
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    with (folder / "manifest.csv").open(encoding="utf-8") as manifest:
        return folder, list(csv.DictReader(manifest))


async def test_some_odd_broken_and_hostile_files() -> None:
    folder, rows = corpus()
    wrong = [await outcome(row, folder) for row in rows if row["file"] in SOME]
    assert len(wrong) == len(SOME)
    assert [w for w in wrong if w] == []


@pytest.mark.nightly
async def test_all_odd_broken_and_hostile_files() -> None:
    folder, rows = corpus()
    assert len(rows) == 83
    assert [w for row in rows if (w := await outcome(row, folder))] == []


@pytest.mark.nightly
async def test_mutants_of_a_sound_file_are_read_or_refused_as_what_they_are(tmp_path: Path) -> None:
    wrong, count = [], 0
    for name, data, right in mutants(tmp_path):
        count += 1
        path = tmp_path / "mutant.xlsx"
        path.write_bytes(data)
        started = time.monotonic()
        try:
            summary, _ = await read(path)
            found = f"rows={summary['filledRows']}"
        except Unreadable as problem:
            found = problem.kind
        if found not in right or time.monotonic() - started > 10:
            wrong.append(f"{name}: {found} instead of {sorted(right)}, {time.monotonic() - started:.1f} s")
    assert count > 90
    assert wrong == []


async def test_nothing_is_lost_of_what_one_reader_alone_would_lose(tmp_path: Path) -> None:
    path = tmp_path / "x.xlsx"
    import xlsxwriter

    made = xlsxwriter.Workbook(str(path))
    sheet = made.add_worksheet()
    for c, header in enumerate(("Phone", "Error", "Formula", "Escaped")):
        sheet.write(0, c, header)
    sheet.write_number(1, 0, 912345678, made.add_format({"num_format": "0000000000"}))
    sheet.write_formula(1, 1, "=NA()", None, "#N/A")
    sheet.write_formula(1, 2, "=1+1", None, "")
    sheet.write_string(1, 3, "a\nb \t c\\d \x01")
    made.close()
    summary, rows = await read(path)
    assert summary["engine"] == "openpyxl"
    assert rows == [["0912345678", {"e": "#N/A"}, {"f": "=1+1"}, "a\nb \t c\\d"]]


@pytest.mark.nightly
async def test_xls_and_ods_say_the_same_as_xlsx(tmp_path: Path) -> None:
    office = shutil.which("soffice")
    if office is None:
        pytest.skip("LibreOffice is not installed")
    made = tmp_path / "made.xlsx"
    sound(made)
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    for format_, engine in (("xls", "xlrd"), ("ods", "calamine")):
        given = (office, "--headless", profile, "--convert-to", format_, "--outdir", str(tmp_path), str(made))
        saving = await asyncio.create_subprocess_exec(*given, stdout=asyncio.subprocess.DEVNULL)
        assert await saving.wait() == 0
        summary, rows = await read(tmp_path / f"made.{format_}")
        assert summary["engine"] == engine
        assert rows[2][5] == {"e": "#N/A"}
        # LibreOffice keeps number formats in .ods where calamine does not look; importing pads phones by itself.
        assert rows[0][2] == ("0912000001" if format_ == "xls" else 912_000_001)
        assert [row[3] for row in rows] == [{"d": f"1990-01-{i:02}"} for i in range(1, 13)]
        assert [row[:2] for row in rows] == [row[:2] for row in (await read(made))[1]]


async def test_two_rows_of_header_below_titles_twins_and_blanks(tmp_path: Path) -> None:
    rows = [
        ["BÁO CÁO KHÁCH HÀNG"],
        ["Tháng 5/2026"],
        ["Mã", "Liên hệ", None, "Tên", "Tên", None],
        [None, "SĐT", "Email", None, None, None],
        ["A1", "0901", "a@b.vn", "An", "Bình", "x"],
        ["A2", "0902", "c@b.vn", "Chi", "Dung", "y"],
    ]
    summary, found = await read(book(tmp_path / "h.xlsx", rows))
    assert [c["name"] for c in summary["columns"]] == ["Mã", "Liên hệ SĐT", "Liên hệ Email", "Tên", "Tên (2)", "F"]
    assert summary["headerRow"] == 4
    assert summary["titles"] == [["BÁO CÁO KHÁCH HÀNG"], ["Tháng 5/2026"]]
    assert len(found) == 2
    summary, found = await read(tmp_path / "h.xlsx", header=0)
    assert (summary["headerRow"], len(found)) == (0, 6)


async def test_a_sheet_without_header(tmp_path: Path) -> None:
    rows = [["KH1", "0912345678", 5], ["KH2", "0912345679", 6], ["KH3", "0912345670", 7]]
    summary, found = await read(book(tmp_path / "n.xlsx", rows))
    assert (summary["headerRow"], len(found)) == (0, 3)
    assert [c["name"] for c in summary["columns"]] == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("coding", "separator"),
    [("utf-8", ","), ("utf-8-sig", ";"), ("utf-16", "\t"), ("utf-16-le", ","), ("cp1258", ";"), ("utf-32", "|")],
)
async def test_delimited_text(tmp_path: Path, coding: str, separator: str) -> None:
    import unicodedata

    path = tmp_path / "t.csv"
    table = [["Mã", "Tên", "Ghi chú"], ["1", "Đặng Thị Hà", "'=1+1"], ["2", "Trần Văn Ơn", "a"]]
    words = "\r\n".join(separator.join(row) for row in table)
    if coding == "cp1258":
        # Only some letters are precomposed there.
        plain = (unicodedata.normalize("NFD", c) for c in words)
        words = "".join(c if _fits(c) else d for c, d in zip(words, plain, strict=True))
        words = words.replace("\u0302\u0323", "\u0323").encode("cp1258", "replace").decode("cp1258")
    path.write_bytes(words.encode(coding))
    summary, rows = await read(path)
    assert summary["rows"] == 2
    assert rows[0][2] == "=1+1"
    if coding != "cp1258":
        assert rows[0][1] == "Đặng Thị Hà"


async def test_what_long_columns_hold_is_known_to_the_end(tmp_path: Path) -> None:
    rows = [f"Khách {n},09{n:08},{n}" for n in range(2500)] + ["Khách cuối,,"] * 2500
    path = tmp_path / "long.csv"
    path.write_text("\n".join(["Tên,Di động,Số", *rows]), encoding="utf-8")
    summary, found = await read(path)
    assert len(found) == summary["rows"] == summary["columns"][0]["filled"] == 5000
    assert [(c["type"], c["filled"]) for c in summary["columns"][1:]] == [("phone", 2500), ("number", 2500)]
    # What is no text is counted wherever it stands, in columns that only later rows have, too.
    days = [["A", 1, date(2026, 1, 2)]] * 2500 + [["A", "x", date(2026, 1, 2), True]] * 2500
    summary, found = await read(book(tmp_path / "long.xlsx", [["Tên", "Số", "Ngày", "Có"], *days]))
    assert [c["kinds"] for c in summary["columns"][1:]] == [{"int": 2500}, {"date": 5000}, {"bool": 2500}]


async def test_text_from_before_unicode(tmp_path: Path) -> None:
    # "Mã KH,Họ và tên" and "Nguyễn Thị Hồng, phố Huế" in TCVN3, as .VnTime shows them.
    path = tmp_path / "tcvn3.csv"
    path.write_bytes(
        "M· KH,Hä vµ tªn,§Þa chØ\r\nK1,NguyÔn ThÞ Hång,phè HuÕ\r\nK2,TrÇn V¨n ¥n,Hµ Néi\r\n".encode("cp1252")
    )
    summary, rows = await read(path)
    assert [c["header"] for c in summary["columns"]] == ["Mã KH", "Họ và tên", "Địa chỉ"]
    assert rows == [["K1", "Nguyễn Thị Hồng", "phố Huế"], ["K2", "Trần Văn Ơn", "Hà Nội"]]
    path.write_bytes("Code,Prénom\r\n1,Hélène\r\n2,Zoë à côté\r\n".encode("cp1252"))
    assert (await read(path))[1] == [["1", "Hélène"], ["2", "Zoë à côté"]]


async def test_text_that_is_guarded_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('Mã,Tên\n="007",Ân Ái\n_x0041_,\'=1+1\n'.encode() + b"K3,Tr\xff\n")
    _, rows = await read(path)
    assert rows == [["007", "Ân Ái"], ["_x0041_", "=1+1"], ["K3", {"e": "Tr\ufffd"}]]
    path.write_text('Mã,Tên\nK1,An\nK2,"Bình\nK3,Chi\n')
    with pytest.raises(Unreadable) as refused:
        await read(path)
    assert (refused.value.code, refused.value.params) == ("unclosed_quote", {"row": 3})


def _fits(letter: str) -> bool:
    try:
        letter.encode("cp1258")
    except UnicodeEncodeError:
        return False
    return True


async def test_limits(tmp_path: Path) -> None:
    path = book(tmp_path / "l.xlsx", [["Tên"], *([f"n{i}"] for i in range(20))])
    with pytest.raises(Unreadable) as refused:
        await read(path, limits=Limits(rows=10))
    assert (refused.value.kind, refused.value.code) == ("too_large", "too_many_rows")
    with pytest.raises(Unreadable) as refused:
        await read(path, sheet="nowhere")
    assert refused.value.code == "no_such_sheet"
    hidden, _ = await read(book(tmp_path / "s.xlsx", [], Second=[["a", "b"], ["1", "x"]]))
    assert hidden["sheet"] == "Second"
