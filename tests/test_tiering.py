"""The tiering plugin: a scenario for each rule of the product, through GraphQL on real tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from core.context import Workspace
from core.database import Database
from core.features import Features
from core.grants import Access, Grants, Reach, RoleGrants
from core.jobs import enqueue, job_types
from core.plugins import PluginRegistry
from core.schedule import next_due
from core.testing.jobs import JobRunner
from core.testing.statements import watching
from plugins.tiering import evaluation
from tests.conftest import NewWorkspace
from tests.switching import CUSTOMERS, Desk, actor

CREATE = """mutation($input: TierCreateInput!) { tierCreate(input: $input) {
  tier { id name rank discountPercent benefits auto rule ruleProblem } userErrors { code path message } } }"""
UPDATE = """mutation($input: TierUpdateInput!) { tierUpdate(input: $input) { userErrors { code path } } }"""
CHANGE = """mutation($input: CustomerUpdateInput!, $dryRun: Boolean! = false) {
  customerUpdate(input: $input, dryRun: $dryRun) {
    customer { tier { name } } userErrors { code } changeSet { id counts } } }"""
SHOW = """query($id: ID!) { customer(id: $id) {
  tier { name discountPercent } tierId tierPinned tierSince tierSource } }"""
SET = """mutation($input: CustomersSetTierInput!, $dryRun: Boolean! = false) {
  customersSetTier(input: $input, dryRun: $dryRun) {
    counts customers { name tier { name } } userErrors { code path } changeSet { id } } }"""
UNPIN = """mutation($input: CustomersUnpinTierInput!) { customersUnpinTier(input: $input) {
  counts customers { tier { name } } userErrors { code } } }"""
EVALUATE = """mutation($dryRun: Boolean! = false) { tiersEvaluate(dryRun: $dryRun) {
  moves { fromTier { name } toTier { name } customers } customers job { id kind status }
  userErrors { code } changeSet { id counts } } }"""
EXPLAIN = """query($id: ID!) { tierExplain(customerId: $id) { customer { name } tier { name } pinned tiers {
  tier { name } current holds problem conditions { path condition holds actual } } } }"""
LIST = """query($where: CustomerWhere) { customers(where: $where, orderBy: [
  {field: TIER_RANK, direction: DESC}, {field: NAME}]) { nodes { name } } }"""
UNDO = """mutation($id: ID!) { changeSetUndo(input: {id: $id}) { conflicts counts userErrors { code } } }"""
CONTACT = (
    """mutation($input: ContactCreateInput!) { contactCreate(input: $input) { contact { id } userErrors { code } } }"""
)
REACHES = {("Customer", a): Reach.ALL for a in CUSTOMERS} | {("Tier", a): Reach.ALL for a in CUSTOMERS}
LEVEL = {"Đồng": None, "Bạc": ("A", "VIP", "KIM"), "Vàng": ("VIP", "KIM"), "Kim cương": ("KIM",)}


@pytest.fixture(scope="module")
async def shared(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    features = Features(database, registry=PluginRegistry.discover(["plugins.groups", "plugins.tiering"]))
    await features.enable(module_workspace, "groups")
    await features.enable(module_workspace, "tiering")
    yield Desk(database, features, module_workspace)
    await features.close()


@pytest.fixture
async def desk(shared: Desk) -> AsyncIterator[Desk]:
    """A desk without customers and tiers."""
    yield shared
    await shared.database.pool(shared.workspace).execute("truncate customer, tier, job cascade")
    await settings(shared)


async def settings(desk: Desk, **values: Any) -> None:
    await desk.features.enable(desk.workspace, "tiering", values)


async def tier(desk: Desk, name: str, rank: int, rule: Any = None, **values: Any) -> str:
    made = await desk.do(CREATE, input={"name": name, "rank": rank, "rule": rule, "auto": rule is not None, **values})
    assert made["userErrors"] == []
    return made["tier"]["id"]


async def ladder(desk: Desk) -> dict[str, str]:
    """Four tiers by level."""
    return {
        name: await tier(desk, name, rank, {"level": {"in": list(levels)}} if levels else {})
        for rank, (name, levels) in enumerate(LEVEL.items(), 1)
    }


async def change(desk: Desk, id_: str, **values: Any) -> Any:
    done = await desk.do(CHANGE, input={"id": id_, **values})
    assert done["userErrors"] == []
    return done


async def of(desk: Desk, id_: str) -> str | None:
    """The name of a customer's tier."""
    found = await desk.do(SHOW, id=id_)
    return found["tier"] and found["tier"]["name"]


