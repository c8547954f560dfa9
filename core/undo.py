"""Undoing a change set: every row put back as it was, except those that were changed again since."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import orjson

from core.changes import BATCH, ChangeSet, Target
from core.errors import Refused, UserError
from core.messages import text
from core.records import Record
from core.rows import Row, same

REPORTED = 200

Entry = tuple[UUID, str, dict[str, Any], dict[str, Any]]


async def undo(changes: ChangeSet, id_: UUID) -> int:
    """Put back what a change set changed, through `changes`; returns the number of conflicts.

    Records that later change sets changed in the same fields are conflicts: they are reported in the change set's
    errors (code CONFLICT) and left alone; with conflicts left, it can be undone again once they are gone. Raises
    Refused where there is no such change set or it is undone already.
    """
    locale = changes.context.locale
    row = await changes.connection.fetchrow("select undone_by from change_set where id = $1 for update", id_)
    if row is None:
        message = text("not_found", locale, record="change set")
        raise Refused([UserError(("input", "id"), "NOT_FOUND", message, {"id": str(id_)})])
    if row["undone_by"] is not None:
        raise Refused([UserError(("input", "id"), "CONFLICT", text("undone", locale), {"id": str(id_)})])
    changes.undoes = id_
    conflicts = 0
    last: int | None = None
    while True:
        found = await changes.connection.fetch(
            "select id, record_type, record_id, action, before, after from change "
            "where change_set_id = $1 and ($2::bigint is null or id < $2) order by id desc limit $3",
            id_,
            last,
            BATCH,
        )
        if not found:
            break
        last = found[-1]["id"]
        for record_type, action, entries in _runs(found):
            conflicts += await _undo(changes, changes.policy.catalog[record_type], action, entries)
    if not conflicts:
        await changes.connection.execute("update change_set set undone_by = $2 where id = $1", id_, changes.id)
    # Undoing an undo brings the first change set back to life, so it can be undone again.
    await changes.connection.execute(
        "update change_set set undone_by = null where id = (select undoes from change_set where id = $1)", id_
    )
    return conflicts


def _runs(found: Sequence[Any]) -> Iterator[tuple[str, str, list[Entry]]]:
    """Consecutive changes of one type and action, no record twice in one run."""
    kind: tuple[str, str] | None = None
    entries: list[Entry] = []
    seen: set[UUID] = set()
    for r in found:
        this = (r["record_type"], r["action"])
        if kind is not None and (this != kind or r["record_id"] in seen):
            yield (*kind, entries)
            entries, seen = [], set()
        kind = this
        seen.add(r["record_id"])
        entries.append((r["record_id"], r["action"], _json(r["before"]), _json(r["after"])))
    if kind is not None:
        yield (*kind, entries)


def _json(value: Any) -> dict[str, Any]:
    found = orjson.loads(value) if isinstance(value, str | bytes) else value
    return found or {}


async def _undo(changes: ChangeSet, record: Record, action: str, entries: list[Entry]) -> int:
    """Put back one run; what is as it was before already needs nothing."""
    by_id = {id_: (before, after) for id_, _, before, after in entries}
    ids = tuple(by_id)
    if action == "DELETE" and not record.type.soft_delete:
        gone = set(ids) - set(await _there(changes, record, ids, deleted=False))
        await changes.recreate(record.name, [(id_, before) for id_, (before, _) in by_id.items() if id_ in gone])
        return 0
    if action == "DELETE":
        await changes.restore(record.name, Target(ids=await _there(changes, record, ids, deleted=True)))
        return 0
    there = await _there(changes, record, ids, deleted=False)
    if action == "RESTORE":
        await changes.delete(record.name, Target(ids=there))
        return 0
    if action == "CREATE":
        there, touched = await _untouched(changes, record, there)
        await changes.delete(record.name, Target(ids=there))
        return _report(changes, record, touched)
    clashes: set[UUID] = set(ids) - set(there)

    def back(row: Row) -> dict[str, Any]:
        before, after = by_id[row.id]  # type: ignore[index]
        now = row.before or {}
        known = [k for k in after.keys() | before.keys() if k in record.fields]
        if all(same(record.fields[k], now.get(k), after.get(k)) for k in known):
            return {k: before.get(k) for k in known}
        if not all(same(record.fields[k], now.get(k), before.get(k)) for k in known):
            clashes.add(row.id)  # type: ignore[arg-type]
        return {}

    await changes.update(record.name, Target(ids=there), back)
    return _report(changes, record, clashes)


async def _there(changes: ChangeSet, record: Record, ids: Sequence[UUID], *, deleted: bool) -> tuple[UUID, ...]:
    state = f" and deleted_at is {'not null' if deleted else 'null'}" if record.type.soft_delete else ""
    statement = f'select id from "{record.type.tablename}" where id = any($1::uuid[]){state} order by id'
    return tuple(r[0] for r in await changes.connection.fetch(statement, list(ids)))


async def _untouched(changes: ChangeSet, record: Record, ids: Sequence[UUID]) -> tuple[tuple[UUID, ...], set[UUID]]:
    """Of records to be removed again, those that no later change set changed."""
    if not record.type.versioned:
        return tuple(ids), set()
    later = await changes.connection.fetch(
        "select distinct record_id from change where record_id = any($1::uuid[]) and change_set_id <> all($2::uuid[]) "
        "and action = 'UPDATE'",
        list(ids),
        [changes.undoes, changes.id],
    )
    touched = {r[0] for r in later}
    return tuple(i for i in ids if i not in touched), touched


def _report(changes: ChangeSet, record: Record, ids: set[UUID]) -> int:
    """Tell of conflicts, the first `REPORTED` of them one by one."""
    message = text("conflict", changes.context.locale)
    changes.errors += [
        UserError(("input", "id"), "CONFLICT", message, {"record": record.name, "id": str(i)})
        for i in sorted(ids)[: max(0, REPORTED - len(changes.errors))]
    ]
    return len(ids)
