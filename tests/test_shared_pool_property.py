"""Pools, visibility and the ledger against a plain model of them, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from core.context import Actor, Workspace
from core.database import Database
from core.features import Features
from core.grants import Reach
from core.plugins import PluginRegistry
from tests.switching import actor
from tests.writing import Desk, codes, grants

FEW = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=500, derandomize=False)
BY_HAND = "mutation($i: CustomersPool%sInput!) { customersPool%s(input: $i) { userErrors { code } } }"
CLAIM = "mutation($i: PoolClaimInput!) { poolClaim(input: $i) { userErrors { code } } }"
TEAMS = "mutation($i: PoolTeamsSetInput!) { poolTeamsSet(input: $i) { userErrors { code } } }"
LEDGER = """select a.action, a.from_id, a.to_user_id, a.to_team_id, a.to_everyone, a.through, l.customer_id
    from sharing_act a join sharing_act_customer l on l.act_id = a.id where l.customer_id = any($1::uuid[])"""

#: The pools: which sources their rules want (None: by hand only), whether they release, whether they clear owners.
RULES: tuple[tuple[str | None, bool, bool], ...] = (("A", True, False), ("AB", False, True), (None, False, False))
IN_TEAM = 1


@dataclass
class One:
    """A customer as the model knows it; users and pools by number, `wide` and `team` are how pools let in."""

    source: str = "C"
    owner: int | None = None
    members: dict[int, bool] = field(default_factory=dict)
    absent: set[int] = field(default_factory=set)
    claimed: set[int] = field(default_factory=set)
    shares: set[int] = field(default_factory=set)
    kept: set[int] = field(default_factory=set)
    doors: set[str] = field(default_factory=set)
    ledger: Counter[Any] = field(default_factory=Counter)

    def sync(self) -> None:
        doors = {"team" if p == 2 else "everyone" for p in self.members}
        self.ledger.update(("SHARE", d) for d in doors - self.doors)
        self.ledger.update(("UNSHARE", d) for d in self.doors - doors)
        self.doors = doors

    def give(self, owner: int | None, *, keep: bool = False) -> None:
        if owner == self.owner:
            return
        self.ledger["TRANSFER", self.owner, owner] += 1
        if self.owner is not None:
            self.kept.discard(self.owner)
            if keep:
                self.kept.add(self.owner)
        self.owner = owner

    def enter(self, pool: int, *, by_rule: bool) -> None:
        self.absent.discard(pool)
        self.members[pool] = by_rule
        self.sync()
        if RULES[pool][2]:
            self.give(None)

    def leave(self, pool: int) -> None:
        del self.members[pool]
        self.sync()

    def move(self, source: str) -> None:
        if source == self.source:
            return
        self.source = source
        for pool, (wanted, releases, _) in enumerate(RULES):
            if wanted is None:
                continue
            holds = source in wanted
            if not holds:
                self.absent.discard(pool)
            if releases and not holds and self.members.get(pool):
                self.leave(pool)
            if holds and pool not in self.members and pool not in self.absent:
                self.enter(pool, by_rule=True)

    def remove(self, pool: int) -> None:
        if pool in self.members:
            if RULES[pool][0] is not None:
                self.absent.add(pool)
            self.leave(pool)

    def claim(self, pool: int, user: int) -> list[str]:
        if pool == 2 and user != IN_TEAM:
            return ["POOL_CLOSED"]
        if pool not in self.members:
            return ["ALREADY_CLAIMED" if pool in self.claimed else "NOT_IN_POOL"]
        self.claimed.add(pool)
        for other in sorted(self.members):
            self.remove(other)
        self.give(user)
        return []

    def share(self, user: int) -> None:
        if user not in self.shares:
            self.ledger["SHARE", user] += 1
            self.shares.add(user)

    def unshare(self, user: int) -> None:
        if user in self.shares | self.kept:
            self.ledger["UNSHARE", user] += 1
        self.shares.discard(user)
        self.kept.discard(user)

    def seen_by(self, user: int) -> bool:
        mine = user == self.owner or user in self.shares | self.kept
        return mine or "everyone" in self.doors or ("team" in self.doors and user == IN_TEAM)


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    features = Features(database, registry=PluginRegistry.discover(["plugins.sharing", "plugins.shared_pool"]))
    for name in ("sharing", "shared_pool"):
        await features.enable(module_workspace, name)
    yield Desk(database, features, module_workspace)
    await features.close()


@pytest.fixture(scope="module")
async def staff(desk: Desk) -> tuple[list[Actor], str]:
    team = (await desk.create("Team", name="Bắc"))["id"]
    reaches = grants(Reach.OWN, "Customer") | {("Pool", "read"): Reach.ALL, ("Pool", "claim"): Reach.ALL}
    people = []
    for i, name in enumerate(("an", "binh", "chi")):
        id_ = UUID(await desk.user(name))
        teams = (UUID(team),) if i == IN_TEAM else ()
        people.append(replace(actor(reaches, user_id=id_), login=name, mate_ids=(id_,), team_ids=teams))
    return people, team


async def compare(desk: Desk, people: list[Actor], pools: list[str], model: dict[str, One]) -> None:
    connection = desk.database.pool(desk.workspace)
    ids = list(model)
    numbers = {UUID(p): i for i, p in enumerate(pools)}
    users = {a.user_id: i for i, a in enumerate(people)}
    members: dict[str, dict[int, bool]] = {id_: {} for id_ in ids}
    query = "select customer_id, pool_id, by_rule from pool_member where customer_id = any($1::uuid[])"
    for customer, pool, by_rule in await connection.fetch(query, ids):
        members[str(customer)][numbers[pool]] = by_rule
    assert members == {id_: one.members for id_, one in model.items()}
    query = "select customer_id, pool_id from pool_absence where customer_id = any($1::uuid[])"
    absent = {(str(c), numbers[p]) for c, p in await connection.fetch(query, ids)}
    assert absent == {(id_, p) for id_, one in model.items() for p in one.absent}
    rows = await connection.fetch("select id, owner_id from customer where id = any($1::uuid[])", ids)
    assert {str(i): users.get(o) for i, o in rows} == {id_: one.owner for id_, one in model.items()}
    for number, who in enumerate(people):
        found = await desk.do(
            "query($ids: [ID!]) { customers(where: {id: {in: $ids}}) { nodes { id } } }", who, ids=ids
        )
        seen = {id_ for id_, one in model.items() if one.seen_by(number)}
        assert {c["id"] for c in found["nodes"]} == seen, number
    ledger: dict[str, Counter[Any]] = {id_: Counter() for id_ in ids}
    for action, giver, user, team, everyone, through, customer in await connection.fetch(LEDGER, ids):
        if action == "TRANSFER":
            entry: tuple[Any, ...] = (action, users.get(giver), users.get(user))
        else:
            assert (through == "shared_pool") is (user is None)
            entry = (action, users[user] if user else "everyone" if everyone else "team")
            assert bool(team) is (entry[1] == "team")
        ledger[str(customer)][entry] += 1
    assert ledger == {id_: one.ledger for id_, one in model.items()}


async def step(desk: Desk, people: list[Actor], pools: list[str], word: str, model: dict[str, One], draw: Any) -> None:
    id_ = draw(st.sampled_from(sorted(model)))
    one, user, pool = model[id_], draw(st.integers(0, 2)), draw(st.integers(0, 2))
    act = draw(st.sampled_from(("source", "source", "add", "remove", "claim", "claim", "transfer", "share", "unshare")))
    note(f"{act} {id_} user {user} pool {pool}")
    target = {"target": {"ids": [id_]}}
    if act == "source":
        source = draw(st.sampled_from("ABC"))
        note(f"to {source}")
        await desk.update("Customer", id_, source=f"{word}{source}")
        one.move(source)
    elif act in ("add", "remove"):
        verb = act.title()
        done = await desk.do(BY_HAND % (verb, verb), i={**target, "poolId": pools[pool]})
        assert done["userErrors"] == []
        if act == "remove":
            one.remove(pool)
        elif pool not in one.members:
            one.enter(pool, by_rule=False)
    elif act == "claim":
        done = await desk.do(CLAIM, people[user], i={"poolId": pools[pool], "customerId": id_})
        assert codes(done) == one.claim(pool, user)
    elif act == "transfer":
        keep = draw(st.booleans())
        to = draw(st.sampled_from((None, user)))
        owner = str(people[user].user_id) if to is not None else None
        note(f"to {to} keep {keep}")
        given_ = {**target, "ownerId": owner, "keepPreviousOwnerAsViewer": keep}
        await desk.bulk("Customer", "Transfer", given_)
        one.give(to, keep=keep)
    else:
        verb = "ViewersAdd" if act == "share" else "ViewersRemove"
        await desk.bulk("Customer", verb, {**target, "userIds": [str(people[user].user_id)]})
        (one.share if act == "share" else one.unshare)(user)


async def play(desk: Desk, staff: tuple[list[Actor], str], draw: Any) -> None:
    people, team = staff
    word, pools = f"{uuid4()} ", []
    for i, (wanted, releases, clears) in enumerate(RULES):
        rule = {"rule": {"source": {"in": [word + s for s in wanted]}}} if wanted else {}
        owner = "CLEAR" if clears else "KEEP"
        made = await desk.create(
            "Pool", name=f"{word}{i}", releaseOnExit=releases, ownerOnEntry=owner, openToAll=i != 2, **rule
        )
        pools.append(made["id"])
    await desk.do(TEAMS, i={"id": pools[2], "teamIds": [team]})
    model = {}
    for _ in range(3):
        owner = draw(st.sampled_from((None, 0, 1, 2)))
        owner_id = str(people[owner].user_id) if owner is not None else None
        model[await desk.customer("x", source=f"{word}C", ownerId=owner_id)] = One(owner=owner)
    for _ in range(draw(st.integers(4, 10))):
        await step(desk, people, pools, word, model, draw)
        await compare(desk, people, pools, model)
    for pool in pools:
        await desk.delete("Pool", pool)


@FEW
@given(draw=st.data())
async def test_pools_visibility_and_ledger_do_as_the_model(
    desk: Desk, staff: tuple[list[Actor], str], draw: Any
) -> None:
    await play(desk, staff, draw.draw)


@pytest.mark.nightly
@MANY
@given(draw=st.data())
async def test_pools_visibility_and_ledger_do_as_the_model_at_length(
    desk: Desk, staff: tuple[list[Actor], str], draw: Any
) -> None:
    await play(desk, staff, draw.draw)
