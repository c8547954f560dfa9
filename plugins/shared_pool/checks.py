"""What pools must satisfy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core import Batch, ChangeSet, Fault, InvalidRule, Kind, Row, compile_rule, text
from plugins.shared_pool.claims import PACKAGE
from plugins.shared_pool.rules import waiting_field, whole

#: What follows from pools cannot decide who is in them.
_OWN = frozenset({"Pool", "PoolMember", "PoolTeam", "PoolAbsence", "PoolClaim", "CustomerViewer"})

_TAKEN = """
select g.i from unnest($1::text[]) with ordinality g(name, i)
where exists (select from pool p
              where p.name_fold = public.crm_fold(g.name) and p.deleted_at is null and p.id <> all($2::uuid[]))
   or exists (select from unnest($1::text[]) with ordinality e(name, i)
              where e.i < g.i and public.crm_fold(e.name) = public.crm_fold(g.name))
"""


async def check_pools(batch: Batch, changes: ChangeSet) -> list[Fault]:
    """Names are unique, waiting times are counted from a date, and rules do not ask for pools."""
    faults: list[Fault] = []
    named = [r for r in batch.rows if r.after and (batch.action != "update" or "name" in r.changed)]
    names = [(r.after or {})["name"] for r in named]
    for (i,) in await changes.connection.fetch(_TAKEN, names, [r.id for r in named]) if named else ():
        faults.append(_fault(changes, named[i - 1], "name", "DUPLICATE", "taken", pool=names[i - 1]))
    for row in batch.rows:
        values = row.after
        if values and (batch.action != "update" or row.changed & {"rule", "waitingDays", "waitingField"}):
            faults += _rule_faults(changes, row, values)
    return faults


def _rule_faults(changes: ChangeSet, row: Row, values: Mapping[str, Any]) -> list[Fault]:
    catalog, locale = changes.policy.catalog, changes.context.locale
    name = waiting_field(values)
    declared = catalog["Customer"].fields.get(name)
    dated = declared is not None and declared.exposed and declared.kind in (Kind.DATE, Kind.DATETIME)
    if not dated or not changes.policy.readable(catalog["Customer"], name):
        return [_fault(changes, row, "waitingField", "INVALID", "waiting_field", field=name)]
    asked = whole(values)
    if asked is None:
        return []
    try:
        rule = compile_rule(catalog, "Customer", asked)
    except InvalidRule as error:
        params = {"reason": error.message}
        return [Fault(row, "INVALID_RULE", text("invalid_rule", locale, **params), "rule", params)]
    if {type_ for type_, _ in rule.footprint.reads} & _OWN:
        return [_fault(changes, row, "rule", "INVALID_RULE", "rule_of_pools")]
    return []


def _fault(changes: ChangeSet, row: Row, name: str, code: str, key: str, **params: Any) -> Fault:
    return Fault(row, code, text(key, changes.context.locale, PACKAGE, **params), name, params)
