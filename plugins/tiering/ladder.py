"""The automatic tiers of a workspace as the system asks them: who is to move, and where.

A customer moves to the highest tier whose rule holds for him, never to a lower one than his. Only where the workspace
allows it does he go down, or out, and only from an automatic tier whose rule can be asked and does not hold. Pinned
tiers stay. A tier that was deleted counts as none, and so does its pin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core import Catalog, ChangeSet, Conditions, Operand, Rule, Rulebook, RuleSet, Statement, StoredRule, system_policy

_IDS = Operand(lambda variables, _context: variables["ids"], "ids of customers")


@dataclass(frozen=True, slots=True)
class Move:
    """That a customer is to go from a tier, or from none, to another, or out; `member` is his membership so far."""

    customer: UUID
    member: UUID | None
    source: UUID | None
    target: UUID | None


class Ladder:
    """The automatic tiers of a workspace, and the statements that find who moves between them.

    `footprint` is what their rules depend on; None where there are none.
    """

    def __init__(self, catalog: Catalog, stored: Sequence[StoredRule]) -> None:
        automatic = sorted((s for s in stored if s.values["auto"]), key=lambda s: s.values["rank"], reverse=True)
        self._rules = {s.values["rank"]: s.rule for s in automatic if s.rule is not None}
        self._tiers = {s.values["rank"]: s.id for s in automatic}
        self.footprint = RuleSet(catalog, self._rules).footprint
        self._statements = {
            (some, down): self._compile(catalog, self._rules, some=some, down=down)
            for some in (True, False)
            for down in (True, False)
            if self._rules
        }

    async def moves(
        self, changes: ChangeSet, *, down: bool, ids: Sequence[UUID] | None = None, most: int | None = None
    ) -> list[Move]:
        """Who is to move, among some customers or all, `most` at most; one statement. `down` allows downgrades."""
        # Planned as for all of them: nearly nobody moves, and whoever looks for the first few looks at everybody.
        limited = "with x as materialized ({}) select * from x limit {}"
        found = await self._fetch(changes, limited, ids, down, most)
        return [Move(r["customer"], r["member"], r["source"], self._tiers.get(r["best"])) for r in found]

    async def counts(self, changes: ChangeSet, *, down: bool) -> dict[tuple[UUID | None, UUID | None], int]:
        """How many customers are to move from where to where; one statement."""
        grouped = "select source, best, count(*) from ({}) x group by 1, 2 limit {}"
        found = await self._fetch(changes, grouped, None, down, None)
        return {(source, self._tiers.get(best)): count for source, best, count in found}

    async def _fetch(
        self, changes: ChangeSet, form: str, ids: Sequence[UUID] | None, down: bool, most: int | None
    ) -> list[Any]:
        if not self._rules:
            return []
        statement = self._statements[ids is not None, down]
        values = statement.bind({"ids": ids}, changes.context)
        text = form.format(statement.text, f"${len(values) + 1}::bigint")
        found: list[Any] = await changes.connection.fetch(text, *values, most)
        return found

    @staticmethod
    def _compile(catalog: Catalog, rules: dict[int, Rule], *, some: bool, down: bool) -> Statement:
        """Customers with the rank that they rise, or with `down` fall, to."""
        policy = system_policy(catalog)
        conditions = Conditions(policy)
        customer, member, tier = conditions.alias(), conditions.alias(), conditions.alias()
        table, where = conditions.source(policy.scope("Customer"), customer)
        if some:
            where.append(f"{customer}.id = any({conditions.operand(_IDS, 'uuid[]')})")
        where.append(f"({member}.pinned is not true or {tier}.id is null)")
        rises = {rank: f"({tier}.rank is null or {tier}.rank < {rank})" for rank in rules}
        holds = {rank: conditions.sql(rule.predicate, customer) for rank, rule in rules.items()}
        if down:
            # Whose rule still holds stays: it is the best of those not above him.
            steps = " ".join(f"when {holds[rank]} then {rank}" for rank in rules)
            fallen = f"x.rank in ({', '.join(map(str, rules))}) and (x.best is null or x.best < x.rank)"
            moves = f"(x.best is not null and x.rank is null) or x.best > x.rank or ({fallen})"
        else:
            # A rule is asked only of those who would rise by it.
            steps = " ".join(f"when {rises[rank]} and {holds[rank]} then {rank}" for rank in rules)
            moves = "x.best is not null"
        text = (
            f"select x.* from (select {customer}.id as customer, {member}.id as member, {member}.tier_id as source, "
            f"{tier}.rank, case {steps} end as best from {table} "
            f"left join tier_member {member} on {member}.customer_id = {customer}.id "
            f"left join tier {tier} on {tier}.id = {member}.tier_id and {tier}.deleted_at is null "
            f"where {' and '.join(where)}) x where {moves}"
        )
        return Statement(text, tuple(conditions.parameters.sources))


LADDER = Rulebook("Tier", "rule", Ladder)
