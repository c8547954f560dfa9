"""What custom fields ask of a change set: values that fit their kinds, and definitions that fit the workspace.

The rules take part in every change set as hooks do, before any plugin's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from core.catalog import Record
from core.changes import Batch, ChangeSet
from core.checks import check_links
from core.condition import column_sql
from core.customfields import (
    RECORD,
    UNIQUE_KINDS,
    WITH_CHOICES,
    CustomField,
    can_have_custom_fields,
    name_is_usable,
    owner_of_name,
)
from core.errors import CompositionError
from core.hookspecs import hookimpl
from core.messages import text
from core.rows import Fault, Row, to_json
from core.sql import quote

ABILITY = "custom_fields"
CHANNEL = "crm_features"


class CustomFieldRules:
    """The hooks of one feature set's custom fields."""

    def __init__(self, fields: Iterable[CustomField]) -> None:
        self._by_record: dict[str, list[CustomField]] = {}
        for custom in fields:
            self._by_record.setdefault(custom.record, []).append(custom)

    @hookimpl
    async def check(self, batch: Batch, changes: ChangeSet) -> Sequence[Fault]:
        """Values must fit their kinds, definitions must fit what is there."""
        if batch.record.name == RECORD:
            changes.policy.demand(ABILITY)
            return [] if batch.action == "delete" else await _check_definitions(batch, changes)
        if batch.action not in ("create", "update"):
            return []
        faults = []
        for custom in self._by_record.get(batch.record.name, ()):
            rows = [
                r for r in batch.rows if custom.name in r.changed and r.after and r.after.get(custom.name) is not None
            ]
            if custom.kind == "USER":
                declared, users = batch.record.fields[custom.name], changes.policy.catalog["User"]
                faults += await check_links(changes.connection, changes.context, changes.policy, rows, declared, users)
            else:
                faults += [_invalid(row, custom, changes) for row in rows if not custom.fits(row.after[custom.name])]  # type: ignore[index]
        return faults

    @hookimpl
    async def changed(self, batch: Batch, changes: ChangeSet) -> None:
        """Bring the table in line with changed definitions and tell every process."""
        if batch.record.name != RECORD:
            return
        for row in batch.rows:
            now, before = _definition(row, row.after), _definition(row, row.before)
            some = now or before
            if some is not None and can_have_custom_fields(changes.policy.catalog, some.record):
                await _apply(changes, changes.policy.catalog[some.record], some, now, before)
        await changes.connection.execute("select pg_notify($1, $2)", CHANNEL, changes.context.workspace.slug)


def _definition(row: Row, values: dict[str, Any] | None) -> CustomField | None:
    return CustomField.of(row.id, values) if values and isinstance(row.id, UUID) else None


def _invalid(row: Row, custom: CustomField, changes: ChangeSet) -> Fault:
    value = (row.after or {})[custom.name]
    params = {"field": custom.name, "value": str(value)[:100]}
    return Fault(row, "INVALID", text("invalid", changes.context.locale, **params), custom.name, params)


async def _check_definitions(batch: Batch, changes: ChangeSet) -> list[Fault]:
    """The first fault of each definition that is new or changed."""
    faults: list[Fault] = []
    taken: set[tuple[str, str]] = set()
    if batch.action == "create":
        rows = await changes.connection.fetch("select record_type, name from custom_field")
        taken = {(r["record_type"], r["name"]) for r in rows}
    for row in batch.rows:
        custom = _definition(row, row.after)
        if custom is None:
            continue
        fault = _misnamed(row, custom, changes, taken) if batch.action == "create" else None
        fault = fault or _misshapen(row, custom, changes)
        fault = fault or await _misplaced(row, custom, _definition(row, row.before), changes)
        if fault:
            faults.append(fault)
        taken.add((custom.record, custom.name))
    return faults


def _fault(row: Row, changes: ChangeSet, field: str, key: str, code: str = "INVALID", **params: Any) -> Fault:
    return Fault(row, code, text(key, changes.context.locale, **params), field, params)


