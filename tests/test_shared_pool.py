"""The shared_pool plugin: who comes into pools and goes, who sees them, and who may claim, rule by rule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from core.clock import standing_at
from core.context import Actor, Workspace
from core.database import Database
from core.features import Features
from core.grants import Reach
from core.messages import catalogue
from core.plugins import PluginRegistry
from core.schema.mutate import Mutator
from core.testing.jobs import JobRunner
from tests.conftest import NewWorkspace
from tests.switching import actor
from tests.writing import Desk, codes, grants

PLUGINS = ["plugins.sharing", "plugins.shared_pool", "plugins.groups"]
BY_HAND = """mutation($input: CustomersPool%sInput!) { customersPool%s(input: $input) {
  counts userErrors { path code message } changeSet { id } } }"""
CLAIM = """mutation($input: PoolClaimInput!, $dryRun: Boolean! = false) { poolClaim(input: $input, dryRun: $dryRun) {
  customer { id owner { id } pools { totalCount } } claimsLeftToday changeSet { id }
  userErrors { path code message ... on PoolClaimError { limit until } } } }"""
EVALUATE = """mutation($input: PoolsEvaluateInput!, $dryRun: Boolean! = false) {
  poolsEvaluate(input: $input, dryRun: $dryRun) { userErrors { code } changeSet { id }
    moves { pool { id } entered left customersEntered { id } customersLeft { id } } } }"""
TEAMS = """mutation($input: PoolTeamsSetInput!) { poolTeamsSet(input: $input) {
  pool { teams { nodes { id } } } userErrors { path code } } }"""
EXPLAIN = """query($id: ID!) { poolExplain(customerId: $id) {
  pool { name } isMember byRule since absentSince matches problem conditions { path holds } } }"""


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    features = Features(database, registry=PluginRegistry.discover(PLUGINS))
    for name in ("groups", "sharing", "shared_pool"):
        await features.enable(module_workspace, name)
    yield Desk(database, features, module_workspace)
    await features.close()


REACHES = (
    grants(Reach.OWN, "Customer", "Contact")
    | grants(Reach.ALL, "User", "Team", "Pool", actions=("read",))
    | {("Pool", "claim"): Reach.ALL}
)


async def seller(desk: Desk, name: str = "an", *teams: str) -> Actor:
    id_ = UUID(await desk.user(f"{name}{uuid4().hex[:8]}"))
    return replace(actor(REACHES, user_id=id_), login=name, mate_ids=(id_,), team_ids=tuple(map(UUID, teams)))


async def pool(desk: Desk, **values: Any) -> str:
    return (await desk.create("Pool", name=f"kho {uuid4()}", **values))["id"]


async def add(desk: Desk, pool_id: str, *ids: str, by: Actor | None = None, verb: str = "Add") -> Any:
    given = {"target": {"ids": list(ids)}, "poolId": pool_id}
    return await desk.do(BY_HAND % (verb, verb), by, input=given)


async def remove(desk: Desk, pool_id: str, *ids: str, by: Actor | None = None) -> Any:
    return await add(desk, pool_id, *ids, by=by, verb="Remove")


async def sees(desk: Desk, who: Actor, id_: str) -> bool:
    return await desk.get("Customer", id_, "id", who) is not None


async def pools_of(desk: Desk, id_: str) -> set[str]:
    found = await desk.get("Customer", id_, "pools { nodes { id } }")
    assert found
    return {p["id"] for p in found["pools"]["nodes"]}


async def claim(desk: Desk, pool_id: str, id_: str | None, by: Actor | None, **arguments: Any) -> Any:
    given = {"poolId": pool_id, **({"customerId": id_} if id_ else {})}
    return await desk.do(CLAIM, by, input=given, **arguments)


async def evaluate(desk: Desk, pool_id: str, *, dry: bool = False) -> tuple[int, int]:
    done = await desk.do(EVALUATE, input={"poolIds": [pool_id]}, dryRun=dry)
    assert done["userErrors"] == []
    (moves,) = done["moves"] or [{"entered": 0, "left": 0}]
    return moves["entered"], moves["left"]


async def viewers(desk: Desk, id_: str) -> list[tuple[str, str | None]]:
    rows = (await desk.rows("CustomerViewer")).values()
    return sorted((r["source"], r["teamId"] or r["userId"] or "") for r in rows if r["customerId"] == id_)


async def run_job(desk: Desk, kind: str, now: datetime | None = None, **given: Any) -> Any:
    """One job, as a worker would run it, at another time where one is given; its result."""
    with standing_at(now) if now else nullcontext():
        done = await JobRunner(desk.database, desk.features, desk.workspace).start(kind, given, None)
    assert done.status == "DONE", done
    return done.result


# By hand, and who sees it


async def test_a_customer_in_a_pool_is_seen_by_everybody_whoever_owns_it(desk: Desk) -> None:
    an, binh = await seller(desk), await seller(desk, "binh")
    id_ = await desk.customer("Lan", ownerId=str(an.user_id))
    contact = (await desk.create("Contact", customerId=id_, name="Mai"))["id"]
    kho = await pool(desk)
    assert not await sees(desk, binh, id_)
    done = await add(desk, kho, id_, by=an)
    assert (done["userErrors"], done["counts"]["added"]) == ([], 1)
    assert await sees(desk, binh, id_)
    assert await desk.get("Contact", contact, "id", binh) is not None
    assert (await desk.do("{ customers { totalCount } }", binh))["totalCount"] >= 1
    answer = await desk.answer("Customer", "Update", {"id": id_, "level": "x"}, binh)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN", "he may read it, no more"
    assert (await add(desk, kho, id_))["changeSet"] is None, "it is in it already"
    done = await remove(desk, kho, id_, by=an)
    assert done["counts"]["removed"] == 1
    assert not await sees(desk, binh, id_)
    assert await viewers(desk, id_) == []
    assert await sees(desk, an, id_)


async def test_a_pool_is_open_to_all_or_to_teams(desk: Desk) -> None:
    bac, nam = [(await desk.create("Team", name=f"{n} {uuid4()}"))["id"] for n in ("Bắc", "Nam")]
    in_bac, in_nam, in_none = await seller(desk, "an", bac), await seller(desk, "binh", nam), await seller(desk, "chi")
    kho, id_ = await pool(desk, openToAll=False), await desk.customer("Lan")
    await add(desk, kho, id_)
    people = (in_bac, in_nam, in_none)

    async def seen() -> list[bool]:
        return [await sees(desk, who, id_) for who in people]

    assert await seen() == [False] * 3
    done = await desk.do(TEAMS, input={"id": kho, "teamIds": [bac]})
    assert done == {"pool": {"teams": {"nodes": [{"id": bac}]}}, "userErrors": []}
    assert await seen() == [True, False, False]
    await desk.do(TEAMS, input={"id": kho, "teamIds": [nam, bac]})
    assert await seen() == [True, True, False]
    await desk.update("Pool", kho, openToAll=True)
    assert await seen() == [True, True, True]
    await desk.update("Pool", kho, openToAll=False)
    await desk.do(TEAMS, input={"id": kho, "teamIds": [nam]})
    assert await seen() == [False, True, False]
    await desk.delete("Pool", kho)
    assert await seen() == [False] * 3
    await desk.write("Pool", "Restore", {"id": kho})
    assert await seen() == [False, True, False]
    done = await desk.do(TEAMS, input={"id": kho, "teamIds": [str(uuid4())]})
    assert done["userErrors"][0]["code"] == "NOT_FOUND"
    assert await seen() == [False, True, False]


async def test_whom_a_pool_does_not_let_in_learns_nothing_of_its_customers(desk: Desk) -> None:
    bac = (await desk.create("Team", name=f"Bắc {uuid4()}"))["id"]
    inside, outside = await seller(desk, "an", bac), await seller(desk, "binh")
    kho, ids = await pool(desk, openToAll=False), [await desk.customer("Lan") for _ in range(2)]
    await desk.do(TEAMS, input={"id": kho, "teamIds": [bac]})
    await add(desk, kho, *ids)
    await claim(desk, kho, ids[0], inside)
    query = """query($id: ID!) { pool(id: $id) { members { totalCount nodes { customerId } }
      claims { totalCount nodes { customerId } } customers { totalCount nodes { id } } } }"""
    shown = {
        "members": {"totalCount": 1, "nodes": [{"customerId": ids[1]}]},
        "claims": {"totalCount": 1, "nodes": [{"customerId": ids[0]}]},
        "customers": {"totalCount": 1, "nodes": [{"id": ids[1]}]},
    }
    nothing = {name: {"totalCount": 0, "nodes": []} for name in shown}
    assert await desk.do(query, inside, id=kho) == shown
    assert await desk.do(query, outside, id=kho) == nothing
    for mentioned in ("members: {some: {byRule: {eq: false}}}", "claims: {count: {gte: 1}}"):
        ask = f"query($id: ID!) {{ pools(where: {{id: {{eq: $id}}, {mentioned}}}) {{ totalCount }} }}"
        assert [(await desk.do(ask, who, id=kho))["totalCount"] for who in (inside, outside)] == [1, 0], mentioned
    await desk.delete("Customer", ids[1])
    assert (await desk.do(query, id=kho))["members"]["totalCount"] == 0


@asynccontextmanager
async def halted(desk: Desk, write: Callable[[Desk], Coroutine[Any, Any, Any]]) -> AsyncIterator[asyncio.Task[Any]]:
    """Writes, but commits only after the block, and after somebody else waits or is done: what the task yields."""
    written, go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def begin() -> AsyncIterator[Any]:
        async with desk.database.transaction(desk.workspace) as connection:
            yield connection
            written.set()
            await go_on.wait()

    writing = asyncio.create_task(write(Desk(desk.database, desk.features, desk.workspace, mutator=Mutator(begin))))
    await written.wait()
    try:
        yield writing
    finally:
        go_on.set()
    await writing


async def waits_or_ends(desk: Desk, task: asyncio.Task[Any]) -> None:
    waiting = "select count(*) from pg_locks where not granted and locktype = 'transactionid'"
    async with asyncio.timeout(20):
        while not task.done() and not await desk.fetch(waiting):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("way", ["claim", "rule"])
async def test_nobody_is_let_in_by_a_pool_that_opens_while_a_customer_leaves_it(desk: Desk, way: str) -> None:
    an, binh, source = await seller(desk), await seller(desk, "binh"), str(uuid4())
    kho = await pool(desk, openToAll=False, rule={"source": {"eq": source}}, releaseOnExit=True)
    other, id_ = await pool(desk), await desk.customer("Lan", source=source)
    await add(desk, other, id_)
    assert await pools_of(desk, id_) == {kho, other}

    async def leave(slow: Desk) -> None:
        await (claim(slow, other, id_, an) if way == "claim" else slow.update("Customer", id_, source="x"))

    async with halted(desk, leave):
        opening = asyncio.create_task(desk.update("Pool", kho, openToAll=True))
        await waits_or_ends(desk, opening)
    await opening
    if way == "rule":
        await remove(desk, other, id_)
    assert await pools_of(desk, id_) == set()
    assert await viewers(desk, id_) == []
    assert not await sees(desk, binh, id_)


@pytest.mark.parametrize("comes", [True, False])
async def test_who_is_let_in_is_so_by_all_pools_of_the_customer_though_two_change_at_once(
    desk: Desk, comes: bool
) -> None:
    binh, id_ = await seller(desk, "binh"), await desk.customer("Lan")
    one, two = await pool(desk), await pool(desk)
    for kho in (two,) if comes else (one, two):
        await add(desk, kho, id_)
    async with halted(desk, lambda slow: add(slow, one, id_) if comes else remove(slow, one, id_)):
        closing = asyncio.create_task(desk.update("Pool", two, openToAll=False))
        await waits_or_ends(desk, closing)
    await closing
    assert await pools_of(desk, id_) == ({one, two} if comes else {two})
    assert await sees(desk, binh, id_) is comes


async def test_leaving_a_pool_takes_away_only_what_that_pool_gave(desk: Desk) -> None:
    an, binh = await seller(desk), await seller(desk, "binh")
    id_ = await desk.customer("Lan", ownerId=str(an.user_id))
    one, two = await pool(desk), await pool(desk)
    await desk.bulk("Customer", "ViewersAdd", {"target": {"ids": [id_]}, "userIds": [str(binh.user_id)]}, an)
    await add(desk, one, id_)
    await add(desk, two, id_)
    assert await viewers(desk, id_) == [("share", str(binh.user_id)), ("shared_pool", "")]
    await remove(desk, one, id_)
    assert await viewers(desk, id_) == [("share", str(binh.user_id)), ("shared_pool", "")]
    await desk.bulk("Customer", "ViewersRemove", {"target": {"ids": [id_]}, "userIds": [str(binh.user_id)]}, an)
    assert await sees(desk, binh, id_), "by the other pool"
    await remove(desk, two, id_)
    assert await viewers(desk, id_) == []


async def test_the_owner_is_kept_or_cleared_on_entry(desk: Desk) -> None:
    an = await seller(desk)
    for owner, mode in ((str(an.user_id), "KEEP"), (None, "CLEAR")):
        id_ = await desk.customer("Lan", ownerId=str(an.user_id))
        kho = await pool(desk, ownerOnEntry=mode)
        done = await add(desk, kho, id_, by=an)
        assert done["userErrors"] == []
        assert (await desk.rows("Customer"))[UUID(id_)]["ownerId"] == owner
        assert await pools_of(desk, id_) == {kho}
    only_shares = actor(
        {("Customer", "read"): Reach.ALL, ("Customer", "share"): Reach.ALL, ("Pool", "read"): Reach.ALL}
    )
    id_ = await desk.customer("Lan", ownerId=str(an.user_id))
    given = {"target": {"ids": [id_]}, "poolId": kho}
    assert await desk.code(BY_HAND % ("Add", "Add"), only_shares, input=given) == "FORBIDDEN"


async def test_who_may_not_share_a_customer_puts_it_into_no_pool(desk: Desk) -> None:
    an, binh = await seller(desk), await seller(desk, "binh")
    id_, kho = await desk.customer("Lan", ownerId=str(an.user_id)), await pool(desk)
    assert codes(await add(desk, kho, id_, by=binh)) == ["NOT_FOUND"]
    assert codes(await add(desk, str(uuid4()), id_, by=an)) == ["NOT_FOUND"]
    assert codes(await add(desk, "x", id_, by=an)) == ["NOT_FOUND"]
    await add(desk, kho, id_)
    given = {"target": {"ids": [id_]}, "poolId": kho}
    assert await desk.code(BY_HAND % ("Remove", "Remove"), binh, input=given) == "FORBIDDEN"


async def test_customers_are_filtered_by_pool(desk: Desk) -> None:
    ids = {name: await desk.customer(name, source="filter") for name in ("a", "b", "both", "neither")}
    one, two = await pool(desk), await pool(desk)
    await add(desk, one, ids["a"], ids["both"])
    await add(desk, two, ids["b"], ids["both"])

    async def matching(condition: Any) -> set[str]:
        query = "query($where: CustomerWhere) { customers(where: $where) { nodes { name } } }"
        found = await desk.do(query, where={"source": {"eq": "filter"}, "pool": condition})
        return {c["name"] for c in found["nodes"]}

    assert await matching({"in": [one]}) == {"a", "both"}
    assert await matching({"in": [one, two]}) == {"a", "b", "both"}
    assert await matching({"notIn": [one]}) == {"b", "neither"}
    assert await matching({"in": [one], "notIn": [two]}) == {"a"}
    assert await matching({"any": True}) == {"a", "b", "both"}
    assert await matching({"any": False}) == {"neither"}
    assert await matching({"in": []}) == await matching({"notIn": []}) == await matching({}) == set()
    assert await matching({"in": ["x"]}) == set()
    await desk.delete("Pool", one)
    assert await matching({"in": [one]}) == set()
    assert await matching({"any": True}) == {"b", "both"}


# By rule


async def test_customers_that_satisfy_the_rule_are_moved_in_with_the_change_that_makes_them(desk: Desk) -> None:
    binh = await seller(desk, "binh")
    word = str(uuid4())
    kho = await pool(desk, rule={"source": {"eq": word}})
    id_ = await desk.customer("Lan", source=word)
    assert await pools_of(desk, id_) == {kho}
    assert await sees(desk, binh, id_)
    other = await desk.customer("Mai")
    assert await pools_of(desk, other) == set()
    await desk.update("Customer", other, source=word)
    assert await pools_of(desk, other) == {kho}
    await desk.update("Customer", other, source="gone")
    assert await pools_of(desk, other) == {kho}, "it stays unless the pool releases"


async def test_a_rule_follows_related_records(desk: Desk) -> None:
    word = str(uuid4())
    kho = await pool(desk, rule={"contacts": {"some": {"name": {"eq": word}}}}, releaseOnExit=True)
    id_ = await desk.customer("Lan")
    contact = (await desk.create("Contact", customerId=id_, name=word))["id"]
    assert await pools_of(desk, id_) == {kho}
    await desk.update("Contact", contact, name="another")
    assert await pools_of(desk, id_) == set()


async def test_those_who_bring_a_customer_in_together_wait_for_each_other_but_not_in_a_circle(desk: Desk) -> None:
    some, many = [await pool(desk, rule={"opportunities": {"count": {"gte": n}}}) for n in (1, 8)]
    clears = await pool(desk, rule={"opportunities": {"count": {"gte": 3}}}, ownerOnEntry="CLEAR")
    id_ = await desk.customer("Lan", ownerId=str((await seller(desk)).user_id))
    create = "mutation($i: OpportunityCreateInput!) { opportunityCreate(input: $i) { userErrors { code } } }"
    async with asyncio.timeout(10):  # a circle is broken after a second, and there was one after the other
        made = await asyncio.gather(*(desk.do(create, i={"customerId": id_, "name": f"n{i}"}) for i in range(8)))
    assert all(m["userErrors"] == [] for m in made)
    assert await pools_of(desk, id_) >= {some, many}
    await JobRunner(desk.database, desk.features, desk.workspace).run_all()
    assert await pools_of(desk, id_) >= {some, many, clears}
    assert (await desk.rows("Customer"))[UUID(id_)]["ownerId"] is None


async def test_others_are_released_on_exit_but_not_those_added_by_hand(desk: Desk) -> None:
    binh = await seller(desk, "binh")
    word = str(uuid4())
    kho = await pool(desk, rule={"source": {"eq": word}}, releaseOnExit=True)
    by_rule, by_hand = await desk.customer("Lan", source=word), await desk.customer("Mai")
    await add(desk, kho, by_hand)
    await desk.update("Customer", by_rule, source="x")
    await desk.update("Customer", by_hand, source="x")
    assert (await pools_of(desk, by_rule), await pools_of(desk, by_hand)) == (set(), {kho})
    assert (await sees(desk, binh, by_rule), await sees(desk, binh, by_hand)) == (False, True)


async def test_a_customer_removed_by_hand_stays_out_until_the_rule_has_ceased_to_hold(desk: Desk) -> None:
    word = str(uuid4())
    kho = await pool(desk, rule={"source": {"eq": word}})
    id_ = await desk.customer("Lan", source=word)
    await remove(desk, kho, id_)
    await desk.update("Customer", id_, source=word, level="x")
    assert await evaluate(desk, kho) == (0, 0)
    assert await pools_of(desk, id_) == set()
    await desk.update("Customer", id_, source="another")
    await desk.update("Customer", id_, source=word)
    assert await pools_of(desk, id_) == {kho}


async def test_a_waiting_time_passes_before_a_customer_is_moved_in(desk: Desk) -> None:
    word, now = str(uuid4()), datetime.now(UTC)
    kho = await pool(desk, rule={"source": {"eq": word}}, waitingDays=30)
    id_ = await desk.customer("Lan", source=word)
    assert await pools_of(desk, id_) == set()
    for at, expected in ((now + timedelta(days=29), set()), (now + timedelta(days=30, minutes=5), {kho})):
        await run_job(desk, "shared_pool.pass", at)
        assert await pools_of(desk, id_) == expected
    assert await evaluate(desk, kho) == (0, 0), "who is in stays: the waiting time is for coming in"


async def test_not_contacted_for_30_days_counts_from_the_field_that_says_so(desk: Desk) -> None:
    await desk.do(
        """mutation { customFieldCreate(input: {recordType: "Customer", name: "lastContact", kind: DATE})
        { userErrors { code } } }"""
    )
    await desk.features.refresh(desk.workspace)
    word, today = str(uuid4()), datetime.now(ZoneInfo(desk.workspace.time_zone)).date()
    kho = await pool(
        desk, rule={"source": {"eq": word}}, waitingDays=30, waitingField="lastContact", releaseOnExit=True
    )
    ids = {}
    for days in (None, 10, 29, 31, 300):
        contact = {"lastContact": (today - timedelta(days=days)).isoformat()} if days else {}
        ids[days] = await desk.customer("Lan", source=word, **contact)
    await desk.fetch(
        "with u as (update customer set created_at = created_at - interval '1 year' where source = $1 returning id) "
        "select count(*) from u",
        word,
    )
    assert await evaluate(desk, kho) == (3, 0)
    assert {days for days, id_ in ids.items() if await pools_of(desk, id_)} == {None, 31, 300}
    ahead = datetime.now(UTC) + timedelta(days=2, minutes=5)
    await run_job(desk, "shared_pool.pass", ahead)
    assert await pools_of(desk, ids[29]) == {kho}
    assert await pools_of(desk, ids[10]) == set()
    tomorrow = (today + timedelta(days=1)).isoformat()
    await desk.update("Customer", ids[300], lastContact=tomorrow)
    assert await pools_of(desk, ids[300]) == set(), "somebody contacted it"


async def test_the_recurring_pass_looks_only_at_what_the_clock_may_have_turned(desk: Desk) -> None:
    """A customer that was put past the rule's notice is found by the full pass, not by the hourly one."""
    word, now = str(uuid4()), datetime.now(UTC)
    kho = await pool(
        desk, rule={"source": {"eq": word}, "createdAt": {"within": {"last": {"count": 10, "unit": "DAY"}}}}
    )
    id_ = await desk.customer("Lan")
    await run_job(desk, "shared_pool.full_pass", now + timedelta(hours=1))
    await desk.fetch("update customer set source = $1 where id = $2", word, id_)
    await run_job(desk, "shared_pool.pass", now + timedelta(days=1))
    assert await pools_of(desk, id_) == set()
    await run_job(desk, "shared_pool.full_pass", now + timedelta(days=1))
    assert await pools_of(desk, id_) == {kho}


