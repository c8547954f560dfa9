"""The write path, one record at a time and many: through GraphQL on real tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.context import Workspace
from core.database import Database
from core.grants import Reach
from tests.switching import actor
from tests.writing import ERRORS, SET, Desk, codes, desk_at, grants

TYPES = ("Customer", "Contact", "Opportunity", "User", "CustomerViewer", "Team")


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    async with desk_at(database, module_workspace) as opened:
        yield opened


async def customer(desk: Desk, name: str = "Công ty An", **values: Any) -> dict[str, Any]:
    return await desk.create("Customer", name=name, kind="ORGANISATION", **values)


# Create


async def test_a_new_customer_has_what_was_given_and_defaults_for_the_rest(desk: Desk) -> None:
    made = await customer(desk, tags=["vip"], birthday="1999-02-28", email="a@b.vn")
    assert (made["name"], made["tags"], made["birthday"], made["email"]) == (
        "Công ty An", ["vip"], "1999-02-28", "a@b.vn",
    )  # fmt: skip
    assert made["version"] == 1
    assert made["createdAt"] == made["updatedAt"]
    assert made["deletedAt"] is made["phone"] is made["ownerId"] is None
    assert made["code"].startswith("KH")
    assert made["code"][2:].isdigit()
    assert len(made["code"]) == 9


async def test_codes_are_made_in_order_around_those_given_by_hand(desk: Desk) -> None:
    number = int((await customer(desk))["code"][2:])
    await customer(desk, code=f"KH{number + 1:07d}")
    done = await desk.bulk(
        "Customer",
        "BulkCreate",
        {
            "records": [
                {"name": "a", "kind": "PERSON"},
                {"name": "b", "kind": "PERSON", "code": f"KH{number + 3:07d}"},
                {"name": "c", "kind": "PERSON"},
            ]
        },
    )
    assert done["counts"]["created"] == 3
    rows = [r for r in (await desk.rows("Customer")).values() if r["name"] in "abc"]
    made = {r["name"]: int(r["code"][2:]) - number for r in rows}
    assert made["b"] == 3
    assert 2 == made["a"] < 3 < made["c"]


@pytest.mark.parametrize("blank", ["", "  ", None])
async def test_a_blank_code_is_made_like_one_left_out(desk: Desk, blank: str | None) -> None:
    assert (await customer(desk, code=blank))["code"].startswith("KH")


async def test_an_opportunity_is_named_after_its_customer(desk: Desk) -> None:
    parent = await customer(desk, "Đại Phát")
    made = await desk.create("Opportunity", customerId=parent["id"])
    assert (made["name"], made["outcome"], made["amount"]) == ("Đại Phát", "OPEN", None)
    assert (await desk.create("Opportunity", customerId=parent["id"], name="Máy bơm"))["name"] == "Máy bơm"


async def test_whoever_reaches_only_his_own_creates_for_himself(desk: Desk) -> None:
    an, binh = await desk.salesperson("an1"), await desk.salesperson("binh1")
    made = await desk.create("Customer", an, name="x", kind="PERSON")
    assert made["ownerId"] == str(an.user_id)
    for owner in (str(binh.user_id), None):
        answer = await desk.answer("Customer", "Create", {"name": "x2", "kind": "PERSON", "ownerId": owner}, an)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert not [r for r in (await desk.rows("Customer")).values() if r["name"] == "x2"]


# What does not fit


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("name", "", "REQUIRED"),
        ("name", " \t\n", "REQUIRED"),
        ("name", None, "REQUIRED"),
        ("kind", None, "REQUIRED"),
        ("name", "x" * 501, "TOO_LONG"),
        ("tags", ["x" * 101], "TOO_LONG"),
        ("name", "a\x00b", "INVALID"),
        ("email", "a\x00b", "INVALID"),
        ("tags", ["a\x00"], "INVALID"),
        ("ownerId", "nobody", "INVALID"),
        ("ownerId", str(UUID(int=7)), "NOT_FOUND"),
        ("referrerId", str(UUID(int=7)), "NOT_FOUND"),
    ],
)
async def test_values_that_do_not_fit_are_refused(desk: Desk, field: str, value: Any, code: str) -> None:
    made = await customer(desk)
    done = await desk.write("Customer", "Update", {"id": made["id"], field: value})
    assert codes(done) == [code]
    (error,) = done["userErrors"]
    assert error["path"] == ["input", field]
    assert error["params"]["field"] == field
    assert done["customer"] is done["changeSet"] is None
    assert await desk.get("Customer", made["id"]) == made


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("amount", "1e15", "OUT_OF_RANGE"),
        ("amount", "-1000000000000000", "OUT_OF_RANGE"),
        ("amount", "1e999999999", "OUT_OF_RANGE"),
        ("amount", "1e-999999999", "INVALID"),
        ("amount", "0.00001", "INVALID"),
        ("amount", "33.333333", "INVALID"),
        ("amount", "NaN", "INVALID"),
        ("amount", "-Infinity", "INVALID"),
        ("probability", 101, "OUT_OF_RANGE"),
        ("probability", -1, "OUT_OF_RANGE"),
        ("currency", "VNDD", "TOO_LONG"),
        ("outcome", None, "REQUIRED"),
        ("closedAt", "9999-12-31T23:59:59-12:00", "INVALID"),
        ("closedAt", "0001-01-01T00:00:00+14:00", "INVALID"),
    ],
)
async def test_numbers_and_times_out_of_range_are_refused(desk: Desk, field: str, value: Any, code: str) -> None:
    parent = await customer(desk)
    opportunity = await desk.create("Opportunity", customerId=parent["id"], amount="5")
    done = await desk.write("Opportunity", "Update", {"id": opportunity["id"], field: value})
    assert codes(done) == [code], done
    assert await desk.get("Opportunity", opportunity["id"]) == opportunity


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("999999999999999.9999", "999999999999999.9999"),
        ("12.50", "12.5"),
        ("1e3", "1000"),
        ("-0", "0"),
        ("0e99999", "0"),
        ("0.0001", "0.0001"),
        ("-3.10", "-3.1"),
        (None, None),
    ],
)
async def test_amounts_are_kept_exactly(desk: Desk, given: str | None, kept: str | None) -> None:
    parent = await customer(desk)
    made = await desk.create("Opportunity", customerId=parent["id"], amount=given)
    assert made["amount"] == kept
    row = await desk.rows("Opportunity")
    assert next(r for r in row.values() if r["id"] == made["id"])["amount"] == kept


async def test_several_faults_are_told_at_once(desk: Desk) -> None:
    done = await desk.write("Customer", "Create", {"name": "", "kind": "PERSON", "phone": "1" * 101, "ownerId": "x"})
    assert codes(done) == ["INVALID", "REQUIRED", "TOO_LONG"]


async def test_lists_may_be_empty_or_absent(desk: Desk) -> None:
    made = await customer(desk, tags=[])
    assert made["tags"] == []
    assert (await desk.update("Customer", made["id"], tags=None))["tags"] is None
    assert (await desk.update("Customer", made["id"], tags=["b", "a", "b"]))["tags"] == ["b", "a", "b"]


async def test_blank_text_is_no_value(desk: Desk) -> None:
    made = await customer(desk, phone=" ", email="a@b.vn")
    assert made["phone"] is None
    changed = await desk.update("Customer", made["id"], email="")
    assert (changed["email"], changed["version"]) == (None, 2)
    assert (await desk.update("Customer", made["id"], email=" "))["version"] == 2


# Unique


async def test_codes_are_unique_among_live_customers(desk: Desk) -> None:
    one, two = await customer(desk, code="U1"), await customer(desk, code="U2")
    for verb, given in (("Create", {"name": "x", "kind": "PERSON"}), ("Update", {"id": two["id"]})):
        done = await desk.write("Customer", verb, {**given, "code": "U1"})
        assert codes(done) == ["DUPLICATE"]
        (error,) = done["userErrors"]
        assert (error["path"], error["params"]["value"], error["params"]["id"]) == (["input", "code"], "U1", one["id"])
    await desk.delete("Customer", one["id"])
    assert (await desk.update("Customer", two["id"], code="U1"))["code"] == "U1"


async def test_a_duplicate_does_not_tell_whose_it_is_to_who_may_not_read_it(desk: Desk) -> None:
    an = await desk.salesperson("an2")
    await customer(desk, code="HIDDEN-1")
    done = await desk.write("Customer", "Create", {"name": "x", "kind": "PERSON", "code": "HIDDEN-1"}, an)
    assert codes(done) == ["DUPLICATE"]
    assert done["userErrors"][0]["params"] == {"field": "code", "value": "HIDDEN-1"}


async def test_a_code_given_twice_in_a_batch(desk: Desk) -> None:
    records = [{"name": f"d{i}", "kind": "PERSON", "code": code} for i, code in enumerate(("D1", "D2", "D1"))]
    done = await desk.bulk("Customer", "BulkCreate", {"records": records})
    assert [(e["code"], e["path"]) for e in done["userErrors"]] == [("DUPLICATE", ["input", "records", "2", "code"])]
    done = await desk.bulk("Customer", "BulkCreate", {"records": records, "errorPolicy": "SKIP_FAILED"})
    assert done["counts"] == {"created": 2, "updated": 0, "deleted": 0, "restored": 0, "skipped": 1}


async def test_logins_are_unique_whatever_their_case(desk: Desk) -> None:
    await desk.user("Duy")
    done = await desk.write("User", "Create", {"login": "dUY", "displayName": "x"})
    assert codes(done) == ["DUPLICATE"]


# Update, versions


async def test_only_what_differs_is_a_change(desk: Desk) -> None:
    made = await customer(desk, phone="1")
    done = await desk.write("Customer", "Update", {"id": made["id"], "phone": "1", "name": made["name"]})
    assert done["customer"]["version"] == 1
    assert done["changeSet"] is None
    done = await desk.write("Customer", "Update", {"id": made["id"], "phone": "1", "name": "B"})
    assert done["changeSet"]["counts"] == {"created": 0, "updated": 1, "deleted": 0, "restored": 0}
    (newest, oldest) = await history(desk, made["id"])
    assert (newest["before"], newest["after"]) == ({"name": "Công ty An"}, {"name": "B"})
    assert (newest["version"], oldest["version"], oldest["before"]) == (2, 1, None)


async def history(desk: Desk, id_: str) -> list[dict[str, Any]]:
    fields = "history { nodes { action version before after source changeSet { operation source } } }"
    return (await desk.get("Customer", id_, fields))["history"]["nodes"]  # type: ignore[index]


async def test_a_stale_version_is_refused_with_what_is_there_now(desk: Desk) -> None:
    made = await customer(desk)
    await desk.update("Customer", made["id"], name="Nhanh hơn", expectedVersion=1)
    for verb in ("Update", "Delete"):
        given = {"id": made["id"], "expectedVersion": 1} | ({"name": "Chậm"} if verb == "Update" else {})
        done = await desk.write("Customer", verb, given)
        assert codes(done) == ["STALE"]
        (error,) = done["userErrors"]
        assert error["path"] == ["input", "expectedVersion"]
        assert (error["params"]["expected"], error["params"]["actual"]) == (1, 2)
        assert error["params"]["current"]["name"] == "Nhanh hơn"


async def test_a_stale_version_shows_no_hidden_field(desk: Desk) -> None:
    an = await desk.salesperson("an3", Reach.ALL, phone="HIDE")
    made = await customer(desk, phone="0909")
    await desk.update("Customer", made["id"], level="x")
    done = await desk.write("Customer", "Update", {"id": made["id"], "name": "y", "expectedVersion": 1}, an)
    current = done["userErrors"][0]["params"]["current"]
    assert "phone" not in current
    assert "0909" not in str(done)
    assert current["level"] == "x"


async def test_unknown_and_deleted_records_are_not_found(desk: Desk) -> None:
    gone = await customer(desk)
    await desk.delete("Customer", gone["id"])
    for id_ in (str(uuid4()), "no uuid", "", gone["id"]):
        for verb in ("Update", "Delete"):
            done = await desk.write("Customer", verb, {"id": id_})
            assert codes(done) == ["NOT_FOUND"], (id_, verb)
            assert done["userErrors"][0]["path"] == ["input", "id"]
    live = await customer(desk)
    assert codes(await desk.write("Customer", "Restore", {"id": live["id"]})) == ["NOT_FOUND"]


# Deleting and restoring


async def test_restoring_into_a_taken_code_is_a_typed_error(desk: Desk) -> None:
    first = await customer(desk, code="R1")
    await desk.delete("Customer", first["id"])
    second = await customer(desk, code="R1")
    done = await desk.write("Customer", "Restore", {"id": first["id"]})
    assert codes(done) == ["DUPLICATE"]
    assert done["userErrors"][0]["params"]["id"] == second["id"]
    await desk.delete("Customer", second["id"])
    done = await desk.bulk("Customer", "BulkRestore", {"ids": [first["id"], second["id"]]})
    assert codes(done) == ["DUPLICATE"]
    done = await desk.bulk(
        "Customer", "BulkRestore", {"ids": [first["id"], second["id"]], "errorPolicy": "SKIP_FAILED"}
    )
    assert (done["counts"]["restored"], done["counts"]["skipped"]) == (1, 1)


async def test_children_are_hidden_with_their_customer_and_come_back_with_it(desk: Desk) -> None:
    parent = await customer(desk)
    contact = await desk.create("Contact", customerId=parent["id"], name="Lan")
    opportunity = await desk.create("Opportunity", customerId=parent["id"])
    everyone = [None, await desk.salesperson("an4", Reach.ALL)]
    await desk.delete("Customer", parent["id"])
    for who in everyone:
        for name, id_ in (("Contact", contact["id"]), ("Opportunity", opportunity["id"])):
            assert await desk.get(name, id_, by=who) is None
            assert codes(await desk.write(name, "Update", {"id": id_, "name": "x"}, who)) == ["NOT_FOUND"]
        found = await desk.do("query($id: ID!) { contacts(where: {customerId: {eq: $id}}) { totalCount } }", who,
                              id=parent["id"])  # fmt: skip
        assert found["totalCount"] == 0
        done = await desk.write("Contact", "Create", {"customerId": parent["id"], "name": "Mai"}, who)
        assert codes(done) == ["NOT_FOUND"]
    restored = await desk.write("Customer", "Restore", {"id": parent["id"]})
    assert restored["customer"]["deletedAt"] is None
    assert restored["customer"]["version"] == 3
    assert await desk.get("Contact", contact["id"]) == contact
    assert await desk.get("Opportunity", opportunity["id"]) == opportunity


async def test_a_contact_is_not_restored_below_a_deleted_customer(desk: Desk) -> None:
    parent = await customer(desk)
    contact = await desk.create("Contact", customerId=parent["id"], name="Lan")
    await desk.delete("Contact", contact["id"])
    await desk.delete("Customer", parent["id"])
    assert codes(await desk.write("Contact", "Restore", {"id": contact["id"]})) == ["NOT_FOUND"]


# Links


async def test_links_must_lead_to_what_the_actor_may_read(desk: Desk) -> None:
    an = await desk.salesperson("an5")
    hidden, own = await customer(desk), await desk.create("Customer", an, name="mine", kind="PERSON")
    for name, given in (
        ("Contact", {"customerId": hidden["id"], "name": "x"}),
        ("Opportunity", {"customerId": hidden["id"]}),
        ("Customer", {"name": "x", "kind": "PERSON", "referrerId": hidden["id"]}),
    ):
        done = await desk.write(name, "Create", given, an)
        assert codes(done) == ["NOT_FOUND"], name
        assert "Công ty An" not in str(done)
    done = await desk.write("Customer", "Update", {"id": own["id"], "referrerId": hidden["id"]}, an)
    assert codes(done) == ["NOT_FOUND"]
    assert (await desk.create("Contact", an, customerId=own["id"], name="x"))["customerId"] == own["id"]


# Who may


async def test_fields_that_may_not_be_written(desk: Desk) -> None:
    an = await desk.salesperson("an6", Reach.ALL, phone="READ", email="HIDE")
    made = await customer(desk, phone="1")
    for given in ({"phone": "2"}, {"email": "a@b.vn"}):
        answer = await desk.answer("Customer", "Update", {"id": made["id"], **given}, an)
        assert "FORBIDDEN" in str(answer["errors"])
        answer = await desk.answer("Customer", "Create", {"name": "q", "kind": "PERSON", **given}, an)
        assert "FORBIDDEN" in str(answer["errors"])
    assert (await desk.rows("Customer"))[_id(made)]["phone"] == "1"
    assert not [r for r in (await desk.rows("Customer")).values() if r["name"] == "q"]


async def test_an_owner_is_given_away_only_by_who_may_transfer(desk: Desk) -> None:
    an, binh = await desk.salesperson("an7"), await desk.salesperson("binh7")
    own = await desk.create("Customer", an, name="x", kind="PERSON")
    reaches = {k: v for k, v in grants(Reach.OWN, "Customer").items() if k[1] != "transfer"}
    lesser = actor(reaches | {("User", "read"): Reach.ALL}, user_id=an.user_id)
    answer = await desk.answer("Customer", "Update", {"id": own["id"], "ownerId": str(binh.user_id)}, lesser)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    done = await desk.write("Customer", "Update", {"id": own["id"], "ownerId": str(binh.user_id)}, an)
    assert done["userErrors"] == []
    assert done["customer"] is None, "an cannot see it any more"
    assert (await desk.rows("Customer"))[_id(own)]["ownerId"] == str(binh.user_id)


def _id(made: dict[str, Any]) -> Any:
    from uuid import UUID

    return UUID(made["id"])


# Bulk


async def test_bulk_updates_by_condition_take_what_the_actor_may_change(desk: Desk) -> None:
    an = await desk.salesperson("an8")
    mine = [await desk.create("Customer", an, name="bulk8", kind="PERSON") for _ in range(3)]
    other = await customer(desk, "bulk8")
    where = {"target": {"where": {"name": {"eq": "bulk8"}}}, "set": {"level": "VIP"}}
    preview = await desk.bulk("Customer", "BulkUpdate", where, an, dryRun=True)
    assert preview["counts"]["updated"] == 3
    assert {r["level"] for r in (await desk.rows("Customer")).values() if r["name"] == "bulk8"} == {None}
    done = await desk.bulk("Customer", "BulkUpdate", where, an)
    assert done["counts"] == preview["counts"]
    rows = await desk.rows("Customer")
    assert [rows[_id(m)]["level"] for m in mine] == ["VIP"] * 3
    assert rows[_id(other)]["level"] is None


async def test_skip_failed_does_what_can_be_done_and_tells_of_the_rest(desk: Desk) -> None:
    an = await desk.salesperson("an9")
    mine = await desk.create("Customer", an, name="x", kind="PERSON")
    hidden, shared = await customer(desk), await customer(desk)
    await desk.bulk("Customer", "ViewersAdd", {"target": {"ids": [shared["id"]]}, "userIds": [str(an.user_id)]})
    ids = ["no uuid", mine["id"], hidden["id"], shared["id"], str(uuid4())]
    given = {"target": {"ids": ids}, "set": {"level": "A"}}
    assert codes(await desk.bulk("Customer", "BulkUpdate", given, an)) == ["NOT_FOUND"]
    done = await desk.bulk("Customer", "BulkUpdate", {**given, "errorPolicy": "SKIP_FAILED"}, an)
    assert {(e["code"], e["path"][-1]) for e in done["userErrors"]} == {
        ("NOT_FOUND", "0"),
        ("NOT_FOUND", "2"),
        ("FORBIDDEN", "3"),
        ("NOT_FOUND", "4"),
    }
    assert (done["counts"]["updated"], done["counts"]["skipped"]) == (1, 4)
    rows = await desk.rows("Customer")
    assert [rows[_id(c)]["level"] for c in (mine, hidden, shared)] == ["A", None, None]


async def test_a_fault_of_one_of_many_names_the_record(desk: Desk) -> None:
    one, two = await customer(desk), await customer(desk)
    given = {"target": {"ids": [one["id"], two["id"]]}, "set": {"code": "BOTH"}, "errorPolicy": "SKIP_FAILED"}
    done = await desk.bulk("Customer", "BulkUpdate", given)
    (error,) = done["userErrors"]
    assert (error["code"], error["path"]) == ("DUPLICATE", ["input", "set", "code"])
    failed = error["params"]["recordId"]
    assert failed in (one["id"], two["id"])
    rows = await desk.rows("Customer")
    assert {r["id"]: r["code"] == "BOTH" for r in (rows[_id(one)], rows[_id(two)])} == {
        one["id"]: failed != one["id"],
        two["id"]: failed != two["id"],
    }


async def test_everything_or_nothing_by_default(desk: Desk) -> None:
    before = await desk.rows("Customer")
    records = [{"name": f"n{i}", "kind": "PERSON"} for i in range(6000)] + [{"name": "", "kind": "PERSON"}]
    done = await desk.bulk("Customer", "BulkCreate", {"records": records})
    assert codes(done) == ["REQUIRED"]
    assert done["userErrors"][0]["path"] == ["input", "records", "6000", "name"]
    assert done["changeSet"] is None
    assert await desk.rows("Customer") == before
    orphans = "select count(*) from change where change_set_id not in (select id from change_set)"
    assert await desk.fetch(orphans) == 0


# dryRun


async def test_a_dry_run_answers_all_and_changes_nothing(desk: Desk) -> None:
    made, parent = await customer(desk), await customer(desk)
    contact = await desk.create("Contact", customerId=parent["id"], name="x")

    async def everything() -> list[Any]:
        state: list[Any] = [await desk.rows(name) for name in TYPES]
        return [*state, await desk.journal(), await desk.fetch("select count(*) from idempotency")]

    before = await everything()
    done = await desk.write("Customer", "Create", {"name": "dry", "kind": "PERSON"}, dryRun=True, idempotencyKey="d1")
    assert done["customer"]["name"] == "dry"
    assert done["customer"]["code"].startswith("KH")
    assert done["changeSet"]["counts"]["created"] == 1
    done = await desk.write("Customer", "Update", {"id": made["id"], "name": "dry"}, dryRun=True)
    assert (done["customer"]["name"], done["customer"]["version"]) == ("dry", 2)
    assert (await desk.write("Customer", "Delete", {"id": made["id"]}, dryRun=True))["id"] == made["id"]
    assert (await desk.write("Contact", "Delete", {"id": contact["id"]}, dryRun=True))["id"] == contact["id"]
    assert codes(await desk.write("Customer", "Create", {"name": "", "kind": "PERSON"}, dryRun=True)) == ["REQUIRED"]
    assert await everything() == before


# The journal


async def test_a_change_set_tells_who_when_and_how(desk: Desk) -> None:
    an = await desk.salesperson("an10")
    done = await desk.write("Customer", "Create", {"name": "j", "kind": "PERSON", "phone": "5"}, an)
    (change,) = await history(desk, done["customer"]["id"])
    assert (change["action"], change["before"]) == ("CREATE", None)
    assert change["after"]["name"] == "j"
    assert change["after"]["phone"] == "5"
    assert change["after"]["ownerId"] == str(an.user_id)
    assert change["changeSet"] == {"operation": "customerCreate", "source": "MUTATION"}
    row = await desk.fetch(
        "select actor_id::text || ' ' || actor_kind from change_set where id = $1", _id(done["changeSet"])
    )
    assert row == f"{an.user_id} USER"


async def test_history_hides_what_its_reader_may_not_see(desk: Desk) -> None:
    an = await desk.salesperson("an11", Reach.ALL, phone="HIDE")
    made = await customer(desk, phone="0912")
    await desk.update("Customer", made["id"], phone="0913", level="x")
    fields = "history { nodes { before after } }"
    shown = await desk.get("Customer", made["id"], fields, an)
    assert "091" not in str(shown)
    assert shown["history"]["nodes"][0] == {"before": {"level": None}, "after": {"level": "x"}}  # type: ignore[index]


# Custom fields

FIELD = """mutation($input: CustomFieldCreateInput!) {
  customFieldCreate(input: $input) { field: customField { id } userErrors { code path message } } }"""


async def custom_field(desk: Desk, name: str, kind: str, **values: Any) -> str:
    made = await desk.do(FIELD, input={"recordType": "Customer", "name": name, "kind": kind, **values})
    assert made["userErrors"] == []
    await desk.features.refresh(desk.workspace)
    return made["field"]["id"]


async def test_custom_values_are_kept_as_the_journal_tells(desk: Desk) -> None:
    await custom_field(desk, "rank", "DECIMAL", unique=True)
    await custom_field(desk, "hobbies", "CHOICES", choices=["golf", "tea"])
    await custom_field(desk, "nick", "TEXT", unique=True)
    made = await customer(desk, rank="1.50", hobbies=["GOLF"], nick="a")
    assert (made["rank"], made["hobbies"], made["nick"]) == ("1.5", ["GOLF"], "a")
    twice = await desk.write("Customer", "Create", {"name": "x", "kind": "PERSON", "rank": "1.5000", "nick": "a"})
    assert codes(twice) == ["DUPLICATE", "DUPLICATE"]
    assert {e["params"]["id"] for e in twice["userErrors"]} == {made["id"]}
    changed = await desk.write("Customer", "Update", {"id": made["id"], "hobbies": [], "nick": "", "rank": "2"})
    assert [changed["customer"][k] for k in ("hobbies", "nick", "rank")] == [None, None, "2"]
    undone = await desk.undo(changed["changeSet"]["id"])
    assert undone["conflicts"] == 0
    assert (await desk.get("Customer", made["id"], "hobbies nick rank")) == {
        "hobbies": ["GOLF"], "nick": "a", "rank": "1.5",
    }  # fmt: skip
    for nick in ("", None):
        await customer(desk, nick=nick)


async def test_values_of_fields_that_this_process_has_not_heard_of_survive(desk: Desk) -> None:
    await custom_field(desk, "known", "TEXT")
    made = await customer(desk, known="a")
    await desk.fetch("update customer set custom = custom || '{\"unheard\": [1]}' where id = $1", _id(made))
    await desk.update("Customer", made["id"], known="b")
    await desk.update("Customer", made["id"], known=None)
    stored = await desk.fetch("select custom from customer where id = $1", _id(made))
    assert stored == {"unheard": [1]}


# Main contacts


async def mains(desk: Desk, parent: dict[str, Any]) -> str:
    """The names of a customer's live contacts, the main one in capitals."""
    rows = [r for r in (await desk.rows("Contact")).values() if r["customerId"] == parent["id"] and not r["deletedAt"]]
    assert sum(r["isMain"] for r in rows) == bool(rows), rows
    return "".join(sorted((r["name"].upper() if r["isMain"] else r["name"] for r in rows), key=str.lower))


