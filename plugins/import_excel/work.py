"""The jobs: a preview, the import itself, and its undoing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any
from uuid import UUID

from core import ChangeSet, ClientError, Connection, JobContext, JobType, new_id, retried, undo_change_set
from plugins.import_excel import lookups, matches, plan, results
from plugins.import_excel.faults import RowFault
from plugins.import_excel.lines import Line, Reader
from plugins.import_excel.targets import CUSTOMER, OWNER
from plugins.import_excel.writer import Writer

BATCH = 5000
#: How many rows are read at a stretch: no longer waits whoever hears from the database meanwhile, and what is being
#: sent to it. A thread would take turns with both.
STRETCH = 20
KINDS = ("created", "updated", "unchanged", "skipped", "failed")
PREVIEW, RUN, UNDO = "import_excel.preview", "import_excel.run", "import_excel.undo"

_STAGED = "select row_no, cells from import_row where import_id = $1 and row_no > $2 order by row_no limit $3"
_FAULTS = ("id", "import_id", "sheet", "row_no", "column_index", "field", "value", "code", "reason", "fix", "skipped")


class StaleFeatures(Exception):
    """A custom field that the workspace has is not served by this process yet."""


class _Enough(Exception):
    """Leaves a preview's transaction by its rollback."""


class _Import:
    """An import that a job works on."""

    def __init__(self, job: JobContext, row: Mapping[str, Any]) -> None:
        self.job, self.row, self.id = job, row, UUID(str(row["id"]))
        self.found: dict[str, Any] = row["found"]
        self.locale: str = job.input.get("locale", job.context.locale)
        self.plan = plan.read(row["plan"], self.found, job.policy, self.locale)

    @classmethod
    async def of(cls, job: JobContext) -> _Import:
        async with job.connection() as connection:
            row = await connection.fetchrow("select * from import where id = $1", UUID(job.input["importId"]))
            fields = await connection.fetch("select name from custom_field where record_type = $1", CUSTOMER)
        if any(f["name"] not in job.policy.catalog[CUSTOMER].fields for f in fields):
            # A field that was just added: another attempt will know of it.
            raise StaleFeatures
        return cls(job, row)

    async def writer(self, to_share: int) -> Writer:
        """What writes its rows, once what they mean has been looked up."""
        job = self.job
        async with job.database.transaction(job.workspace, statement_timeout_ms=0) as connection:
            await matches.find(connection, self.id, self.plan, job.workspace.country)
            known = await lookups.load(connection, job.context, job.policy, self.id, self.plan)
        return Writer(self.id, Reader(self.plan, known, self.locale), to_share)

    async def unowned(self) -> int:
        """How many rows name no owner."""
        column = self.plan.column(OWNER)
        if column is None:
            return int(self.row["row_count"])
        blank = f"(cells -> {column.index}) is null or json_typeof(cells -> {column.index}) = 'null'"
        async with self.job.connection() as connection:
            statement = f"select count(*) from import_row where import_id = $1 and ({blank})"
            return int(await connection.fetchval(statement, self.id))

    async def batches(self, reader: Reader, position: int) -> AsyncGenerator[list[Line]]:
        """The rows after a position, batch by batch: each is read while the one before it is written."""
        reading = asyncio.create_task(self._read(reader, position))
        try:
            while lines := await reading:
                reading = asyncio.create_task(self._read(reader, lines[-1].row))
                yield lines
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, reader: Reader, position: int) -> list[Line]:
        async with self.job.connection() as connection:
            staged = await connection.fetch(_STAGED, self.id, position, BATCH)
        lines: list[Line] = []
        for start in range(0, len(staged), STRETCH):
            lines += reader.lines(staged[start : start + STRETCH])
            await asyncio.sleep(0)
        return lines

    async def report(self, connection: Connection, faults: Sequence[RowFault]) -> None:
        """Write down what is wrong with rows."""
        if not faults:
            return
        sheet = self.row["sheet"]
        await connection.copy_records_to_table(
            "import_fault",
            columns=_FAULTS,
            records=[
                (new_id(), self.id, sheet, f.row, f.column, f.field, f.value, f.code, f.reason, f.fix, f.skipped)
                for f in faults
            ],
        )

    async def set(self, **values: Any) -> None:
        """Set columns of the import's row."""
        async with self.job.database.transaction(self.job.workspace) as connection:
            names = ", ".join(f"{name} = ${i}" for i, name in enumerate(values, 2))
            await connection.execute(f"update import set {names} where id = $1", self.id, *values.values())

    async def failed_rows(self) -> UUID | None:
        """A workbook of the rows that failed, kept; None where none did."""
        return await results.failed_rows(self.job, self.id, self.row, self.locale)


async def preview(job: JobContext) -> Mapping[str, Any]:
    """Do the whole import and roll it back, keeping what it found out."""
    found = await _Import.of(job)
    writer = await found.writer(found.row["row_count"])
    counts, kept = await retried(lambda: _rehearse(job, found, writer))
    shown = {"rows": found.row["row_count"], **counts, "shared": kept}
    await found.set(preview=shown, state="PREVIEWED", failed_file_id=await found.failed_rows())
    return shown


