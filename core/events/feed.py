"""What was committed since a cursor, read from the journal once for all subscribers of a workspace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from core.catalog import Catalog
from core.eventcursor import EventCursor
from core.pool import Connection

#: More changes at once than this are not told one by one.
MOST = 1000

_SINCE = """
cs.xid >= pg_snapshot_xmin($1::text::pg_snapshot)
and not pg_visible_in_snapshot(cs.xid, $1::text::pg_snapshot) and pg_visible_in_snapshot(cs.xid, {upper})
and not ($3::text <> '' and c.id <= $4::bigint
         and pg_visible_in_snapshot(cs.xid, coalesce(nullif($3::text, '')::pg_snapshot, pg_current_snapshot())))
and c.record_type = any($2::text[])
"""
_READ = """
select {upper}::text as snapshot, coalesce((select json_agg(x order by x.id) from (
  select c.id, cs.id as change_set, cs.at, c.record_type, c.record_id, c.action,
    case when c.action = 'UPDATE' or c.record_type = any($5::text[]) then c.before end as before,
    case when c.record_type = any($5::text[]) then c.after end as after
  from change_set cs join change c on c.change_set_id = cs.id where {since} order by c.id limit {most}) x
), '[]'::json) as changes
"""
_TYPES = """
select distinct c.record_type from change_set cs join change c on c.change_set_id = cs.id
where {since} and $5::text[] is not null
"""
_AHEAD = """
select bool_or(pg_snapshot_xmax(s::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot())) from unnest($1::text[]) s
"""


@dataclass(slots=True)
class Change:
    """What one change set did to one record. `last` is the journal's number of its last change to it.

    `before` are the values, by field name, that it changed; `released` are the links it ended through which
    somebody may have been let in.
    """

    last: int
    change_set: str
    at: str
    record_type: str
    record_id: str
    action: str
    before: dict[str, Any] = field(default_factory=dict)
    released: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Batch:
    """The changes between a cursor and a snapshot, in their order; of the types in `flooded` there were too many."""

    since: EventCursor
    snapshot: str
    changes: tuple[Change, ...]
    flooded: frozenset[str] = frozenset()


class Links:
    """The record types whose rows only tie others together, so that a change to one is a change to those it ties."""

    def __init__(self, catalog: Catalog) -> None:
        self._ends: dict[str, list[tuple[str, str]]] = {}
        self._letting_in: dict[str, str] = {}
        for record in catalog:
            if record.type.follows and not record.type.about and record.type.journaled:
                ends = [(one.key.name, one.target) for one in record.to_one.values() if one.required]
                self._ends[record.name] = [(key, target) for key, target in ends if catalog[target].type.exposed]
            if record.type.viewers:
                self._letting_in[record.to_many[record.type.viewers].target] = record.name

    def types(self, watched: Iterable[str]) -> list[str]:
        """The link types that lead to any of the watched types."""
        wanted = set(watched)
        return [name for name, ends in self._ends.items() if any(target in wanted for _, target in ends)]

    def reached(self, names: Iterable[str]) -> set[str]:
        """The types of records that changes to rows of these types are changes to."""
        found = set(names)
        return found | {target for name in found for _, target in self._ends.get(name, ())}

    def ends(self, name: str, image: Mapping[str, Any]) -> Iterable[tuple[str, str, bool]]:
        """The records that a link ties, as (type, id, whether its being there lets somebody read the record)."""
        for key, target in self._ends.get(name, ()):
            if (id_ := image.get(key)) is not None:
                yield target, str(id_), self._letting_in.get(name) == target


async def snapshot(connection: Connection) -> str:
    """The present: what is committed by now."""
    found: str = await connection.fetchval("select pg_current_snapshot()::text")
    return found


async def ahead(connection: Connection, cursor: EventCursor) -> bool:
    """Whether a cursor is from a future that this database has not had, as after an older state was put back.

    Raises DataError for a cursor that holds no snapshots.
    """
    found: bool = await connection.fetchval(_AHEAD, [s for s in (cursor.seen, cursor.upper) if s])
    return found


async def read(
    connection: Connection, links: Links, since: EventCursor, types: Iterable[str], upper: str = ""
) -> Batch:
    """The changes to records of the types since a cursor, up to the snapshot `upper` or the present."""
    watched = set(types)
    between = links.types(watched)
    given = [since.seen, [*watched, *between], since.upper, since.last]
    bound = "$6::text::pg_snapshot" if upper else "pg_current_snapshot()"
    since_sql = _SINCE.format(upper=bound)
    statement = _READ.format(upper=bound, since=since_sql, most=MOST + 1)
    row = await connection.fetchrow(statement, *given, between, *([upper] if upper else []))
    rows = orjson.loads(row["changes"])
    if len(rows) > MOST:
        found = await connection.fetch(_TYPES.format(since=since_sql), *given, between, *([upper] if upper else []))
        return Batch(since, row["snapshot"], (), frozenset(links.reached(r[0] for r in found) & watched))
    return Batch(since, row["snapshot"], tuple(_merged(rows, links, watched)))


def _merged(rows: list[dict[str, Any]], links: Links, watched: set[str]) -> list[Change]:
    """One change per change set and record, in the order of the last of them."""
    found: dict[tuple[str, str, str], Change] = {}
    for row in rows:
        image = row["before"] or row["after"] or {}
        if row["record_type"] in watched:
            change = _change(found, row, row["record_type"], row["record_id"])
            change.action = _action(change.action, row["action"])
            change.before = {**(row["before"] or {}), **change.before}
        for target, id_, lets_in in links.ends(row["record_type"], image):
            if target in watched:
                change = _change(found, row, target, id_)
                change.action = change.action or "UPDATE"
                if lets_in and row["action"] == "DELETE":
                    change.released.append(image)
    return sorted(found.values(), key=lambda c: c.last)


def _change(found: dict[tuple[str, str, str], Change], row: dict[str, Any], type_: str, id_: str) -> Change:
    key = (row["change_set"], type_, id_)
    change = found.get(key)
    if change is None:
        change = found[key] = Change(row["id"], row["change_set"], row["at"], type_, id_, "")
    change.last = row["id"]
    return change


def _action(was: str, now: str) -> str:
    """What several changes to a record in one change set come to."""
    if now in ("DELETE", "RESTORE") or not was:
        return now
    return was if was in ("CREATE", "RESTORE") else now
