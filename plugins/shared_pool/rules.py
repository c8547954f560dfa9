"""A pool's rule: the condition it stores and its waiting time, as one condition, and what asks it of all customers.

Rule: product.md, "shared_pool": those who satisfy the condition are moved in, with a waiting time only after it; others
can be released on exit. A waiting time is part of the condition: `waitingField` does not lie in the last days, nor does
the customer's creation. For leaving it counts only whether the field has moved on since the customer came in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any
from uuid import UUID

from core import (
    Catalog,
    Conditions,
    Footprint,
    InvalidRule,
    Kind,
    Operand,
    Rule,
    Rulebook,
    StoredRule,
    column_sql,
    compile_rule,
    system_policy,
    turning,
)

DEFAULT_FIELD = "updatedAt"
#: Dates that lie ahead wait, too: as far as anybody plans.
_AHEAD = {"count": 36_500, "unit": "DAY"}

_IDS = Operand(lambda v, _c: v["ids"], "ids of customers")


class Among(Enum):
    """Which customers are looked at: some by id, those the clock may have turned, or all."""

    IDS = "ids"
    CLOCK = "clock"
    ALL = "all"


class Ask(Enum):
    """What is asked of them: who comes in, who goes, whose absence is over."""

    ENTER = "enter"
    LEAVE = "leave"
    LIFT = "lift"


def whole(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """A pool's condition with its waiting time, as a `CustomerWhere`; None for a pool that is filled by hand only."""
    parts = [] if values.get("rule") is None else [values["rule"]]
    if values.get("waitingDays"):
        last = {"count": values["waitingDays"], "unit": "DAY"}
        for name in dict.fromkeys((waiting_field(values), "createdAt")):
            recent = [{name: {"within": {"last": last}}}, {name: {"within": {"next": _AHEAD}}}]
            parts.append({"not": {"or": recent}})
    return {"and": parts} if parts else None


def waiting_field(values: Mapping[str, Any]) -> str:
    """The field that a pool's waiting time is counted from."""
    return str(values.get("waitingField") or DEFAULT_FIELD)


@dataclass
class PoolRule:
    """One live pool that has a rule, ready to be asked."""

    id: UUID
    name: str
    values: Mapping[str, Any]
    whole: Rule
    rule: Rule | None
    _asked: dict[tuple[Ask, Among, bool], tuple[str, Conditions]] = field(repr=False, default_factory=dict)

    @property
    def footprint(self) -> Footprint:
        """What its answers depend on."""
        return self.whole.footprint

    def statement(self, ask: Ask, among: Among, catalog: Catalog, *, lock: bool = True) -> tuple[str, Conditions]:
        """The statement that finds whom something is true of, and the conditions that bind its parameters.

        What leaves or is lifted is locked, and the customers too, unless they are given by id, or nothing at all. It
        reads the variables `ids` or `since` as far as `among` needs them, and `most`, how many rows it finds.
        """
        found = self._asked.get((ask, among, lock))
        if found is None:
            found = self._asked[ask, among, lock] = self._compile(ask, among, catalog, lock=lock)
        return found

    def _compile(self, ask: Ask, among: Among, catalog: Catalog, *, lock: bool) -> tuple[str, Conditions]:
        policy = system_policy(catalog)
        conditions = Conditions(policy)
        table, where = conditions.source(policy.scope("Customer"), "c")
        pool = conditions.known(self.id, "uuid")
        asked = self.rule if ask is Ask.LEAVE else self.whole
        holds = conditions.sql(asked.predicate, "c") if asked else "true"
        of = f"x.customer_id = c.id and x.pool_id = {pool}"
        if ask is Ask.ENTER:
            select, locks = "null::uuid, c.id", []
            where += [holds, f"not exists (select from pool_member x where {of})"]
            where += [f"not exists (select from pool_absence x where {of}{self._still(conditions)})"]
        else:
            link = "pool_member" if ask is Ask.LEAVE else "pool_absence"
            select, locks, table = "x.id, c.id", ["x"], f"{link} x join {table} on {of}"
            ended = f"({holds}) is not true"
            if ask is Ask.LEAVE:
                where.append("x.by_rule")
                ended += self._touched(conditions, catalog)
            where.append(f"({ended})")
        if among is Among.IDS:
            where.append(f"c.id = any({conditions.operand(_IDS, 'uuid[]')})")
        elif among is Among.CLOCK:
            turned = conditions.sql(turning(asked.predicate), "c") if asked else "false"
            if ask is Ask.ENTER:
                turned += self._over(conditions, of)
            where.append(f"({turned})")
        if among is not Among.IDS:
            locks.append("c")
        most = conditions.operand(Operand(lambda v, _c: v.get("most"), "most"), "bigint")
        text = f"select {select} from {table} where {' and '.join(where)} order by c.id limit {most}"
        return text + (f" for update of {', '.join(locks)}" if lock and locks else ""), conditions

    def _days(self) -> timedelta | None:
        days = self.values.get("waitingDays")
        return timedelta(days=days) if days else None

    def _still(self, conditions: Conditions) -> str:
        """An absence counts until the waiting time has passed since."""
        days = self._days()
        if days is None:
            return ""
        return f" and x.since > {conditions.operand(Operand(lambda _v, c: c.now - days, 'absent'), 'timestamptz')}"

    def _over(self, conditions: Conditions, of: str) -> str:
        """Absences whose waiting time has passed since the last look."""
        days = self._days()
        if days is None:
            return ""
        low = conditions.operand(Operand(lambda v, _c: v["since"] - days, "absent then"), "timestamptz")
        return f" or exists (select from pool_absence x where {of} and x.since >= {low})"

    def _touched(self, conditions: Conditions, catalog: Catalog) -> str:
        """Whether the field of the waiting time has moved on since the customer came in."""
        if not self._days():
            return ""
        declared = catalog["Customer"].fields[waiting_field(self.values)]
        column = column_sql(declared, "c")
        if declared.kind is Kind.DATE:
            zone = conditions.operand(Operand(lambda _v, c: c.workspace.time_zone, "zone"), "text")
            return f" or {column} > (x.since at time zone {zone})::date"
        return f" or {column} > x.since"


def _make(catalog: Catalog, stored: Sequence[StoredRule]) -> list[PoolRule]:
    """The pools whose rules are on, by name; those that do not fit the feature set are off."""
    found = []
    for pool in stored:
        asked = whole(pool.values)
        if asked is None or pool.problem:
            continue
        try:
            found.append(
                PoolRule(pool.id, pool.values["name"], pool.values, compile_rule(catalog, "Customer", asked), pool.rule)
            )
        except InvalidRule:
            continue
    return sorted(found, key=lambda pool: (pool.name, pool.id))


BOOK = Rulebook("Pool", "rule", _make)