async def test_evaluating_can_be_previewed_and_is_undone_like_any_change(desk: Desk) -> None:
    word = str(uuid4())
    an = await seller(desk)
    ids = [await desk.customer("Lan", source=word, ownerId=str(an.user_id)) for _ in range(3)]
    kho = await pool(desk, rule={"source": {"eq": word}}, ownerOnEntry="CLEAR")
    assert await evaluate(desk, kho, dry=True) == (3, 0)
    assert await pools_of(desk, ids[0]) == set()
    done = await desk.do(EVALUATE, input={"poolIds": [kho]})
    assert {c["id"] for c in done["moves"][0]["customersEntered"]} == set(ids)
    rows = await desk.rows("Customer")
    assert {rows[UUID(id_)]["ownerId"] for id_ in ids} == {None}
    undone = await desk.undo(done["changeSet"]["id"])
    assert undone["conflicts"] == 0
    rows = await desk.rows("Customer")
    assert {rows[UUID(id_)]["ownerId"] for id_ in ids} == {str(an.user_id)}
    assert [await viewers(desk, id_) for id_ in ids] == [[]] * 3


async def test_much_at_once_follows_by_job(desk: Desk) -> None:
    word = str(uuid4())
    kho = await pool(desk, rule={"source": {"eq": word}})
    ids = [await desk.customer("x") for _ in range(3)]
    settings = {"at_once": 2}
    await desk.features.enable(desk.workspace, "shared_pool", settings)
    try:
        await desk.bulk("Customer", "BulkUpdate", {"target": {"ids": ids}, "set": {"source": word}})
    finally:
        await desk.features.enable(desk.workspace, "shared_pool", {})
    assert await pools_of(desk, ids[0]) == set()
    assert await desk.fetch("select count(*) from job where input->'pools' ? $1", kho) == 2, "saved, and changed"
    assert (await run_job(desk, "shared_pool.pass", pools=[kho]))["entered"] == 3
    assert [await pools_of(desk, id_) for id_ in ids] == [{kho}] * 3