async def test_the_first_contact_is_the_main_one(desk: Desk) -> None:
    parent = await customer(desk)
    a = await desk.create("Contact", customerId=parent["id"], name="a")
    assert (a["isMain"], a["version"]) == (True, 1)
    await desk.create("Contact", customerId=parent["id"], name="b")
    assert await mains(desk, parent) == "Ab"


async def test_another_main_contact_takes_its_place(desk: Desk) -> None:
    parent = await customer(desk)
    a = await desk.create("Contact", customerId=parent["id"], name="a")
    b = await desk.create("Contact", customerId=parent["id"], name="b", isMain=True)
    assert await mains(desk, parent) == "aB"
    await desk.update("Contact", a["id"], isMain=True, title="x")
    assert await mains(desk, parent) == "Ab"
    assert (await desk.get("Contact", b["id"], "version"))["version"] == 2  # type: ignore[index]
    await desk.update("Contact", a["id"], isMain=False)
    assert await mains(desk, parent) == "aB"
    await desk.delete("Contact", a["id"])
    await desk.update("Contact", b["id"], isMain=False)
    assert await mains(desk, parent) == "B"


async def test_where_the_main_contact_goes_the_oldest_follows(desk: Desk) -> None:
    parent = await customer(desk)
    a, b, c = [await desk.create("Contact", customerId=parent["id"], name=n) for n in "abc"]
    gone = await desk.delete("Contact", a["id"])
    assert await mains(desk, parent) == "Bc"
    await desk.undo(gone)
    assert await mains(desk, parent) == "Abc"
    done = await desk.bulk("Contact", "BulkDelete", {"target": {"ids": [a["id"], b["id"]]}})
    assert done["userErrors"] == []
    assert await mains(desk, parent) == "C"
    done = await desk.bulk("Contact", "BulkRestore", {"ids": [b["id"], a["id"]]})
    assert await mains(desk, parent) == "Abc"
    done = await desk.bulk("Contact", "BulkDelete", {"target": {"ids": [a["id"], b["id"], c["id"]]}})
    assert await mains(desk, parent) == ""
    await desk.write("Contact", "Restore", {"id": c["id"]})
    assert await mains(desk, parent) == "C"


