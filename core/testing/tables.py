"""What tables a workspace has, as text that can be compared."""

from __future__ import annotations

from collections.abc import Mapping

from core.pool import Connection

#: Columns, constraints, indexes, triggers, policies, views, sequences and functions of the workspace's schema.
_LINES = """
with here as (select oid from pg_namespace where nspname = current_schema()),
relations as (select c.oid, c.relname, c.relkind from pg_class c join here on here.oid = c.relnamespace)
select relname::text as name, 'column ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
       || case when a.attnotnull then ' not null' else '' end
       || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') as line
from relations r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum where r.relkind in ('r', 'p', 'v', 'm')
union all
select r.relname::text, 'constraint ' || k.conname || ' ' || pg_get_constraintdef(k.oid)
from relations r join pg_constraint k on k.conrelid = r.oid
union all
select r.relname::text, pg_get_indexdef(i.indexrelid)
from relations r join pg_index i on i.indrelid = r.oid
union all
select r.relname::text, pg_get_triggerdef(t.oid)
from relations r join pg_trigger t on t.tgrelid = r.oid where not t.tgisinternal
union all
select r.relname::text, 'view ' || pg_get_viewdef(r.oid) from relations r where r.relkind in ('v', 'm')
union all
select r.relname::text, 'sequence' from relations r where r.relkind = 'S'
union all
select p.proname::text, pg_get_functiondef(p.oid) from pg_proc p join here on here.oid = p.pronamespace
where p.prokind in ('f', 'p')
union all
select t.typname::text, 'type ' || coalesce(
    (select string_agg(e.enumlabel, ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid), '')
from pg_type t join here on here.oid = t.typnamespace where t.typtype in ('e', 'd')
order by 1, 2
"""

Tables = Mapping[str, tuple[str, ...]]


async def tables_of(connection: Connection) -> dict[str, tuple[str, ...]]:
    """What each table, view, sequence, function and type of a workspace is made of, by name."""
    found: dict[str, list[str]] = {}
    for row in await connection.fetch(_LINES):
        found.setdefault(row["name"], []).append(row["line"])
    return {name: tuple(lines) for name, lines in found.items()}


def difference(before: Tables, after: Tables) -> list[str]:
    """What is there after and was not before, marked `+`, and the other way round, marked `-`; by name."""
    lines = []
    for name in sorted({*before, *after}):
        old, new = set(before.get(name, ())), set(after.get(name, ()))
        lines += [f"- {name}: {line}" for line in sorted(old - new)]
        lines += [f"+ {name}: {line}" for line in sorted(new - old)]
    return lines