async def test_evaluating_a_pool_that_moves_many_is_done_by_a_job(desk: Desk) -> None:
    await desk.features.enable(desk.workspace, "shared_pool", {"at_once": 2})
    try:
        source = str(uuid4())
        kho = await pool(desk)
        ids = {await desk.customer("x", source=source) for _ in range(3)}
        await desk.update("Pool", kho, rule={"source": {"eq": source}})
        query = EVALUATE.replace("moves {", "job { kind } moves {")
        for dry in (True, False):
            done = await desk.do(query, input={"poolIds": [kho]}, dryRun=dry)
            (moves,) = done["moves"]
            assert (moves["entered"], moves["left"], done["changeSet"]) == (3, 0, None)
            assert {c["id"] for c in moves["customersEntered"]} == ids
            assert done["job"] == (None if dry else {"kind": "shared_pool.pass"})
            assert await desk.fetch("select count(*) from pool_member where pool_id = $1", UUID(kho)) == 0
        await JobRunner(desk.database, desk.features, desk.workspace).run_all()
        assert await desk.fetch("select count(*) from pool_member where pool_id = $1", UUID(kho)) == 3
    finally:
        await desk.features.enable(desk.workspace, "shared_pool", {})


async def test_saving_a_rule_has_a_job_follow_it(desk: Desk) -> None:
    word = str(uuid4())
    id_ = await desk.customer("Lan", source=word)
    kho = await pool(desk)
    assert await desk.fetch("select count(*) from job where input->'pools' ? $1", kho) == 0
    await desk.update("Pool", kho, rule={"source": {"eq": word}})
    assert await desk.fetch("select input from job where input->'pools' ? $1", kho) == {"pools": [kho]}
    await run_job(desk, "shared_pool.pass", pools=[kho])
    assert await pools_of(desk, id_) == {kho}
    source = await desk.fetch("select source from change_set order by at desc, id desc limit 1")
    assert source == "RULE"


