"""What dedupe tells whom, how its keys follow a base, and its answers against slow plain Python."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.features import Features
from core.grants import SYSTEM, Reach
from core.jobs import JobContext, job_types
from core.plugins import PluginRegistry
from plugins.dedupe import build, duplicate
from plugins.dedupe.criteria import Criterion
from plugins.dedupe.duplicate import Match, Other
from plugins.dedupe.normalise import Normaliser, digits, e164, plain
from plugins.dedupe.settings import Disclosure
from tests.deduping import CLUSTERS, CONTACT, CREATE, DISMISS, UPDATE, create, criterion, errors, forget
from tests.switching import Desk, actor

READS = {
    ("User", "read"): Reach.ALL,
    ("Customer", "create"): Reach.ALL,
    ("Customer", "read"): Reach.OWN,
    ("DuplicateCriterion", "read"): Reach.ALL,
}


@pytest.fixture(scope="module")
async def shared(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    features = Features(database, registry=PluginRegistry.discover(["plugins.dedupe"]))
    await features.enable(module_workspace, "dedupe")
    yield Desk(database, features, module_workspace)
    await features.close()


@pytest.fixture
async def desk(shared: Desk) -> AsyncIterator[Desk]:
    yield shared
    await shared.features.enable(shared.workspace, "dedupe", {})
    await forget(shared)


async def owner(desk: Desk, name: str = "Chị Lan") -> str:
    made = await desk.do(
        "mutation($input: UserCreateInput!) { userCreate(input: $input) { user { id } userErrors { code } } }",
        input={"login": f"u{random.randrange(10**9)}", "displayName": name},
    )
    return made["user"]["id"]


@pytest.mark.parametrize(
    ("disclose", "message", "name", "owner_name", "in_contact"),
    [
        ("existence", "Phone 0912633920 already exists", None, None, None),
        ("owner", "Phone 0912633920 already exists in a customer of owner Chị Lan", None, "Chị Lan", False),
        (
            "name_and_owner",
            "Phone 0912633920 already exists in customer A of owner Chị Lan",
            "A",
            "Chị Lan",
            False,
        ),
    ],
)
async def test_what_is_told_to_whom(
    desk: Desk, disclose: str, message: str, name: str | None, owner_name: str | None, in_contact: bool | None
) -> None:
    await desk.features.enable(desk.workspace, "dedupe", {"disclose": disclose})
    await criterion(desk, "phone")
    lan = await owner(desk)
    a = await desk.customer("A", phone="0912633920", ownerId=lan)
    stranger = actor(READS, user_id=UUID(await owner(desk, "Anh Ba")))
    (error,) = await errors(desk, stranger, name="B", phone="0912633920")
    assert (error["customerId"], error["customerCode"], error["ownerId"]) == (None, None, None)
    assert (error["message"], error["customerName"], error["ownerName"]) == (message, name, owner_name)
    assert error["inContact"] is in_contact
    assert a not in str(error)
    # Its owner reads it, and learns all.
    (error,) = await errors(desk, actor(READS, user_id=UUID(lan)), name="B", phone="0912633920")
    assert (error["customerId"], error["customerName"], error["ownerId"]) == (a, "A", lan)
    (probed,) = await desk.do(
        """query { duplicatesCheck(records: [{phone: "0912633920"}]) {
          duplicates { message customerId customerName ownerName inContact } } }""",
        stranger,
    )
    assert probed["duplicates"] == [
        {
            "message": message,
            "customerId": None,
            "customerName": name,
            "ownerName": owner_name,
            "inContact": in_contact,
        }
    ]


async def test_clusters_show_what_may_be_read_and_count_the_rest(desk: Desk) -> None:
    phone = await criterion(desk, "phone", effect="WARN")
    lan = await owner(desk)
    await desk.customer("A", phone="0912633920", ownerId=lan)
    await desk.customer("B", phone="0912633920")
    await desk.customer("C", phone="0976665755")
    await desk.customer("D", phone="0976665755")
    mine = await desk.do(CLUSTERS, actor(READS, user_id=UUID(lan)), id=phone)
    assert mine["nodes"] == [{"key": "+84912633920", "count": 2, "hidden": 1, "members": [{"name": "A"}]}]
    everything = await desk.do(CLUSTERS, id=phone)
    assert [(c["key"], c["hidden"]) for c in everything["nodes"]] == [("+84912633920", 0), ("+84976665755", 0)]
    some = await desk.do(CLUSTERS, id=phone, where={"name": {"in": ["A", "C", "D"]}})
    assert [[m["name"] for m in c["members"]] for c in some["nodes"]] == [["C", "D"]]
    first = await desk.do(CLUSTERS, id=phone, first=1)
    assert first["pageInfo"]["hasNextPage"] is True
    rest = await desk.do(CLUSTERS, id=phone, first=1, after=first["pageInfo"]["endCursor"])
    assert [c["key"] for c in rest["nodes"]] == ["+84976665755"]
    assert rest["pageInfo"]["hasNextPage"] is False
    assert await desk.code(CLUSTERS, id="nothing") == "NOT_FOUND"
    assert await desk.code(CLUSTERS, id=phone, after="nothing") == "BAD_USER_INPUT"
    nobody = actor({("DuplicateCriterion", "read"): Reach.ALL})
    assert await desk.code(CLUSTERS, nobody, id=phone) == "FORBIDDEN"


CANDIDATES = """query($id: ID, $where: CustomerWhere, $threshold: Float) {
  duplicateCandidates(customerId: $id, where: $where, threshold: $threshold) {
    nodes { score left { name } right { name } evidence { field left right similarity weight } }
    pageInfo { hasNextPage } } }"""


async def test_candidates_come_with_their_evidence(desk: Desk) -> None:
    same = {"birthday": "1990-02-03", "officeAddress": "12 Lê Lợi, P.8", "province": "Hà Nội"}
    a = await desk.customer("Nguyễn Văn Bình", phone="0912633920", **same)
    b = await desk.customer("Bình Nguyễn Vân", phone="0912633902", **{**same, "birthday": "1990-03-02"})
    await desk.customer("Trần Thị Hoa", phone="0976665755", birthday="1985-12-24", officeAddress="7 Hàng Bài")
    found = await desk.do(CANDIDATES, where={})
    (pair,) = found["nodes"]
    assert {pair["left"]["name"], pair["right"]["name"]} == {"Nguyễn Văn Bình", "Bình Nguyễn Vân"}
    assert pair["score"] > 0.9
    evidence = {e["field"]: e for e in pair["evidence"]}
    assert evidence["birthday"]["similarity"] == 0.9
    assert evidence["officeAddress"]["weight"] == 11
    one = await desk.do(CANDIDATES, id=b)
    assert [(p["left"]["name"], p["right"]["name"]) for p in one["nodes"]] == [("Bình Nguyễn Vân", "Nguyễn Văn Bình")]
    assert one["nodes"][0]["score"] == pair["score"]
    blind = actor(READS)
    assert (await desk.do(CANDIDATES, blind, where={}))["nodes"] == []
    await desk.do(DISMISS, ids=[a, b])
    assert (await desk.do(CANDIDATES, where={}))["nodes"] == []
    assert (await desk.do(CANDIDATES, id=b))["nodes"] == []
    assert await desk.code(CANDIDATES) == "BAD_USER_INPUT"
    assert await desk.code(CANDIDATES, where={}, threshold=2) == "BAD_USER_INPUT"


async def run_job(
    desk: Desk, input_: Mapping[str, Any], counts: dict[str, Any] | None = None, number: Any = None
) -> Any:
    """One attempt at building, as a worker makes it."""
    composition = await desk.features.composition(desk.workspace)
    kind = job_types(composition.hooks)[build.KIND]
    row = await desk.database.pool(desk.workspace).fetchrow(
        "update job set status = 'RUNNING', started_at = clock_timestamp() "
        "where id = coalesce($2, (select id from job where kind = $1 order by created_at desc limit 1)) "
        "returning id, started_at",
        build.KIND,
        number,
    )
    context = RequestContext(desk.workspace, Actor(ActorKind.SYSTEM, SYSTEM))
    job = JobContext(
        row["id"],
        kind,
        context,
        composition.policy(SYSTEM),
        composition.hooks,
        composition,
        input_,
        desk.database,
        row["started_at"],
        counts=counts or {},
    )
    return await kind.run(job)


async def last_input(desk: Desk) -> Any:
    return await desk.fetch("select input from job where kind = $1 order by created_at desc limit 1", build.KIND)


async def status(desk: Desk) -> list[str]:
    found = await desk.do("{ duplicateCriteria { nodes { status } } }")
    return [c["status"] for c in found["nodes"]]


async def test_a_big_base_gets_its_keys_by_a_job_while_others_write(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "AT_ONCE", 0)
    monkeypatch.setattr(build, "BATCH", 3)
    for i in range(7):
        await desk.customer(f"Old {i}", phone=f"09126339{i:02}")
    made = await desk.do(
        """mutation { duplicateCriterionCreate(input: {fields: ["phone"]}) {
          duplicateCriterion { id status progress } userErrors { code } } }"""
    )
    assert made["duplicateCriterion"]["status"] == "BUILDING"
    # Nothing is blocked yet, but whoever writes keeps the keys.
    assert await errors(desk, name="New", phone="0976665755") == []
    assert await errors(desk, name="New too", phone="0912633900") == []
    assert await desk.fetch("select count(*) from dedupe_key") == 2
    input_ = await last_input(desk)
    # Somebody who began to write before is waited for.
    async with desk.database.transaction(desk.workspace) as slow:
        await slow.execute("update customer set phone = '0900000123' where name = 'Old 6'")
        running = asyncio.create_task(run_job(desk, input_))
        await asyncio.sleep(0.5)
        assert not running.done()
        assert await status(desk) == ["BUILDING"]
    assert (await running)["records"] == 9
    assert await status(desk) == ["ACTIVE"]
    assert await desk.fetch("select count(*) from dedupe_key") == 9
    for phone in ("0912633903", "0976665755", "0900000123"):
        assert len(await errors(desk, name="Late", phone=phone)) == 1, phone
    assert await errors(desk, name="Free again", phone="0912633906") == []


async def test_a_build_that_was_broken_off_goes_on_where_it_was(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "AT_ONCE", 0)
    monkeypatch.setattr(build, "BATCH", 2)
    ids = sorted([await desk.customer(f"C{i}", phone=f"09126339{i:02}") for i in range(6)])
    await desk.do('mutation { duplicateCriterionCreate(input: {fields: ["phone"]}) { userErrors { code } } }')
    input_ = await last_input(desk)
    whole = build._Build._batch
    tried = 0

    async def dies(self: Any, name: str, table: str, total: int) -> bool:
        nonlocal tried
        tried += 1
        if tried == 3:
            raise ConnectionError
        return await whole(self, name, table, total)

    monkeypatch.setattr(build._Build, "_batch", dies)
    with pytest.raises(ConnectionError):
        await run_job(desk, input_)
    counts = await desk.fetch("select counts from job where kind = $1 order by created_at desc limit 1", build.KIND)
    assert {k: counts[k] for k in ("records", "Customer")} == {"records": 4, "Customer": ids[3]}
    monkeypatch.setattr(build._Build, "_batch", whole)
    assert (await run_job(desk, input_, counts))["records"] == 6
    assert await desk.fetch("select count(*) from dedupe_key") == 6


async def test_a_criterion_that_is_changed_while_its_keys_are_made_gets_a_job_of_its_own(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "AT_ONCE", 0)
    monkeypatch.setattr(build, "BATCH", 2)
    for i in range(4):
        await desk.customer(f"C{i}", phone=f"09126339{i:02}", email=f"c{i}@x.vn")
    made = await desk.do(
        """mutation { duplicateCriterionCreate(input: {fields: ["phone"]}) {
          duplicateCriterion { id } userErrors { code } } }"""
    )
    old = await last_input(desk)
    rewrite, waiting = build.rewrite, [["email"]]
    update = """mutation($id: ID!, $fields: [String!]!) {
      duplicateCriterionUpdate(input: {id: $id, fields: $fields}) { userErrors { code } } }"""

    async def changes_meanwhile(*arguments: Any) -> int:
        written = await rewrite(*arguments)
        if waiting:
            await desk.do(update, id=made["duplicateCriterion"]["id"], fields=waiting.pop())
        return written

    monkeypatch.setattr(build, "rewrite", changes_meanwhile)
    job = await desk.fetch("select id from job order by created_at desc limit 1")
    await run_job(desk, old, number=job)
    assert await status(desk) == ["BUILDING"]
    new = await last_input(desk)
    assert new["sets"] != old["sets"]
    await run_job(desk, new)
    assert await status(desk) == ["ACTIVE"]
    assert len(await errors(desk, name="D", email="c0@x.vn")) == 1
    assert await errors(desk, name="E", phone="0912633900") == []
    assert await desk.fetch("select count(distinct set_id) from dedupe_key") == 1


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_was_written_while_it_was_off_is_made_up_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    await criterion(desk, "phone")
    a, b = await desk.customer("A", phone="0912633920"), await desk.customer("B", phone="0976665755")
    await desk.features.disable(desk.workspace, "dedupe")
    assert "duplicateCriteria" in str(await desk.ask("{ duplicateCriteria { nodes { id } } }"))
    off = "mutation($input: CustomerUpdateInput!) { customerUpdate(input: $input) { userErrors { code } } }"
    await desk.do(off, input={"id": a, "phone": "0911222333"})
    await desk.customer("C", phone="0976665755")
    if not at_once:
        monkeypatch.setattr(build, "AT_ONCE", 0)
        monkeypatch.setattr(build, "LONGEST_REQUEST", timedelta(0))
        await desk.fetch("update customer set updated_at = now() - interval '1 day' where id = $1", UUID(b))
    await desk.features.enable(desk.workspace, "dedupe")
    if not at_once:
        assert await status(desk) == ["BUILDING"]
        assert (await run_job(desk, await last_input(desk)))["records"] == 2
    assert await status(desk) == ["ACTIVE"]
    assert len(await errors(desk, name="D", phone="0911222333")) == 1
    assert await errors(desk, name="E", phone="0912633920") == []


async def test_other_settings_make_the_keys_anew(desk: Desk) -> None:
    await criterion(desk, "name")
    await desk.customer("Quán Hoa Sen")
    assert await errors(desk, name="Hoa Sen") == []
    await desk.do('mutation { customersBulkDelete(input: {target: {where: {name: {eq: "Hoa Sen"}}}}) { counts } }')
    await desk.features.enable(desk.workspace, "dedupe", {"legal_forms": ["quán"]})
    assert len(await errors(desk, name="Hoa Sen")) == 1
    await desk.features.enable(desk.workspace, "dedupe", {"junk_values": ["Quán Hoa Sen"]})
    assert await errors(desk, name="Quán Hoa Sen") == []


async def test_custom_fields_can_be_compared(desk: Desk) -> None:
    made = await desk.do(
        """mutation { customFieldCreate(input: {recordType: "Customer", name: "zalo", kind: TEXT}) {
          userErrors { code message } } }"""
    )
    assert made["userErrors"] == []
    await desk.features.refresh(desk.workspace)
    await desk.customer("A", zalo="Lan.Anh")
    await criterion(desk, "zalo")
    (error,) = await errors(desk, name="B", zalo="lan anh")
    assert (error["customerName"], error["path"]) == ("A", ["input", "zalo"])
    await desk.customer("C", zalo="Minh")
    assert len(await errors(desk, name="D", zalo="MINH")) == 1


async def test_a_dry_run_says_the_same_and_keeps_nothing(desk: Desk) -> None:
    await criterion(desk, "phone")
    await desk.customer("A", phone="0912633920")
    dry = CREATE.replace("(input: $input)", "(input: $input, dryRun: true)")
    refused = await desk.do(dry, input={"kind": "PERSON", "name": "B", "phone": "0912633920"})
    assert [e["customerName"] for e in refused["userErrors"]] == ["A"]
    allowed = await desk.do(dry, input={"kind": "PERSON", "name": "B", "phone": "0976665755"})
    assert allowed["customer"]["name"] == "B"
    assert await desk.fetch("select count(*) from dedupe_key") == 1


PHONES = ["0912633920", "+84 912 633 920", "0976665755", "976665755", "-", "0000000000", None]
NAMES = ["An Bình", "CTY TNHH An Binh", "an  bình", "Hoa", "Công ty CP Hòa", "-"]


@pytest.mark.parametrize("seed", range(4))
async def test_keys_and_clusters_equal_plain_python(desk: Desk, seed: int) -> None:
    """A few dozen random writes: what is refused, and which clusters there are, as a slow reference has it."""
    chance = random.Random(seed)
    by_phone = await criterion(desk, "phone")
    by_name = await criterion(desk, "name", effect="WARN")
    normaliser = Normaliser()
    base: dict[str, dict[str, Any]] = {}

    def phones(values: Mapping[str, Any]) -> set[str]:
        own = set(normaliser.values("phone", values["phone"]))
        return own | {p for c in values["contacts"] for p in normaliser.values("phone", c)}

    def taken(value: Any, by: str | None = None) -> bool:
        wanted = set(normaliser.values("phone", value))
        return any(wanted & phones(values) for id_, values in base.items() if id_ != by)

    for _ in range(30):
        kind = chance.choice(("create", "create", "update", "contact", "delete"))
        phone, name = chance.choice(PHONES), chance.choice(NAMES)
        id_ = chance.choice(list(base)) if base else None
        if kind == "create" or id_ is None:
            made = await desk.do(CREATE, input={"kind": "PERSON", "name": name, "phone": phone})
            assert bool(made["userErrors"]) == taken(phone), (phone, base)
            if made["customer"]:
                base[made["customer"]["id"]] = {"name": name, "phone": phone, "contacts": []}
        elif kind == "update":
            had = set(normaliser.values("phone", base[id_]["phone"]))
            news = set(normaliser.values("phone", phone)) - had
            done = await desk.do(UPDATE, input={"id": id_, "phone": phone, "name": name})
            assert bool(done["userErrors"]) == bool(news and taken(phone, id_)), (phone, base)
            if not done["userErrors"]:
                base[id_] |= {"name": name, "phone": phone}
        elif kind == "contact" and phone:
            done = await desk.do(CONTACT, input={"customerId": id_, "name": "X", "phones": [phone]})
            assert bool(done["userErrors"]) == taken(phone, id_), (phone, base)
            if not done["userErrors"]:
                base[id_]["contacts"].append(phone)
        elif kind == "delete":
            await desk.do("mutation($id: ID!) { customerDelete(input: {id: $id}) { userErrors { code } } }", id=id_)
            del base[id_]
    expected: dict[str, int] = {}
    for values in base.values():
        for key in normaliser.values("name", values["name"]):
            expected[key] = expected.get(key, 0) + 1
    shown = await desk.do(CLUSTERS, id=by_name)
    assert {c["key"]: c["count"] for c in shown["nodes"]} == {k: n for k, n in expected.items() if n > 1}
    assert (await desk.do(CLUSTERS, id=by_phone))["nodes"] == []


def test_vietnamese_numbers_are_read_as_the_library_reads_them() -> None:
    chance = random.Random(7)
    for _ in range(3000):
        body = "".join(chance.choice("0123456789") for _ in range(chance.choice((7, 8, 9, 9, 9, 10, 11))))
        text = chance.choice(("", "0", "84", "+84", "+84 ", "(0)", "+1")) + body
        try:
            number = phonenumbers.parse(text, "VN")
        except phonenumbers.NumberParseException:
            assert e164(text, "VN") == digits(text)
            continue
        if phonenumbers.is_possible_number(number):
            assert e164(text, "VN") == phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164), text


@given(st.text(max_size=40))
def test_whatever_is_typed_is_normalised_for_good(text: str) -> None:
    normaliser = Normaliser()
    for style in ("text", "name", "email", "phone", "digits"):
        for value in normaliser.values(style, text):
            assert value.strip()
            assert normaliser.values(style, value) in ([value], []) or style == "name", (style, value)
    assert plain(plain(text)) == plain(text)


MESSAGES = {
    "vi": [
        "Email a@b.vn đã tồn tại",
        "Email a@b.vn đã tồn tại trong một khách hàng thuộc chủ sở hữu Lan",
        "Email a@b.vn đã tồn tại trong khách hàng A",
        "Email a@b.vn đã tồn tại trong khách hàng A thuộc chủ sở hữu Lan",
        "Email a@b.vn đã tồn tại trong một liên hệ",
        "Email a@b.vn đã tồn tại trong liên hệ của một khách hàng thuộc chủ sở hữu Lan",
        "Email a@b.vn đã tồn tại trong liên hệ của khách hàng A",
        "Email a@b.vn đã tồn tại trong liên hệ của khách hàng A thuộc chủ sở hữu Lan",
        "Email a@b.vn đã tồn tại trong khách hàng A (đã xoá)",
        "Email a@b.vn trùng với dòng 3 trong cùng yêu cầu",
    ],
    "en": [
        "Email a@b.vn already exists",
        "Email a@b.vn already exists in a customer of owner Lan",
        "Email a@b.vn already exists in customer A",
        "Email a@b.vn already exists in customer A of owner Lan",
        "Email a@b.vn already exists in a contact",
        "Email a@b.vn already exists in a contact of a customer of owner Lan",
        "Email a@b.vn already exists in a contact of customer A",
        "Email a@b.vn already exists in a contact of customer A of owner Lan",
        "Email a@b.vn already exists in customer A (deleted)",
        "Email a@b.vn is also in row 3 of the same request",
    ],
}


@pytest.mark.parametrize("locale", ["vi", "en"])
def test_the_words_in_both_languages(locale: str) -> None:
    about = Criterion(UUID(int=1), "", 1, ("email",), frozenset(), True, True, "email", "")
    who = [Other(), Other(owner="Lan"), Other(name="A"), Other(name="A", owner="Lan")]
    matches = [Match(about, "a@b.vn", other, in_contact) for in_contact in (False, True) for other in who]
    matches += [Match(about, "a@b.vn", Other(name="A", deleted=True)), Match(about, "a@b.vn", Other(), row=2)]
    said = [m.message("Email", locale, Disclosure.NAME_AND_OWNER) for m in matches]
    assert said == MESSAGES[locale]
    # To whom only the existence is told, a contact is none.
    hidden = Match(about, "a@b.vn", Other(), in_contact=True)
    assert hidden.message("Email", locale, Disclosure.EXISTENCE) == MESSAGES[locale][0]
    assert hidden.fields("Email", Disclosure.EXISTENCE)["inContact"] is None
    assert duplicate.KIND == "DuplicateError"


async def test_purging_drops_everything(desk: Desk) -> None:
    await criterion(desk, "phone")
    await create(desk, name="A", phone="0912633920")
    await desk.features.disable(desk.workspace, "dedupe")
    await desk.features.purge(desk.workspace, "dedupe")
    assert await desk.fetch("select to_regclass('dedupe_key') is null and to_regclass('dedupe_criterion') is null")
    await desk.features.enable(desk.workspace, "dedupe")
    assert (await desk.do("{ duplicateCriteria { nodes { id } } }"))["nodes"] == []
