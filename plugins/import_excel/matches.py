"""Which rows of a file say the same thing twice, or what a customer says already: found for all rows at once.

One statement per column: the file's values are compared with each other and with the base by a hash join.
"""

from __future__ import annotations

from uuid import UUID

import phonenumbers

from core import ChangeSet, Connection, Field, quote
from plugins.import_excel.convert import is_phone
from plugins.import_excel.plan import Plan

Matches = dict[int, list[tuple[str, int | None, UUID | None]]]

#: Values that say nothing.
_JUNK = "'', '-', '--', '.', 'n/a', 'na', 'null', 'none', 'khong', 'khong co', 'chua co', '0', 'x'"

_FIND = """
insert into import_match (import_id, row_no, field, first_row, customer_id)
with k as materialized (
  select row_no, {cell} as key from import_row where import_id = $1
), g as (
  select row_no, key, min(row_no) over (partition by key) as first_row from k where key <> all (array[{junk}])
), c as (
  select distinct on (key) key, id
  from (select {column} as key, id from customer where deleted_at is null and {given}) x
  order by key, id
)
select $1, g.row_no, $2, nullif(g.first_row, g.row_no), c.id from g left join c on c.key = g.key
where g.first_row <> g.row_no or c.id is not null
"""


async def find(connection: Connection, import_id: UUID, plan: Plan, country: str) -> None:
    """Find the matches of all rows of an import by the columns that are checked; what was found before is forgotten."""
    await connection.execute("delete from import_match where import_id = $1", import_id)
    for column in plan.checked:
        declared = column.goal.field
        cell = f"(cells ->> {column.index})"
        stored = f"custom ->> '{UUID(declared.custom)}'" if declared.custom else quote(declared.column)
        statement = _FIND.format(
            cell=key_sql(declared, cell, country),
            column=key_sql(declared, stored, country),
            given=f"{stored} is not null",
            junk=_JUNK,
        )
        await connection.execute(statement, import_id, column.goal.name)


def key_sql(declared: Field, sql: str, country: str) -> str:
    """What two values of a field must have in common to mean the same: as SQL on one of them.

    Unique values must be equal to the letter, numbers of phones in their national digits, all else without case,
    accents and blanks around.
    """
    if declared.unique:
        return f"btrim({sql})"
    if is_phone(declared):
        code = phonenumbers.country_code_for_region(country) or 84
        digits = f"regexp_replace({sql}, '[^0-9]', '', 'g')"
        return f"regexp_replace({digits}, '^(00)?({code})?0*', '')"
    return f"public.crm_fold(btrim({sql}))"


async def of_rows(changes: ChangeSet, import_id: UUID, first: int, last: int) -> Matches:
    """The matches of a range of rows: (goal, earlier row of the file or None, customer or None) by row.

    Customers that have a row's code are left out: whoever writes it looks for them as they are by then.
    """
    rows = await changes.connection.fetch(
        "select row_no, field, first_row, customer_id from import_match "
        "where import_id = $1 and row_no between $2 and $3 and (field <> 'code' or first_row is not null)",
        import_id,
        first,
        last,
    )
    found: Matches = {}
    for row_no, field, first_row, customer_id in rows:
        found.setdefault(row_no, []).append((field, first_row, customer_id))
    return found