async def test_what_a_pool_cannot_be(desk: Desk) -> None:
    name = f"Kho Đỏ {uuid4()}"
    await desk.create("Pool", name=name)
    for values, expected in (
        ({"name": name.replace("Đỏ", "do")}, ["DUPLICATE"]),
        ({"rule": {"pool": {"any": False}}}, ["INVALID_RULE"]),
        ({"rule": {"not": {"viewers": {"some": {"everyone": {"eq": True}}}}}}, ["INVALID_RULE"]),
        ({"waitingDays": 3, "waitingField": "name"}, ["INVALID"]),
        ({"waitingDays": 3, "waitingField": "nothing"}, ["INVALID"]),
        ({"waitingDays": 0}, ["OUT_OF_RANGE"]),
        ({"claimsPerDay": 0}, ["OUT_OF_RANGE"]),
    ):
        made = await desk.write("Pool", "Create", {"name": str(uuid4()), **values})
        assert codes(made) == expected, values
    assert catalogue("plugins.shared_pool", "vi").keys() == catalogue("plugins.shared_pool", "en").keys()


# Claims


async def test_a_claimed_customer_is_its_claimers_and_leaves_all_pools(desk: Desk) -> None:
    an, binh = await seller(desk), await seller(desk, "binh")
    word = str(uuid4())
    one, two = await pool(desk, rule={"source": {"eq": word}}), await pool(desk)
    id_ = await desk.customer("Lan", ownerId=str(an.user_id), source=word)
    await add(desk, two, id_)
    assert await pools_of(desk, id_) == {one, two}
    preview = await claim(desk, one, id_, binh, dryRun=True)
    assert preview["customer"]["owner"] == {"id": str(binh.user_id)}
    done = await claim(desk, one, id_, binh)
    assert done["userErrors"] == []
    assert done["customer"] == {"id": id_, "owner": {"id": str(binh.user_id)}, "pools": {"totalCount": 0}}
    assert (await sees(desk, an, id_), await sees(desk, binh, id_)) == (False, True)
    assert await viewers(desk, id_) == []
    assert await evaluate(desk, one) == (0, 0), "the rule does not take it from its claimer at once"
    acts = await desk.do(
        """query($where: SharingActWhere) { sharingActs(where: $where) { nodes {
        action customerCount from { id } toUser { id } by { id } changeSet { id } } } }""",
        where={"customers": {"some": {"id": {"eq": id_}}}, "action": {"eq": "TRANSFER"}},
    )
    assert acts["nodes"] == [
        {
            "action": "TRANSFER", "customerCount": 1, "from": {"id": str(an.user_id)},
            "toUser": {"id": str(binh.user_id)}, "by": {"id": str(binh.user_id)},
            "changeSet": {"id": done["changeSet"]["id"]},
        }
    ]  # fmt: skip
    claims = await desk.get("Pool", one, "claims { nodes { customer { id } user { id } } }")
    assert claims == {"claims": {"nodes": [{"customer": {"id": id_}, "user": {"id": str(binh.user_id)}}]}}
    assert (await desk.undo(done["changeSet"]["id"]))["conflicts"] == 0
    assert await pools_of(desk, id_) == {one, two}
    assert (await desk.rows("Customer"))[UUID(id_)]["ownerId"] == str(an.user_id)


