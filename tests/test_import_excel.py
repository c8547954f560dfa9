"""Importing customers from files, from upload to undo."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from python_calamine import CalamineWorkbook

from core.actors import find_actor
from core.context import Actor, RequestContext, Workspace
from core.database import Database
from core.errors import BadInput
from core.files import FileStore
from core.grants import Reach
from core.jobs import enqueue_once
from core.seed import seed
from core.terminal import Terminal
from plugins.import_excel import console, work
from plugins.import_excel.writer import Writer
from tests.importing import START, Importer, book, importing, shared
from tests.switching import actor


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Importer]:
    async with importing(database, module_workspace, "groups") as made:
        yield made


CUSTOMER = """query($code: String!) { customer(code: $code) { id code name kind email phone taxCode birthday tags source
  owner { login } referrer { code } version
  contacts(orderBy: [{field: NAME}]) { nodes { name email phones title isMain } } } }"""


async def customer(desk: Importer, code: str) -> Any:
    return await desk.do(CUSTOMER, code=code)


async def test_from_upload_to_undo(desk: Importer, tmp_path: Path) -> None:
    rows = [
        ["Mã KH", "Tên khách hàng", "SĐT", "Ngày sinh", "Người liên hệ", "Tags"],
        ["U1", "Công ty Một", 912345678, date(2001, 2, 3), "Anh Ba", "VIP, Mới"],
        ["U2", "Nguyễn Văn Hai", "+84 912 345 679", "31/12/1999", None, None],
        ["U3", None, None, None, None, None],
        ["U4", "Trần Bốn", None, "30/02/2000", None, None],
    ]
    made = await desk.upload(book(tmp_path / "a.xlsx", rows))
    targets = [c["target"] for c in made["setup"]["columns"]]
    assert targets == ["code", "name", "phone", "birthday", "contact.name", "tags"]
    id_ = made["import"]["id"]
    seen = await desk.preview(id_)
    assert seen["state"] == "PREVIEWED"
    assert {k: seen["preview"][k] for k in ("rows", "created", "failed")} == {"rows": 4, "created": 2, "failed": 2}
    faults = {(f["row"], f["column"], f["code"], f["value"]) for f in seen["faults"]["nodes"]}
    assert faults == {(4, "B", "NAME_MISSING", ""), (5, "D", "NO_SUCH_DATE", "30/02/2000")}
    assert await customer(desk, "U1") is None

    done = await desk.start(id_)
    assert done["state"] == "DONE"
    assert {k: done["counts"][k] for k in ("created", "failed")} == {"created": 2, "failed": 2}
    one = await customer(desk, "U1")
    assert (one["kind"], one["phone"], one["birthday"], one["tags"]) == (
        "ORGANISATION",
        "0912345678",
        "2001-02-03",
        ["VIP", "Mới"],
    )
    assert [c["name"] for c in one["contacts"]["nodes"]] == ["Anh Ba"]
    assert (await customer(desk, "U2"))["kind"] == "PERSON"

    again = await desk.do(START, input={"id": id_})
    assert [w["code"] for w in again["warnings"]] == ["ALREADY_IMPORTED"]

    undone = await desk.do(
        "mutation($id: ID!) { importUndo(input: {id: $id}) { job { id } userErrors { code } } }", id=id_
    )
    job = await desk.finished(undone["job"]["id"])
    assert (job["status"], job["result"]["conflicts"]) == ("DONE", 0), job
    assert await customer(desk, "U1") is None


REAL = "code name phone email taxCode birthday officeAddress district province source owner tags - - description"
KINDS = ("created", "updated", "unchanged", "skipped", "failed")
USER = "mutation($input: UserCreateInput!) { userCreate(input: $input) { user { id } userErrors { code } } }"
FIELD = "mutation($input: CustomFieldCreateInput!) { customFieldCreate(input: $input) { userErrors { code } } }"
EXPORT = """mutation($input: CustomersExportInput!) { customersExport(input: $input) {
  job { id } userErrors { code path } } }"""


def tally(done: dict[str, Any]) -> dict[str, int]:
    """The counts that are not 0."""
    return {k: n for k in KINDS if (n := done["counts"][k])}


async def user(desk: Importer, login: str) -> str:
    made = await desk.do(USER, input={"login": login, "displayName": login.partition("@")[0]})
    assert made["userErrors"] == [], made
    return made["user"]["id"]


async def exported(desk: Importer, tmp_path: Path, actor: Actor | None = None, **values: Any) -> Path:
    """An export, with a name that tells nothing."""
    made = await desk.do(EXPORT, actor, input=values)
    assert made["userErrors"] == [], made
    job = await desk.finished(made["job"]["id"])
    assert job["status"] == "DONE", job
    path = tmp_path / f"export-{job['result']['fileId']}"
    path.write_bytes(desk.file(job["result"]["fileId"]).read_bytes())
    return path


async def test_real_customers_are_mapped_without_help_and_change_nothing_when_imported_again(
    desk: Importer, tmp_path: Path
) -> None:
    path = shared() / "real" / "vn_customers_2000.xlsx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    made = await desk.upload(path)
    assert [c["target"] or "-" for c in made["setup"]["columns"]] == REAL.split()
    for n in range(1, 41):
        await user(desk, f"nv{n:02}@congty.vn")
    done = await desk.bring(path)
    assert done["counts"]["created"] + done["counts"]["failed"] == 2000
    assert done["counts"]["failed"] == 0, done["faults"]["nodes"][:5]
    again = await desk.bring(path, mode="OVERWRITE")
    assert tally(again) == {"unchanged": 2000}
    for format_ in ("XLSX", "CSV"):
        where = {"source": {"eq": "Website"}}
        back = await exported(desk, tmp_path, where=where, format=format_, locale="vi")
        third = await desk.bring(back, mode="OVERWRITE")
        assert tally(third) == {"unchanged": third["counts"]["rows"]}, third["faults"]["nodes"][:5]
        assert third["counts"]["rows"] > 100


async def awkward(desk: Importer, source: str) -> list[str]:
    """Customers whose values files are likely to spoil; their ids."""
    choices = {"kind": "CHOICES", "choices": ["Đỏ", "Xanh lá, đậm"]}
    for name, field in (("colours", choices), ("rate", {"kind": "DECIMAL"}), ("visitedAt", {"kind": "DATETIME"})):
        await desk.do(FIELD, input={"recordType": "Customer", "name": name, **field})
    given = [
        {"name": "=1+1", "phone": "+84912345678", "taxCode": "0012345678", "tags": ["a, b", 'c"d', "é"]},
        {"name": "@SUM(A1)", "phone": "0912 345 678", "description": "one\ntwo\n\n  three", "birthday": "1987-01-31"},
        {"name": "Trần Văn Bé"[:4] + "a\u0302\u0301 \U0001f600", "email": "x@y.vn", "fax": "'007"},
        {"name": "-5", "colours": ["DO", "XANH_LA_DAM"], "rate": "12.345"},
        {"name": " spaced  out ", "rate": "99999999999.1234", "visitedAt": "2026-03-05T10:11:12.345678+00:00"},
        {"name": "x" * 400, "description": "_x0041_ 1.000", "website": "https://a.b/?c=d"},
        {"name": '="quoted"', "description": "'=guarded", "fax": "00"},
    ]
    ids = [await desk.customer(source=source, **{"kind": "PERSON", **values}) for values in given]
    await desk.do(
        "mutation($input: ContactCreateInput!) { contactCreate(input: $input) { userErrors { code } } }",
        input={"customerId": ids[0], "name": "=cmd", "phones": ["+84 90", "091"], "birthday": "1999-12-31"},
    )
    return ids


async def test_an_export_of_awkward_values_imports_again_without_a_change(desk: Importer, tmp_path: Path) -> None:
    ids = await awkward(desk, "awkward")
    for format_ in ("XLSX", "CSV"):
        path = await exported(desk, tmp_path, where={"source": {"eq": "awkward"}}, format=format_)
        done = await desk.bring(path, mode="OVERWRITE")
        assert tally(done) == {"unchanged": len(ids)}, (format_, done["faults"]["nodes"])


@pytest.mark.nightly
async def test_an_export_opens_in_libreoffice_with_the_same_values(desk: Importer, tmp_path: Path) -> None:
    office = shutil.which("soffice")
    if office is None:
        pytest.skip("LibreOffice is not installed")
    ids = await awkward(desk, "office")
    path = (await exported(desk, tmp_path, where={"source": {"eq": "office"}})).rename(tmp_path / "office.xlsx")
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    given = (office, "--headless", profile, "--convert-to", "xlsx", "--outdir", str(tmp_path / "saved"), str(path))
    saving = await asyncio.create_subprocess_exec(*given, stdout=asyncio.subprocess.DEVNULL)
    assert await saving.wait() == 0
    books = (CalamineWorkbook.from_path(str(p)) for p in (path, tmp_path / "saved" / "office.xlsx"))
    written, saved = (book.get_sheet_by_index(0).to_python() for book in books)
    assert len(written) == len(ids) + 1
    assert [row[: len(written[0])] for row in saved] == written


async def test_overwriting_touches_only_what_is_meant(desk: Importer, tmp_path: Path) -> None:
    first = [["Mã KH", "Tên", "Email", "Nguồn", "Người liên hệ", "SĐT người liên hệ", "Người giới thiệu"]]
    await desk.bring(book(tmp_path / "1.xlsx", [*first, ["O1", "Một", "a@b.vn", "Web", "Lan", "0901", None]]))
    await desk.bring(book(tmp_path / "2.xlsx", [*first, ["O2", "Hai", "c@d.vn", "Web", None, None, "O1"]]))
    rows = [*first, ["O1", None, None, None, None, "+84 901", "O2"], ["O2", "Hai mới", None, None, "Mai", None, "O3"]]
    rows.append(["O3", "Ba", "c@d.vn", None, None, None, None])
    made = await desk.upload(book(tmp_path / "3.xlsx", rows))
    columns = [
        {"column": 0, "target": "code"},
        {"column": 1, "target": "name"},
        {"column": 2, "target": "email", "checkDuplicates": True},
        {"column": 3, "target": "source", "emptyClears": True},
        {"column": 4, "target": "contact.name"},
        {"column": 5, "target": "contact.phones"},
        {"column": 6, "target": "referrer"},
    ]
    seen = await desk.preview(made["import"]["id"], mode="OVERWRITE", columns=columns)
    found = {(f["row"], f["column"], f["code"]) for f in seen["faults"]["nodes"]}
    assert found == {(3, "G", "NO_SUCH_REFERRER"), (4, "C", "ANOTHER_HAS_IT")}
    await desk.start(made["import"]["id"])
    one = await customer(desk, "O1")
    assert (one["name"], one["email"], one["source"], one["referrer"]) == ("Một", "a@b.vn", None, {"code": "O2"})
    assert [(c["name"], c["phones"]) for c in one["contacts"]["nodes"]] == [("Lan", ["0901"])]
    two = await customer(desk, "O2")
    assert (two["name"], two["source"], two["referrer"]["code"]) == ("Hai", "Web", "O1")


async def test_owners_are_split_and_failed_rows_come_back(desk: Importer, tmp_path: Path) -> None:
    owners = [await user(desk, f"split{n}") for n in range(3)]
    rows = [["Mã KH", "Tên", "Phụ trách"], *([f"S{n}", f"Khách {n}", None] for n in range(8))]
    rows[1][2], rows[4][1], rows[6][2] = "split2", None, "nobody at all"
    done = await desk.bring(book(tmp_path / "s.xlsx", rows), ownerIds=owners, tags=["đợt 1"])
    assert tally(done) == {"created": 6, "failed": 2}
    found = [await customer(desk, f"S{n}") for n in range(8)]
    assert [c and c["owner"]["login"] for c in found] == [
        "split2", "split0", "split1", None, "split2", None, "split2", "split2",
    ]  # fmt: skip
    assert found[0]["tags"] == ["đợt 1"]
    failed = tmp_path / "failed.xlsx"
    failed.write_bytes(desk.file(done["failedFile"]["id"]).read_bytes())
    made = await desk.upload(failed)
    assert [c["target"] for c in made["setup"]["columns"]] == ["code", "name", "owner", None]
    assert made["setup"]["columns"][3]["header"] == "Error"
    assert made["setup"]["rowCount"] == 2


async def test_a_batch_in_which_others_were_quicker_is_written_anew_in_halves(
    desk: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = [await user(desk, f"anew{n}") for n in range(2)]
    once, tried = Writer._once, []

    async def quicker(self: Writer, changes: Any, lines: Any, *more: Any) -> Any:
        outcome = await once(self, changes, lines, *more)
        tried.append(len(lines))
        if len(lines) > 2:
            raise asyncpg.UniqueViolationError
        return outcome

    monkeypatch.setattr(Writer, "_once", quicker)
    monkeypatch.setattr(work, "BATCH", 4)
    rows = [["Mã KH", "Tên"], *([f"Q{n}", f"Khách {n}"] for n in range(7))]
    done = await desk.bring(book(tmp_path / "q.xlsx", rows), ownerIds=owners)
    assert tally(done) == {"created": 7}
    assert tried == [4, 2, 2, 3, 1, 2] * 2, "the preview, then the import"
    found = [await customer(desk, f"Q{n}") for n in range(7)]
    assert [(c["owner"]["login"], c["version"]) for c in found] == [("anew0", 1)] * 3 + [("anew1", 1)] * 4


async def test_duplicates_in_the_file_and_in_the_base(desk: Importer, tmp_path: Path) -> None:
    await desk.customer("There", code="D0", phone="0987 111 222")
    rows = [["Mã", "Tên", "Điện thoại"], ["D1", "A", 987111222], ["D2", "B", "+84 987 333 444"]]
    rows += [["D3", "C", "0987.333.444"], ["D0", "D", None], ["D2", "E", None]]
    columns = [{"column": n, "target": t} for n, t in enumerate(("code", "name", "phone"))]
    columns[2]["checkDuplicates"] = True  # type: ignore[assignment]
    done = await desk.bring(book(tmp_path / "d.xlsx", rows), columns=columns)
    assert tally(done) == {"created": 1, "skipped": 2, "failed": 2}
    faults = [(f["row"], f["column"], f["code"], f["skipped"]) for f in done["faults"]["nodes"]]
    assert faults == [
        (2, "C", "EXISTS", True),
        (4, "C", "TWICE_IN_FILE", False),
        (5, "A", "EXISTS", True),
        (6, "A", "TWICE_IN_FILE", False),
    ]


async def test_groups_and_a_field_added_on_the_way(desk: Importer, tmp_path: Path) -> None:
    make = "mutation($input: GroupCreateInput!) { groupCreate(input: $input) { group { id } } }"
    north = (await desk.do(make, input={"name": "Miền Bắc"}))["group"]["id"]
    await desk.do(make, input={"name": "Bán lẻ"})
    rows = [["Mã KH", "Tên", "Nhóm", "Cỡ giày"], ["G1", "A", "bán lẻ", 42], ["G2", "B", "Không có", 43]]
    made = await desk.upload(book(tmp_path / "g.xlsx", rows))
    assert [c["target"] for c in made["setup"]["columns"]] == ["code", "name", "groups", None]
    columns: list[dict[str, Any]] = [{"column": n, "target": t} for n, t in enumerate(("code", "name", "groups"))]
    columns.append({"column": 3, "newField": {"name": "shoeSize", "label": "Cỡ giày", "kind": "INTEGER"}})
    seen = await desk.preview(made["import"]["id"], columns=columns, groupIds=[north])
    assert [(f["row"], f["column"], f["code"]) for f in seen["faults"]["nodes"]] == [(3, "C", "NO_SUCH_GROUP")]
    await desk.start(made["import"]["id"])
    found = await desk.do('{ customer(code: "G1") { shoeSize groups(orderBy: [{field: NAME}]) { nodes { name } } } }')
    assert found == {"shoeSize": 42, "groups": {"nodes": [{"name": "Bán lẻ"}, {"name": "Miền Bắc"}]}}


async def test_the_template_is_understood(desk: Importer, tmp_path: Path) -> None:
    for locale in ("vi", "en"):
        made = await desk.do(
            "mutation($l: String) { importTemplate(input: {locale: $l}) { file { id name } userErrors { code } } }",
            l=locale,
        )
        path = tmp_path / f"{locale}.xlsx"
        path.write_bytes(desk.file(made["file"]["id"]).read_bytes())
        setup = (await desk.upload(path))["setup"]
        assert setup["rowCount"] == 0
        assert all(c["target"] for c in setup["columns"]), [c for c in setup["columns"] if not c["target"]]


async def test_the_command(
    desk: Importer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def opened(workspace: str | None, login: str | None) -> AsyncIterator[Terminal]:
        assert (workspace, login) == ("shop", None)
        extra = {"files": FileStore(desk.database.settings)}
        context = RequestContext(desk.workspace, desk.system, locale="en", extra=extra)
        yield Terminal(desk.database, desk.features, context)

    monkeypatch.setattr(console, "open_terminal", opened)
    path = book(tmp_path / "c.xlsx", [["Mã", "Ai", "Email"], ["C1", "An", "a@c.vn"], ["C2", None, "b@c.vn"]])
    failed = tmp_path / "failed.xlsx"
    for dry_run in (True, False):
        values = {"mode": "CREATE_ONLY", "key": "code", "mine": False}
        given = ["Ai=name", "C=description"]
        await console.run(path, "shop", None, None, given, values, again=False, dry_run=dry_run, failed=failed)
        said = capsys.readouterr().out
        assert "created: 1" in said
        assert "B3: The customer's name is missing Fill in the name." in said
        assert failed.exists()
        assert (await customer(desk, "C1") is None) == dry_run
    with pytest.raises(BadInput, match="HEADER=TARGET"):
        console.mapped([{"name": "A", "letter": "A", "target": None}], ["B=name"])


async def test_whoever_may_not_import_is_told_so_and_nobody_reads_the_imports_of_others(
    desk: Importer, tmp_path: Path
) -> None:
    path = book(tmp_path / "p.xlsx", [["Mã KH", "Tên"], ["P1", "An"]])
    stranger = actor({("Customer", "create"): Reach.ALL, ("Import", "read"): Reach.OWN})
    with pytest.raises(AssertionError, match="FORBIDDEN"):
        await desk.upload(path, stranger)
    made = await desk.upload(path)
    found = await desk.ask("query($id: ID!) { import(id: $id) { id } }", stranger, id=made["import"]["id"])
    assert found["data"] == {"import": None}
    setup = await desk.ask(
        "query($id: ID!) { importSetup(id: $id) { sheet columns { header target } } }", id=made["import"]["id"]
    )
    assert [c["target"] for c in setup["data"]["importSetup"]["columns"]] == ["code", "name"]
    fields = await desk.do("{ importableFields { name labelVi } }")
    assert {"code", "contact.name", "owner", "groups"} <= {f["name"] for f in fields}


async def test_a_salesperson_imports_customers_of_his_own(desk: Importer, tmp_path: Path) -> None:
    composition = await desk.features.composition(desk.workspace)
    async with desk.database.transaction(desk.workspace) as connection:
        await seed(connection, composition.catalog)
        role = await connection.fetchval("select id from role where name = 'Salesperson'")
    me, other = await user(desk, "seller"), await user(desk, "colleague")
    given = "mutation($u: ID!, $r: [ID!]!) { userRolesSet(input: {id: $u, roleIds: $r}) { userErrors { code } } }"
    assert (await desk.do(given, u=me, r=[str(role)]))["userErrors"] == []
    pool = desk.database.pool(desk.workspace)
    seller = await find_actor(lambda text, values: pool.fetchval(text, *values), UUID(me))
    assert seller is not None
    await desk.customer("Of another", code="SE3", ownerId=other)
    rows = [
        ["Mã KH", "Tên", "Phụ trách", "Người liên hệ"],
        ["SE1", "An", None, "Ba"],
        ["SE2", "Bình", "colleague", None],
        ["SE3", "Stolen", None, None],
    ]
    done = await desk.bring(book(tmp_path / "s.xlsx", rows), seller, mine=False, ownerIds=[me])
    assert tally(done) == {"created": 1, "skipped": 1, "failed": 1}, done["faults"]
    one = await customer(desk, "SE1")
    assert (one["owner"]["login"], [c["name"] for c in one["contacts"]["nodes"]]) == ("seller", ["Ba"])
    again = await desk.bring(
        book(tmp_path / "t.xlsx", [*rows[:1], ["SE1", "An Mới", None, "Ba"], rows[3]]), seller, mode="OVERWRITE"
    )
    assert tally(again) == {"updated": 1, "failed": 1}, again["faults"]
    assert (await customer(desk, "SE3"))["name"] == "Of another"


async def test_a_file_that_cannot_be_read_leaves_nothing_behind(desk: Importer, tmp_path: Path) -> None:
    path = tmp_path / "prose.xlsx"
    path.write_text("this is no spreadsheet")
    before = await desk.fetch("select count(*) from import")
    made = await desk.upload(path)
    (error,) = made["userErrors"]
    assert (error["code"], error["params"]["kind"]) == ("UNREADABLE_FILE", "not_excel")
    assert await desk.fetch("select count(*) from import") == before


async def test_staged_rows_of_old_imports_are_forgotten(desk: Importer, tmp_path: Path) -> None:
    made = await desk.upload(book(tmp_path / "o.xlsx", [["Mã KH", "Tên"], ["X1", "An"]]))
    id_ = made["import"]["id"]
    await desk.fetch("update import set created_at = now() - interval '31 days' where id = $1::uuid", id_)
    pool = desk.database.pool(desk.workspace)
    job_id = uuid4()
    async with desk.database.transaction(desk.workspace) as connection:
        assert await enqueue_once(connection, desk.workspace, "import_excel.prune", job_id)
    assert (await desk.finished(str(job_id)))["result"] == {"imports": 1}
    assert await pool.fetchval("select count(*) from import_row where import_id = $1::uuid", id_) == 0
    assert await desk.code(START, input={"id": id_}) == "FILE_GONE"
