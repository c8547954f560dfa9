"""Writing a batch and its journal in one statement each: what was, what is, who, when and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from core.catalog import Record
from core.records import Field, Kind
from core.rows import Row, Storing, stored_columns
from core.sql import quote

if TYPE_CHECKING:
    from core.changes import ChangeSet

#: Columns of the journal row that the statement takes from the batch, beside those of the table itself.
_JOURNAL = {"before$": "jsonb", "after$": "jsonb"}
#: What becomes of `deleted_at`.
_MARKS = {"delete": "$2::timestamptz", "restore": "null"}


async def store(changes: ChangeSet, record: Record, action: str, rows: list[Row]) -> None:
    """Write rows to their table and to the journal, set-based."""
    changed = frozenset[str]().union(*(row.changed for row in rows))
    names = sorted((changed & record.fields.keys()) | _always(record, action))
    columns = stored_columns(record, names)
    columns.pop("id", None)
    fields = [record.fields[name] for name in names if record.fields[name].sql is None]
    pictured: list[Field] = []
    if action == "create":
        # What a new record has is in its image, and sent once.
        pictured = [f for f in fields if not f.custom and f.column in columns]
        fields = [f for f in fields if f.custom]
        text = _insert(record, columns)
    elif action == "delete" and not record.type.soft_delete:
        text = f"delete from {quote(record.type.tablename)} t using i where t.id = i.id returning t.id, 1 as version"
    else:
        await _part(changes, record, rows)
        text = _update(record, columns, _MARKS.get(action))
    storing = Storing(fields)
    given = _given({"id": "uuid", **stored_columns(record, [f.name for f in fields]), **_JOURNAL}, pictured)
    statement = f"with i as materialized ({given}), w as ({text}) "
    values = orjson.dumps([_value(storing, row) for row in rows])
    arguments: list[Any] = [values, changes.context.now, changes.context.actor.user_id]
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


def _value(storing: Storing, row: Row) -> dict[str, Any]:
    if row.after is None:
        return {"id": str(row.id), "before$": row.before}
    value = storing.values(row.after)
    value["id"] = str(row.id)
    if row.changed:
        value["after$"] = {k: row.after[k] for k in row.changed if k in row.after}
        if row.before is not None:
            value["before$"] = {k: row.before.get(k) for k in row.changed}
    return value


def _given(columns: dict[str, str], pictured: Sequence[Field] = ()) -> str:
    """The batch by column; some fields are taken from the rows' images."""
    shape = ", ".join(f"{quote(c)} {t}" for c, t in columns.items())
    source, values = f"json_to_recordset($1::json) as i({shape})", "i.*"
    if pictured:
        values += "".join(f", v.{quote(f.name)} as {quote(f.column)}" for f in pictured)
        shape = ", ".join(f"{quote(f.name)} {f.type}" for f in pictured)
        source += f", jsonb_to_record(i.after$) as v({shape})"
    return f"select {values} from {source}"


async def _part(changes: ChangeSet, record: Record, rows: list[Row]) -> None:
    """Take unique values from rows that pass them on within the batch: an index looks at one row at a time."""
    table = quote(record.type.tablename)
    for declared in record.fields.values():
        if not declared.unique or declared.kind is Kind.ID:
            continue
        moved = [r for r in rows if declared.name in r.changed and r.before and r.after]
        wanted = {r.after[declared.name] for r in moved if r.after}
        passing = [r.id for r in moved if r.before and r.before.get(declared.name) in wanted - {None}]
        if passing:
            column = quote(declared.column)
            freed = "custom = custom - $2::text" if declared.custom else f"{column} = $2::text || id::text"
            statement = f"update {table} set {freed} where id = any($1::uuid[])"
            await changes.connection.execute(statement, passing, declared.custom)


def _audit(record: Record) -> dict[str, str]:
    return {"updated_at": "$2::timestamptz", "updated_by": "$3::uuid"} if record.type.versioned else {}


def _insert(record: Record, columns: dict[str, str]) -> str:
    extra: dict[str, str] = {}
    if "created_at" in record.by_column() or record.type.versioned:
        extra = {"created_at": "$2::timestamptz", "created_by": "$3::uuid"}
    extra = {c: v for c, v in (extra | _audit(record)).items() if c not in columns}
    targets = ", ".join(map(quote, ["id", *columns, *extra]))
    given = ("jsonb_strip_nulls(i.custom)" if c == "custom" else f"i.{quote(c)}" for c in columns)
    sources = ", ".join(["i.id", *given, *extra.values()])
    version = "version" if record.type.versioned else "1 as version"
    return f"insert into {quote(record.type.tablename)} ({targets}) select {sources} from i returning id, {version}"


def _update(record: Record, columns: dict[str, str], deleted_at: str | None) -> str:
    """Set columns, and with `deleted_at` when the rows were deleted.

    Custom values are set one by one: there may be some of fields that this process has not heard of yet.
    """
    values = {c: "jsonb_strip_nulls(t.custom || i.custom)" if c == "custom" else f"i.{quote(c)}" for c in columns}
    values |= _audit(record)
    if deleted_at is not None:
        values["deleted_at"] = deleted_at
    if record.type.versioned:
        values["version"] = "t.version + 1"
    version = "t.version" if record.type.versioned else "1 as version"
    table, sets = quote(record.type.tablename), ", ".join(f"{quote(c)} = {v}" for c, v in values.items())
    return f"update {table} t set {sets} from i where t.id = i.id returning t.id, {version}"