async def test_claims_per_day_are_counted_in_the_workspaces_days(desk: Desk) -> None:
    binh, kho = await seller(desk, "binh"), await pool(desk, claimsPerDay=2)
    ids = [await desk.customer("x") for _ in range(3)]
    await add(desk, kho, *ids)
    left = [(await claim(desk, kho, id_, binh))["claimsLeftToday"] for id_ in ids[:2]]
    assert left == [1, 0]
    refused = await claim(desk, kho, ids[2], binh)
    assert (codes(refused), refused["userErrors"][0]["limit"]) == (["QUOTA_EXCEEDED"], 2)
    until = datetime.fromisoformat(refused["userErrors"][0]["until"])
    assert timedelta() < until - datetime.now(UTC) <= timedelta(days=1)
    assert (until.hour, until.minute, until.utcoffset()) == (0, 0, timedelta(hours=7))
    await desk.fetch("update pool_claim set at = at - interval '1 day' where user_id = $1", binh.user_id)
    assert codes(await claim(desk, kho, ids[2], binh)) == []


async def test_who_holds_as_many_as_allowed_claims_no_more(desk: Desk) -> None:
    binh, kho = await seller(desk, "binh"), await pool(desk, mostHeld=2)
    held = [await desk.customer("x", ownerId=str(binh.user_id)) for _ in range(2)]
    id_ = await desk.customer("x")
    await add(desk, kho, id_)
    refused = await claim(desk, kho, id_, binh)
    assert (codes(refused), refused["userErrors"][0]["limit"]) == (["QUOTA_EXCEEDED"], 2)
    await desk.delete("Customer", held[0])
    assert codes(await claim(desk, kho, id_, binh)) == []


