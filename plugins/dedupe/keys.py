"""The keys of customers and contacts: looked up before a batch is written, kept after it.

Looking up is one statement. Whoever finds a key free says so when he keeps it, and of those who say it at the same
time the unique index lets one through; the others are tried again, and then find him.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from core import Batch, ChangeSet, Record, Row, quote
from plugins.dedupe.criteria import CRITERIA, STYLES, Criterion, comparable
from plugins.dedupe.rules import Key, Rules, rules_of
from plugins.dedupe.settings import Settings

MEMORY = "dedupe"

#: From so many keys on they are looked up by index, whatever the planner thinks: it keeps the plan it made when the
#: table was small, and the table may grow a hundred thousand times by the very change set that asks.
_MANY = 50
#: Of those who have a key, how many are looked at for one that was not dismissed.
_MOST_HOLDERS = 100

_HELD = """select k.customer_id, k.contact_id from dedupe_key k
      where k.set_id = g.set_id and k.key = g.key and {live} and k.customer_id <> g.self
        and coalesce(k.contact_id, k.customer_id) <> all($4::uuid[])"""
_LIVE = f"{_HELD.format(live='k.live')} order by k.customer_id limit {_MOST_HOLDERS}"
_ALL = f"""(select * from ({_LIVE}) live union all
      select * from ({_HELD.format(live="not k.live")} order by k.customer_id limit {_MOST_HOLDERS}) dead)"""


# Sub-selects hide the arrays' lengths from the planner, so that it plans once and not for each request anew.
def _look(holders: str) -> str:
    return f"""select {CRITERIA} as criteria, (select json_agg(h) from (
  select g.i - 1 as i, k.customer_id as customer, k.contact_id as contact, k.dismissed
  from unnest((select $1::integer[]), (select $2::text[]), (select $3::uuid[]))
    with ordinality g(set_id, key, self, i)
  cross join lateral (
    select k.*, exists (
      select from dedupe_dismissal d where d.customer_id = g.self and d.other_id = k.customer_id) as dismissed
    from ({holders}) k order by dismissed, k.customer_id limit 1) k) h) as hits"""


_LOOK, _LOOK_DELETED = _look(_LIVE), _look(_ALL)


def _adding(free: str) -> str:
    return f"""with w as (
  insert into dedupe_key (set_id, key, customer_id, contact_id, free)
  select g.set_id, g.key, g.customer_id, g.contact_id, {free}
  from unnest((select $1::integer[]), (select $2::text[]), (select $3::uuid[]), (select $4::uuid[]),
    (select $5::boolean[])) g(set_id, key, customer_id, contact_id, free))
select {CRITERIA}"""


_ADD = _adding("""g.free and not exists (select from dedupe_key f
    where f.set_id = g.set_id and f.key = g.key and f.free and f.customer_id = g.customer_id)""")
_ADD_NEW = _adding("g.free")
_DROP = """delete from dedupe_key k using unnest($1::integer[], $2::text[], $3::uuid[], $4::uuid[])
    g(set_id, key, customer_id, contact_id)
  where k.customer_id = g.customer_id and k.set_id = g.set_id and k.key = g.key
    and k.contact_id is not distinct from g.contact_id"""
_BURY = "update dedupe_key set live = false, free = false where customer_id = any($1::uuid[]) and live"
_BURY_CONTACTS = f"{_BURY} and contact_id = any($2::uuid[])"
_RAISE = """update dedupe_key k set live = true where customer_id = any($1::uuid[]) and not live
    and exists (select from contact t where t.id = k.contact_id and t.deleted_at is null)"""
_FORGET = "delete from dedupe_key where customer_id = any($1::uuid[]) and contact_id is null"
_FORGET_CONTACTS = "delete from dedupe_key where contact_id = any($1::uuid[]) and customer_id = any($2::uuid[])"
_OF_CONTACTS = """select k.set_id, k.key, k.customer_id, k.contact_id from dedupe_key k
    join contact t on t.id = k.contact_id and t.deleted_at is null where k.customer_id = any($1::uuid[])"""


@dataclass(slots=True)
class Held:
    """What one row had and will have; `free` are the keys that nobody else was found to have."""

    row: Row
    customer: UUID
    contact: UUID | None
    before: set[Key]
    after: dict[Key, Criterion]
    rules: Rules
    wanted: dict[Key, Criterion] = field(default_factory=dict)
    free: set[Key] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Hit:
    """That somebody else has a key."""

    customer: UUID
    contact: UUID | None
    dismissed: bool


def concerned(batch: Batch, *, fields: frozenset[str] = frozenset((*STYLES, "phones", "customerId"))) -> list[Row]:
    """The rows of a batch whose keys may change."""
    if batch.action != "update":
        return list(batch.rows)
    own = frozenset(name for name, f in batch.record.fields.items() if f.custom and comparable(f))
    return [row for row in batch.rows if row.changed & (fields | own)]


def _compared(batch: Batch, rows: Sequence[Row], rules: Rules) -> list[Row]:
    """The rows in which something changes that a criterion compares; the keys of others are as they were."""
    if batch.action != "update":
        return list(rows)
    decisive = rules.fields(batch.record) | {"customerId"}
    return [row for row in rows if row.changed & decisive]


def _held(batch: Batch, rows: Sequence[Row], rules: Rules) -> list[Held]:
    found = []
    contact = batch.record.name == "Contact"
    for row in _compared(batch, rows, rules):
        after, before = row.after or {}, row.before or {}
        assert isinstance(row.id, UUID)
        customer = UUID(after["customerId"]) if contact else row.id
        moved = contact and "customerId" in row.changed
        keys = rules.keys(batch.record, after)
        had = set(rules.keys(batch.record, before)) if batch.action == "update" else set()
        wanted = dict(keys) if moved or not had else {k: c for k, c in keys.items() if k not in had}
        found.append(Held(row, customer, row.id if contact else None, had, keys, rules, wanted))
    return found


async def look_up(
    batch: Batch, changes: ChangeSet, settings: Settings
) -> tuple[list[Held], dict[tuple[int, Key], Hit]]:
    """What the rows of a batch will have, and who else has it: by the row's place in the list and the key."""
    rows = concerned(batch)
    if not rows:
        return [], {}
    rules = rules_of(changes.context.workspace, settings)
    contacts: list[Any] = []
    if batch.action == "restore" and batch.record.name == "Customer":
        contacts = await changes.connection.fetch(_OF_CONTACTS, [r.id for r in rows])
    while True:
        held = _held(batch, rows, rules)
        _add_contacts(held, contacts, rules)
        wanted = [(i, key, h.customer) for i, h in enumerate(held) for key in h.wanted]
        source, hits = await holders(changes.connection, wanted, settings, growing=len(wanted) >= _MANY)
        if source == rules.source:
            break
        rules = rules_of(changes.context.workspace, settings, source)
    await _leave_out_moving(changes, settings, held, wanted, hits)
    return held, hits


