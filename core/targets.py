"""Which records a change set acts on: found, locked and read as they are before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from core.catalog import Record
from core.condition import Conditions, column_sql
from core.errors import Forbidden, UserError
from core.messages import text
from core.policy import Policy, Scope
from core.predicate import TRUE, Predicate, constant
from core.records import Field, Kind
from core.rows import Path, Row
from core.sql import quote

if TYPE_CHECKING:
    from core.changes import ChangeSet

BATCH = 5000


@dataclass(frozen=True, slots=True)
class Target:
    """Which records to act on: by id, or all that satisfy a predicate and on which the actor may act.

    `variables` are those that the predicate's operands read. `path` leads to the target in the mutation's arguments,
    `paths` to each of several ids, and `inside` (the same, where left out) to what is to be written into the records.
    """

    ids: tuple[UUID, ...] = ()
    predicate: Predicate | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    path: Path = ("input", "id")
    paths: Mapping[UUID, Path] = field(default_factory=dict)
    inside: Path | None = None


async def locked(
    changes: ChangeSet,
    record: Record,
    target: Target,
    actions: Sequence[str],
    *,
    deleted: bool = False,
    shared: bool = False,
) -> AsyncIterator[list[Row]]:
    """The targeted rows, locked (with `shared` against changes only) in the order of their ids, batch by batch.

    Ids that cannot be read are faults; so are, with `skip_failed`, those that can be read but not acted on, which
    else raise Forbidden. Of a predicate's rows only those that may be acted on are taken.
    """
    state = deleted if record.type.soft_delete else None
    lock = "share" if shared else "update"
    if target.predicate is not None:
        ids = await _matching(changes, record, target, actions, state, lock)
    else:
        ids = sorted(set(target.ids))
    for start in range(0, len(ids), BATCH):
        part = ids[start : start + BATCH]
        missing = set(part) if target.predicate is None else set()
        rows = []
        for id_, version, may, image in await _images(changes, record, part, actions, state, lock):
            missing.discard(id_)
            path = target.paths.get(id_, target.path)
            if may:
                rows.append(Row(id_, orjson.loads(image), None, path=target.inside or path, version=version))
            elif changes.skip_failed:
                message = text("forbidden", changes.context.locale)
                changes.skip({id_: UserError(path, "FORBIDDEN", message, {"id": str(id_)})})
            else:
                raise Forbidden(f"you may not {actions[-1]} this {record.name}", id=str(id_))
        lost = {id_: not_found(changes, record, id_, target.paths.get(id_, target.path)) for id_ in sorted(missing)}
        changes.skip(lost)
        yield rows


def not_found(changes: ChangeSet, record: Record, id_: UUID | str, path: Path) -> UserError:
    """That an id names no record, or none that the actor may read."""
    locale = changes.context.locale
    message = text("not_found", locale, record=record.type.labels.get(locale, record.name))
    return UserError(path, "NOT_FOUND", message, {"id": str(id_)})


async def _images(
    changes: ChangeSet, record: Record, ids: Sequence[UUID], actions: Sequence[str], state: bool | None, lock: str
) -> list[Any]:
    """Id, version, whether the actor may take the actions, and image of each row that he may read; all locked."""
    policy = changes.policy
    conditions = Conditions(policy)
    alias = conditions.alias()
    visible = "restore" if state else "read"
    table, where = conditions.source(_scope(policy, record, visible, state), alias)
    where.insert(0, f"{alias}.id = any({conditions.operand(constant(ids), 'uuid[]')})")
    allowed = [conditions.sql(_scope(policy, record, action, state).predicate, alias) for action in actions]
    version = f"{alias}.version" if record.type.versioned else "1"
    statement = (
        f"select {alias}.id, {version}, ({' and '.join(allowed)}) is true, {image_sql(record, alias)} "
        f"from {table} where {' and '.join(where)} order by {alias}.id for {lock} of {alias}"
    )
    values = [s({}, changes.context) for s in conditions.parameters.sources]
    found: list[Any] = await changes.connection.fetch(statement, *values)
    return found


async def _matching(
    changes: ChangeSet, record: Record, target: Target, actions: Sequence[str], state: bool | None, lock: str
) -> list[UUID]:
    """The ids that satisfy a predicate, locked at once: none of them may cease to while the batches are written."""
    alias, where, values = _satisfying(changes, record, target, actions, state)
    statement = f"select {alias}.id from {where} order by {alias}.id for {lock} of {alias}"
    return [r[0] for r in await changes.connection.fetch(statement, *values)]


async def number_of(changes: ChangeSet, record: Record, target: Target, actions: Sequence[str]) -> int:
    """How many live records a target is about, as far as may be acted on them; of ids as many as there are."""
    if target.predicate is None:
        return len(target.ids)
    state = False if record.type.soft_delete else None
    _, where, values = _satisfying(changes, record, target, actions, state)
    found: int = await changes.connection.fetchval(f"select count(*) from {where}", *values)
    return found


def _satisfying(
    changes: ChangeSet, record: Record, target: Target, actions: Sequence[str], state: bool | None
) -> tuple[str, str, list[Any]]:
    """The alias, FROM and WHERE and parameters of the rows that satisfy a predicate."""
    conditions = Conditions(changes.policy)
    conditions.on_deleted = bool(state)
    alias = conditions.alias()
    table, where = "", []
    for action in actions:
        table, more = conditions.source(_scope(changes.policy, record, action, state), alias)
        where += more
    if target.predicate is not None and target.predicate != TRUE:
        where.append(conditions.sql(target.predicate, alias))
    values = [s(dict(target.variables), changes.context) for s in conditions.parameters.sources]
    return alias, f"{table} where {' and '.join(where) or 'true'}", values


def _scope(policy: Policy, record: Record, action: str, state: bool | None) -> Scope:
    return policy.scope(record.name, action, deleted=state, reached="system" if record.type.follows else "")


def image_sql(record: Record, alias: str) -> str:
    """A row as JSON by field name, as the journal keeps it."""
    stored = [f for f in record.fields.values() if f.sql is None]
    values = ", ".join(f"{_json_sql(f, alias)} as {quote(f.name)}" for f in stored)
    return f"(select row_to_json(x) from (select {values}) x)"


def _json_sql(declared: Field, alias: str) -> str:
    sql = column_sql(declared, alias)
    return f"trim_scale({sql})::text" if declared.kind is Kind.DECIMAL else sql