@pytest.mark.parametrize("mode", ["KEEP", "CLEAR"])
async def test_the_previous_owner_waits_for_the_cool_down(desk: Desk, mode: str) -> None:
    an, binh = await seller(desk), await seller(desk, "binh")
    kho = await pool(desk, coolDownDays=7, ownerOnEntry=mode)
    ids = [await desk.customer("x", ownerId=str(an.user_id)) for _ in range(2)]
    await add(desk, kho, *ids)
    refused = await claim(desk, kho, ids[0], an)
    assert codes(refused) == ["COOL_DOWN"]
    until = datetime.fromisoformat(refused["userErrors"][0]["until"])
    assert timedelta(days=6, hours=23) < until - datetime.now(UTC) <= timedelta(days=7)
    assert codes(await claim(desk, kho, None, an)) == ["POOL_EMPTY"]
    assert codes(await claim(desk, kho, ids[0], binh)) == []
    await desk.fetch("update pool_member set since = since - interval '8 days' where customer_id = $1", ids[1])
    await desk.fetch(
        "update change_set set at = at - interval '8 days' "
        "where id in (select change_set_id from change where record_id = $1)",
        ids[1],
    )
    assert codes(await claim(desk, kho, ids[1], an)) == []


async def test_why_a_claim_is_refused(desk: Desk) -> None:
    team = (await desk.create("Team", name=str(uuid4())))["id"]
    outsider, binh = await seller(desk), await seller(desk, "binh", team)
    kho, id_, other = await pool(desk, openToAll=False), await desk.customer("x"), await desk.customer("y")
    await desk.do(TEAMS, input={"id": kho, "teamIds": [team]})
    await add(desk, kho, id_)
    assert codes(await claim(desk, kho, id_, outsider)) == ["POOL_CLOSED"]
    assert codes(await claim(desk, str(uuid4()), id_, binh)) == ["NOT_FOUND"]
    assert codes(await claim(desk, kho, id_, None)) == ["POOL_CLOSED"], "the system owns nothing"
    for unknown in (other, str(uuid4()), "x"):
        assert codes(await claim(desk, kho, unknown, binh)) == ["NOT_IN_POOL"]
    assert codes(await claim(desk, kho, id_, binh)) == []
    assert codes(await claim(desk, kho, id_, binh)) == ["ALREADY_CLAIMED"]
    assert codes(await claim(desk, kho, None, binh)) == ["POOL_EMPTY"]
    may_not = actor({k: v for k, v in REACHES.items() if k[1] != "claim"}, user_id=binh.user_id)
    assert await desk.code(CLAIM, may_not, input={"poolId": kho, "customerId": id_}) == "FORBIDDEN"