async def test_main_contacts_in_bulk(desk: Desk) -> None:
    one, two = await customer(desk), await customer(desk)
    records = [
        {"customerId": parent["id"], "name": name, "isMain": main}
        for parent, name, main in ((one, "a", False), (one, "b", False), (two, "a", True), (two, "b", True))
    ]
    await desk.bulk("Contact", "BulkCreate", {"records": records})
    assert (await mains(desk, one), await mains(desk, two)) == ("Ab", "aB")
    where = {"where": {"customerId": {"in": [one["id"], two["id"]]}}}
    done = await desk.bulk("Contact", "BulkUpdate", {"target": where, "set": {"isMain": True, "title": "x"}})
    assert done["userErrors"] == []
    assert (await mains(desk, one), await mains(desk, two)) == ("aB", "Ab")
    await desk.undo(done["changeSet"]["id"])
    assert (await mains(desk, one), await mains(desk, two)) == ("Ab", "aB")
    await desk.bulk("Contact", "BulkUpdate", {"target": where, "set": {"isMain": False}})
    assert (await mains(desk, one), await mains(desk, two)) == ("aB", "Ab")


async def test_a_faulty_main_contact_changes_nothing(desk: Desk) -> None:
    parent = await customer(desk)
    await desk.create("Contact", customerId=parent["id"], name="a")
    records = [{"customerId": parent["id"], "name": n, "isMain": m} for n, m in (("", True), ("b", False))]
    await desk.bulk("Contact", "BulkCreate", {"records": records, "errorPolicy": "SKIP_FAILED"})
    assert await mains(desk, parent) == "Ab"


async def test_two_first_contacts_at_the_same_instant(desk: Desk) -> None:
    parent = await customer(desk)
    made = await asyncio.gather(
        *(desk.write("Contact", "Create", {"customerId": parent["id"], "name": n}) for n in "abcd")
    )
    assert [codes(m) for m in made] == [[]] * 4
    assert len(await mains(desk, parent)) == 4


# Last of all: what the tests above have left in the journal


async def test_the_journal_replayed_gives_the_rows(desk: Desk) -> None:
    query = f'mutation {{ teamCreate(input: {{name: "t"}}) {{ team {{ id }} {ERRORS} {SET} }} }}'
    await desk.do(query)
    await desk.demand_replay(*TYPES)