async def give(desk: Desk, tier_id: str | None, *ids: str, pin: bool = False) -> Any:
    done = await desk.do(SET, input={"target": {"ids": list(ids)}, "tierId": tier_id, "pin": pin})
    assert done["userErrors"] == []
    return done


async def work(desk: Desk) -> int:
    """Do the jobs that wait; returns how many there were."""
    done = await JobRunner(desk.database, desk.features, desk.workspace).run_all()
    assert [job.error for job in done if job.status != "DONE"] == []
    return len(done)


# Tiers: name, rank, benefits (discount percent, free JSON), auto on/off, a rule (CustomerWhere)


async def test_a_tier_has_a_name_a_rank_benefits_and_a_rule(desk: Desk) -> None:
    benefits = {"giao hàng": "miễn phí", "quà": ["sinh nhật", "Tết"]}
    rule = {"level": {"eq": "VIP"}}
    values = {"name": "Vàng", "rank": 3, "discountPercent": "12.5", "benefits": benefits, "auto": True, "rule": rule}
    made = await desk.do(CREATE, input=values)
    assert {k: made["tier"][k] for k in values} == values
    assert made["tier"]["ruleProblem"] is None
    for wrong, code in (
        ({"rank": 3, "name": "Khác"}, "DUPLICATE"),
        ({"rank": 4, "name": "Vàng"}, "DUPLICATE"),
        ({"rank": -1, "name": "Khác"}, "OUT_OF_RANGE"),
        ({"rank": 4, "name": "Khác", "discountPercent": "101"}, "OUT_OF_RANGE"),
        ({"rank": 4, "name": "Khác", "auto": True}, "REQUIRED"),
        ({"rank": 4, "name": "Khác", "rule": {"tier": {"rank": {"lt": 3}}}}, "INVALID_RULE"),
        ({"rank": 4, "name": "Khác", "rule": {"tierPinned": {"eq": True}}}, "INVALID_RULE"),
        ({"rank": 4, "name": "Khác", "rule": {"tierId": {"isNull": True}}}, "INVALID_RULE"),
    ):
        assert await desk.code(CREATE, input=wrong) == code
    assert await desk.code(UPDATE, input={"id": made["tier"]["id"], "rule": None}) == "REQUIRED"


# Auto on: when a customer comes to satisfy a higher tier's rule it jumps to the highest such tier


async def test_a_customer_jumps_to_the_highest_tier_whose_rule_he_satisfies(desk: Desk) -> None:
    await ladder(desk)
    an = await desk.customer("An")
    assert await of(desk, an) == "Đồng"
    done = await change(desk, an, level="KIM")
    assert done["customer"]["tier"]["name"] == "Kim cương"  # not by way of Bạc and Vàng, and told in the same answer
    shown = await desk.do(SHOW, id=an)
    assert (shown["tierSource"], shown["tierPinned"]) == ("RULE", False)
    assert datetime.fromisoformat(shown["tierSince"]) > datetime.now(UTC) - timedelta(minutes=5)


async def test_a_change_of_contacts_deals_and_groups_moves_the_customer_they_belong_to(desk: Desk) -> None:
    groups = [
        (await desk.do("mutation($n: String!) { groupCreate(input: {name: $n}) { group { id } } }", n=f"{n}{uuid4()}"))[
            "group"
        ]["id"]
        for n in "ab"
    ]
    await tier(desk, "Bạc", 1, {"contacts": {"some": {"title": {"eq": "Giám đốc"}}}})
    await tier(desk, "Vàng", 2, {"groups": {"and": groups}})
    await tier(desk, "Kim cương", 3, {"opportunities": {"count": {"gte": 2}, "some": {"amount": {"gte": "100"}}}})
    an, other = await desk.customer("An"), await desk.customer("Bình")
    await desk.do(CONTACT, input={"customerId": an, "name": "Chi", "title": "Giám đốc"})
    assert await of(desk, an) == "Bạc"
    add = """mutation($input: CustomersGroupsAddInput!) { customersGroupsAdd(input: $input) { userErrors { code } } }"""
    await desk.do(add, input={"target": {"ids": [an]}, "groupIds": groups[:1]})
    assert await of(desk, an) == "Bạc"
    await desk.do(add, input={"target": {"ids": [an]}, "groupIds": groups[1:]})
    assert await of(desk, an) == "Vàng"
    deal = """mutation($input: OpportunityCreateInput!) { opportunityCreate(input: $input) {
      opportunity { id } userErrors { code } } }"""
    for amount in ("5", "100"):
        await desk.do(deal, input={"customerId": an, "amount": amount})
    assert await of(desk, an) == "Kim cương"
    assert await of(desk, other) is None