async def test_claiming_the_next_gives_the_one_that_has_waited_longest(desk: Desk) -> None:
    binh, kho = await seller(desk, "binh"), await pool(desk)
    ids = [await desk.customer("x") for _ in range(3)]
    for id_ in (ids[1], ids[0], ids[2]):
        await add(desk, kho, id_)
    assert [(await claim(desk, kho, None, binh))["customer"]["id"] for _ in ids] == [ids[1], ids[0], ids[2]]


@pytest.mark.parametrize("named", [True, False])
async def test_100_salespeople_claim_from_a_pool_of_60_at_once_with_a_quota_of_1(desk: Desk, named: bool) -> None:
    """60 winners, 40 typed refusals, no customer twice, quotas exact; each of them asks twice."""
    kho = await pool(desk, claimsPerDay=1)
    ids = [await desk.customer("x") for _ in range(60)]
    await add(desk, kho, *ids)
    await desk.fetch(
        "insert into app_user (id, login, display_name) select gen_random_uuid(), $1 || i, 'x' "
        "from generate_series(1, 100) i",
        f"{kho} ",
    )
    users = [
        row["id"]
        for row in await desk.database.pool(desk.workspace).fetch(
            "select id from app_user where login like $1 || ' %' order by login", kho
        )
    ]
    people = [replace(actor(REACHES, user_id=id_), mate_ids=(id_,)) for id_ in users]

    async def one(i: int) -> list[str]:
        done = await claim(desk, kho, ids[i % 60] if named else None, people[i])
        return codes(done)

    found = await asyncio.gather(*(one(i) for i in range(100) for _ in range(2)))
    refused = sorted(code for codes_ in found for code in codes_)
    assert found.count([]) == 60
    assert set(refused) <= {"ALREADY_CLAIMED", "QUOTA_EXCEEDED", "POOL_EMPTY"}
    assert len(refused) == 140
    claims = await desk.database.pool(desk.workspace).fetch(
        "select customer_id, user_id from pool_claim where pool_id = $1", kho
    )
    assert len({c["customer_id"] for c in claims}) == len({c["user_id"] for c in claims}) == len(claims) == 60
    rows = await desk.rows("Customer")
    assert {(id_, rows[UUID(id_)]["ownerId"]) for id_ in ids} == {
        (str(c["customer_id"]), str(c["user_id"])) for c in claims
    }
    assert await desk.fetch("select count(*) from pool_member where pool_id = $1", kho) == 0
    assert await desk.fetch(
        "select count(*) from customer_viewer where customer_id = any($1::uuid[])", ids
    ) == 0  # fmt: skip


