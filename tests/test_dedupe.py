"""The dedupe plugin, rule by rule, through GraphQL on real tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.context import Workspace
from core.database import Database
from core.features import Features
from core.plugins import PluginRegistry
from tests.deduping import (
    BULK,
    CLUSTERS,
    CONTACT,
    CREATE,
    CRITERION,
    DELETE,
    DISMISS,
    RESTORE,
    UNDO,
    UPDATE,
    create,
    criterion,
    errors,
    forget,
)
from tests.switching import Desk


@pytest.fixture(scope="module")
async def shared(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    features = Features(database, registry=PluginRegistry.discover(["plugins.dedupe"]))
    await features.enable(module_workspace, "dedupe")
    yield Desk(database, features, module_workspace)
    await features.close()


@pytest.fixture
async def desk(shared: Desk) -> AsyncIterator[Desk]:
    yield shared
    await forget(shared)


async def test_an_email_that_exists_is_refused_in_the_words_of_the_guide(desk: Desk) -> None:
    await criterion(desk, "email")
    a = await desk.customer("A", email="anha@gmail.com", code="KH1")
    (error,) = await errors(desk, name="B", email="AnhA@gmail.com ")
    assert error == {
        "__typename": "DuplicateError",
        "path": ["input", "email"],
        "code": "DUPLICATE",
        "message": "Email AnhA@gmail.com already exists in customer A",
        "criterion": "Email",
        "fields": ["email"],
        "value": "AnhA@gmail.com",
        "blocking": True,
        "inContact": False,
        "customerId": a,
        "customerCode": "KH1",
        "customerName": "A",
        "ownerId": None,
        "ownerName": None,
        "deleted": False,
        "row": None,
    }
    assert await desk.fetch("select count(*) from customer where name = 'B'") == 0


@pytest.mark.parametrize(
    ("fields", "one", "other", "same"),
    [
        ("phone", {"phone": "0912 633 920"}, {"phone": "+84912633920"}, True),
        ("phone", {"phone": "0912633920"}, {"phone": "912633920"}, True),
        ("phone", {"phone": "0912633920"}, {"phone": "0976665755 / 0912.633.920"}, True),
        ("phone", {"phone": "0912633920"}, {"phone": "0912633921"}, False),
        ("fax", {"fax": "(024) 7300 4666"}, {"fax": "02473004666"}, True),
        ("taxCode", {"taxCode": "6157461338"}, {"taxCode": "61 574 613 38"}, True),
        ("taxCode", {"taxCode": "6157461338"}, {"taxCode": "6157461338-003"}, False),
        ("name", {"name": "Công ty TNHH Sao Mai"}, {"name": "CTY  TNHH MTV SAO MAI"}, True),
        ("name", {"name": "Công ty Cổ phần Hòa Phát"}, {"name": "Hoa Phat JSC"}, True),
        ("name", {"name": "Nguyễn Văn An"}, {"name": "nguyen van an"}, True),
        ("name", {"name": "Nguyễn Văn An"}, {"name": "Nguyễn Văn Ân Anh"}, False),
        ("name!", {"name": "Nguyễn Văn An"}, {"name": "nguyen van an"}, False),
        ("code", {"code": "KH-01"}, {"code": "kh 01"}, True),
        ("officeAddress", {"officeAddress": "580 Lê Lợi, P.8"}, {"officeAddress": "580 le loi  P 8"}, True),
        ("description", {"description": "Mua 3 lần."}, {"description": "mua 3 lan"}, True),
        ("birthday", {"birthday": "1990-02-03"}, {"birthday": "1990-02-03"}, True),
        ("name birthday", {"name": "An Bình", "birthday": "1990-02-03"}, {"name": "an binh"}, False),
        (
            "name birthday",
            {"name": "An Bình", "birthday": "1990-02-03"},
            {"name": "an binh", "birthday": "1990-02-03"},
            True,
        ),
        ("phone", {"phone": "0000000000"}, {"phone": "0000000000"}, False),
        ("phone", {"phone": "không có"}, {"phone": "không có"}, False),
        ("phone", {"phone": "12345"}, {"phone": "12345"}, False),
        ("email", {"email": "-"}, {"email": "-"}, False),
        ("name", {"name": "Khách lẻ"}, {"name": "khach le"}, False),
        ("taxCode", {"taxCode": "khong co"}, {"taxCode": "khong co"}, False),
    ],
)
async def test_what_is_the_same(
    desk: Desk, fields: str, one: dict[str, str], other: dict[str, str], same: bool
) -> None:
    names = fields.replace("!", "").split()
    await criterion(desk, *names, exact=names if "!" in fields else None)
    await desk.customer(**{"name": "Một", **one})
    found = await errors(desk, **{"name": "Hai", **other})
    assert [e["__typename"] for e in found] == ["DuplicateError"] * same, found


async def test_a_warning_lets_through_and_reports(desk: Desk) -> None:
    await criterion(desk, "phone", effect="WARN")
    await desk.customer("A", phone="0912633920")
    made = await create(desk, name="B", phone="0912633920")
    assert made["customer"]["name"] == "B"
    assert made["userErrors"] == []
    (warning,) = made["warnings"]
    assert (warning["customerName"], warning["blocking"]) == ("A", False)


async def test_only_what_changes_is_checked(desk: Desk) -> None:
    a = await desk.customer("A", phone="0912633920", email="a@b.vn")
    b = await desk.customer("B", phone="0912633920")
    await criterion(desk, "phone")
    assert (await desk.do(UPDATE, input={"id": b, "name": "B2"}))["userErrors"] == []
    assert (await desk.do(UPDATE, input={"id": b, "phone": "0912 633 920"}))["userErrors"] == []
    assert (await desk.do(UPDATE, input={"id": b, "phone": "0976665755"}))["userErrors"] == []
    (error,) = (await desk.do(UPDATE, input={"id": b, "phone": "+84 912633920"}))["userErrors"]
    assert error["customerId"] == a
    assert (await desk.do(UPDATE, input={"id": a, "phone": None}))["userErrors"] == []
    assert (await desk.do(UPDATE, input={"id": b, "phone": "+84 912633920"}))["userErrors"] == []


async def test_phones_and_emails_are_looked_for_in_contacts_both_ways(desk: Desk) -> None:
    await criterion(desk, "phone")
    await criterion(desk, "email")
    a = await desk.customer("A", phone="0912633920")
    made = await desk.do(CONTACT, input={"customerId": a, "name": "Chị Hai", "phones": ["0976665755", "0912633920"]})
    assert made["userErrors"] == []
    (error,) = await errors(desk, name="B", phone="0976 665 755")
    assert (error["inContact"], error["customerName"]) == (True, "A")
    assert error["message"] == "Phone 0976 665 755 already exists in a contact of customer A"
    b = await desk.customer("B", email="b@b.vn")
    refused = await desk.do(CONTACT, input={"customerId": b, "name": "Anh Ba", "phones": ["0912633920"]})
    assert [(e["path"], e["customerName"]) for e in refused["userErrors"]] == [(["input", "phones"], "A")]
    refused = await desk.do(CONTACT, input={"customerId": a, "name": "Anh Ba", "email": "B@b.vn"})
    assert [e["customerName"] for e in refused["userErrors"]] == ["B"]


async def test_deleted_customers_do_not_count_and_restoring_is_checked(desk: Desk) -> None:
    await criterion(desk, "phone")
    a = await desk.customer("A", phone="0912633920")
    await desk.do(DELETE, id=a)
    b = await desk.customer("B", phone="0912633920")
    (error,) = (await desk.do(RESTORE, id=a))["userErrors"]
    assert error["customerName"] == "B"
    await desk.do(DELETE, id=b)
    assert (await desk.do(RESTORE, id=a))["userErrors"] == []
    assert len(await errors(desk, name="C", phone="0912633920")) == 1


async def test_restoring_brings_the_contacts_along(desk: Desk) -> None:
    await criterion(desk, "phone")
    a = await desk.customer("A")
    await desk.do(CONTACT, input={"customerId": a, "name": "Chị Hai", "phones": ["0976665755"]})
    await desk.do(DELETE, id=a)
    b = await desk.customer("B", phone="0976665755")
    (error,) = (await desk.do(RESTORE, id=a))["userErrors"]
    assert error["customerName"] == "B"
    await desk.do(DELETE, id=b)
    await desk.do(RESTORE, id=a)
    (error,) = await errors(desk, name="C", phone="0976665755")
    assert error["inContact"] is True


async def test_of_two_in_a_batch_the_first_wins(desk: Desk) -> None:
    await criterion(desk, "phone")
    records = [
        {"kind": "PERSON", "name": "A", "phone": "0912633920"},
        {"kind": "PERSON", "name": "B", "phone": "0976665755"},
        {"kind": "PERSON", "name": "C", "phone": "0912 633 920"},
    ]
    refused = await desk.do(BULK, input={"records": records})
    (error,) = refused["userErrors"]
    assert error["path"] == ["input", "records", "2", "phone"]
    assert error["message"] == "Phone 0912 633 920 is also in row 1 of the same request"
    assert error["row"] == 0
    assert await desk.fetch("select count(*) from customer") == 0
    done = await desk.do(BULK, input={"records": records, "errorPolicy": "SKIP_FAILED"})
    assert done["counts"]["created"] == 2
    assert [c["name"] for c in done["customers"]] == ["A", "B"]
    # What was left out keeps nothing.
    assert await desk.fetch("select count(*) from dedupe_key") == 2


async def test_a_value_may_be_passed_on_within_a_batch(desk: Desk) -> None:
    await criterion(desk, "phone")
    a, b = await desk.customer("A", phone="0912633920"), await desk.customer("B", phone="0976665755")
    bulk = """mutation($ids: [ID!]!) { customersBulkUpdate(input: {target: {ids: $ids}, set: {phone: null}}) {
      userErrors { code } } }"""
    assert (await desk.do(bulk, ids=[a, b]))["userErrors"] == []
    assert await desk.fetch("select count(*) from dedupe_key") == 0


async def test_of_fifty_who_create_one_phone_at_once_one_succeeds(desk: Desk) -> None:
    await criterion(desk, "phone")

    async def one(number: int) -> Any:
        return await desk.do(CREATE, input={"kind": "PERSON", "name": f"C{number}", "phone": "0912633920"})

    answers = await asyncio.gather(*(one(i) for i in range(50)))
    made = [a for a in answers if a["customer"]]
    kinds = [e["__typename"] for a in answers for e in a["userErrors"]]
    assert len(made) == 1
    assert kinds == ["DuplicateError"] * 49
    assert await desk.fetch("select count(*) from customer where phone = '0912633920'") == 1


async def test_bulk_and_single_creates_fight_over_the_same_phones(desk: Desk) -> None:
    await criterion(desk, "phone")
    phones = [f"09126{i:05}" for i in range(60)]

    async def bulk(mine: list[str]) -> tuple[int, int, int]:
        records = [{"kind": "PERSON", "name": "Bulk", "phone": p} for p in mine]
        done = await desk.do(BULK, input={"records": records, "errorPolicy": "SKIP_FAILED"})
        assert all(e["__typename"] == "DuplicateError" for e in done["userErrors"]), done["userErrors"]
        return done["counts"]["created"], done["counts"]["skipped"], len(mine)

    async def single(phone: str) -> tuple[int, int, int]:
        done = await create(desk, name="Single", phone=phone)
        assert all(e["__typename"] == "DuplicateError" for e in done["userErrors"]), done["userErrors"]
        return bool(done["customer"]), len(done["userErrors"]), 1

    answers = await asyncio.gather(bulk(phones), bulk(phones[::-1]), *(single(p) for p in phones[::3]))
    assert all(created + refused == rows for created, refused, rows in answers)
    assert sum(created for created, _, _ in answers) == len(phones)
    assert await desk.fetch("select count(*) from customer") == len(phones)
    assert await desk.fetch("select count(distinct key) from dedupe_key") == len(phones)


async def test_pairs_that_are_dismissed_are_neither_blocked_nor_reported(desk: Desk) -> None:
    phone = await criterion(desk, "phone")
    a, b = await desk.customer("A", phone="0912633920"), await desk.customer("B")
    done = await desk.do(DISMISS, ids=[a, b])
    assert (done["pairs"], done["userErrors"]) == (1, [])
    assert (await desk.do(UPDATE, input={"id": b, "phone": "0912633920"}))["userErrors"] == []
    assert (await desk.do(CLUSTERS, id=phone))["nodes"] == []
    assert len(await errors(desk, name="C", phone="0912633920")) == 1
    shown = await desk.do("query($id: ID!) { customer(id: $id) { notDuplicates { nodes { name } } } }", id=b)
    assert shown["notDuplicates"]["nodes"] == [{"name": "A"}]
    undone = await desk.do(UNDO, id=done["changeSet"]["id"])
    assert undone["userErrors"] == []
    (cluster,) = (await desk.do(CLUSTERS, id=phone))["nodes"]
    assert cluster["count"] == 2


@pytest.mark.parametrize(
    ("values", "code", "path"),
    [
        ({"fields": []}, "OUT_OF_RANGE", "fields"),
        ({"fields": ["level"]}, "INVALID", "fields"),
        ({"fields": ["shoeSize"]}, "INVALID", "fields"),
        ({"fields": ["phone", "phone"]}, "DUPLICATE", "fields"),
        ({"fields": ["phone"], "exact": ["email"]}, "INVALID", "exact"),
    ],
)
async def test_a_criterion_that_cannot_be_is_refused(desk: Desk, values: Any, code: str, path: str) -> None:
    made = await desk.do(CRITERION, input=values)
    assert [(e["code"], e["path"][-1]) for e in made["userErrors"]] == [(code, path)]


async def test_changing_a_criterion_makes_its_keys_anew(desk: Desk) -> None:
    id_ = await criterion(desk, "email")
    await desk.customer("A", phone="0912633920", email="a@b.vn")
    update = """mutation($input: DuplicateCriterionUpdateInput!) { duplicateCriterionUpdate(input: $input) {
      duplicateCriterion { status fields } userErrors { code } } }"""
    done = await desk.do(update, input={"id": id_, "fields": ["phone"]})
    assert done["duplicateCriterion"] == {"status": "ACTIVE", "fields": ["phone"]}
    assert await errors(desk, name="B", email="a@b.vn") == []
    assert len(await errors(desk, name="C", phone="0912633920")) == 1
    await desk.do(update, input={"id": id_, "effect": "WARN"})
    assert await errors(desk, name="C", phone="0912633920") == []
    gone = "mutation($id: ID!) { duplicateCriterionDelete(input: {id: $id}) { userErrors { code } } }"
    await desk.do(gone, id=id_)
    assert (await create(desk, name="D", phone="0912633920"))["warnings"] == []


async def test_the_check_beforehand_says_what_would_be(desk: Desk) -> None:
    await criterion(desk, "phone")
    a = await desk.customer("A", phone="0912633920")
    check = """query($records: [CustomerPatch!]!, $ids: [ID]) { duplicatesCheck(records: $records, ids: $ids) {
      index blocked duplicates { path message customerName row } } }"""
    records = [{"phone": "+84912633920"}, {"phone": "0976665755"}, {"phone": "976665755"}]
    found = await desk.do(check, records=records)
    assert [(f["index"], f["blocked"]) for f in found] == [(0, True), (1, False), (2, True)]
    assert found[0]["duplicates"][0]["customerName"] == "A"
    assert found[2]["duplicates"] == [
        {
            "path": ["records", "2", "phone"],
            "message": "Phone 976665755 is also in row 2 of the same request",
            "customerName": None,
            "row": 1,
        }
    ]
    assert [f["blocked"] for f in await desk.do(check, records=records[:1], ids=[a])] == [False]
