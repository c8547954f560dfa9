"""What a check says of a batch: which rows are duplicates of whom, of customers there or of rows before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from core import Batch, ChangeSet, Fault, Row
from plugins.dedupe.criteria import Criterion
from plugins.dedupe.duplicate import KIND, Match, Other, others
from plugins.dedupe.keys import Held, Hit, look_up, remember
from plugins.dedupe.rules import Key
from plugins.dedupe.settings import Settings

_ROWS = "dedupe.rows"

_DISMISSED = """select customer_id, other_id from dedupe_dismissal
    where customer_id = any($1::uuid[]) and other_id = any($1::uuid[])"""


async def check_duplicates(batch: Batch, changes: ChangeSet, settings: Settings) -> list[Fault]:
    """The faults and warnings of a batch of customers or contacts."""
    held, hits = await look_up(batch, changes, settings)
    if not held:
        return []
    found = await _matches(batch, changes, settings, held, hits)
    remember(changes, held)
    return found


async def _matches(
    batch: Batch, changes: ChangeSet, settings: Settings, held: Sequence[Held], hits: Mapping[tuple[int, Key], Hit]
) -> list[Fault]:
    ids = list({hit.customer for hit in hits.values() if not hit.dismissed})
    known = await others(_fetch(changes), changes.context, changes.policy, ids, settings) if ids else {}
    dismissed = await _dismissed(changes, held) if batch.action != "create" else frozenset()
    made: dict[UUID, int] = changes.memory.setdefault(_ROWS, {})
    first: dict[Key, Held] = {}
    faults: list[Fault] = []
    for i, h in enumerate(held):
        own: list[Fault] = []
        for key, criterion in h.wanted.items():
            if not criterion.active:
                continue
            hit, before = hits.get((i, key)), first.get(key)
            if hit is None and before is None:
                h.free.add(key)
                continue
            match = None
            value = _value(batch, changes, criterion, h.row)
            if hit and not hit.dismissed:
                row = made.get(hit.customer)
                other = Other() if row is not None else known.get(hit.customer, Other())
                match = Match(criterion, value, other, hit.contact is not None, row)
            elif before and before.customer != h.customer and (h.customer, before.customer) not in dismissed:
                match = Match(criterion, value, Other(), before.contact is not None, place(before.row))
            if match:
                own.append(_fault(batch, changes, settings, h.row, match))
        faults += own
        if not any(not f.warning for f in own):
            for key in h.wanted:
                first.setdefault(key, h)
            if batch.action == "create" and batch.record.name == "Customer" and (row := place(h.row)) is not None:
                made[h.customer] = row
    return faults


def place(row: Row) -> int | None:
    """A row's place among the records of its request; None where it is the only one."""
    return next((part for part in reversed(row.path) if isinstance(part, int)), None)


def _fetch(changes: ChangeSet) -> Any:
    return lambda statement, values: changes.connection.fetchval(statement, *values)


async def _dismissed(changes: ChangeSet, held: Sequence[Held]) -> frozenset[tuple[UUID, UUID]]:
    """The dismissed pairs among the customers of a batch that want the same."""
    wanting: dict[Key, set[UUID]] = {}
    for h in held:
        for key in h.wanted:
            wanting.setdefault(key, set()).add(h.customer)
    ids = {id_ for same in wanting.values() if len(same) > 1 for id_ in same}
    rows = await changes.connection.fetch(_DISMISSED, list(ids)) if ids else ()
    return frozenset((row[0], row[1]) for row in rows)


def _value(batch: Batch, changes: ChangeSet, criterion: Criterion, row: Row) -> str:
    """The value as the actor gave it; restoring must not tell one that is hidden from him."""
    names = (criterion.contact_field,) if batch.record.name == "Contact" else criterion.fields
    if not all(changes.policy.readable(batch.record, name) for name in names if name in batch.record.fields):
        return ""
    values = row.after or {}
    return criterion.shown({f: values.get(n) for f, n in zip(criterion.fields, names, strict=False)})


def _fault(batch: Batch, changes: ChangeSet, settings: Settings, row: Row, match: Match) -> Fault:
    criterion, locale = match.criterion, changes.context.locale
    label = criterion.label(changes.policy.catalog["Customer"], locale)
    field = criterion.contact_field if batch.record.name == "Contact" else criterion.fields[0]
    if field not in batch.record.fields:
        field = ""
    message = match.message(label, locale, settings.disclose)
    fields = match.fields(label, settings.disclose)
    params = {k: v for k, v in fields.items() if v is not None}
    return Fault(row, "DUPLICATE", message, field, params, KIND, fields, warning=not criterion.blocking)
