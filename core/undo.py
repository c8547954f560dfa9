"""Undoing a change set: every row put back as it was, except those that were changed again since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from core.catalog import Record
from core.changes import ACCESS, BATCH, ChangeSet, Target
from core.condition import Conditions
from core.errors import Forbidden, Refused, UserError
from core.grants import Reach
from core.messages import text
from core.predicate import constant
from core.rows import Row, same
from core.sql import quote
from core.targets import image_sql

REPORTED = 200

_CHANGES = """
select id, record_type, record_id, action, coalesce(before, '{}') as before, coalesce(after, '{}') as after
from change where change_set_id = $1 and ($2::bigint is null or id < $2) order by id desc limit $3
"""
#: What was in the fields of records right after a change, as far as later ones have changed them.
_SINCE = """
select distinct on (c.record_id, b.key) c.record_id, b.key, b.value
from unnest($1::uuid[], $2::bigint[]) as u (record_id, id)
join change c on c.record_id = u.record_id and c.id > u.id
cross join jsonb_each(c.before) b
where c.record_type = $3 and c.change_set_id <> $4 and c.before is not null
order by c.record_id, b.key, c.id
"""
#: A change set that was undone undoes nothing any more, and so on back along the chain.
_REVIVE = """
with recursive chain (id, undoes, undone_by) as (
  select id, undoes, $2::uuid from change_set where id = $1
  union all
  select s.id, s.undoes, case when c.undone_by is null then c.id end
  from chain c join change_set s on s.id = c.undoes
)
update change_set s set undone_by = c.undone_by from chain c where s.id = c.id
"""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One row of the journal."""

    id: int
    record: UUID
    before: dict[str, Any]
    after: dict[str, Any]


async def undo(changes: ChangeSet, id_: UUID) -> int:
    """Put back what a change set changed, through `changes`; returns the number of conflicts.

    Records that cannot be put back are conflicts: reported in the change set's errors and left alone. Those whose
    fields later change sets have changed have the code CONFLICT. With conflicts left, it can be undone again once they
    are gone. Raises Refused where there is no such change set or it is undone already.
    """
    locale = changes.context.locale
    row = await changes.connection.fetchrow("select undone_by from change_set where id = $1 for update", id_)
    if row is None:
        message = text("not_found", locale, record="change set")
        raise Refused([UserError(("input", "id"), "NOT_FOUND", message, {"id": str(id_)})])
    if row["undone_by"] is not None:
        raise Refused([UserError(("input", "id"), "CONFLICT", text("undone", locale), {"id": str(id_)})])
    changes.undoes = id_
    last: int | None = None
    while found := await changes.connection.fetch(_CHANGES, id_, last, BATCH):
        last = found[-1]["id"]
        for record_type, action, entries in _runs(found):
            await _undo(changes, changes.policy.catalog[record_type], action, entries)
    del changes.errors[REPORTED:]
    if changes.touched:
        await changes.connection.execute(_REVIVE, id_, None if changes.failed else changes.id)
    return len(changes.failed)


def _runs(found: Sequence[Any]) -> Iterator[tuple[str, str, list[_Entry]]]:
    """Consecutive changes of one type and action, no record twice in one run."""
    kind: tuple[str, str] | None = None
    entries: list[_Entry] = []
    seen: set[UUID] = set()
    for r in found:
        this = (r["record_type"], r["action"])
        if kind is not None and (this != kind or r["record_id"] in seen):
            yield (*kind, entries)
            entries, seen = [], set()
        kind = this
        seen.add(r["record_id"])
        entries.append(_Entry(r["id"], r["record_id"], r["before"], r["after"]))
    if kind is not None:
        yield (*kind, entries)


async def _undo(changes: ChangeSet, record: Record, action: str, entries: list[_Entry]) -> None:
    """Put back one run; what is as it was before already needs nothing."""
    if record.name in ACCESS and not record.type.ability:
        # Who belongs where decides what people may do, so it takes more than permission to undo.
        changes.policy.demand("roles")
    if record.type.follows:
        _demand_ends(changes, record)
    entries = await _seen(changes, record, entries)
    by_id = {e.record: e for e in entries}
    if action == "DELETE":
        gone = await _there(changes, record, by_id, deleted=True)
        if record.type.soft_delete:
            await changes.restore(record.name, Target(ids=gone))
        else:
            await _recreate(changes, record, [e for e in entries if e.record in gone])
        return
    there = await _there(changes, record, by_id, deleted=False)
    if action in ("CREATE", "RESTORE"):
        touched = await _changed_since(changes, record, [e for e in entries if e.record in there])
        _report(changes, record, touched)
        await changes.delete(record.name, Target(ids=tuple(i for i in there if i not in touched)))
        return
    clashes = by_id.keys() - set(there)

    def put_back(row: Row) -> dict[str, Any]:
        entry, now = by_id[row.id], row.before or {}  # type: ignore[index]
        known = {k: record.fields[k] for k in entry.after.keys() | entry.before.keys() if k in record.fields}
        back = {k: entry.before.get(k) for k, f in known.items() if same(f, now.get(k), entry.after.get(k))}
        if all(k in back or same(f, now.get(k), entry.before.get(k)) for k, f in known.items()):
            return back
        clashes.add(entry.record)
        return {}

    owner = next((f.name for f in record.fields.values() if record.type.owner and f.column == record.type.owner), "")
    moves = "transfer" in record.type.actions and any(owner in e.after for e in entries)
    await changes.update(
        record.name, Target(ids=there), put_back, actions=("update", "transfer") if moves else ("update",)
    )
    _report(changes, record, clashes)