async def test_only_rules_that_read_a_changed_field_are_asked(desk: Desk) -> None:
    await tier(desk, "Vàng", 1, {"level": {"eq": "VIP"}})
    an = await desk.customer("An")
    pool = desk.database.pool(desk.workspace)
    await pool.execute("update customer set level = 'VIP'")  # behind the system's back
    await change(desk, an, name="Ân")
    assert await of(desk, an) is None
    await change(desk, an, level="A")
    await change(desk, an, level="VIP")
    assert await of(desk, an) == "Vàng"


# Auto off: only by hand


async def test_a_tier_that_is_not_automatic_is_given_by_hand_only(desk: Desk) -> None:
    vip = {"level": {"eq": "VIP"}}
    gold = await tier(desk, "Vàng", 2, vip, auto=False)
    an = await desk.customer("An", level="VIP")
    await work(desk)
    assert await of(desk, an) is None
    done = await give(desk, gold, an)
    assert done["counts"] == {"customers": 1, "moved": 1, "skipped": 0}
    shown = await desk.do(SHOW, id=an)
    assert (shown["tier"]["name"], shown["tierSource"]) == ("Vàng", "HAND")
    await desk.do(UPDATE, input={"id": gold, "auto": True})
    other = await desk.customer("Bình", level="VIP")
    assert await of(desk, other) == "Vàng"


async def test_turning_a_tier_automatic_moves_those_who_satisfy_it_already(desk: Desk) -> None:
    gold = await tier(desk, "Vàng", 2, {"level": {"eq": "VIP"}}, auto=False)
    an = await desk.customer("An", level="VIP")
    await work(desk)
    await desk.do(UPDATE, input={"id": gold, "auto": True})
    assert await of(desk, an) is None
    assert await work(desk) == 1
    assert await of(desk, an) == "Vàng"


# Never moves down by itself unless the workspace sets allowDowngrade (default off)


async def test_nobody_moves_down_by_himself(desk: Desk) -> None:
    await ladder(desk)
    an = await desk.customer("An", level="VIP")
    await change(desk, an, level="A")
    assert await of(desk, an) == "Vàng"
    await desk.do(EVALUATE)
    assert await of(desk, an) == "Vàng"


async def test_with_allow_downgrade_a_customer_falls_to_the_highest_tier_left_or_out(desk: Desk) -> None:
    await settings(desk, allow_downgrade=True)
    names = await ladder(desk)
    await work(desk)
    an = await desk.customer("An", level="KIM")
    await change(desk, an, level="A")
    assert await of(desk, an) == "Bạc"
    await desk.do(UPDATE, input={"id": names["Đồng"], "rule": {"level": {"eq": "D"}}})
    await work(desk)
    await change(desk, an, level="none")
    assert await of(desk, an) is None


async def test_with_allow_downgrade_nobody_falls_from_a_tier_that_is_not_automatic_or_whose_rule_is_off(
    desk: Desk,
) -> None:
    await settings(desk, allow_downgrade=True)
    await tier(desk, "Bạc", 1, {"level": {"eq": "A"}})
    hand = await tier(desk, "Vàng", 2)
    broken = await tier(desk, "Kim cương", 3, {"level": {"eq": "KIM"}})
    an = await desk.customer("An", level="A")
    binh = await desk.customer("Bình", level="KIM")
    await give(desk, hand, an)
    pool = desk.database.pool(desk.workspace)
    await pool.execute("update tier set rule = $2, version = version + 1 where id = $1", broken, {"gone": {"eq": 1}})
    for customer in (an, binh):
        await change(desk, customer, level="B")
    await desk.do(EVALUATE)
    assert (await of(desk, an), await of(desk, binh)) == ("Vàng", "Kim cương")


# A hand-set tier can be pinned


async def test_a_pinned_tier_stays_until_it_is_let_go(desk: Desk) -> None:
    names = await ladder(desk)
    an = await desk.customer("An")
    await give(desk, names["Bạc"], an, pin=True)
    await change(desk, an, level="KIM")
    await desk.do(EVALUATE)
    assert await of(desk, an) == "Bạc"
    assert (await desk.do(SHOW, id=an))["tierPinned"] is True
    let_go = await desk.do(UNPIN, input={"target": {"where": {"name": {"eq": "An"}}}})
    assert let_go["counts"] == {"customers": 1, "unpinned": 1, "moved": 1, "skipped": 0}
    assert let_go["customers"] == [{"tier": {"name": "Kim cương"}}]


