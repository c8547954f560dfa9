"""The rule that exactly one of a customer's contacts is the main one, when there are any.

The first contact becomes it; making another one main moves it; where the main contact goes, the oldest one left
takes its place. A main contact that is restored takes it back, so that undoing a deletion leaves all as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from core.records import Invariant
from core.rows import Row
from core.targets import Target

if TYPE_CHECKING:
    from core.changes import Batch, ChangeSet

_MAIN = (
    "select id, customer_id::text from contact "
    "where customer_id = any($1::uuid[]) and is_main and deleted_at is null order by id"
)
_STILL = "select id from contact where id = any($1::uuid[]) and is_main and deleted_at is null order by id for update"
#: The next one of each customer that has contacts, but no main one; formatted with how to treat those in use.
_NEXT = """
select n.id, n.customer_id from unnest($1::uuid[]) u (customer_id) cross join lateral (
  select id, customer_id from contact c where c.customer_id = u.customer_id and c.deleted_at is null
  order by c.id = any($2::uuid[]), c.created_at, c.id limit 1 for update of c {}
) n
where not exists (select from contact m where m.customer_id = u.customer_id and m.is_main and m.deleted_at is null)
"""


class OneMainContact(Invariant):
    """Keeps it in every batch of contacts."""

    async def prepare(self, changes: ChangeSet, batch: Batch) -> Sequence[Row]:
        """Settle who is to be the main contact, and take it from whoever was."""
        if batch.action == "delete":
            return batch.rows
        # Restored rows change nothing, but their flag counts anew.
        arriving = batch.action in ("create", "restore")
        claiming = [r for r in batch.rows if _main(r) and (arriving or "isMain" in r.changed)]
        winners = {_customer(r): r for r in claiming}
        concerned = {_customer(r) for r in batch.rows} if arriving else winners.keys()
        if not concerned:
            return batch.rows
        there = await _mains(changes, concerned)
        for row in batch.rows if arriving else ():
            if _customer(row) not in there:
                winners.setdefault(_customer(row), row)
        losing = {id_ for customer, id_ in there.items() if customer in winners}
        await _set(changes, losing, main=False)
        for row in batch.rows:
            if row.id in losing:
                _note(row)
            if winners.get(_customer(row)) is row:
                _change(row, main=True)
            elif _customer(row) in winners:
                _change(row, main=False)
        return [r for r in batch.rows if r.changed or batch.action != "update"]

    async def settle(self, changes: ChangeSet, batch: Batch) -> None:
        """Choose another main contact where there is none any more."""
        left = [r for r in batch.rows if (r.before or {}).get("isMain") and (batch.action == "delete" or not _main(r))]
        if left:
            customers = {UUID(_customer(r)) for r in left}
            last = [r.id for r in left]
            # First among those that nobody else is about to change or delete: waiting for each other is a deadlock.
            for lock in ("skip locked", ""):
                found = await changes.connection.fetch(_NEXT.format(lock), customers, last)
                await _set(changes, (r["id"] for r in found), main=True)
                customers -= {r["customer_id"] for r in found}


async def _mains(changes: ChangeSet, customers: Iterable[str]) -> dict[str, UUID]:
    """The main contacts of customers, locked; whoever had to wait for one looks whether it still is."""
    while True:
        found = await changes.connection.fetch(_MAIN, [UUID(c) for c in customers])
        ids = [r["id"] for r in found]
        if not ids or len(await changes.connection.fetch(_STILL, ids)) == len(ids):
            return {r["customer_id"]: r["id"] for r in found}


async def _set(changes: ChangeSet, ids: Iterable[UUID], *, main: bool) -> None:
    await changes.system().update("Contact", Target(ids=tuple(ids)), {"isMain": main})


def _main(row: Row) -> bool:
    return bool(row.after and row.after["isMain"])


def _customer(row: Row) -> str:
    values: dict[str, Any] = row.after or row.before or {}
    return str(values["customerId"])


def _note(row: Row) -> None:
    """Its flag has been taken from a row that is about to be written."""
    assert row.before is not None
    row.before["isMain"] = False


def _change(row: Row, *, main: bool) -> None:
    assert row.after is not None
    row.after["isMain"] = main
    if row.before is not None:
        same = row.before["isMain"] is main
        row.changed = row.changed - {"isMain"} if same else row.changed | {"isMain"}
