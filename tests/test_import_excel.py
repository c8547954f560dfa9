"""Importing customers from files, from upload to undo."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from core.context import Workspace
from core.database import Database
from tests.importing import START, Importer, book, importing, shared


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


async def test_real_customers_are_mapped_without_help_and_change_nothing_when_imported_again(
    desk: Importer,
) -> None:
    path = shared() / "real" / "vn_customers_2000.xlsx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    made = await desk.upload(path)
    assert [c["target"] for c in made["setup"]["columns"]] == [
        "code",
        "name",
        "phone",
        "email",
        "taxCode",
        "birthday",
        "officeAddress",
        "district",
        "province",
        "source",
        "owner",
        "tags",
        None,
        None,
        "description",
    ]