async def test_tiers_are_given_in_bulk_and_taken_away(desk: Desk) -> None:
    gold = await tier(desk, "Vàng", 2)
    ids = [await desk.customer(f"c{i}", source="bulk") for i in range(5)]
    done = await desk.do(SET, input={"target": {"where": {"source": {"eq": "bulk"}}}, "tierId": gold})
    assert done["counts"]["moved"] == 5
    assert {c["tier"]["name"] for c in done["customers"]} == {"Vàng"}
    again = await give(desk, gold, *ids[:2], pin=True)
    assert again["counts"]["moved"] == 0
    assert again["changeSet"] is not None
    out = await give(desk, None, *ids[:3])
    assert out["counts"]["moved"] == 3
    assert [await of(desk, i) for i in ids] == [None, None, None, "Vàng", "Vàng"]
    undone = await desk.do(UNDO, id=out["changeSet"]["id"])
    assert (undone["conflicts"], undone["userErrors"]) == (0, [])
    assert [await of(desk, i) for i in ids] == ["Vàng"] * 5
    assert (await desk.do(SHOW, id=ids[0]))["tierPinned"] is True
    assert await desk.code(SET, input={"target": {"ids": ids}, "tierId": None, "pin": True}) == "INVALID"
    assert await desk.code(SET, input={"target": {"ids": ids}, "tierId": str(uuid4())}) == "NOT_FOUND"
    assert await desk.code(SET, input={"target": {"ids": ids}, "tierId": "gold"}) == "NOT_FOUND"


# Evaluated in the same transaction for small change sets, by job for large ones, and as a nightly full pass


async def test_a_large_change_set_is_looked_at_by_one_job(desk: Desk) -> None:
    await settings(desk, at_once=3)
    await ladder(desk)
    await work(desk)
    create = """mutation($input: CustomersBulkCreateInput!) { customersBulkCreate(input: $input) { counts } }"""
    rows = [{"name": f"c{i}", "kind": "PERSON", "level": "VIP"} for i in range(9)]
    await desk.do(create, input={"records": rows})
    tiers = "select count(*) from tier_member"
    assert await desk.fetch(tiers) == 0
    assert await work(desk) == 1
    assert await desk.fetch(tiers) == 9
    few = [{"name": f"d{i}", "kind": "PERSON", "level": "VIP"} for i in range(3)]
    await desk.do(create, input={"records": few})
    assert await desk.fetch(tiers) == 12


async def test_the_nightly_pass_honours_conditions_on_the_clock(desk: Desk) -> None:
    old = {"createdAt": {"within": {"last": {"count": 30, "unit": "DAY"}}}}
    await tier(desk, "Thân thiết", 1, {"not": old})
    await work(desk)
    an = await desk.customer("An")
    await desk.database.pool(desk.workspace).execute("update customer set created_at = now() - interval '31 days'")
    assert await of(desk, an) is None
    composition = await desk.features.composition(desk.workspace)
    nightly = job_types(composition.hooks)["tiering.pass"]
    due = next_due(nightly.schedule, desk.workspace.time_zone, datetime.now(UTC))
    assert due.astimezone(ZoneInfo(desk.workspace.time_zone)).hour == 2
    async with desk.database.transaction(desk.workspace) as connection:
        await enqueue(connection, desk.workspace, nightly.kind, {}, None)
    await work(desk)
    assert await of(desk, an) == "Thân thiết"
    source = "select source from change_set order by at desc limit 1"
    assert await desk.fetch(source) == "RULE"


async def test_one_of_many_passes_does_the_work(desk: Desk) -> None:
    await ladder(desk)
    an = await desk.customer("An")
    await desk.database.pool(desk.workspace).execute("update job set status = 'DONE'; delete from tier_member")
    async with desk.database.transaction(desk.workspace) as connection:
        for _ in range(3):
            await enqueue(connection, desk.workspace, "tiering.pass", {}, None)
    assert await work(desk) == 3
    assert await of(desk, an) == "Đồng"
    results = await desk.fetch("select json_agg(result) from job where result is not null")
    assert str(results).count("left") == 2


async def test_a_pass_moves_batch_by_batch_each_in_a_change_set_of_its_own(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "BATCH", 2)
    monkeypatch.setattr(evaluation, "CHUNK", 3)
    await ladder(desk)
    for i in range(7):
        await desk.customer(f"c{i}")
    await work(desk)
    await desk.database.pool(desk.workspace).execute("update customer set level = 'VIP'")
    done = await JobRunner(desk.database, desk.features, desk.workspace).start("tiering.pass", {}, None)
    assert (done.status, done.result, done.counts) == ("DONE", {"moved": 7}, {"moved": 7})
    assert len(done.change_sets) == 5  # 3 at once in twos, twice, and the last one
    assert await desk.fetch("select count(*) from tier_member m join tier t on t.id = m.tier_id where t.rank = 3") == 7
    for id_ in reversed(done.change_sets):
        assert (await desk.do(UNDO, id=str(id_)))["conflicts"] == 0
    assert await desk.fetch("select count(*) from tier_member m join tier t on t.id = m.tier_id where t.rank = 1") == 7


