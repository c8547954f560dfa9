"""Random customers, groups, deals, tiers, rules and changes: after every step tiers equal those of a plain model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from core.context import Workspace
from core.database import Database
from core.features import Features
from core.plugins import PluginRegistry
from tests.switching import Desk
from tests.test_tiering import EVALUATE, SET, UNPIN, work

FEW = settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=500, derandomize=False)
LEVELS = (None, "A", "B", "VIP")
SOURCES = (None, "web", "shop")
LIST = "{ customers(first: 200) { nodes { id tier { id } tierPinned } } }"


@dataclass
class Customer:
    """A customer of the model."""

    level: str | None
    source: str | None
    groups: set[str] = field(default_factory=set)
    deals: dict[str, int] = field(default_factory=dict)
    deleted: bool = False


Holds = Callable[[Customer], bool]
Rule = tuple[dict[str, Any], Holds]


@dataclass
class Tier:
    """A tier of the model."""

    rank: int
    auto: bool
    rule: Rule
    deleted: bool = False


@dataclass
class Model:
    """What there is, and who has which tier, pinned or not."""

    down: bool = False
    customers: dict[str, Customer] = field(default_factory=dict)
    tiers: dict[str, Tier] = field(default_factory=dict)
    members: dict[str, tuple[str, bool]] = field(default_factory=dict)

    def evaluate(self, *ids: str) -> int:
        """Move those of some customers who are to move; returns how many."""
        return sum(self._evaluate(id_, self.customers[id_]) for id_ in ids)

    def _evaluate(self, id_: str, customer: Customer) -> bool:
        tier_id, pinned = self.members.get(id_, (None, False))
        has = self.tiers[tier_id] if tier_id and not self.tiers[tier_id].deleted else None
        if customer.deleted or (has and pinned):
            return False
        fit = [(t.rank, i) for i, t in self.tiers.items() if t.auto and not t.deleted and t.rule[1](customer)]
        rank, best = max(fit, default=(-1, None))
        if best and (has is None or rank > has.rank):
            self.members[id_] = (best, False)
        elif self.down and has and has.auto and not has.rule[1](customer):
            if best:
                self.members[id_] = (best, False)
            else:
                del self.members[id_]
        else:
            return False
        return True

    def shown(self) -> dict[str, tuple[str | None, bool | None]]:
        """Tier and pin of every customer that is not deleted, as the API tells them."""
        found = {}
        for id_, customer in self.customers.items():
            tier, pinned = self.members.get(id_, (None, None))
            if not customer.deleted:
                found[id_] = (None, None) if tier is None or self.tiers[tier].deleted else (tier, pinned)
        return found

    def live(self) -> list[str]:
        return [i for i, c in self.customers.items() if not c.deleted]


def rules(groups: list[str]) -> st.SearchStrategy[Rule]:
    """Conditions with what they mean."""
    some = st.lists(st.sampled_from(groups), min_size=1, max_size=2, unique=True)
    leaves: st.SearchStrategy[Rule] = st.one_of(
        st.sampled_from(LEVELS[1:]).map(lambda v: ({"level": {"eq": v}}, lambda c: c.level == v)),
        st.sampled_from(LEVELS[1:]).map(lambda v: ({"level": {"ne": v}}, lambda c: c.level != v)),
        st.booleans().map(lambda v: ({"source": {"isNull": v}}, lambda c: (c.source is None) is v)),
        some.map(lambda g: ({"groups": {"and": g}}, lambda c: set(g) <= c.groups)),
        some.map(lambda g: ({"groups": {"or": g}}, lambda c: bool(set(g) & c.groups))),
        some.map(lambda g: ({"groups": {"not": g}}, lambda c: not set(g) <= c.groups)),
        some.map(lambda g: ({"groups": {"none": g}}, lambda c: not set(g) & c.groups)),
        st.integers(0, 3).map(lambda n: ({"opportunities": {"count": {"gte": n}}}, lambda c: len(c.deals) >= n)),
        st.sampled_from((5, 50)).map(
            lambda n: (
                {"opportunities": {"some": {"amount": {"gte": str(n)}}}},
                lambda c: any(a >= n for a in c.deals.values()),
            )
        ),
        st.sampled_from((5, 50)).map(
            lambda n: (
                {"opportunities": {"every": {"amount": {"lt": str(n)}}}},
                lambda c: all(a < n for a in c.deals.values()),
            )
        ),
    )

    def wider(inner: st.SearchStrategy[Rule]) -> st.SearchStrategy[Rule]:
        many = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            inner.map(lambda r: ({"not": r[0]}, lambda c: not r[1](c))),
            many.map(lambda rs: ({"and": [r[0] for r in rs]}, lambda c: all(r[1](c) for r in rs))),
            many.map(lambda rs: ({"or": [r[0] for r in rs]}, lambda c: any(r[1](c) for r in rs))),
        )

    return st.recursive(leaves, wider, max_leaves=4)


@dataclass
class Player:
    """Does the same to the model and to the workspace."""

    desk: Desk
    groups: list[str]
    draw: Any
    model: Model = field(default_factory=Model)

    async def do(self, field_: str, **values: Any) -> Any:
        type_ = field_[0].upper() + field_[1:] + "Input!"
        done = await self.desk.do(
            f"mutation($input: {type_}) {{ {field_}(input: $input) {{ userErrors {{ message }} }} }}",
            input=values,
        )
        assert done["userErrors"] == [], (field_, values, done)
        return done

    async def make(self, singular: str, **values: Any) -> str:
        """Create a record; returns its id."""
        type_ = singular[0].upper() + singular[1:]
        made = await self.desk.do(
            f"mutation($input: {type_}CreateInput!) {{ {singular}Create(input: $input) "
            f"{{ {singular} {{ id }} userErrors {{ message }} }} }}",
            input=values,
        )
        assert made["userErrors"] == [], (singular, values, made)
        return made[singular]["id"]

    def some(self, ids: list[str]) -> str:
        return self.draw(st.sampled_from(sorted(ids)))

    async def customer_created(self) -> None:
        values = {"level": self.draw(st.sampled_from(LEVELS)), "source": self.draw(st.sampled_from(SOURCES))}
        id_ = await self.make("customer", name="x", kind="PERSON", **values)
        self.model.customers[id_] = Customer(**values)
        self.model.evaluate(id_)

    async def customer_changed(self) -> None:
        id_ = self.some(self.model.live())
        name, choices = self.draw(st.sampled_from((("level", LEVELS), ("source", SOURCES))))
        value = self.draw(st.sampled_from(choices))
        await self.do("customerUpdate", id=id_, **{name: value})
        setattr(self.model.customers[id_], name, value)
        self.model.evaluate(id_)

    async def customer_deleted_or_restored(self) -> None:
        id_ = self.some(list(self.model.customers))
        customer = self.model.customers[id_]
        await self.do("customerRestore" if customer.deleted else "customerDelete", id=id_)
        customer.deleted = not customer.deleted
        self.model.evaluate(id_)

    async def groups_changed(self) -> None:
        ids = self.draw(st.lists(st.sampled_from(sorted(self.model.live())), min_size=1, max_size=3, unique=True))
        group = self.some(self.groups)
        add = self.draw(st.booleans())
        await self.do(f"customersGroups{'Add' if add else 'Remove'}", target={"ids": ids}, groupIds=[group])
        for id_ in ids:
            customer = self.model.customers[id_]
            (customer.groups.add if add else customer.groups.discard)(group)
        self.model.evaluate(*ids)

    async def deal_changed(self) -> None:
        id_ = self.some(self.model.live())
        deals = self.model.customers[id_].deals
        amount = self.draw(st.sampled_from((1, 10, 100)))
        verb = self.draw(st.sampled_from(("create", "update", "delete"))) if deals else "create"
        if verb == "create":
            deals[await self.make("opportunity", customerId=id_, amount=str(amount))] = amount
        else:
            deal = self.some(list(deals))
            if verb == "delete":
                await self.do("opportunityDelete", id=deal)
                del deals[deal]
            else:
                await self.do("opportunityUpdate", id=deal, amount=str(amount))
                deals[deal] = amount
        self.model.evaluate(id_)

    async def tier_created(self) -> None:
        free = sorted(set(range(1, 7)) - {t.rank for t in self.model.tiers.values()})
        if not free:
            return
        rank, rule = self.draw(st.sampled_from(free)), self.draw(rules(self.groups))
        auto = self.draw(st.sampled_from((True, True, True, False)))
        id_ = await self.make("tier", name=f"T{rank}", rank=rank, rule=rule[0], auto=auto)
        self.model.tiers[id_] = Tier(rank, auto, rule)
        await self.passed()

    async def tier_changed(self) -> None:
        live = [i for i, t in self.model.tiers.items() if not t.deleted]
        if not live:
            return
        id_ = self.some(live)
        tier = self.model.tiers[id_]
        if self.draw(st.booleans()):
            tier.auto = not tier.auto
            await self.do("tierUpdate", id=id_, auto=tier.auto)
        else:
            tier.rule = self.draw(rules(self.groups))
            await self.do("tierUpdate", id=id_, rule=tier.rule[0])
        await self.passed()

    async def tier_deleted_or_restored(self) -> None:
        if not self.model.tiers:
            return
        id_ = self.some(list(self.model.tiers))
        tier = self.model.tiers[id_]
        await self.do("tierRestore" if tier.deleted else "tierDelete", id=id_)
        tier.deleted = not tier.deleted
        await self.passed()

    async def set_by_hand(self) -> None:
        tiers = [i for i, t in self.model.tiers.items() if not t.deleted]
        tier = self.draw(st.sampled_from([None, *sorted(tiers)]))
        pin = tier is not None and self.draw(st.booleans())
        ids = self.draw(st.lists(st.sampled_from(sorted(self.model.live())), min_size=1, max_size=3, unique=True))
        done = await self.desk.do(SET, input={"target": {"ids": ids}, "tierId": tier, "pin": pin})
        moved = sum(self.model.members.get(i, (None, False))[0] != tier for i in ids)
        assert done["counts"]["moved"] == moved
        for id_ in ids:
            if tier is None:
                self.model.members.pop(id_, None)
            else:
                self.model.members[id_] = (tier, pin)
        await self.compare()
        evaluated = await self.desk.do(EVALUATE)
        assert evaluated["customers"] == self.model.evaluate(*self.model.customers)

    async def unpinned(self) -> None:
        id_ = self.some(self.model.live())
        await self.desk.do(UNPIN, input={"target": {"ids": [id_]}})
        if id_ in self.model.members:
            self.model.members[id_] = (self.model.members[id_][0], False)
        self.model.evaluate(id_)

    async def downgrade_switched(self) -> None:
        self.model.down = not self.model.down
        await self.desk.features.enable(self.desk.workspace, "tiering", {"allow_downgrade": self.model.down})
        await self.passed()

    async def passed(self) -> None:
        """The job that was started is done."""
        await work(self.desk)
        self.model.evaluate(*self.model.customers)

    async def compare(self) -> None:
        nodes = (await self.desk.do(LIST))["nodes"]
        assert {n["id"]: (n["tier"] and n["tier"]["id"], n["tierPinned"]) for n in nodes} == self.model.shown()


STEPS = (
    *(Player.customer_changed, Player.groups_changed, Player.deal_changed, Player.set_by_hand) * 2,
    Player.customer_created,
    Player.customer_deleted_or_restored,
    Player.tier_created,
    Player.tier_changed,
    Player.tier_deleted_or_restored,
    Player.unpinned,
    Player.downgrade_switched,
)


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    features = Features(database, registry=PluginRegistry.discover(["plugins.groups", "plugins.tiering"]))
    await features.enable(module_workspace, "groups")
    await features.enable(module_workspace, "tiering")
    yield Desk(database, features, module_workspace)
    await features.close()


async def play(desk: Desk, draw: Any) -> None:
    await desk.database.pool(desk.workspace).execute("truncate customer, tier, customer_group, job cascade")
    player = Player(desk, [], draw)
    player.groups = [await player.make("group", name=f"g{uuid4()}") for _ in range(3)]
    await desk.features.enable(desk.workspace, "tiering", {})
    for _ in range(3):
        await player.tier_created()
        await player.customer_created()
    for _ in range(draw(st.integers(4, 16))):
        step = draw(st.sampled_from(STEPS))
        if not player.model.live():
            step = Player.customer_created
        note(step.__name__)
        await step(player)
        await player.compare()
    await player.passed()
    await player.compare()


@FEW
@given(draw=st.data())
async def test_tiers_are_those_of_the_model(desk: Desk, draw: Any) -> None:
    await play(desk, draw.draw)


@pytest.mark.nightly
@MANY
@given(draw=st.data())
async def test_tiers_are_those_of_the_model_at_length(desk: Desk, draw: Any) -> None:
    await play(desk, draw.draw)
