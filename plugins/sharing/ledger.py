"""Writing the ledger: one entry per change set, action, giver and receiver, however many batches it came in.

It is written beside the change set like the journal itself, so that undoing an act takes nothing out of the ledger but
adds to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from core import Batch, ChangeSet, Row, new_id

#: The sources of core's own viewers: let in by hand, and kept when their customers were given to others.
BY_HAND, KEPT = "share", "transfer"

_ENTER = """
insert into sharing_act (id, change_set_id, action, source, through, at, by_id, from_id, to_user_id, to_team_id,
  to_everyone, can_edit)
select g.id, $2, g.action, $3, g.through, $4, $5, g.from_id, g.to_user_id, g.to_team_id, g.to_everyone, g.can_edit
from json_to_recordset($1::json) as g(id uuid, action text, through text, from_id uuid, to_user_id uuid,
  to_team_id uuid, to_everyone boolean, can_edit boolean)
on conflict on constraint sharing_act_once do nothing
"""
_LIST = """
with listed as (
  insert into sharing_act_customer (act_id, customer_id)
  select a.id, c.id
  from json_to_recordset($1::json) as g(action text, through text, from_id uuid, to_user_id uuid, to_team_id uuid,
    to_everyone boolean, can_edit boolean, customers uuid[])
  join sharing_act a on a.change_set_id = $2 and a.action = g.action and a.to_everyone = g.to_everyone
    and a.can_edit = g.can_edit and a.from_id is not distinct from g.from_id
    and a.to_user_id is not distinct from g.to_user_id and a.to_team_id is not distinct from g.to_team_id
    and a.through is not distinct from g.through
  cross join unnest(g.customers) as c(id)
  on conflict do nothing returning act_id
)
update sharing_act a set customer_count = a.customer_count + n.n
from (select act_id, count(*) as n from listed group by act_id) n where a.id = n.act_id
"""
_OWNERS = "select id::text, owner_id::text from customer where id = any($1::uuid[])"
_GIVEN_AWAY = """
select v.customer::text, v.holder::text from unnest($1::uuid[], $2::uuid[]) as v(customer, holder)
where exists (select from change c where c.record_id = v.customer and c.record_type = 'Customer'
              and c.change_set_id = $3 and c.before->>'ownerId' = v.holder::text)
"""
_MARK_KEPT = """
update sharing_act set kept_as_viewer = true
where change_set_id = $1 and action = 'TRANSFER' and from_id = any($2::uuid[])
"""


@dataclass(frozen=True, slots=True)
class _Act:
    """What is one entry: all but the customers."""

    action: str
    from_id: str | None
    to_user_id: str | None = None
    to_team_id: str | None = None
    to_everyone: bool = False
    through: str | None = None
    can_edit: bool = False


async def record(batch: Batch, changes: ChangeSet) -> None:
    """Enter what a written batch gave, shared or no longer shares."""
    acts: dict[_Act, list[str]] = {}
    if batch.record.name == "Customer":
        found = list(_transfers(batch))
    else:
        found = await _sharings(batch, changes)
    for act, customer in found:
        acts.setdefault(act, []).append(customer)
    if not acts:
        return
    entries = [_entry(act) | {"id": str(new_id()), "customers": ids} for act, ids in acts.items()]
    given = orjson.dumps([{k: v for k, v in e.items() if k != "customers"} for e in entries])
    now, by = changes.context.now, changes.context.actor.user_id
    await changes.connection.execute(_ENTER, given, changes.id, changes.source, now, by)
    # An array in JSON is written as PostgreSQL's own: its JSON functions take no arrays of uuid.
    listed = orjson.dumps([e | {"customers": "{" + ",".join(e["customers"]) + "}"} for e in entries])
    await changes.connection.execute(_LIST, listed, changes.id)


def _entry(act: _Act) -> dict[str, Any]:
    return {name: getattr(act, name) for name in _Act.__slots__}


def _transfers(batch: Batch) -> Iterator[tuple[_Act, str]]:
    for row in batch.rows:
        if "ownerId" in row.changed and row.before and row.after:
            yield _Act("TRANSFER", row.before["ownerId"], row.after["ownerId"]), str(row.id)


async def _sharings(batch: Batch, changes: ChangeSet) -> list[tuple[_Act, str]]:
    """Viewers who came, went or got another right. Those kept at a transfer are part of that."""
    rows = [r for r in batch.rows if _viewer(r)["source"] != KEPT]
    kept = [r for r in batch.rows if _viewer(r)["source"] == KEPT]
    if batch.action == "create" and kept:
        await changes.connection.execute(_MARK_KEPT, changes.id, [_viewer(r)["userId"] for r in kept])
    elif batch.action == "delete" and kept and not changes.undoes:
        rows += await _unshared(kept, changes)
    customers = sorted({_viewer(r)["customerId"] for r in rows})
    owners = dict(await changes.connection.fetch(_OWNERS, customers)) if rows else {}
    action = "UNSHARE" if batch.action == "delete" else "SHARE"
    return [(_sharing(action, _viewer(r), owners), _viewer(r)["customerId"]) for r in rows]


async def _unshared(rows: Sequence[Row], changes: ChangeSet) -> list[Row]:
    """Of former owners who are no longer viewers those whose sight somebody ended, rather than a further transfer."""
    pairs = [(_viewer(r)["customerId"], _viewer(r)["userId"]) for r in rows]
    customers, holders = [c for c, _ in pairs], [h for _, h in pairs]
    found = await changes.connection.fetch(_GIVEN_AWAY, customers, holders, changes.id)
    given_away = {tuple(row) for row in found}
    return [r for r, pair in zip(rows, pairs, strict=True) if pair not in given_away]


def _sharing(action: str, viewer: dict[str, Any], owners: dict[str, str]) -> _Act:
    through = viewer["source"]
    return _Act(
        action,
        owners.get(viewer["customerId"]),
        viewer.get("userId"),
        viewer.get("teamId"),
        bool(viewer.get("everyone")),
        None if through in (BY_HAND, KEPT) else through,
        action == "SHARE" and bool(viewer.get("canEdit")),
    )


def _viewer(row: Row) -> dict[str, Any]:
    return row.after or row.before or {}
