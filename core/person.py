"""Erasing what a workspace knows of one person: in records, their history, what is staged, queued and kept as files.

Records of the person are those that are named, and all in which a field that identifies somebody (`Field.personal`)
has one of the values given: an email address, a phone number however it is written. Their personal fields are
overwritten through the change set, so that plugins follow as with any change; then the journal forgets what was in
them. Plugins erase what their own tables hold by the hook `person_erased`. Last, every other table is searched for
the values as text, and files as bytes. Records stay, without a name, for what refers to them.
"""

from __future__ import annotations

import asyncio
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import phonenumbers

from core.catalog import Catalog, Record
from core.errors import BadInput
from core.records import Field, Kind, Personal
from core.sql import literal, quote
from core.targets import Target

if TYPE_CHECKING:
    from core.changes import ChangeSet
    from core.files import Files
    from core.pool import Connection

#: What stands where something was.
ERASED = "erased"
#: Shorter values are found in too much that has nothing to do with the person.
SHORTEST = 5
_PHONE = re.compile(r"[+(\d][\d .()/-]{6,}\d")
_BETWEEN = "[ .()/-]*"
_PIECE, _OVERLAP = 1024 * 1024, 400

#: How a column's text is found and replaced, by its type; columns of other types hold no text.
_REPLACED = {
    "text": "regexp_replace({c}, $1, 'erased', 'gi')",
    "text[]": "array(select regexp_replace(v, $1, 'erased', 'gi') from unnest({c}) with ordinality u(v, i) order by i)",
    "json": "regexp_replace({c}::text, $1, 'erased', 'gi')::json",
    "jsonb": "regexp_replace({c}::text, $1, 'erased', 'gi')::jsonb",
}
_COLUMNS = """
select c.relname as table, a.attname as column,
       replace(format_type(a.atttypid, null), 'character varying', 'text') as type
from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
  and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' order by 1, 2
"""
#: Answers that are kept for those who ask again, as bytes of JSON, and documents under the digest of their text.
_ANSWERS = """
update idempotency set response = convert_to(regexp_replace(convert_from(response, 'UTF8'), $1, 'erased', 'gi'), 'UTF8')
where convert_from(response, 'UTF8') ~* $1
"""
_DOCUMENTS = "delete from persisted_document where starts_with(hash, 'apq:') and text ~* $1"
#: What a record's journal keeps: values by field name, but for those that are not known to be nobody's.
_FORGET = """
update change c set before = b.kept, after = a.kept
from change old
cross join lateral (select jsonb_object_agg(k, case when k = any($3::text[]) then v else 'null' end) as kept
    from jsonb_each(old.before) e(k, v)) b
cross join lateral (select jsonb_object_agg(k, case when k = any($3::text[]) then v else 'null' end) as kept
    from jsonb_each(old.after) e(k, v)) a
where old.id = c.id and c.record_type = $1 and c.record_id = any($2::uuid[])
    and (b.kept, a.kept) is distinct from (c.before, c.after)
"""
_SIGN_OFF = {
    "app_user": "update app_user set active = false, password_hash = null where id = any($1::uuid[])",
    "refresh_token": "delete from refresh_token where user_id = any($1::uuid[])",
    "api_key": "update api_key set name = 'erased', revoked_at = coalesce(revoked_at, now())"
    " where user_id = any($1::uuid[])",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was erased, or is left: a table, how many of its rows, and which of its fields or columns."""

    table: str
    rows: int
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is to be forgotten: his records by type, and a regular expression for what identifies him.

    `pattern` is for PostgreSQL's `~*`; empty where nothing is known that identifies him.
    """

    records: Mapping[str, tuple[UUID, ...]]
    pattern: str = ""

    def ids(self, record: str) -> tuple[UUID, ...]:
        """The ids of his records of a type."""
        return self.records.get(record, ())


@dataclass(slots=True)
class Erasure:
    """What was erased: records by type, places, files; `left` are places that still have one of the values."""

    records: dict[str, int] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    files: int = 0
    left: list[Place] = field(default_factory=list)


async def erase(
    changes: ChangeSet, files: Files, values: Sequence[str], records: Mapping[str, Sequence[UUID]]
) -> Erasure:
    """Erase a person in the transaction of a change set. His files expire at once; their bytes go when they are pruned.

    Neither the answer nor any log has one of the values. Raises BadInput for a value that is too short, a record type
    that is not of persons, a record that is not there, and where nothing is found; Refused by a plugin's check.
    """
    system = changes.system()
    connection, catalog = system.connection, system.policy.catalog
    await connection.execute("set local statement_timeout = 0")
    person = await _find(connection, catalog, values, records, system.context.workspace.country)
    done = Erasure({name: len(ids) for name, ids in person.records.items()})
    for name, ids in person.records.items():
        done.places += await _overwrite(system, catalog[name], ids)
    for _, places in await system.hooks.call("person_erased", person=person, changes=system):
        done.places += places
    if person.pattern:
        done.files = await _expire(connection, files, person.pattern)
        columns = await _columns(connection)
        done.places += await _sweep(connection, catalog, columns, person.pattern)
        done.left = await _left(connection, columns, person.pattern)
    done.places = [place for place in done.places if place.rows]
    if not (done.places or done.files or done.left):
        raise BadInput("nothing of such a person was found")
    return done


async def _find(
    connection: Connection,
    catalog: Catalog,
    values: Sequence[str],
    records: Mapping[str, Sequence[UUID]],
    country: str,
) -> Person:
    """The records of a person, deleted ones too, and all that identifies him in them and in their history."""
    found: dict[str, set[UUID]] = {}
    for name, ids in records.items():
        if name not in catalog or not _identifying(catalog[name]):
            raise BadInput(f"{name!r} is no record type of persons")
        table = quote(catalog[name].type.tablename)
        rows = await connection.fetch(f"select id from {table} where id = any($1::uuid[])", list(ids))
        found[name] = {row["id"] for row in rows}
        if missing := set(ids) - found[name]:
            raise BadInput(f"there is no {catalog[name].type.singular} {min(missing)}", id=str(min(missing)))
    known = {value.strip() for value in values}
    if any(len(value) < SHORTEST for value in known):
        raise BadInput(f"a value of less than {SHORTEST} characters does not tell a person apart")
    for record in _persons(catalog) if known else ():
        whole = rf"^\s*({pattern(known, country)})\s*$"
        tests = " or ".join(_matches(f) for f in _identifying(record))
        rows = await connection.fetch(f"select id from {quote(record.type.tablename)} where {tests}", whole)
        found.setdefault(record.name, set()).update(row["id"] for row in rows)
    ids_by_type = {name: tuple(sorted(ids)) for name, ids in found.items() if ids}
    for name, some in ids_by_type.items():
        known |= await _identifiers(connection, catalog[name], some)
    usable = {value for value in known if len(value) >= SHORTEST}
    return Person(ids_by_type, pattern(usable, country))


async def _identifiers(connection: Connection, record: Record, ids: tuple[UUID, ...]) -> set[str]:
    """What identifies somebody in records, and did according to the journal."""
    fields = _identifying(record)
    selected = ", ".join(f"to_jsonb({_sql(f)})" for f in fields)
    rows = [
        dict(zip((f.name for f in fields), row, strict=True))
        for row in await connection.fetch(
            f"select {selected} from {quote(record.type.tablename)} where id = any($1::uuid[])", list(ids)
        )
    ]
    for row in await connection.fetch(
        "select before, after from change where record_type = $1 and record_id = any($2::uuid[])",
        record.name,
        list(ids),
    ):
        rows += [image for image in row if image]
    return {text for row in rows for f in fields for text in _texts(row.get(f.name))}


def _texts(value: Any) -> Iterator[str]:
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and text.strip():
            yield text.strip()


def pattern(values: Iterable[str], country: str) -> str:
    """A regular expression, for PostgreSQL and for Python, that finds any of some values within a text.

    What can be a phone number of a country, or of any with its code, is found however it is written.
    """
    return "|".join(sorted(_one(value, country) for value in values))


def _one(value: str, country: str) -> str:
    if _PHONE.fullmatch(value):
        try:
            number = phonenumbers.parse(value, country)
        except phonenumbers.NumberParseException:
            number = None
        if number is not None and phonenumbers.is_possible_number(number):
            local = _BETWEEN.join(phonenumbers.national_significant_number(number))
            abroad = rf"(?:\+|00)?{number.country_code}{_BETWEEN}(?:0{_BETWEEN})?"
            return rf"(?<!\d)(?:{abroad}|0{_BETWEEN})?{local}(?!\d)"
    return r"(?<!\w)" + re.sub(r"([^\w\s])", r"\\\1", value) + r"(?!\w)"


def _persons(catalog: Catalog) -> list[Record]:
    return [record for record in catalog if _identifying(record)]


def _identifying(record: Record) -> list[Field]:
    return [f for f in record.fields.values() if f.personal is Personal.IDENTIFIES]


def _sql(declared: Field) -> str:
    return f"custom->>{literal(declared.custom)}" if declared.custom else quote(declared.column)


def _matches(declared: Field) -> str:
    if declared.kind is Kind.TEXTS:
        return f"exists (select from unnest({_sql(declared)}) v where v ~* $1)"
    return f"{_sql(declared)} ~* $1"


async def _overwrite(changes: ChangeSet, record: Record, ids: tuple[UUID, ...]) -> list[Place]:
    """Overwrite personal fields of records, live and deleted ones, and let the journal forget them."""
    fields = [f for f in record.fields.values() if f.personal and f.sql is None]
    names, table = tuple(f.name for f in fields), record.type.tablename
    live, rows = set(ids), ids
    if record.type.soft_delete:
        statement = f"select id from {quote(table)} where id = any($1::uuid[]) and deleted_at is null"
        live = {row["id"] for row in await changes.connection.fetch(statement, list(ids))}
    if live:
        await changes.update(
            record.name,
            Target(ids=tuple(live)),
            lambda row: {f.name: _blank(f, row.id) for f in fields if (row.before or {}).get(f.name) is not None},
        )
    sets = [f"{quote(f.column)} = {_blank_sql(f)}" for f in fields if not f.custom]
    if kept := [f.custom for f in fields if f.custom]:
        sets.append("custom = custom - array[" + ", ".join(map(literal, kept)) + "]")
    await changes.connection.execute(
        f"update {quote(table)} set {', '.join(sets)} where id = any($1::uuid[])", [i for i in ids if i not in live]
    )
    places = [Place(table, len(rows), names)]
    nobodys = [f.name for f in record.fields.values() if not f.personal]
    status = await changes.connection.execute(_FORGET, record.name, list(ids), nobodys)
    places.append(Place("change", _count(status), ("before", "after")))
    if table == "app_user":
        for other, statement in _SIGN_OFF.items():
            places.append(Place(other, _count(await changes.connection.execute(statement, list(ids)))))
    return places


def _blank(declared: Field, id_: Any) -> Any:
    """What stands in a field of a record from now on: nothing, or where there must be something, nobody's name.

    They differ, so that nobody becomes a duplicate by it.
    """
    return f"{ERASED} {str(id_)[-12:]}" if declared.required else None


def _blank_sql(declared: Field) -> str:
    return f"'{ERASED} ' || right(id::text, 12)" if declared.required else "null"


async def _columns(connection: Connection) -> dict[str, dict[str, str]]:
    """The columns of every table that may hold text, with their types."""
    found: dict[str, dict[str, str]] = {}
    for table, column, type_ in await connection.fetch(_COLUMNS):
        if type_ in _REPLACED and table != "migration":
            found.setdefault(table, {})[column] = type_
    return found


async def _sweep(
    connection: Connection, catalog: Catalog, columns: Mapping[str, Mapping[str, str]], found: str
) -> list[Place]:
    """Overwrite the values in every table that is not of persons: those belong to others who have them, too."""
    aside = {record.type.tablename for record in _persons(catalog)} | {"change", "persisted_document"}
    places = [
        Place("idempotency", _count(await connection.execute(_ANSWERS, found)), ("response",)),
        Place("persisted_document", _count(await connection.execute(_DOCUMENTS, found)), ("text",)),
    ]
    for table, types in columns.items():
        if table in aside:
            continue
        for column, type_ in types.items():
            c = quote(column)
            statement = f"update {quote(table)} set {c} = {_REPLACED[type_].format(c=c)} where {c}::text ~* $1"
            try:
                async with connection.transaction():
                    places.append(Place(table, _count(await connection.execute(statement, found)), (column,)))
            except asyncpg.IntegrityConstraintViolationError:
                # It is told with what is left.
                continue
    return places


async def _left(connection: Connection, columns: Mapping[str, Mapping[str, str]], found: str) -> list[Place]:
    """The tables that still have one of the values, such as the records of others that share a phone number."""
    left = []
    for table, types in columns.items():
        tests = [f"({quote(c)}::text ~* $1)" for c in types]
        row = await connection.fetchrow(
            f"select count(*), array[{', '.join(f'bool_or({t})' for t in tests)}] from {quote(table)}"
            f" where {' or '.join(tests)}",
            found,
        )
        if row and row[0]:
            left.append(Place(table, row[0], tuple(c for c, has in zip(types, row[1], strict=True) if has)))
    return left


async def _expire(connection: Connection, files: Files, found: str) -> int:
    """Let all files expire in which one of the values is found, and forget their names; returns how many."""
    sought = re.compile(found, re.IGNORECASE)
    expired = 0
    async for row in connection.cursor("select id, name from file where coalesce(expires_at > now(), true)"):
        path = files.path(row["id"])
        named = sought.search(row["name"]) is not None
        if named or await asyncio.to_thread(_holds, path, sought):
            await connection.execute("update file set expires_at = now(), name = 'erased' where id = $1", row["id"])
            expired += 1
    return expired


def _holds(path: Path, sought: re.Pattern[str]) -> bool:
    """Whether a file has one of the values in it, as text, or in a member where it is packed, as workbooks are."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                for member in packed.infolist():
                    with packed.open(member) as content:
                        if _found(content, sought):
                            return True
            return False
        with path.open("rb") as content:
            return _found(content, sought)
    except (FileNotFoundError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return False


def _found(content: Any, sought: re.Pattern[str]) -> bool:
    before = b""
    while piece := content.read(_PIECE):
        text = before + piece
        if sought.search(text.decode("utf-8", "ignore")) or sought.search(text.decode("utf-16", "ignore")):
            return True
        before = text[-_OVERLAP:]
    return False


def _count(status: str) -> int:
    return int(status.rsplit(maxsplit=1)[-1])
