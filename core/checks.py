"""Core's own checks of a batch against the database: unique values and links to records that exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from core.catalog import Record
from core.condition import Conditions, column_sql
from core.context import RequestContext
from core.messages import text
from core.policy import Policy
from core.pool import Connection
from core.predicate import constant
from core.records import Field
from core.rows import Fault, Row, to_json
from core.sql import quote

if TYPE_CHECKING:
    from core.changes import Batch


async def check_batch(connection: Connection, context: RequestContext, policy: Policy, batch: Batch) -> list[Fault]:
    """The faults of a batch: values that must be unique and are not, links that lead nowhere.

    A link must lead to a live record that the actor may read, else writing would tell what reading hides.
    """
    if batch.action == "delete" or not batch.rows:
        return []
    faults: list[Fault] = []
    if batch.action in ("create", "update"):
        for relation in batch.record.to_one.values():
            name = relation.key.name
            rows = [r for r in batch.rows if name in r.changed and r.after and r.after.get(name)]
            if rows:
                faults += await check_links(
                    connection, context, policy, rows, relation.key, policy.catalog[relation.target]
                )
    unique = [f for f in batch.record.fields.values() if f.unique and f.name != "id"]
    rest = batch
    while unique:
        for declared in unique:
            faults += await _unique(connection, context, policy, rest, declared)
        # A row that is left out keeps its value, which others can then not have: look again without it.
        sound = _without(batch, faults)
        if len(sound.rows) == len(rest.rows):
            break
        rest = sound
    return faults


def _without(batch: Batch, faults: Sequence[Fault]) -> Batch:
    bad = {id(f.row) for f in faults}
    return replace(batch, rows=[r for r in batch.rows if id(r) not in bad]) if bad else batch


async def _unique(
    connection: Connection, context: RequestContext, policy: Policy, batch: Batch, declared: Field
) -> list[Fault]:
    name, record = declared.name, batch.record
    considered = [
        r
        for r in batch.rows
        if r.after and r.after.get(name) is not None and (name in r.changed or batch.action == "restore")
    ]
    if not considered:
        return []
    faults: list[Fault] = []
    first: dict[Any, Row] = {}
    for row in considered:
        value = row.after[name]  # type: ignore[index]
        if first.setdefault(value, row) is not row:
            faults.append(_duplicate(context, policy, batch.record, row, declared, value))
    conditions = Conditions(policy)
    alias = conditions.alias()
    column = column_sql(declared, alias)
    wanted = conditions.operand(constant(list(first)), f"{declared.type}[]")
    moved = conditions.operand(constant([r.id for r in considered]), "uuid[]")
    readable = conditions.sql(policy.scope(record.name).predicate, alias)
    live = f" and {alias}.deleted_at is null" if record.type.soft_delete else ""
    # Value by value, each by its index: after a mass deletion the planner expects no live rows and would compare each
    # with the whole list.
    statement = (
        f"select found.* from unnest({wanted}) w (value) cross join lateral (select {alias}.id, {column}, "
        f"{readable} is true from {quote(record.type.tablename)} {alias} "
        f"where {column} = w.value and {alias}.id <> all({moved}){live} limit 1) found"
    )
    values = [s({}, context) for s in conditions.parameters.sources]
    for id_, value, seen in await connection.fetch(statement, *values):
        # That the value is taken cannot be hidden, but whose it is can.
        other = id_ if seen else None
        faults.append(
            _duplicate(context, policy, batch.record, first[to_json(declared, value)], declared, value, other)
        )
    return faults


def _duplicate(
    context: RequestContext,
    policy: Policy,
    record: Record,
    row: Row,
    declared: Field,
    value: Any,
    other: UUID | None = None,
) -> Fault:
    """The fault of a value in use; restoring must not tell one that is hidden from the actor."""
    params = {"field": declared.name, "value": str(value)}
    if not policy.readable(record, declared.name):
        params["value"], other = "", None
    message = text("duplicate", context.locale, **params)
    return Fault(row, "DUPLICATE", message, declared.name, params | ({"id": str(other)} if other else {}))


async def check_links(
    connection: Connection, context: RequestContext, policy: Policy, rows: list[Row], declared: Field, target: Record
) -> list[Fault]:
    """The faults of rows in which a field names no live record of a type that the actor may read; locks those named."""
    if not rows:
        return []
    wanted = {UUID(r.after[declared.name]) for r in rows if r.after}
    conditions = Conditions(policy)
    alias = conditions.alias()
    table, where = conditions.source(policy.scope(target.name), alias)
    where.insert(0, f"{alias}.id = any({conditions.operand(constant(list(wanted)), 'uuid[]')})")
    values = [s({}, context) for s in conditions.parameters.sources]
    statement = f"select {alias}.id from {table} where {' and '.join(where)} for share of {alias}"
    there = {str(r[0]) for r in await connection.fetch(statement, *values)}
    params = {"field": declared.name}
    message = text("unknown_link", context.locale, **params)
    return [
        Fault(r, "NOT_FOUND", message, declared.name, params)
        for r in rows
        if r.after and r.after[declared.name] not in there
    ]
