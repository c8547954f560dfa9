"""Erasing a person: the staged rows and faults that tell of him, and the workbooks that he came in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from core import ChangeSet, NotFound, Person, Place, files_of

_ROWS = """
with gone as (
    update import_row r set cells = '[]' where cells::text <> '[]' and (($1 <> '' and cells::text ~* $1)
        or exists (select from import_match m where m.import_id = r.import_id and m.row_no = r.row_no
                   and m.customer_id = any($2::uuid[])))
    returning import_id, row_no
), faults as (
    update import_fault f set value = null from gone where f.import_id = gone.import_id and f.row_no = gone.row_no
    returning f.id
) select (select count(*) from gone) as rows, (select count(*) from faults) as faults,
    (select array_agg(distinct import_id) from gone) as imports
"""
#: The imports that made or changed his records, be their rows forgotten by now.
_WROTE = """
select i.id from import i join job j on j.id = i.job_id
where exists (select from change c where c.change_set_id = any(j.change_set_ids) and c.record_id = any($1::uuid[]))
"""
_FILES = "select unnest(array[file_id, failed_file_id]) as id from import where id = any($1::uuid[])"


async def erase(person: Person, changes: ChangeSet) -> Sequence[Place]:
    """Blank the rows that tell of a person; the files of their imports expire, for no row can be cut out of them."""
    connection = changes.connection
    ids = [*person.ids("Customer"), *person.ids("Contact")]
    found = await connection.fetchrow(_ROWS, person.pattern, ids)
    assert found is not None
    imports = {*(found["imports"] or ()), *(row["id"] for row in await connection.fetch(_WROTE, ids))}
    files = files_of(changes.context)
    expired = 0
    for row in await connection.fetch(_FILES, list(imports)):
        if row["id"] is not None:
            try:
                await files.expire(connection, row["id"], timedelta(0))
            except NotFound:
                continue
            expired += 1
    return (
        Place("import_row", found["rows"], ("cells",)),
        Place("import_fault", found["faults"], ("value",)),
        Place("file", expired, ("expires_at",)),
    )