def _add_contacts(held: Sequence[Held], contacts: Iterable[Any], rules: Rules) -> None:
    """A customer that is restored brings its contacts along."""
    by_set = {c.set_id: c for c in rules.criteria}
    by_id = {h.customer: h for h in held}
    for row in contacts:
        if criterion := by_set.get(row["set_id"]):
            by_id[row["customer_id"]].wanted.setdefault((row["set_id"], row["key"]), criterion)


Wanted = tuple[int, Key, UUID]


async def holders(
    connection: Any, wanted: Sequence[Wanted], settings: Settings, but: Sequence[UUID] = (), *, growing: bool = False
) -> tuple[bytes, dict[tuple[int, Key], Hit]]:
    """The criteria as they are, and who has which key besides whoever wants it; one that was not dismissed first.

    In a change set that writes many records the table is `growing`.
    """
    statement = _LOOK_DELETED if settings.match_deleted else _LOOK
    sets, keys = [key[0] for _, key, _ in wanted], [key[1] for _, key, _ in wanted]
    values = (sets, keys, [self for _, _, self in wanted], list(but))
    row = await (_by_index(connection, statement, values) if growing else connection.fetchrow(statement, *values))
    hits = {}
    for hit in orjson.loads(row["hits"] or b"[]"):
        i, key, _ = wanted[hit["i"]]
        contact = hit["contact"] and UUID(hit["contact"])
        hits[i, key] = Hit(UUID(hit["customer"]), contact, hit["dismissed"])
    return row["criteria"], hits


async def _by_index(connection: Any, statement: str, values: Sequence[Any]) -> Any:
    """Look up by index whatever the planner thinks, with a plan that no other look-up made."""
    await connection.execute("set local enable_seqscan = off")
    row = await connection.fetchrow(f"{statement} -- by index", *values)
    await connection.execute("set local enable_seqscan to default")
    return row


async def _leave_out_moving(
    changes: ChangeSet,
    settings: Settings,
    held: Sequence[Held],
    wanted: Sequence[Wanted],
    hits: dict[tuple[int, Key], Hit],
) -> None:
    """Look again where whoever has a key gives it up in the same batch."""
    leaving = {(h.contact or h.customer, key) for h in held if h.before for key in h.before - h.after.keys()}
    if not leaving:
        return
    again: dict[int, list[Wanted]] = defaultdict(list)
    for i, key, self in wanted:
        hit = hits.get((i, key))
        if hit and (hit.contact or hit.customer, key) in leaving:
            again[key[0]].append((i, key, self))
    for set_id, some in again.items():
        movers = [id_ for id_, key in leaving if key[0] == set_id]
        for i, key, _ in some:
            del hits[i, key]
        hits.update((await holders(changes.connection, some, settings, movers, growing=len(some) >= _MANY))[1])


def remember(changes: ChangeSet, held: Iterable[Held]) -> None:
    """Keep what a check has found until the rows are written."""
    # Whoever finds nothing here, because other rows were checked meanwhile, makes his keys anew.
    changes.memory[MEMORY] = {h.row.id: h for h in held}