async def _seen(changes: ChangeSet, record: Record, entries: list[_Entry]) -> list[_Entry]:
    """The entries of records that the actor may see, live or deleted; of the others a conflict says how many."""
    if record.type.follows or changes.policy.grants.unlimited:
        return entries
    conditions = Conditions(changes.policy)
    alias = conditions.alias()
    live, gone = (
        conditions.sql(changes.policy.scope(record.name, action, deleted=deleted).predicate, alias)
        for action, deleted in (("read", False), ("restore", True))
    )
    visible = f"case when {alias}.deleted_at is null then {live} else {gone} end" if record.type.soft_delete else live
    ids = conditions.operand(constant([e.record for e in entries]), "uuid[]")
    rows = await changes.connection.fetch(
        f"select {alias}.id from {quote(record.type.tablename)} {alias} "
        f"where {alias}.id = any({ids}) and ({visible}) is not true",
        *[source({}, changes.context) for source in conditions.parameters.sources],
    )
    if hidden := {row["id"] for row in rows}:
        params: dict[str, Any] = {"record": record.name, "count": len(hidden)}
        message = text("conflict_hidden", changes.context.locale, **params)
        changes.failed |= hidden
        changes.errors.append(UserError(("input", "id"), "CONFLICT", message, params))
    return [e for e in entries if e.record not in hidden]


def _demand_ends(changes: ChangeSet, record: Record) -> None:
    """Raise Forbidden unless the actor may change every record that links of a type can tie together.

    Links have no grants of their own, and undo comes to them without the record that guards them.
    """
    for relation in record.to_one.values():
        target = changes.policy.catalog[relation.target].type
        needed = [a for a in ("update", "share") if a in target.actions]
        if relation.required and any(changes.policy.grants.reach(target.name, a) is not Reach.ALL for a in needed):
            raise Forbidden(f"only who may {' and '.join(needed)} all {target.plural} can undo this")


async def _there(changes: ChangeSet, record: Record, ids: Iterable[UUID], *, deleted: bool) -> tuple[UUID, ...]:
    """Those of some records that are there, or are gone."""
    live = "where deleted_at is null" if record.type.soft_delete else ""
    statement = f"select id from {quote(record.type.tablename)} {live}"
    rows = await changes.connection.fetch(
        f"select id from unnest($1::uuid[]) as given (id) where (id in ({statement})) = $2 order by id",
        list(ids),
        not deleted,
    )
    return tuple(r["id"] for r in rows)


async def _recreate(changes: ChangeSet, record: Record, entries: list[_Entry]) -> None:
    """Put back links that were really removed; one whose place another has taken since is a conflict."""
    try:
        async with changes.connection.transaction():
            await changes.recreate(record.name, [(e.record, e.before) for e in entries])
    except asyncpg.IntegrityConstraintViolationError:
        if len(entries) == 1:
            _report(changes, record, {entries[0].record})
            return
        half = len(entries) // 2
        await _recreate(changes, record, entries[:half])
        await _recreate(changes, record, entries[half:])


async def _changed_since(changes: ChangeSet, record: Record, entries: list[_Entry]) -> set[UUID]:
    """Of records that a change set made or restored, those that later changes have left different."""
    ids = [e.record for e in entries]
    since = await changes.connection.fetch(_SINCE, ids, [e.id for e in entries], record.name, changes.id)
    images = await changes.connection.fetch(
        f"select t.id, {image_sql(record, 't')} from {quote(record.type.tablename)} t where t.id = any($1::uuid[])",
        list({r["record_id"] for r in since}),
    )
    now = {id_: orjson.loads(image) for id_, image in images}
    return {
        id_
        for id_, name, value in since
        if name in record.fields and not same(record.fields[name], now[id_].get(name), value)
    }


def _report(changes: ChangeSet, record: Record, ids: Iterable[UUID]) -> None:
    message = text("conflict", changes.context.locale)
    changes.skip(
        {i: UserError(("input", "id"), "CONFLICT", message, {"record": record.name, "id": str(i)}) for i in sorted(ids)}
    )