def _misnamed(row: Row, custom: CustomField, changes: ChangeSet, taken: set[tuple[str, str]]) -> Fault | None:
    catalog = changes.policy.catalog
    if not can_have_custom_fields(catalog, custom.record):
        return _fault(row, changes, "recordType", "custom_record", record=custom.record)
    if not name_is_usable(custom.name):
        return _fault(row, changes, "name", "custom_name", name=custom.name)
    owner = owner_of_name(catalog, custom.record, custom.name)
    if not owner and (custom.record, custom.name) in taken:
        owner = "custom field"
    if owner:
        return _fault(row, changes, "name", "custom_taken", "DUPLICATE", name=custom.name, owner=owner)
    return None


def _misshapen(row: Row, custom: CustomField, changes: ChangeSet) -> Fault | None:
    if bool(custom.choices) is not (custom.kind in WITH_CHOICES):
        return _fault(row, changes, "choices", "custom_choices", kind=custom.kind)
    try:
        custom.field()
    except CompositionError:
        return _fault(row, changes, "choices", "custom_choice_values")
    if not custom.default_fits():
        params = {"field": "default", "value": str(custom.default)[:100]}
        return Fault(row, "INVALID", text("invalid", changes.context.locale, **params), "default", params)
    if custom.unique and (custom.kind not in UNIQUE_KINDS or custom.default is not None):
        return _fault(row, changes, "unique", "custom_unique")
    return None


async def _misplaced(row: Row, custom: CustomField, before: CustomField | None, changes: ChangeSet) -> Fault | None:
    """What the records there are have against a definition; they are locked, so that it stays true until the end."""
    catalog, connection = changes.policy.catalog, changes.connection
    if not can_have_custom_fields(catalog, custom.record):
        return None
    record = catalog[custom.record]
    value = column_sql(custom.field(), "t")
    table = quote(record.type.tablename)
    was = before or CustomField(custom.id, custom.record, custom.name, custom.kind)
    gone = set(was.options() if was.choices else ()) - set(custom.options() if custom.choices else ())
    if (custom.required and not was.required) or (custom.unique and not was.unique) or gone:
        await connection.execute(f"lock table {table} in share row exclusive mode")
    if custom.required and custom.default is None and not was.required:
        statement = f"select exists (select from {table} t where {value} is null)"
        if await connection.fetchval(statement):
            return _fault(row, changes, "default", "custom_default", "REQUIRED")
    if custom.unique and not was.unique:
        live = "where t.deleted_at is null" if record.type.soft_delete else ""
        statement = f"select count({value}) > count(distinct {value}) from {table} t {live}"
        if await connection.fetchval(statement):
            return _fault(row, changes, "unique", "custom_not_unique", "DUPLICATE", name=custom.name)
    if gone:
        operator = "&& $1::text[]" if custom.kind == "CHOICES" else "= any($1::text[])"
        used = await connection.fetchval(
            f"select {value}::text from {table} t where {value} {operator} limit 1", list(gone)
        )
        if used is not None:
            choice = used if used in gone else ", ".join(sorted(gone))
            return _fault(row, changes, "choices", "custom_choice_used", "CONFLICT", choice=choice)
    return None


async def _apply(
    changes: ChangeSet, record: Record, some: CustomField, now: CustomField | None, before: CustomField | None
) -> None:
    """Fill in a required field's default, and make or drop a unique field's index."""
    table, connection = quote(record.type.tablename), changes.connection
    if now and now.required and now.default is not None and not (before and before.required):
        missing = f"{column_sql(now.field(), 't')} is null"
        await connection.execute(
            f"update {table} t set custom = t.custom || jsonb_build_object($1::text, $2::jsonb) where {missing}",
            str(now.id),
            to_json(now.field(), now.default),
        )
    index = quote(f"custom_{some.id.hex}")
    if now and now.unique:
        live = "where deleted_at is null" if record.type.soft_delete else ""
        value = column_sql(now.field(), table)
        await connection.execute(f"create unique index if not exists {index} on {table} (({value})) {live}")
    else:
        await connection.execute(f"drop index if exists {index}")
