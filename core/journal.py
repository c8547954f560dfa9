"""Writing a batch and its journal in one statement each: what was, what is, who, when and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from core.records import Record
from core.rows import Row, stored_columns, stored_values
from core.sql import quote

if TYPE_CHECKING:
    from core.changes import ChangeSet

#: Columns of the journal row that the statement takes from the batch, beside those of the table itself.
_JOURNAL = {"before$": "jsonb", "after$": "jsonb"}


async def store(changes: ChangeSet, record: Record, action: str, rows: list[Row]) -> None:
    """Write rows to their table and to the journal, set-based."""
    names = sorted({name for row in rows for name in row.changed if name in record.fields} | _always(record, action))
    columns = stored_columns(record, names)
    columns.pop("id", None)
    values = [_value(record, row, names, action) for row in rows]
    if action == "create":
        text = _insert(record, columns)
    elif action == "update":
        text = _update(record, columns)
    elif action == "delete" and not record.type.soft_delete:
        text = f"delete from {quote(record.type.tablename)} t using i where t.id = i.id returning t.id, 1 as version"
    else:
        text = _mark(record, action)
    typed = {"id": "uuid", **columns, **_JOURNAL}
    shape = ", ".join(f"{quote(c)} {t}" for c, t in typed.items())
    statement = f"with i as materialized (select * from json_to_recordset($1::json) as i({shape})), w as ({text}) "
    arguments: list[Any] = [orjson.dumps(values), changes.context.now, changes.context.actor.user_id]
    used = "(select $2::timestamptz, $3::uuid) u(at, who)"
    if record.type.journaled:
        statement += (
            "insert into change (change_set_id, record_type, record_id, action, version, before, after) "
            f"select $4, $5, i.id, $6, w.version, i.before$, i.after$ from i join w on w.id = i.id cross join {used}"
        )
        arguments += [changes.id, record.name, action.upper()]
    else:
        statement += f"select count(*) from w cross join {used}"
    await changes.connection.execute(statement, *arguments)


def _always(record: Record, action: str) -> set[str]:
    """A new record takes its defaults, even those that are nothing."""
    if action != "create":
        return set()
    return {f.name for f in record.fields.values() if f.default is not None or f.generate is not None}


def _value(record: Record, row: Row, names: list[str], action: str) -> dict[str, Any]:
    value: dict[str, Any] = {"id": str(row.id)}
    if action in ("create", "update") and row.after is not None:
        value |= stored_values(record, names, row.after)
        value["after$"] = {k: row.after[k] for k in row.changed if k in row.after}
        if row.before is not None:
            value["before$"] = {k: row.before.get(k) for k in row.changed}
    elif action == "delete" and not record.type.soft_delete:
        value["before$"] = row.before
    return value


def _audited(record: Record) -> bool:
    return record.type.versioned


def _insert(record: Record, columns: dict[str, str]) -> str:
    extra: dict[str, str] = {}
    if "created_at" in record.by_column() or record.type.versioned:
        extra = {"created_at": "$2::timestamptz", "created_by": "$3::uuid"}
    if _audited(record):
        extra |= {"updated_at": "$2::timestamptz", "updated_by": "$3::uuid"}
    extra = {c: v for c, v in extra.items() if c not in columns}
    targets = ", ".join(map(quote, ["id", *columns, *extra]))
    sources = ", ".join(["i.id", *(f"i.{quote(c)}" for c in columns), *extra.values()])
    version = "version" if record.type.versioned else "1 as version"
    return f"insert into {quote(record.type.tablename)} ({targets}) select {sources} from i returning id, {version}"


def _update(record: Record, columns: dict[str, str]) -> str:
    sets = [f"{quote(c)} = i.{quote(c)}" for c in columns]
    if record.type.versioned:
        sets += ["version = t.version + 1", "updated_at = $2::timestamptz", "updated_by = $3::uuid"]
    version = "t.version" if record.type.versioned else "1 as version"
    table = quote(record.type.tablename)
    return f"update {table} t set {', '.join(sets)} from i where t.id = i.id returning t.id, {version}"


def _mark(record: Record, action: str) -> str:
    deleted = "$2::timestamptz" if action == "delete" else "null"
    sets = [f"deleted_at = {deleted}"]
    if record.type.versioned:
        sets += ["version = t.version + 1", "updated_at = $2::timestamptz", "updated_by = $3::uuid"]
    version = "t.version" if record.type.versioned else "1 as version"
    table = quote(record.type.tablename)
    return f"update {table} t set {', '.join(sets)} from i where t.id = i.id returning t.id, {version}"
