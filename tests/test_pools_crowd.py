"""Many write to the same few customers at once: pools, viewers and tiers end as the rules say, and nothing fails."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest

from core.context import Actor
from core.database import Database
from core.features import Features
from core.plugins import PluginRegistry
from core.testing.jobs import JobRunner
from tests.conftest import NewWorkspace
from tests.switching import actor
from tests.test_shared_pool import REACHES, TEAMS
from tests.writing import Desk

PLUGINS = ("groups", "sharing", "shared_pool", "tiering")
ROUNDS, AT_ONCE = 12, 16

#: Viewers that pools have made, against those that the pools make by now.
VIEWERS = """
select customer_id, team_id, everyone from customer_viewer
where source = 'shared_pool' and customer_id = any($1::uuid[])
"""
OPEN = """
select distinct m.customer_id, t.team_id, p.open_to_all as everyone
from pool_member m join pool p on p.id = m.pool_id left join pool_team t on t.pool_id = p.id and not p.open_to_all
where m.customer_id = any($1::uuid[]) and (p.open_to_all or t.team_id is not null)
"""
POOLS_DUE = "mutation { poolsEvaluate(input: {}, dryRun: true) { moves { entered left } } }"
TIERS_DUE = "mutation { tiersEvaluate(dryRun: true) { customers } }"


@dataclass
class Crowd:
    """Does things to a few customers; counts how they were answered."""

    desk: Desk
    dice: random.Random
    people: list[Actor]
    customers: list[str]
    groups: list[str]
    pools: list[str]
    opportunities: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def do(self, name: str, by: Actor | None = None, shown: str = "", **given: Any) -> Any:
        type_ = f"{name[0].upper()}{name[1:]}Input!"
        query = f"mutation($i: {type_}) {{ {name}(input: $i) {{ {shown} userErrors {{ code }} }} }}"
        answer = await self.desk.ask(query, by, i=given)
        if "errors" in answer:
            self.answers[name, answer["errors"][0]["extensions"]["code"]] += 1
            return None
        done = answer["data"][name]
        self.answers[name, done["userErrors"][0]["code"] if done["userErrors"] else "OK"] += 1
        return done

    async def something(self) -> None:
        customer, choice = self.dice.choice(self.customers), self.dice.choice
        target = {"target": {"ids": sorted(set(self.dice.choices(self.customers, k=2)))}}
        match self.dice.randrange(12):
            case 0 | 1 | 2:
                made = await self.do("opportunityCreate", shown="opportunity { id }", customerId=customer)
                self.opportunities += [made["opportunity"]["id"]] if made else []
            case 3 | 4 if self.opportunities:
                await self.do("opportunityDelete", id=self.opportunities.pop())
            case 5 | 6:
                await self.do("customerUpdate", id=customer, level=choice(("A", "B", None)))
            case 7:
                verb = choice(("Add", "Remove"))
                await self.do(f"customersGroups{verb}", **target, groupIds=[choice(self.groups)])
            case 8:
                verb = choice(("Add", "Remove"))
                await self.do(f"customersPool{verb}", **target, poolId=choice(self.pools))
            case 9:
                await self.do("poolClaim", choice(self.people), poolId=choice(self.pools), customerId=customer)
            case 10:
                await self.do("customersTransfer", **target, ownerId=str(choice(self.people).user_id))
            case _:
                await self.do("poolUpdate", id=choice(self.pools), openToAll=choice((True, False)))


async def crowd(desk: Desk, dice: random.Random) -> Crowd:
    groups = [(await desk.create("Group", name=f"g{i}"))["id"] for i in range(2)]
    ids = [UUID(await desk.user(f"u{i}")) for i in range(4)]
    people = [replace(actor(REACHES, user_id=id_), mate_ids=(id_,)) for id_ in ids]
    pools = []
    for i, values in enumerate(
        (
            {"rule": {"opportunities": {"count": {"gte": 2}}}, "releaseOnExit": True},
            {"rule": {"level": {"eq": "A"}}, "releaseOnExit": True, "ownerOnEntry": "CLEAR"},
            {"rule": {"groups": {"and": groups}}, "releaseOnExit": True, "openToAll": False},
            {},
        )
    ):
        pools.append((await desk.create("Pool", name=f"p{i}", **values))["id"])
    team = (await desk.create("Team", name="t"))["id"]
    await desk.do(TEAMS, input={"id": pools[2], "teamIds": [team]})
    for rank, rule in enumerate(
        ({"opportunities": {"count": {"gte": 1}}}, {"groups": {"or": groups}}, {"level": {"in": ["A", "B"]}}), 1
    ):
        await desk.create("Tier", name=f"t{rank}", rank=rank, auto=True, rule=rule)
    customers = [await desk.customer(f"c{i}", ownerId=str(id_)) for i, id_ in enumerate(ids)]
    return Crowd(desk, dice, people, customers, groups, pools)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(6))
async def test_a_crowd_leaves_everybody_where_the_rules_say(
    database: Database, new_workspace: NewWorkspace, seed: int
) -> None:
    workspace = await new_workspace()
    features = Features(database, registry=PluginRegistry.discover([f"plugins.{name}" for name in PLUGINS]))
    for name in PLUGINS:
        await features.enable(workspace, name)
    desk = Desk(database, features, workspace)
    found = await crowd(desk, random.Random(seed))
    for _ in range(ROUNDS):
        await asyncio.gather(*(found.something() for _ in range(AT_ONCE)))
    jobs = await JobRunner(database, features, workspace).run_all()
    assert [job for job in jobs if job.status != "DONE"] == []
    told = {"OK", "NOT_IN_POOL", "ALREADY_CLAIMED", "POOL_CLOSED"}
    assert {answer: n for answer, n in found.answers.items() if answer[1] not in told} == {}
    connection, ids = database.pool(workspace), [UUID(c) for c in found.customers]
    viewers, open_ = [sorted(map(str, await connection.fetch(query, ids))) for query in (VIEWERS, OPEN)]
    assert viewers == open_
    moves = (await desk.do(POOLS_DUE))["moves"]
    assert moves == [{"entered": 0, "left": 0}] * 3
    assert (await desk.do(TIERS_DUE))["customers"] == 0
    await features.close()
