"""Erasing a person: nothing that identifies him is left anywhere, nobody else loses anything."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from core.context import Workspace
from core.database import Database
from core.features import Features
from core.files import FileStore
from core.person import pattern
from core.rows import new_id
from tests.serving import crm
from tests.switching import Desk, actor
from tests.test_backup import keep

EMAIL, PHONE = "An.Nguyen+crm@example.vn", "+84 (0)912 345 678"
NAME = "Nguyễn Văn Ân"
ERASE = """mutation($values: [String!], $records: [PersonRecordInput!], $dry: Boolean) {
  personErase(input: {values: $values, records: $records}, dryRun: $dry) {
    records files erased { table rows fields } left { table rows fields }
    userErrors { code message } changeSet { id } } }"""


@pytest.fixture
async def desk(database: Database, workspace: Workspace) -> AsyncIterator[Desk]:
    features = Features(database)
    for plugin in ("dedupe", "import_excel"):
        await features.enable(workspace, plugin)
    yield Desk(database, features, workspace)
    await features.close()


async def everywhere(desk: Desk, *texts: str) -> dict[str, int]:
    """How many rows of which tables have one of some texts, and which files, whatever the case."""
    found: dict[str, int] = {}
    async with desk.database.connection(desk.workspace) as connection:
        for (table,) in await connection.fetch("select tablename from pg_tables where schemaname = current_schema()"):
            row = f"(to_jsonb(t)::text{' || convert_from(response, $2)' if table == 'idempotency' else ''})"
            statement = f'select count(*) from "{table}" t where {row} ilike any($1::text[])'
            arguments = [[f"%{text}%" for text in texts]] + (["UTF8"] if table == "idempotency" else [])
            if count := await connection.fetchval(statement, *arguments):
                found[table] = count
    return found


async def test_nothing_is_left_of_a_person(desk: Desk) -> None:
    customer = await desk.customer(NAME, email=EMAIL.lower(), phone="0912.345.678", description=f"{NAME} thích cá")
    other = await desk.customer("Trần Thị Bình", email="binh@example.vn", phone="0987654321")
    made = await desk.do(
        'mutation($id: ID!, $to: String!) { contactCreate(input: {customerId: $id, name: "Ân", phones: [$to, "1900"]}) '
        "{ contact { id } userErrors { message } } }",
        id=other,
        to="84912345678",
    )
    assert made["userErrors"] == []
    contact = made["contact"]["id"]
    gone = await desk.customer(f"{NAME} 2", email=EMAIL, phone="1")
    await desk.do("mutation($id: ID!) { customerDelete(input: {id: $id}) { userErrors { code } } }", id=gone)
    user = await desk.fetch(
        "insert into app_user (id, login, display_name, email, password_hash) "
        "values ($1, 'an', $2, $3, 'x') returning id",
        new_id(),
        NAME,
        EMAIL,
    )
    await desk.fetch("insert into api_key (id, user_id, name, hash) values ($1, $2, 'An''s', '\\x01')", new_id(), user)
    import_id = new_id()
    await desk.fetch(
        "insert into import (id, file_name, file_hash, state, sheet, header_row, row_count, found) "
        "values ($1, 'a.xlsx', 'x', 'DONE', 's', 1, 2, '{}')",
        import_id,
    )
    for number, cells in enumerate(([NAME, EMAIL, "Hà Nội"], ["Bình", "binh@example.vn", "Huế"])):
        await desk.fetch("insert into import_row values ($1, $2, $3::text::json)", import_id, number, json.dumps(cells))
    await desk.fetch(
        "insert into import_fault (id, import_id, sheet, row_no, value, code, reason, fix) "
        "values ($1, $2, 's', 0, $3, 'X', 'x', 'x')",
        new_id(),
        import_id,
        NAME,
    )
    await desk.fetch(
        "insert into job (id, kind, status, input, created_at) values ($1, 'x.y', 'DONE', $2, now())",
        new_id(),
        {"to": [EMAIL, "binh@example.vn"]},
    )
    await desk.fetch(
        "insert into idempotency values ('k', $1, 'f', $2, now())", new_id(), f'{{"email":"{EMAIL}"}}'.encode()
    )
    await desk.fetch("insert into persisted_document (hash, text) values ('apq:1', $1)", f'{{ a(email: "{EMAIL}") }}')
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/sharedStrings.xml", f"<t>{NAME}</t><t>{EMAIL}</t>")
    kept = await keep(desk, "book.xlsx", packed.getvalue())
    plain = await keep(desk, "list.csv", b"x" * 1_048_570 + b" 0912 345 678\n")
    others = await keep(desk, "other.txt", b"binh@example.vn")

    before = await everywhere(desk, EMAIL)
    assert before.keys() >= {"customer", "change", "app_user", "import_row", "job", "idempotency", "persisted_document"}
    dry = await desk.do(ERASE, values=[EMAIL, PHONE], dry=True)
    assert await everywhere(desk, EMAIL) == before
    done = await desk.do(ERASE, values=[EMAIL, PHONE], dry=False)
    assert {k: v for k, v in dry.items() if k != "changeSet"} == {k: v for k, v in done.items() if k != "changeSet"}
    assert done["userErrors"] == []
    assert (done["records"], done["files"], done["left"]) == (4, 2, [])
    assert {"table": "import_row", "rows": 1, "fields": ["cells"]} in done["erased"]
    assert EMAIL.lower() not in json.dumps(done).lower()
    assert await everywhere(desk, EMAIL, "912345678", "912 345 678", "912.345.678", NAME, "thích cá") == {}
    # Nobody else has lost anything, and what refers to the records still finds them.
    assert await desk.do("query($id: ID!) { customer(id: $id) { name email phone } }", id=other) == {
        "name": "Trần Thị Bình",
        "email": "binh@example.vn",
        "phone": "0987654321",
    }
    assert await desk.fetch("select phones from contact where id = $1", UUID(contact)) is None
    assert (await desk.fetch("select name from customer where id = $1", UUID(customer))).startswith("erased ")
    assert (await desk.fetch("select cells::text from import_row where row_no = 1")) == json.dumps(
        ["Bình", "binh@example.vn", "Huế"]
    )
    assert await desk.fetch("select input from job where kind = 'x.y'") == {"to": ["erased", "binh@example.vn"]}
    assert await desk.fetch("select active or password_hash is not null from app_user where id = $1", user) is False
    assert await desk.fetch("select revoked_at is not null from api_key where user_id = $1", user)
    assert await desk.fetch("select count(*) from dedupe_key where customer_id = $1", UUID(gone)) == 0
    store = FileStore(desk.database.settings).of(desk.workspace)
    async with desk.database.connection(desk.workspace) as connection:
        await store.prune(connection)
    assert [store.path(f.id).exists() for f in (kept, plain, others)] == [False, False, True]
    again = await desk.do(ERASE, values=[EMAIL, PHONE], dry=False)
    assert [e["message"] for e in again["userErrors"]] == ["nothing of such a person was found"]


async def test_a_record_is_erased_and_what_others_share_is_left_and_told(desk: Desk) -> None:
    one = await desk.customer("One", phone="024 3333 4444", email="one@example.vn")
    two = await desk.customer("Two", phone="02433334444")
    done = await desk.do(ERASE, records=[{"type": "Customer", "id": one}])
    assert done["records"] == 1
    assert {place["table"] for place in done["left"]} == {"customer", "change"}
    assert await desk.do("query($id: ID!) { customer(id: $id) { phone } }", id=two) == {"phone": "02433334444"}
    assert await everywhere(desk, "one@example.vn") == {}


async def test_who_may_erase_and_whom(desk: Desk) -> None:
    await desk.customer("One", email="one@example.vn")
    assert await desk.code(ERASE, actor(abilities=("users",)), values=["one@example.vn"]) == "FORBIDDEN"
    allowed = actor(abilities=("erase_persons",))
    for arguments, said in (
        ({}, "say whom"),
        ({"values": ["one"]}, "a value of less than 5 characters does not tell a person apart"),
        ({"values": ["nobody@example.vn"]}, "nothing of such a person was found"),
        ({"records": [{"type": "Customer", "id": "x"}]}, "an id is no UUID"),
        ({"records": [{"type": "Customer", "id": str(new_id())}]}, "there is no customer "),
        ({"records": [{"type": "Opportunity", "id": str(new_id())}]}, "'Opportunity' is no record type of persons"),
    ):
        answer = await desk.do(ERASE, allowed, **arguments)
        (error,) = answer["userErrors"]
        assert error["message"].startswith(said)
    assert (await desk.do(ERASE, allowed, values=["ONE@example.vn"]))["records"] == 1


@pytest.mark.nightly
async def test_the_command_tells_where_and_asks(desk: Desk, tmp_path: Path) -> None:
    email = "by.command@example.vn"
    customer = await desk.customer("By command", email=email)
    kept = await keep(desk, "letter.txt", email.encode())
    slug = desk.workspace.slug
    values = {"CRM_DATA_DIR": desk.database.settings.data_dir, "CRM_SECRET": "s" * 40}
    dry = crm(tmp_path, "person", "erase", email, "-w", slug, "--dry-run", "--json", **values)
    found = json.loads(dry.stdout)
    assert (found["records"], found["files"], found["left"]) == ({"Customer": 1}, 1, [])
    asked = crm(tmp_path, "person", "erase", email, "-w", slug, **values)
    assert (asked.returncode, "add --yes" in asked.stderr) == (1, True)
    assert await everywhere(desk, email) != {}
    done = crm(
        tmp_path,
        "person",
        "erase",
        "-w",
        slug,
        "--record",
        f"Customer:{customer}",
        "--reason",
        "no. 7",
        "--yes",
        **values,
    )
    assert done.returncode == 0, done.stderr
    assert "1 Customer, 1 files are erased" in done.stdout
    assert email not in asked.stdout + done.stdout + dry.stdout
    assert await everywhere(desk, email) == {}
    assert not FileStore(desk.database.settings).of(desk.workspace).path(kept.id).exists()
    row = "select reason || ' ' || operation || ' ' || source from change_set order by at desc limit 1"
    assert await desk.fetch(row) == "no. 7 personErase COMMAND"
    wrong = crm(tmp_path, "person", "erase", "--record", "Customer", "-w", slug, "--yes", **values)
    assert wrong.stderr == "error: 'Customer' is no record: write Customer:<id>\n"


@pytest.mark.parametrize(
    ("value", "finds", "not_"),
    [
        (
            "0912345678",
            ["0912345678", "+84 912 345 678", "tel:(0912) 345-678.", "84912345678"],
            ["90912345678 1", "09123456789"],
        ),
        ("a.b@c.vn", ["A.B@C.VN", "<a.b@c.vn>"], ["xa.b@c.vn", "a.b@c.vnx", "aXb@c.vn"]),
        ("0312345678-001", ["0312345678-001"], ["0312345678-0012"]),
    ],
)
async def test_values_are_found_however_they_are_written(
    database: Database, value: str, finds: list[str], not_: list[str]
) -> None:
    import re

    for text, expected in [(t, True) for t in finds] + [(t, False) for t in not_]:
        assert bool(re.search(pattern([value], "VN"), text, re.IGNORECASE)) is expected, text
        async with database.admin() as connection:
            assert await connection.fetchval("select $1::text ~* $2", text, pattern([value], "VN")) is expected, text
