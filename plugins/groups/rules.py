"""What groups and their members must satisfy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from core import Batch, ChangeSet, Fault, Row, text
from plugins.groups.settings import Settings

PACKAGE = "plugins.groups"

_TAKEN = """
with given as (
  select i, public.crm_fold(coalesce(f, '')) as f, public.crm_fold(n) as n
  from unnest($1::text[], $2::text[]) with ordinality x(f, n, i)
)
select g.i from given g
where exists (select from customer_group c
              where c.family_fold = g.f and c.name_fold = g.n and c.deleted_at is null and c.id <> all($3::uuid[]))
   or exists (select from given e where e.i < g.i and e.f = g.f and e.n = g.n)
"""

_THERE = "select customer_id::text, group_id::text from group_member where customer_id = any($1::uuid[])"


async def check_names(batch: Batch, changes: ChangeSet) -> list[Fault]:
    """Names of groups are unique within their families."""
    rows = [r for r in batch.rows if r.after and (batch.action != "update" or r.changed & {"name", "family"})]
    if not rows:
        return []
    values = [r.after or {} for r in rows]
    families, names = [v.get("family") for v in values], [v["name"] for v in values]
    taken = await changes.connection.fetch(_TAKEN, families, names, [r.id for r in rows])
    return [_duplicate(rows[i - 1], changes.context.locale) for (i,) in taken]


def _duplicate(row: Row, locale: str) -> Fault:
    after: Mapping[str, Any] = row.after or {}
    params = {"name": after["name"], "family": after.get("family") or ""}
    key = "taken_in_family" if params["family"] else "taken"
    return Fault(row, "DUPLICATE", text(key, locale, PACKAGE, **params), "name", params)


async def check_members(batch: Batch, changes: ChangeSet, settings: Settings) -> list[Fault]:
    """Nobody is in one group twice, nor in more groups than allowed."""
    pairs = [(r, r.after["customerId"], r.after["groupId"]) for r in batch.rows if r.after]
    rows = await changes.connection.fetch(_THERE, sorted({customer for _, customer, _ in pairs}))
    there = {tuple(row) for row in rows}
    counts = Counter(customer for customer, _ in there)
    limit, locale = settings.max_groups_per_customer, changes.context.locale
    faults = []
    for row, customer, group in pairs:
        if (customer, group) in there:
            params = {"customerId": customer, "groupId": group}
            faults.append(Fault(row, "DUPLICATE", text("member_already", locale, PACKAGE), params=params))
            continue
        there.add((customer, group))
        counts[customer] += 1
        if counts[customer] > limit:
            message = text("too_many", locale, PACKAGE, limit=limit)
            faults.append(Fault(row, "OUT_OF_RANGE", message, params={"customerId": customer, "limit": limit}))
    return faults