async def _rehearse(job: JobContext, found: _Import, writer: Writer) -> tuple[dict[str, int], int]:
    """Write all rows and roll it back; returns the counts, and how many sound rows were given to owners in turn."""
    async with job.database.transaction(job.workspace) as connection:
        await connection.execute("delete from import_fault where import_id = $1", found.id)
    total = max(found.row["row_count"], 1)
    counts = dict.fromkeys(KINDS, 0)
    given = kept = 0
    with suppress(_Enough):
        async with job.change_set("importPreview", source="IMPORT", skip_failed=True) as changes:
            async with aclosing(found.batches(writer.reader, 0)) as batches:
                async for lines in batches:
                    outcome = await writer.batch(changes, lines, given)
                    given += outcome.shared
                    kept += outcome.kept
                    for kind, n in outcome.counts.items():
                        counts[kind] += n
                    # On a connection of its own: what the preview says outlives what it did.
                    async with job.connection() as other:
                        await found.report(other, outcome.faults)
                    await job.progress(min(sum(counts.values()) / total, 1), counts)
            raise _Enough
    return counts, kept


async def run(job: JobContext) -> Mapping[str, Any]:
    """Write the rows, batch by batch: each with its place in one transaction, so that it goes on where it was."""
    found = await _Import.of(job)
    try:
        shown = await _run(job, found)
    except ClientError:
        await found.set(state="FAILED")
        raise
    await found.set(counts=shown, state="DONE", failed_file_id=await found.failed_rows())
    return shown


async def _run(job: JobContext, found: _Import) -> Mapping[str, Any]:
    total = max(found.row["row_count"], 1)
    seen = found.row["preview"]
    writer = await found.writer(await found.unowned() if seen is None else seen["shared"])
    counts: dict[str, Any] = dict.fromkeys((*KINDS, "position", "shared"), 0)
    counts |= {k: v for k, v in job.counts.items() if k in counts}
    async with aclosing(found.batches(writer.reader, counts["position"])) as batches:
        async for lines in batches:
            fraction = min((sum(counts[k] for k in KINDS) + len(lines)) / total, 1)
            counts = await _batch(job, found, writer, lines, counts, fraction)
    return {"rows": found.row["row_count"], **{k: counts[k] for k in KINDS}}


async def _batch(
    job: JobContext, found: _Import, writer: Writer, lines: Sequence[Line], counts: Mapping[str, Any], fraction: float
) -> dict[str, Any]:
    """Write a batch, after which a fraction of the rows is done; returns the counts with what became of it added."""

    async def once() -> dict[str, Any]:
        now = dict(counts)
        async with job.change_set(
            "importStart",
            source="IMPORT",
            reason=found.row["file_name"],
            skip_failed=True,
            fraction=fraction,
            counts=now,
        ) as changes:
            await _write(found, writer, changes, lines, now)
        return now

    return await retried(once)


async def _write(
    found: _Import, writer: Writer, changes: ChangeSet, lines: Sequence[Line], now: dict[str, Any]
) -> None:
    """Write a batch into a change set and add to the counts what became of it."""
    connection = changes.connection
    first, last = lines[0].row, lines[-1].row
    # What the preview said of these rows gives way to what becomes of them, but decides who gets no share.
    bad = await connection.fetch(
        "delete from import_fault where import_id = $1 and row_no between $2 and $3 returning row_no",
        found.id,
        first,
        last,
    )
    writer.known_bad = frozenset(row["row_no"] for row in bad)
    outcome = await writer.batch(changes, lines, now["shared"])
    await found.report(connection, outcome.faults)
    for kind, n in outcome.counts.items():
        now[kind] += n
    now["position"] = last
    now["shared"] += outcome.shared


async def revert(job: JobContext) -> Mapping[str, Any]:
    """Undo an import's change sets, the latest first, one after the other."""
    async with job.connection() as connection:
        row = await connection.fetchrow(
            "select i.id, j.change_set_ids from import i join job j on j.id = i.job_id where i.id = $1",
            UUID(job.input["importId"]),
        )
    ids = list(reversed(row["change_set_ids"]))
    conflicts: int = job.counts.get("conflicts", 0)
    for n in range(job.counts.get("undone", 0), len(ids)):
        now: dict[str, Any] = {}
        async with job.change_set(
            "importUndo", source="UNDO", skip_failed=True, fraction=(n + 1) / len(ids), counts=now
        ) as changes:
            conflicts += await undo_change_set(changes, ids[n])
            now.update({"undone": n + 1, "conflicts": conflicts})
    async with job.database.transaction(job.workspace) as connection:
        await connection.execute("update import set state = 'UNDONE' where id = $1", row["id"])
    return {"changeSets": len(ids), "conflicts": conflicts}


#: A job that finds the feature set behind is tried again soon.
_PATIENT: dict[str, Any] = {"retries": 6, "retry_delay": 0.5, "timeout": 12 * 3600.0}

JOBS: Sequence[JobType] = (
    JobType(
        PREVIEW,
        "Finds out what an import would do, changing nothing.",
        preview,
        **_PATIENT,
    ),
    JobType(
        RUN,
        "Writes the rows of an import; it goes on where it was broken off.",
        run,
        **_PATIENT,
    ),
    JobType(UNDO, "Undoes an import.", revert, **_PATIENT),
)
