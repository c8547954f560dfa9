"""What a workspace's schema holds, and what of it stands in the way of filling it, by PostgreSQL's catalog."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from core.pool import Connection
from core.sql import literal, quote

#: Generated columns are left out: PostgreSQL makes them again. Partitions are part of their table.
_COLUMNS = """
select c.relname as table, a.attname as column, format_type(a.atttypid, a.atttypmod) as type
from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = $1::text::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
  and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
order by c.relname, a.attnum
"""
_SEQUENCES = "select relname from pg_class where relnamespace = $1::text::regnamespace and relkind = 'S' order by 1"
_HISTORY = "select app_name, name from migration order by id"

#: What slows filling tables down or asks for an order among them, as the statements to drop and to make it again.
#: Indexes of constraints stay: nothing else keeps two equal keys out.
_HINDRANCES = """
select format('alter table %s drop constraint %I', conrelid::regclass, conname) as drop,
       format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) as make,
       2 as turn
from pg_constraint where connamespace = $1::text::regnamespace and contype = 'f' and conparentid = 0
union all
select format('drop index %s', i.indexrelid::regclass), pg_get_indexdef(i.indexrelid), 1
from pg_index i join pg_class c on c.oid = i.indexrelid
where c.relnamespace = $1::text::regnamespace and not c.relispartition
  and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
union all
select format('alter table %s disable trigger %I', tgrelid::regclass, tgname),
       format('alter table %s enable trigger %I', tgrelid::regclass, tgname), 3
from pg_trigger t join pg_class c on c.oid = t.tgrelid
where c.relnamespace = $1::text::regnamespace and not t.tgisinternal and t.tgenabled = 'O'
order by turn
"""

_GUARDS = """
select format('alter table %s drop constraint %I', conrelid::regclass, conname) as drop,
       format('alter table %s add constraint %I %s not valid', conrelid::regclass, conname, pg_get_constraintdef(oid))
           as make,
       format('alter table %s validate constraint %I', conrelid::regclass, conname) as check
from pg_constraint where connamespace = $1::text::regnamespace and contype = 'f' and conparentid = 0
union all
select format('alter table %s disable trigger %I', tgrelid::regclass, tgname),
       format('alter table %s enable trigger %I', tgrelid::regclass, tgname), ''
from pg_trigger t join pg_class c on c.oid = t.tgrelid
where c.relnamespace = $1::text::regnamespace and not t.tgisinternal and t.tgenabled = 'O'
"""

#: Values that mean something in one cluster only, by type: what stands for them elsewhere. Transactions' numbers
#: become that of one long past, so that whoever reads on from a snapshot takes the row for told.
FOREIGN = {"xid8": "'0'::xid8", "xid": "'0'::xid"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a workspace: its name and its stored columns with their types, in order."""

    name: str
    columns: tuple[tuple[str, str], ...]

    @property
    def names(self) -> list[str]:
        """The names of its columns."""
        return [name for name, _ in self.columns]

    def portable(self, alias: str = "") -> str:
        """Its columns as a select list of what has a meaning in any cluster."""
        prefix = f"{alias}." if alias else ""
        return ", ".join(FOREIGN.get(type_, prefix + quote(name)) for name, type_ in self.columns)


async def use(connection: Connection, schema: str, role: str) -> None:
    """Make the transaction the workspace's, and how it writes values the same everywhere."""
    for name, value in {
        "role": role,
        "search_path": f"{quote(schema)}, public",
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "datestyle": "ISO, YMD",
        "intervalstyle": "postgres",
        "extra_float_digits": "3",
        "bytea_output": "hex",
    }.items():
        await connection.execute(f"set local {name} = {value if name == 'search_path' else literal(value)}")


async def tables(connection: Connection, schema: str) -> list[Table]:
    """The tables of a schema by name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, type_ in await connection.fetch(_COLUMNS, quote(schema)):
        found.setdefault(table, []).append((column, type_))
    return [Table(name, tuple(columns)) for name, columns in found.items()]


async def history(connection: Connection) -> list[tuple[str, str]]:
    """The migrations applied in the workspace that a connection is in, as pairs of app and id, in their order."""
    return [(app, id_) for app, id_ in await connection.fetch(_HISTORY)]


async def sequences(connection: Connection, schema: str) -> dict[str, tuple[int, bool]]:
    """Where the sequences of a schema stand: the last value, and whether it was given out."""
    found = {}
    for (name,) in await connection.fetch(_SEQUENCES, quote(schema)):
        row = await connection.fetchrow(f"select last_value, is_called from {quote(schema)}.{quote(name)}")
        assert row is not None
        found[name] = (row["last_value"], row["is_called"])
    return found


async def set_sequences(connection: Connection, schema: str, values: Mapping[str, Sequence[int | bool]]) -> None:
    """Put sequences where they stood; those that are not here any more are passed over."""
    here = {name for (name,) in await connection.fetch(_SEQUENCES, quote(schema))}
    for name in here & values.keys():
        last, called = values[name]
        await connection.execute(
            "select setval($1::text::regclass, $2, $3)", f"{quote(schema)}.{quote(name)}", int(last), bool(called)
        )


async def counts(connection: Connection, found: Sequence[Table]) -> dict[str, int]:
    """How many rows tables have, by name."""
    return {t.name: await connection.fetchval(f"select count(*) from {quote(t.name)}") for t in found}


async def fingerprint(connection: Connection, table: Table) -> str:
    """What a table holds as one number, whatever the order of its rows: equal in any two clusters for equal rows."""
    statement = (
        "select count(*) || ' ' || coalesce(sum(('x' || left(md5(row_), 15))::bit(60)::bigint), 0)"
        f" from (select row({table.portable('t')})::text as row_ from {quote(table.name)} t) hashed"
    )
    return hashlib.sha256(str(await connection.fetchval(statement)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Guard:
    """A foreign key or trigger that tables are without: the statement that makes it again, and the one that checks it.

    A foreign key holds for what is written from then on; whether it does for what is there is checked apart.
    """

    make: str
    check: str = ""


async def unguarded(connection: Connection, schema: str) -> list[Guard]:
    """Take away the foreign keys and triggers of all tables of a schema; returns how they are given back."""
    guards = []
    for row in await connection.fetch(_GUARDS, quote(schema)):
        await connection.execute(row["drop"])
        guards.append(Guard(row["make"], row["check"]))
    return guards


@asynccontextmanager
async def bare(connection: Connection, schema: str) -> AsyncIterator[None]:
    """Within the block tables have no foreign keys, triggers, or indexes but those of keys: to be filled in any order.

    All of them are made again at its end, foreign keys checked. Raises what PostgreSQL raises where one does not hold.
    """
    found = await connection.fetch(_HINDRANCES, quote(schema))
    for hindrance in reversed(found):
        await connection.execute(hindrance["drop"])
    yield
    for hindrance in found:
        await connection.execute(hindrance["make"])
