"""The mutations that start jobs: preview, start, undo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from core import Argument, Call, Member, Mutation, Payload, Records, UserError, enqueue, text
from plugins.import_excel import mapping, work
from plugins.import_excel import plan as plans
from plugins.import_excel.faults import PACKAGE
from plugins.import_excel.imports import ID, IMPORT, own, refused
from plugins.import_excel.targets import CUSTOMER

ENDED = "('FAILED', 'CANCELLED')"
JOB = Member("job", "Job", "The job; follow its progress.")


async def preview(call: Call) -> Payload:
    """Check a mapping, keep it, and let a job find out what would become of the rows."""
    row = await own(call)
    _demand_idle(call, row)
    await _demand_rows(call, row)
    await mapping.keep(call, row)
    connection = call.changes.connection
    job_id = await enqueue(connection, call.context.workspace, work.PREVIEW, _job_input(call, row), call.context.actor)
    await connection.execute(
        "update import set state = 'PREVIEWING', preview_job_id = $2 where id = $1", row["id"], job_id
    )
    return _job(row["id"], job_id)


async def _demand_rows(call: Call, row: Mapping[str, Any]) -> None:
    """Raise Refused where the staged rows of an old import were forgotten."""
    there = "select exists (select from import_row where import_id = $1)"
    if row["row_count"] and not await call.changes.connection.fetchval(there, row["id"]):
        raise refused(call, ("input", "id"), "FILE_GONE")


async def start(call: Call) -> Payload:
    """Let a job write the rows as they were previewed or are mapped now; one file with one mapping is imported once."""
    row = await own(call)
    _demand_idle(call, row)
    connection = call.changes.connection
    if row["state"] in ("DONE", "UNDONE") and not call.input.get("again"):
        return _job(row["id"], row["job_id"], [_warning(call, row["id"])])
    if row["state"] == "PREVIEWING":
        raise refused(call, ("input", "id"), "NOT_NOW")
    await _demand_rows(call, row)
    if row["plan"] is None or call.input.keys() & {a.name for a in mapping.ARGUMENTS}:
        await mapping.keep(call, row)
        await connection.execute("delete from import_fault where import_id = $1", row["id"])
        row = await connection.fetchrow("select * from import where id = $1", row["id"])
    else:
        plans.read(row["plan"], row["found"], call.policy, call.context.locale)
    await connection.execute(
        f"update import i set state = 'FAILED', fingerprint = null from job j where i.state = 'RUNNING' "
        f"and j.id = i.job_id and j.status in {ENDED}"
    )
    earlier = await connection.fetchrow(
        "select id, job_id from import where fingerprint = $1 and state in ('RUNNING', 'DONE') for update",
        row["fingerprint"],
    )
    if earlier is not None:
        if not call.input.get("again"):
            return _job(earlier["id"], earlier["job_id"], [_warning(call, earlier["id"])])
        await connection.execute("update import set fingerprint = null where id = $1", earlier["id"])
    job_id = await enqueue(connection, call.context.workspace, work.RUN, _job_input(call, row), call.context.actor)
    await connection.execute("update import set state = 'RUNNING', job_id = $2 where id = $1", row["id"], job_id)
    return _job(row["id"], job_id)


async def undo(call: Call) -> Payload:
    """Let a job undo an import."""
    row = await own(call)
    connection = call.changes.connection
    ended = await connection.fetchval("select status from job where id = $1", row["job_id"])
    if row["job_id"] is None or ended in ("QUEUED", "RUNNING"):
        raise refused(call, ("input", "id"), "NOT_NOW")
    if row["state"] == "UNDONE":
        raise refused(call, ("input", "id"), "UNDONE_ALREADY")
    job_id = await enqueue(connection, call.context.workspace, work.UNDO, _job_input(call, row), call.context.actor)
    await connection.execute("update import set undo_job_id = $2 where id = $1", row["id"], job_id)
    return _job(row["id"], job_id)


def _job_input(call: Call, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"importId": str(row["id"]), "locale": call.context.locale}


def _job(import_id: UUID, job_id: UUID, warnings: Any = ()) -> Payload:
    members = {"import": Records("Import", [import_id], single=True), "job": Records("Job", [job_id], single=True)}
    return Payload(members, warnings=warnings)


def _demand_idle(call: Call, row: Mapping[str, Any]) -> None:
    if row["state"] == "RUNNING":
        raise refused(call, ("input", "id"), "NOT_NOW")


def _warning(call: Call, import_id: UUID) -> UserError:
    message = text("already_imported", call.context.locale, PACKAGE)
    return UserError(("input", "id"), "ALREADY_IMPORTED", message, {"id": str(import_id)})


MUTATIONS = (
    Mutation(
        "importPreview",
        "Maps the columns and starts a job that does the import without changing anything: it counts what would be "
        "created, updated, left alone, skipped or refused, and tells every fault.",
        preview,
        (ID, *mapping.ARGUMENTS),
        (IMPORT, JOB),
        CUSTOMER,
        "import",
    ),
    Mutation(
        "importStart",
        "Imports the rows in a job: as they were previewed, or, where a mapping is given or nothing was previewed, "
        "right away. One file with one mapping and mode is imported once: asking again answers with the import "
        "there is, and a warning.",
        start,
        (ID, *mapping.ARGUMENTS, Argument("again", "Boolean", "Import all the same what was imported before.")),
        (IMPORT, JOB),
        CUSTOMER,
        "import",
    ),
    Mutation(
        "importUndo",
        "Undoes an import in a job: what it created is deleted, what it changed is put back, but for records that "
        "were changed again since.",
        undo,
        (ID,),
        (IMPORT, JOB),
        CUSTOMER,
        "import",
    ),
)
