"""What is changed in a workspace while it is copied: written down by triggers, and brought to the copy in rounds.

A trigger notes the keys of the rows that are written; a round carries over what those rows are by now, be it gone.
Therefore it does not matter how often a row was changed, or whether the first copy had it already.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from core.backup.contents import Table, use
from core.context import Workspace
from core.pool import Connection
from core.sql import literal, quote

#: Shorter than PostgreSQL waits before it looks for deadlocks: whoever it would end, it is not one who writes.
LOCK_TIMEOUT = "700ms"

_KEYS = """
select c.relname as table, array_agg(a.attname order by a.attnum) as columns
from pg_index i join pg_class c on c.oid = i.indrelid
join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
where c.relnamespace = $1::text::regnamespace and i.indisprimary group by 1
"""


@dataclass(frozen=True, slots=True)
class Captured:
    """A table, and the columns by which its rows are told apart: all of them where it has no key."""

    table: Table
    key: tuple[str, ...]
    keyed: bool

    def joined(self, alias: str, keys: str) -> str:
        """The condition that a row of the table is one of those noted."""
        if not self.keyed:
            return f"{self.noted(alias)} = {keys}.key"
        types = dict(self.table.columns)
        return " and ".join(f"{alias}.{quote(c)} = ({keys}.key->>{literal(c)})::{types[c]}" for c in self.key)

    def noted(self, alias: str) -> str:
        """A row's key as the trigger notes it."""
        return "jsonb_build_object(" + ", ".join(f"{literal(c)}, {alias}.{quote(c)}" for c in self.key) + ")"


class Capture:
    """The notes on one workspace: a table in the schema `crm` beside it, which its role may only add to."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.name = f"crm.moving_{workspace.id.hex[-12:]}"
        self.captured: list[Captured] = []

    async def begin(self, connection: Connection, found: Sequence[Table]) -> None:
        """Note every write from now on, in the transaction that a connection with the deployment's login is in.

        Raises LockNotAvailableError where a table is locked for long.
        """
        keys = {t: tuple(c) for t, c in await connection.fetch(_KEYS, quote(self._workspace.schema))}
        self.captured = [Captured(t, keys.get(t.name, tuple(t.names)), t.name in keys) for t in found]
        await connection.execute(
            f"create table {self.name} (id bigint generated always as identity, t text, key jsonb)"
        )
        await connection.execute(f"grant insert on {self.name} to {quote(self._workspace.role)}")
        for captured in self.captured:
            await connection.execute(self._function(captured))
        await use(connection, self._workspace.schema, self._workspace.role)
        await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        for number, captured in enumerate(self.captured):
            table = quote(captured.table.name)
            call = f"execute function {self.name}_{number}()"
            await connection.execute(
                f"create trigger crm_moving after insert or update or delete on {table} for each row {call}"
            )
            await connection.execute(f"create trigger crm_moving_all before truncate on {table} {call}")
        await connection.execute("set local role none")

    def _function(self, captured: Captured) -> str:
        number = self.captured.index(captured)
        note = f"insert into {self.name} (t, key) values ({literal(captured.table.name)}, "
        table = f"{quote(self._workspace.schema)}.{quote(captured.table.name)}"
        return f"""
            create function {self.name}_{number}() returns trigger language plpgsql as $$
            begin
                if tg_op = 'TRUNCATE' then
                    insert into {self.name} (t, key) select {literal(captured.table.name)}, {captured.noted("x")}
                    from {table} x;
                    return null;
                end if;
                if tg_op <> 'INSERT' then {note}{captured.noted("old")}); end if;
                if tg_op <> 'DELETE' then {note}{captured.noted("new")}); end if;
                return null;
            end $$"""

    async def end(self, connection: Connection) -> None:
        """Note nothing any more, and forget the notes; also those of an attempt that was killed."""
        async with connection.transaction():
            rows = await connection.fetch(
                "select oid::regprocedure as name from pg_proc where pronamespace = 'crm'::regnamespace"
                " and starts_with(proname, $1)",
                f"{self.name.removeprefix('crm.')}_",
            )
            for (name,) in rows:
                await connection.execute(f"drop function {name} cascade")
            await connection.execute(f"drop table if exists {self.name}")

    async def carry(self, source: Connection, target: Connection) -> int:
        """Bring over what the notes name, from one transaction to another, and strike them out; returns how many.

        The source's must see the notes and the rows at one moment; it is committed after the target's.
        """
        await source.execute("set local role none")
        await source.execute(
            f"create temp table carried on commit drop as with gone as (delete from {self.name} returning t, key)"
            " select distinct t, key from gone"
        )
        await source.execute(f"grant select on carried to {quote(self._workspace.role)}")
        names = {row["t"] for row in await source.fetch("select distinct t from carried")}
        total: int = await source.fetchval("select count(*) from carried")
        await use(source, self._workspace.schema, self._workspace.role)
        for captured in self.captured:
            if captured.table.name in names:
                await self._carry(captured, source, target)
        return total

    async def _carry(self, captured: Captured, source: Connection, target: Connection) -> None:
        table = quote(captured.table.name)
        await target.execute("create temp table if not exists carried (key jsonb) on commit drop")
        await target.execute("truncate carried")
        mine = f"select distinct key from carried where t = {literal(captured.table.name)}"
        async with rows_of(source, mine) as pieces:
            await target.copy_to_table("carried", source=pieces, format="text")
        await target.execute(f"delete from {table} t using carried k where {captured.joined('t', 'k')}")
        rows = f"select {captured.table.portable('t')} from {table} t join ({mine}) k on {captured.joined('t', 'k')}"
        async with rows_of(source, rows) as pieces:
            await target.copy_to_table(captured.table.name, source=pieces, columns=captured.table.names, format="text")


@asynccontextmanager
async def rows_of(connection: Connection, query: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """What a query finds, as COPY writes it, to be read on another connection while it is being found."""
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(8)

    async def found() -> None:
        try:
            await connection.copy_from_query(query, output=queue.put, format="text")
        finally:
            await queue.put(None)

    async def pieces() -> AsyncIterator[bytes]:
        while (piece := await queue.get()) is not None:
            yield piece

    finding = asyncio.create_task(found())
    try:
        yield pieces()
        await finding
    finally:
        finding.cancel()
        await asyncio.gather(finding, return_exceptions=True)