async def test_a_pass_ends_where_nobody_can_be_moved(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def kept(*_: object) -> int:
        return 0

    await ladder(desk)
    for i in range(3):
        await desk.customer(f"c{i}")
    await work(desk)
    await desk.database.pool(desk.workspace).execute("update customer set level = 'VIP'")
    monkeypatch.setattr(evaluation, "CHUNK", 2)
    monkeypatch.setattr(evaluation, "_move", kept)
    async with asyncio.timeout(20):
        done = await JobRunner(desk.database, desk.features, desk.workspace).start("tiering.pass", {}, None)
    assert (done.status, done.result) == ("DONE", {"moved": 0})


async def test_a_full_pass_is_a_few_statements_however_many_there_are(desk: Desk) -> None:
    await ladder(desk)
    create = """mutation($input: CustomersBulkCreateInput!) { customersBulkCreate(input: $input) { counts } }"""
    runner, took = JobRunner(desk.database, desk.features, desk.workspace), []
    for number in (2, 40):
        rows = [{"name": f"c{i}", "kind": "PERSON"} for i in range(number)]
        await desk.do(create, input={"records": rows})
        await work(desk)
        for moved in (number, 0):
            level = "update customer set level = 'VIP' where level is null and $1 > 0"
            await desk.database.pool(desk.workspace).execute(level, moved)
            with watching() as seen:
                assert (await runner.start("tiering.pass", {}, None)).result == {"moved": moved}
            took.append(len(seen.statements))
    assert took[:2] == took[2:]
    assert took[1] < took[0] < 60


async def test_a_pass_lets_others_be_quicker(desk: Desk) -> None:
    names = await ladder(desk)
    an, binh = await desk.customer("An"), await desk.customer("Bình")
    await give(desk, None, an, binh)
    async with desk.database.connection(desk.workspace) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute(
            "insert into tier_member (id, customer_id, tier_id, since, source) values ($1, $2, $3, now(), 'HAND')",
            uuid4(),
            UUID(an),
            UUID(names["Bạc"]),
        )
        jobs = asyncio.create_task(JobRunner(desk.database, desk.features, desk.workspace).run_all())
        await _waiting(desk)
        await transaction.commit()
    assert {(job.status, job.attempts) for job in await jobs} == {("DONE", 1)}
    assert [await of(desk, id_) for id_ in (an, binh)] == ["Bạc", "Đồng"]


async def test_who_is_moved_by_others_meanwhile_is_looked_at_again(desk: Desk) -> None:
    names = await ladder(desk)
    an = await desk.customer("An")
    async with desk.database.connection(desk.workspace) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("update tier_member set tier_id = $1", UUID(names["Bạc"]))
        changed = asyncio.create_task(change(desk, an, level="VIP"))
        await _waiting(desk)
        await transaction.commit()
    await changed
    assert await of(desk, an) == "Vàng"


async def _waiting(desk: Desk) -> None:
    """Somebody waits for a lock."""
    async with asyncio.timeout(20):
        while not await desk.fetch("select count(*) from pg_locks where not granted and locktype = 'transactionid'"):
            await asyncio.sleep(0.02)


# dryRun says how many would move from where to where


async def test_a_dry_run_says_how_many_would_move_from_where_to_where(desk: Desk) -> None:
    names = await ladder(desk)
    ids = [await desk.customer(f"c{i}") for i in range(3)]
    await give(desk, None, ids[0])
    pool = desk.database.pool(desk.workspace)
    await pool.execute("update customer set level = 'KIM' where name in ('c1', 'c2')")
    said = await desk.do(EVALUATE, dryRun=True)
    assert said["customers"] == 3
    assert [(m["fromTier"] and m["fromTier"]["name"], m["toTier"]["name"], m["customers"]) for m in said["moves"]] == [
        ("Đồng", "Kim cương", 2),
        (None, "Đồng", 1),
    ]
    assert [await of(desk, i) for i in ids] == [None, "Đồng", "Đồng"]
    done = await desk.do(EVALUATE)
    assert done["moves"] == said["moves"]
    assert done["job"] is None
    assert [await of(desk, i) for i in ids] == ["Đồng", "Kim cương", "Kim cương"]
    nothing = await desk.do(EVALUATE)
    assert (nothing["customers"], nothing["moves"], nothing["changeSet"]) == (0, [], None)
    undone = await desk.do(UNDO, id=done["changeSet"]["id"])
    assert undone["conflicts"] == 0
    assert [await of(desk, i) for i in ids] == [None, "Đồng", "Đồng"]
    assert set(names)


async def test_many_moves_are_made_by_a_job(desk: Desk) -> None:
    await settings(desk, at_once=2)
    await ladder(desk)
    for i in range(5):
        await desk.customer(f"c{i}")
    await work(desk)
    await desk.database.pool(desk.workspace).execute("update customer set level = 'VIP'")
    said = await desk.do(EVALUATE, dryRun=True)
    assert (said["customers"], said["job"]) == (5, None)
    done = await desk.do(EVALUATE)
    assert (done["customers"], done["job"]["kind"]) == (5, "tiering.pass")
    await work(desk)
    assert await desk.fetch("select count(*) from tier_member m join tier t on t.id = m.tier_id where t.rank = 3") == 5


async def test_passes_of_the_same_moment_move_nobody_twice(desk: Desk) -> None:
    for i in range(5):
        await desk.customer(f"c{i}")
    await ladder(desk)  # each tier asks for a pass
    running = "update job set status = 'RUNNING' where kind = 'tiering.pass' returning id"
    passes = await desk.database.pool(desk.workspace).fetch(running)
    runner = JobRunner(desk.database, desk.features, desk.workspace)
    done = await asyncio.gather(*(runner.run(row["id"]) for row in passes))
    assert [(job.status, job.attempts) for job in done] == [("DONE", 1)] * len(passes)
    assert sum(job.result["moved"] for job in done) == 5


async def test_a_dry_run_of_a_change_shows_the_tier_it_would_lead_to(desk: Desk) -> None:
    await ladder(desk)
    an = await desk.customer("An")
    tried = await desk.do(CHANGE, input={"id": an, "level": "VIP"}, dryRun=True)
    assert tried["customer"]["tier"]["name"] == "Vàng"
    assert await of(desk, an) == "Đồng"


# tierExplain(customer) says which conditions hold


async def test_tier_explain_says_which_conditions_hold(desk: Desk) -> None:
    await tier(desk, "Bạc", 1, {"level": {"eq": "A"}})
    await tier(desk, "Vàng", 2, {"level": {"eq": "A"}, "source": {"eq": "web"}})
    await tier(desk, "Kim cương", 3)
    an = await desk.customer("An", level="A", source="cửa hàng")
    said = await desk.do(EXPLAIN, id=an)
    assert (said["customer"]["name"], said["tier"]["name"], said["pinned"]) == ("An", "Bạc", False)
    assert [(t["tier"]["name"], t["current"], t["holds"]) for t in said["tiers"]] == [
        ("Kim cương", False, None),
        ("Vàng", False, False),
        ("Bạc", True, True),
    ]
    assert [(c["path"], c["holds"], c["actual"]) for c in said["tiers"][1]["conditions"]] == [
        ([], False, None),
        (["level"], True, "A"),
        (["source"], False, "cửa hàng"),
    ]
    for unknown in (str(uuid4()), "nobody"):
        assert await desk.code(EXPLAIN, id=unknown) == "NOT_FOUND"
    role = RoleGrants("role", REACHES, fields={("Customer", "source"): Access.HIDE})
    asker = actor()
    asker = type(asker)(asker.kind, Grants((role,)), asker.user_id)
    told = (await desk.do(EXPLAIN, asker, id=an))["tiers"][1]["conditions"]
    assert [(c["path"], c["holds"], c["actual"]) for c in told] == [
        ([], None, None),
        (["level"], True, "A"),
        (["source"], None, None),
    ]
    assert await desk.code(EXPLAIN, actor({("Customer", "read"): Reach.ALL}), id=an) == "FORBIDDEN"


# Rules that fit no more


async def test_a_rule_that_fits_no_more_moves_nobody_and_says_why(desk: Desk) -> None:
    define = """mutation { customFieldCreate(input: {recordType: "Customer", name: "shoeSize", kind: INTEGER}) {
      customField { id } userErrors { message } } }"""
    field = (await desk.do(define))["customField"]["id"]
    await desk.features.refresh(desk.workspace)
    gold = await tier(desk, "Vàng", 2, {"not": {"shoeSize": {"lt": 40}}})
    silver = await tier(desk, "Bạc", 1, {"level": {"eq": "A"}})
    await desk.do("mutation($id: ID!) { customFieldDelete(input: {id: $id}) { id } }", id=field)
    await desk.features.refresh(desk.workspace)
    an = await desk.customer("An", level="A")
    assert await of(desk, an) == "Bạc"
    shown = await desk.do("query($id: ID!) { tier(id: $id) { ruleProblem rule } }", id=gold)
    assert "shoeSize" in shown["ruleProblem"]
    assert "shoeSize" in next(t["problem"] for t in (await desk.do(EXPLAIN, id=an))["tiers"] if t["problem"])
    # Whatever else is changed in it, the rule is kept as it is.
    assert (await desk.do(UPDATE, input={"id": gold, "discountPercent": "5"}))["userErrors"] == []
    assert silver


# What is shown, found and ordered


async def test_customers_are_found_ordered_and_counted_by_tier(desk: Desk) -> None:
    await ladder(desk)
    for name, level in (("An", "VIP"), ("Bình", "KIM"), ("Chi", None), ("Dũng", "VIP")):
        await desk.customer(name, **({"level": level} if level else {}))

    async def found(where: Any) -> list[str]:
        return [c["name"] for c in (await desk.do(LIST, where=where))["nodes"]]

    assert await found({}) == ["Bình", "An", "Dũng", "Chi"]
    assert await found({"tier": {"name": {"eq": "Vàng"}}}) == ["An", "Dũng"]
    assert await found({"not": {"tier": {"rank": {"gte": 3}}}}) == ["Chi"]
    assert await found({"tierSource": {"eq": "HAND"}}) == []
    await desk.do(SET, input={"target": {"where": {"name": {"eq": "Chi"}}}, "tierId": None})
    assert await found({"tierId": {"isNull": True}}) == ["Chi"]
    assert await found({}) == ["Bình", "An", "Dũng", "Chi"]
    grouped = await desk.do(
        "{ customersAggregate(groupBy: [{field: TIER}]) { groups { key { tier { name } } count } } }"
    )
    counted = {g["key"]["tier"] and g["key"]["tier"]["name"]: g["count"] for g in grouped["groups"]}
    assert counted == {"Vàng": 2, "Kim cương": 1, None: 1}
    tiers = await desk.do("{ tiers { nodes { name customersAggregate { count } } } }")
    assert [(t["name"], t["customersAggregate"]["count"]) for t in tiers["nodes"]] == [
        ("Kim cương", 1),
        ("Vàng", 2),
        ("Bạc", 0),
        ("Đồng", 0),
    ]


async def test_a_deleted_tier_is_no_tier_and_its_customers_rise_from_none(desk: Desk) -> None:
    names = await ladder(desk)
    an = await desk.customer("An", level="VIP")
    await desk.do("mutation($id: ID!) { tierDelete(input: {id: $id}) { id } }", id=names["Vàng"])
    assert await of(desk, an) is None
    await work(desk)
    assert await of(desk, an) == "Bạc"
    await desk.do("mutation($id: ID!) { tierRestore(input: {id: $id}) { tier { id } } }", id=names["Vàng"])
    await work(desk)
    assert await of(desk, an) == "Vàng"


async def test_with_a_deleted_tier_goes_its_pin(desk: Desk) -> None:
    names = await ladder(desk)
    an = await desk.customer("An", level="VIP")
    hand = await tier(desk, "Bằng tay", 9, None)
    await give(desk, hand, an, pin=True)
    await desk.do("mutation($id: ID!) { tierDelete(input: {id: $id}) { id } }", id=hand)
    shown = await desk.do(SHOW, id=an)
    assert [shown[name] for name in ("tier", "tierPinned", "tierSince", "tierSource")] == [None] * 4
    assert (await desk.do(EXPLAIN, id=an))["pinned"] is False
    await work(desk)
    shown = await desk.do(SHOW, id=an)
    assert (shown["tierId"], shown["tierPinned"], shown["tierSource"]) == (names["Vàng"], False, "RULE")
    await desk.do("mutation($id: ID!) { tierRestore(input: {id: $id}) { tier { id } } }", id=hand)
    await work(desk)
    assert await of(desk, an) == "Vàng"


async def test_an_undo_puts_tiers_back_and_the_rules_are_asked_afterwards(desk: Desk) -> None:
    await settings(desk, allow_downgrade=True)
    await ladder(desk)
    await work(desk)
    an = await desk.customer("An", level="VIP")
    done = await change(desk, an, level="none")
    assert await of(desk, an) == "Đồng"
    undone = await desk.do(UNDO, id=done["changeSet"]["id"])
    assert (undone["conflicts"], undone["userErrors"]) == (0, [])
    assert await of(desk, an) == "Vàng"
    assert await work(desk) == 1
    assert await of(desk, an) == "Vàng"


# Who may


async def test_giving_tiers_needs_its_ability_and_the_right_to_update_the_customers(desk: Desk) -> None:
    gold = await tier(desk, "Vàng", 2)
    an = await desk.customer("An")
    asked = {"target": {"ids": [an]}, "tierId": gold}
    assert await desk.code(SET, actor(REACHES), input=asked) == "FORBIDDEN"
    reads = {("Customer", "read"): Reach.ALL, ("Tier", "read"): Reach.ALL}
    assert await desk.code(SET, actor(reads, ("tiering_set",)), input=asked) == "FORBIDDEN"
    own = {**REACHES, ("Customer", "update"): Reach.OWN}
    assert await desk.code(SET, actor(own, ("tiering_set",)), input=asked) == "FORBIDDEN"
    no_tiers = {k: v for k, v in REACHES.items() if k[0] == "Customer"}
    assert await desk.code(SET, actor(no_tiers, ("tiering_set",)), input=asked) == "NOT_FOUND"
    done = await desk.do(SET, actor(REACHES, ("tiering_set",)), input=asked)
    assert done["counts"]["moved"] == 1
    assert await desk.code(EVALUATE, actor(REACHES)) == "FORBIDDEN"
    assert (await desk.do(EVALUATE, actor(REACHES, ("tiering_evaluate",))))["customers"] == 0


async def test_whoever_changes_a_customer_moves_him_without_rights_on_tiers(desk: Desk) -> None:
    await ladder(desk)
    an = await desk.customer("An")
    clerk = actor({("Customer", "read"): Reach.ALL, ("Customer", "update"): Reach.ALL})
    done = await desk.do(CHANGE, clerk, input={"id": an, "level": "VIP"})
    assert (done["userErrors"], done["customer"]["tier"]) == ([], None)  # the tier is not for him to see
    assert await of(desk, an) == "Vàng"


async def test_who_may_read_no_tiers_learns_nothing_of_who_has_one(desk: Desk) -> None:
    await ladder(desk)
    an = await desk.customer("An")
    clerk = actor({("Customer", "read"): Reach.ALL})
    assert await desk.do(SHOW, clerk, id=an) == {
        "tier": None, "tierId": None, "tierPinned": None, "tierSince": None, "tierSource": None
    }  # fmt: skip
    count = "query($where: CustomerWhere) { customers(where: $where) { totalCount } }"
    for where in ({"tierSource": {"eq": "RULE"}}, {"tierPinned": {"eq": False}}, {"tierSince": {"isNull": False}}):
        assert await desk.code(count, clerk, where=where) == "FORBIDDEN"
        assert (await desk.do(count, where=where))["totalCount"] == 1
    for where in ({"tierId": {"isNull": False}}, {"tier": {"rank": {"gte": 1}}}):
        answer = await desk.ask(count, clerk, where=where)
        assert "errors" in answer or answer["data"]["customers"]["totalCount"] == 0, where


async def test_two_who_move_a_customer_at_once_move_him_once(desk: Desk) -> None:
    await ladder(desk)
    await tier(desk, "Hai người", 9, {"contacts": {"count": {"gte": 8}}})
    an = await desk.customer("An")
    await give(desk, None, an)
    made = await asyncio.gather(*(desk.do(CONTACT, input={"customerId": an, "name": f"n{i}"}) for i in range(8)))
    assert all(m["userErrors"] == [] for m in made)
    assert await of(desk, an) == "Hai người"
    assert await desk.fetch("select count(*) from tier_member") == 1


# Off, on, purge


async def test_switched_off_it_hides_and_stops_and_on_again_it_catches_up(
    database: Database, new_workspace: NewWorkspace
) -> None:
    workspace = await new_workspace()
    features = Features(database, registry=PluginRegistry.discover(["plugins.tiering"]))
    desk = Desk(database, features, workspace)
    await features.enable(workspace, "tiering")
    await ladder(desk)
    an, binh = await desk.customer("An"), await desk.customer("Bình", level="VIP")
    await features.disable(workspace, "tiering")
    answer = await desk.ask(SHOW, id=an)
    assert "tier" in answer["errors"][0]["message"]
    change_plain = 'mutation($id: ID!) { customerUpdate(input: {id: $id, level: "VIP"}) { userErrors { code } } }'
    await desk.do(change_plain, id=an)
    await features.enable(workspace, "tiering")
    assert (await of(desk, an), await of(desk, binh)) == ("Đồng", "Vàng")
    await work(desk)
    assert await of(desk, an) == "Vàng"
    tables = "select count(*) from pg_tables where schemaname = current_schema()"
    before = await desk.fetch(tables)
    await features.purge(workspace, "tiering")
    assert await desk.fetch(tables) == before - 2
    assert await desk.fetch("select count(*) from customer") == 2
    await features.close()
