"""Making the keys of a whole base, while everybody goes on writing to it.

From the moment a criterion is saved, writers keep its keys; those who had begun before are waited for. Then a job goes
through the customers and contacts there are, a batch in a transaction, and last the criterion becomes active.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from core import Batch, ChangeSet, JobContext, JobType, Workspace, enqueue
from plugins.dedupe.criteria import CRITERIA, Criterion
from plugins.dedupe.keys import rewrite
from plugins.dedupe.rules import Rules, rules_of
from plugins.dedupe.settings import Settings

KIND = "dedupe.build"
#: Records in one transaction: writers of theirs wait for no more than that.
BATCH = 2000
#: In a base of so many records at most, keys are made at once instead of by a job.
AT_ONCE = 5000
#: A change set's records say when its request began, which may be as long before its end.
LONGEST_REQUEST = timedelta(hours=6)
#: Seconds between two looks at who is still writing.
PATIENCE = 0.2

_CHANGED = frozenset({"fields", "exact", "inContacts"})
_ANEW = """update dedupe_criterion set set_id = nextval('dedupe_set'), status = 'BUILDING', progress = 0, made_with = $2
    where id = any($1::uuid[])"""
_AGAIN = "update dedupe_criterion set status = 'BUILDING', progress = 0 where id = any($1::uuid[])"
_ACTIVE = """update dedupe_criterion set status = 'ACTIVE', progress = 1
    where id = any($1::uuid[]) and set_id = any($2::integer[])"""
_PROGRESS = "update dedupe_criterion set progress = $2 where set_id = any($1::integer[]) and status = 'BUILDING'"
_COUNT = """select (select count(*) from (select from customer limit $1) c)
    + (select count(*) from (select from contact limit $1) t)"""
_TABLES = {"Customer": "customer", "Contact": "contact"}
_STRAY = """delete from dedupe_key where ctid = any(array(select ctid from dedupe_key
    where set_id <> all(select set_id from dedupe_criterion where deleted_at is null) limit 50000))"""


async def criteria_changed(batch: Batch, changes: ChangeSet, settings: Settings) -> None:
    """Begin to make the keys of criteria that were created, restored or compare otherwise now."""
    ids = [row.id for row in batch.rows if batch.action != "update" or row.changed & _CHANGED]
    if ids:
        await _begin(changes, settings, ids, anew=True)


async def catch_up(changes: ChangeSet, since: datetime | None, settings: Settings) -> None:
    """Make keys anew that were normalised otherwise, and those of what was written while nobody kept them."""
    rules = await _rules(changes, settings)
    # What was not finished then, nobody can tell how far it is now.
    otherwise = [c.id for c in rules.criteria if not c.active or c.made_with != rules.normaliser.fingerprint]
    if otherwise:
        await _begin(changes, settings, otherwise, anew=True)
    rest = [c.id for c in rules.criteria if c.id not in otherwise]
    if rest and since is not None:
        await _begin(changes, settings, rest, anew=False, since=since - LONGEST_REQUEST)


async def _rules(changes: ChangeSet, settings: Settings) -> Rules:
    source: bytes = await changes.connection.fetchval(f"select {CRITERIA}")
    return rules_of(changes.context.workspace, settings, source)


async def _begin(
    changes: ChangeSet, settings: Settings, ids: Sequence[Any], *, anew: bool, since: datetime | None = None
) -> None:
    connection = changes.connection
    if anew:
        fingerprint = (await _rules(changes, settings)).normaliser.fingerprint
        await connection.execute(_ANEW, ids, fingerprint)
    else:
        await connection.execute(_AGAIN, ids)
    if await _small(connection):
        await _at_once(changes, settings, ids)
        return
    sets = [c.set_id for c in (await _rules(changes, settings)).criteria if c.id in set(ids)]
    given = {"sets": sets, "since": since and since.isoformat()}
    await enqueue(connection, changes.context.workspace, KIND, given, None)


async def _small(connection: Any) -> bool:
    """Whether the base is small and nobody is writing to it; then nobody can until the end of the transaction."""
    if await connection.fetchval(_COUNT, AT_ONCE + 1) > AT_ONCE:
        return False
    try:
        async with connection.transaction():
            await connection.execute("lock table customer, contact in share row exclusive mode nowait")
    except asyncpg.LockNotAvailableError:
        return False
    return True


async def _at_once(changes: ChangeSet, settings: Settings, ids: Sequence[Any]) -> None:
    rules = await _rules(changes, settings)
    criteria = [c for c in rules.criteria if c.id in set(ids)]
    for name, table in _TABLES.items():
        rows = [r[0] for r in await changes.connection.fetch(f"select id from {table} order by id")]
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            await rewrite(changes.connection, changes.policy.catalog[name], part, criteria, rules)
    await changes.connection.execute(_ACTIVE, ids, [c.set_id for c in criteria])


def job(settings: Settings) -> JobType:
    """The kind of job that makes the keys of criteria."""

    async def run(context: JobContext) -> Mapping[str, Any]:
        return await _Build(context, settings).run()

    return JobType(KIND, "Makes the keys by which duplicates are found.", run, timeout=6 * 3600, retries=10)


class _Build:
    """One attempt at making keys; what earlier ones have made, as far as `counts` tells, is not made again.

    A criterion that is changed meanwhile has another set of keys then, which is not this job's.
    """

    def __init__(self, context: JobContext, settings: Settings) -> None:
        self.context = context
        self.settings = settings
        self.workspace: Workspace = context.workspace
        self.sets: list[int] = context.input["sets"]
        since = context.input.get("since")
        self.since = datetime.fromisoformat(since) if since else None
        self.done = int(context.counts.get("records", 0))

    async def run(self) -> Mapping[str, Any]:
        await self._join_others()
        if not self.sets:
            return {"records": 0}
        await self._others_end()
        async with self.context.connection() as connection:
            total = sum([await self._number(connection, t) for t in _TABLES.values()])
        for name, table in _TABLES.items():
            while await self._batch(name, table, total):
                pass
        async with self.context.change_set() as changes:
            criteria = await self._criteria(changes)
            await changes.connection.execute(_ACTIVE, [c.id for c in criteria], [c.set_id for c in criteria])
        await self._tidy()
        return {"records": self.done}

    async def _join_others(self) -> None:
        """Make the keys of all criteria that wait for theirs in one go; their own jobs then find nothing to do."""
        if self.since is not None:
            return
        if "sets" in self.context.counts:
            self.sets = self.context.counts["sets"]
            return
        async with self.context.change_set() as changes:
            rules = await _rules(changes, self.settings)
        self.sets = [c.set_id for c in rules.criteria if not c.active]
        await self.context.progress(counts={"sets": self.sets})

    async def _others_end(self) -> None:
        """Wait for those who have been writing since before the criteria were saved: they keep no keys of them."""
        async with self.context.connection() as connection:
            newest = await connection.fetchval("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            oldest = "select pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
            while True:
                if await connection.fetchval(oldest) >= newest:
                    return
                await asyncio.sleep(PATIENCE)

    async def _number(self, connection: Any, table: str) -> int:
        statement = f"select count(*) from {table} where ($1::timestamptz is null or updated_at >= $1)"
        found: int = await connection.fetchval(statement, self.since)
        return found

    async def _criteria(self, changes: ChangeSet) -> list[Criterion]:
        """The criteria to be built, as they are; one that was changed meanwhile has a job of its own."""
        rules = await _rules(changes, self.settings)
        return [c for c in rules.criteria if c.set_id in self.sets and not c.active]

    async def _batch(self, name: str, table: str, total: int) -> bool:
        """Make the keys of the next records; False where there are none left."""
        counts = dict(self.context.counts)
        after = UUID(counts[name]) if name in counts else UUID(int=0)
        async with self.context.connection() as connection:
            rows = await connection.fetch(
                f"select id from {table} where id > $1 and ($2::timestamptz is null or updated_at >= $2) "
                f"order by id limit {BATCH}",
                after,
                self.since,
            )
        ids = [row[0] for row in rows]
        if not ids:
            return False
        self.done += len(ids)
        fraction = min(self.done / max(total, 1), 1)
        counts = {name: str(ids[-1]), "records": self.done}
        async with self.context.change_set(fraction=fraction, counts=counts) as changes:
            rules = await _rules(changes, self.settings)
            criteria = [c for c in rules.criteria if c.set_id in self.sets and not c.active]
            if not criteria:
                return False
            await rewrite(changes.connection, changes.policy.catalog[name], ids, criteria, rules)
            await changes.connection.execute(_PROGRESS, self.sets, Decimal(str(round(fraction, 4))))
        return True

    async def _tidy(self) -> None:
        """Remove the keys of criteria that are gone, and let the planner know what there is."""
        while True:
            async with self.context.change_set() as changes:
                gone = await changes.connection.execute(_STRAY)
            if gone == "DELETE 0":
                break
        async with self.context.connection() as connection:
            await connection.execute("set statement_timeout = 0")
            try:
                await connection.execute("vacuum (analyze) dedupe_key")
            finally:
                await connection.execute("reset statement_timeout")