async def keep(batch: Batch, changes: ChangeSet, settings: Settings) -> None:
    """Bring the keys of a written batch up to date."""
    connection = changes.connection
    contact = batch.record.name == "Contact"
    ids = [row.id for row in batch.rows]
    if batch.action == "delete":
        customers = [UUID((row.before or {})["customerId"]) for row in batch.rows] if contact else ids
        await connection.execute(_BURY_CONTACTS if contact else _BURY, customers, *([ids] if contact else []))
        return
    rows = concerned(batch)
    if not rows:
        return
    memory = changes.memory.get(MEMORY, {})
    found = [h for row in rows if (h := memory.pop(row.id, None)) is not None and h.row is row]
    if batch.action == "restore" and not contact:
        await connection.execute(_FORGET, ids)
        await connection.execute(_RAISE, ids)
    elif batch.action == "restore":
        await connection.execute(_FORGET_CONTACTS, ids, [h.customer for h in found])
    if batch.action != "create":
        await _drop(connection, batch, found)
    source = await _add(connection, found, new=batch.action == "create" and not contact)
    rules = rules_of(changes.context.workspace, settings, source)
    known = {h.row.id for h in found if h.rules.source == source}
    if lost := [row.id for row in _compared(batch, rows, rules) if row.id not in known]:
        await rewrite(connection, batch.record, lost, rules.criteria, rules)


async def _drop(connection: Any, batch: Batch, held: Iterable[Held]) -> None:
    """Let go of the keys that rows no longer have; a contact that moves takes its keys along."""
    gone = []
    for h in held:
        before, moved = h.row.before or {}, "customerId" in h.row.changed
        customer = UUID(before["customerId"]) if h.contact and batch.action == "update" else h.customer
        gone += [(*key, customer, h.contact) for key in sorted(h.before if moved else h.before - h.after.keys())]
    if gone:
        await connection.execute(_DROP, *map(list, zip(*gone, strict=True)))


async def _add(connection: Any, held: Iterable[Held], *, new: bool) -> bytes:
    """Keep keys, in their order, so that no two wait for each other; returns the criteria as they are.

    With `new` the customers were not there before, so that they have no key yet.
    """
    made = []
    for h in held:
        moved = "customerId" in h.row.changed and h.row.before is not None
        made += [(*key, h.customer, h.contact, key in h.free) for key in h.after if moved or key not in h.before]
    made.sort()
    source: bytes
    if new and len(made) >= _MANY:
        columns = ["set_id", "key", "customer_id", "contact_id", "free"]
        await connection.copy_records_to_table("dedupe_key", records=made, columns=columns)
        source = await connection.fetchval(f"select {CRITERIA}")
    else:
        values = map(list, zip(*made, strict=True)) if made else ([], [], [], [], [])
        source = await connection.fetchval(_ADD_NEW if new else _ADD, *values)
    return source


async def rewrite(
    connection: Any, record: Record, ids: Sequence[Any], criteria: Sequence[Criterion], rules: Rules
) -> int:
    """Make the keys of records anew by some of the criteria, from what is in the table; returns how many."""
    customers = record.name == "Customer"
    some = Rules(rules.source, tuple(criteria), rules.normaliser)
    made = []
    for row in await connection.fetch(_read(record), ids):
        values = {**orjson.loads(row["values"]), **_custom(record, row["custom"])}
        id_ = row["id"]
        customer, contact = (id_, None) if customers else (row["customer_id"], id_)
        made += [(*key, customer, contact, row["live"]) for key in some.keys(record, values)]
    column = "contact_id is null and customer_id" if customers else "contact_id"
    sets = [c.set_id for c in criteria]
    statement = f"delete from dedupe_key where {column} = any($1::uuid[]) and set_id = any($2::integer[])"
    if not customers:
        owners = list({m[2] for m in made})
        statement += " and customer_id = any($3::uuid[])"
        await connection.execute(statement, ids, sets, owners)
    else:
        await connection.execute(statement, ids, sets)
    made.sort(key=lambda m: m[:2])
    columns = ["set_id", "key", "customer_id", "contact_id", "live"]
    await connection.copy_records_to_table("dedupe_key", records=made, columns=columns)
    return len(made)


def _read(record: Record) -> str:
    """The statement that reads records by id, locked, as their keys are made from."""
    names = ("phones", "email") if record.name == "Contact" else tuple(STYLES)
    columns = ", ".join(f"'{name}', t.{quote(record.fields[name].column)}" for name in names)
    live, more = "t.deleted_at is null", ""
    if record.name == "Contact":
        live += " and exists (select from customer c where c.id = t.customer_id and c.deleted_at is null)"
        more = ", t.customer_id"
    return f"""select t.id, json_build_object({columns}) as values, t.custom, ({live}) as live{more}
        from {quote(record.type.tablename)} t where t.id = any($1::uuid[]) order by t.id for share of t"""


def _custom(record: Record, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Custom values by field name."""
    return {name: stored.get(f.custom) for name, f in record.fields.items() if f.custom}