# Explaining, and switching


async def test_pool_explain_says_which_parts_of_the_rule_hold(desk: Desk) -> None:
    word = str(uuid4())
    kho = await pool(desk, rule={"source": {"eq": word}, "level": {"eq": "A"}}, waitingDays=5)
    name = (await desk.get("Pool", kho, "name") or {})["name"]
    id_ = await desk.customer("Lan", source=word)
    found = {p["pool"]["name"]: p for p in await desk.do(EXPLAIN, id=id_)}[name]
    assert (found["isMember"], found["matches"], found["problem"]) == (False, False, None)
    holds = {".".join(c["path"]): c["holds"] for c in found["conditions"]}
    assert (holds["and.0.source"], holds["and.0.level"], holds["and.1"]) == (True, False, False)
    await add(desk, kho, id_)
    found = {p["pool"]["name"]: p for p in await desk.do(EXPLAIN, id=id_)}[name]
    assert (found["isMember"], found["byRule"], found["since"] is not None) == (True, False, True)
    await remove(desk, kho, id_)
    found = {p["pool"]["name"]: p for p in await desk.do(EXPLAIN, id=id_)}[name]
    assert (found["isMember"], found["absentSince"] is not None) == (False, True)
    stranger = await seller(desk)
    answer = await desk.ask(EXPLAIN, stranger, id=id_)
    assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_access_explain_names_the_pool(desk: Desk) -> None:
    binh, kho, id_ = await seller(desk, "binh"), await pool(desk), await desk.customer("Lan")
    closed = await pool(desk, openToAll=False)
    name = (await desk.get("Pool", kho, "name") or {})["name"]
    await add(desk, kho, id_)
    await add(desk, closed, id_)
    query = (
        """query($id: ID!) { accessExplain(record: "Customer", id: $id) { allowed rules { name holds because } } }"""
    )
    found = await desk.do(query, binh, id=id_)
    assert found["allowed"]
    rule = next(r for r in found["rules"] if r["name"] == "viewer")
    assert rule == {"name": "viewer", "holds": True, "because": [f"Through the pool {name}"]}


async def test_off_on_and_purge_leave_core_untouched(database: Database, new_workspace: NewWorkspace) -> None:
    workspace = await new_workspace()
    features = Features(database, registry=PluginRegistry.discover(PLUGINS))
    await features.enable(workspace, "shared_pool")
    desk = Desk(database, features, workspace)
    an, binh = await seller(desk), await seller(desk, "binh")
    id_ = await desk.customer("Lan", ownerId=str(an.user_id), source="fair")
    shared = await desk.customer("Mai", ownerId=str(an.user_id))
    await desk.bulk("Customer", "ViewersAdd", {"target": {"ids": [shared]}, "userIds": [str(binh.user_id)]}, an)
    kho = await pool(desk, rule={"source": {"eq": "fair"}})
    await add(desk, kho, id_)
    before = await desk.rows("CustomerViewer")
    await features.disable(workspace, "shared_pool")
    assert (await sees(desk, binh, id_), await sees(desk, binh, shared)) == (False, True)
    assert "poolClaim" not in (await features.composition(workspace)).sdl
    found = await desk.get("Customer", id_, "viewers { totalCount }")
    assert found == {"viewers": {"totalCount": 0}}
    new = await desk.customer("Hoa", source="fair")
    await features.enable(workspace, "shared_pool")
    assert await desk.rows("CustomerViewer") == before
    assert (await sees(desk, binh, id_), await pools_of(desk, new)) == (True, set())
    assert await desk.fetch("select count(*) from job where kind = 'shared_pool.full_pass'") == 1
    await run_job(desk, "shared_pool.full_pass")
    assert await pools_of(desk, new) == {kho}
    customers = await desk.rows("Customer")
    await features.purge(workspace, "shared_pool")
    assert await desk.fetch("select to_regclass('pool')") is None
    assert [r["source"] for r in (await desk.rows("CustomerViewer")).values()] == ["share"]
    assert await desk.rows("Customer") == customers
    assert (await sees(desk, binh, id_), await sees(desk, binh, shared)) == (False, True)
    await features.close()
