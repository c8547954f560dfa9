"""The mutations: upload, map and preview, start, undo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from core import (
    Argument,
    Call,
    InputType,
    Member,
    Mutation,
    ObjectType,
    Payload,
    Records,
    Refused,
    Target,
    Upload,
    UserError,
    enqueue,
    files_of,
    new_id,
    text,
    uuid_or_none,
)
from plugins.import_excel import plan as plans
from plugins.import_excel import staging, work
from plugins.import_excel.faults import PACKAGE
from plugins.import_excel.reading.limits import MEGABYTE
from plugins.import_excel.settings import Settings
from plugins.import_excel.targets import CUSTOMER, GROUP

SOURCE = "import_excel.source"
ENDED = "('FAILED', 'CANCELLED')"

COLUMN_MAPPING = "ImportColumnInput"


async def upload(call: Call, settings: Settings) -> Payload:
    """Keep a file, read it, stage its rows and say what its columns are likely meant for."""
    given: Upload = call.input["file"]
    locale = call.context.locale
    if given.size > settings.max_megabytes * MEGABYTE:
        message = text("unreadable_file_too_large", locale, PACKAGE, limit=settings.max_megabytes)
        params = {"kind": "too_large", "reason": "file_too_large", "limit": settings.max_megabytes}
        raise Refused([UserError(("input", "file"), "UNREADABLE_FILE", message, params)])
    connection = call.changes.connection
    import_id = new_id()
    await connection.execute("set local statement_timeout = 0")
    await connection.execute(
        "insert into import (id, file_name, file_hash, state, sheet, header_row, row_count, found, created_at, "
        "created_by) "
        "values ($1, $2, $3, 'MAPPING', '', 0, 0, '{}', $4, $5)",
        import_id,
        given.name,
        given.sha256,
        call.context.now,
        call.context.actor.user_id,
    )
    await _stage(call, import_id, given.path, settings)
    kept = await files_of(call.context).keep(
        connection, given, purpose=SOURCE, expires_in=timedelta(days=settings.keep_days)
    )
    await connection.execute("update import set file_id = $2 where id = $1", import_id, kept.id)
    return await _shown(call, import_id)


async def sheet(call: Call, settings: Settings) -> Payload:
    """Read a file again: another sheet of it, or with another row as its header."""
    row = await _own(call)
    if row["state"] in ("PREVIEWING", "RUNNING", "DONE", "UNDONE"):
        raise _refused(call, ("input", "id"), "NOT_NOW")
    await call.changes.connection.execute("set local statement_timeout = 0")
    path = files_of(call.context).path(row["file_id"])
    if not path.exists():
        raise _refused(call, ("input", "id"), "FILE_GONE")
    chosen = call.input.get("sheet") or row["sheet"] or None
    await _stage(call, row["id"], path, settings, chosen, call.input.get("headerRow"))
    return await _shown(call, row["id"])


async def _stage(
    call: Call, import_id: UUID, path: Any, settings: Settings, chosen: str | None = None, header: int | None = None
) -> None:
    connection = call.changes.connection
    found = await staging.stage(connection, import_id, path, settings, call.context.locale, chosen, header)
    await connection.execute(
        "update import set sheet = $2, header_row = $3, row_count = $4, found = $5, state = 'MAPPING', plan = null, "
        "preview = null where id = $1",
        import_id,
        found["sheet"],
        found["headerRow"],
        found["rows"],
        found,
    )


async def _shown(call: Call, import_id: UUID) -> Payload:
    row = await call.changes.connection.fetchrow("select * from import where id = $1", import_id)
    guesses = await staging.guessed(call.changes.connection, row["found"], call.policy)
    setup = staging.described(row["found"], guesses, call.policy)
    return Payload({"import": Records("Import", [import_id], single=True), "setup": setup})


async def preview(call: Call) -> Payload:
    """Check a mapping, keep it, and let a job find out what would become of the rows."""
    row = await _own(call)
    _demand_idle(call, row)
    await _demand_rows(call, row)
    await _map(call, row)
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
        raise _refused(call, ("input", "id"), "FILE_GONE")


async def _map(call: Call, row: Mapping[str, Any]) -> None:
    """Check the mapping that was given and keep it. Raises Refused."""
    stored, new = await _mapping(call, row)
    known = stored | {"columns": [c for c in stored["columns"] if c.get("target") not in new]}
    plan = plans.read(known, row["found"], call.policy, call.context.locale)
    await _check_links(call, plan)
    connection = call.changes.connection
    chosen = {c["column"]: c.get("target") for c in stored["columns"]}
    await staging.remember(connection, row["found"]["columns"], chosen)
    await connection.execute(
        "update import set plan = $2, preview = null, fingerprint = $3 where id = $1",
        row["id"],
        stored,
        plans.fingerprint(row["file_hash"], row["sheet"], stored),
    )


async def start(call: Call) -> Payload:
    """Let a job write the rows as they were previewed or are mapped now; one file with one mapping is imported once."""
    row = await _own(call)
    _demand_idle(call, row)
    connection = call.changes.connection
    if row["state"] in ("DONE", "UNDONE") and not call.input.get("again"):
        return _job(row["id"], row["job_id"], [_warning(call, row["id"])])
    if row["state"] == "PREVIEWING":
        raise _refused(call, ("input", "id"), "NOT_NOW")
    await _demand_rows(call, row)
    if row["plan"] is None or call.input.keys() & {a.name for a in _MAPPING}:
        await _map(call, row)
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
    row = await _own(call)
    connection = call.changes.connection
    ended = await connection.fetchval("select status from job where id = $1", row["job_id"])
    if row["job_id"] is None or ended in ("QUEUED", "RUNNING"):
        raise _refused(call, ("input", "id"), "NOT_NOW")
    if row["state"] == "UNDONE":
        raise _refused(call, ("input", "id"), "UNDONE_ALREADY")
    job_id = await enqueue(connection, call.context.workspace, work.UNDO, _job_input(call, row), call.context.actor)
    await connection.execute("update import set undo_job_id = $2 where id = $1", row["id"], job_id)
    return _job(row["id"], job_id)


def _job_input(call: Call, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"importId": str(row["id"]), "locale": call.context.locale}


def _job(import_id: UUID, job_id: UUID, warnings: Any = ()) -> Payload:
    members = {"import": Records("Import", [import_id], single=True), "job": Records("Job", [job_id], single=True)}
    return Payload(members, warnings=warnings)


async def _own(call: Call) -> Any:
    """The import that `input.id` names, locked. Raises Refused where the actor has no such import."""
    import_id = uuid_or_none(call.input["id"])
    ids = [] if import_id is None else await call.changes.reached("Import", Target(ids=(import_id,)), "read")
    if not ids:
        label = call.policy.catalog["Import"].type.labels.get(call.context.locale, "Import")
        message = text("not_found", call.context.locale, record=label)
        raise Refused([UserError(("input", "id"), "NOT_FOUND", message, {"id": str(call.input["id"])})])
    row = await call.changes.connection.fetchrow("select * from import where id = $1", ids[0])
    if not row["found"]:
        raise _refused(call, ("input", "id"), "NOT_NOW")
    return row


def _demand_idle(call: Call, row: Mapping[str, Any]) -> None:
    if row["state"] == "RUNNING":
        raise _refused(call, ("input", "id"), "NOT_NOW")


async def _mapping(call: Call, row: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The mapping as it was given; without columns, the suggested one. Returns the fields added on the way, too."""
    given = {k: v for k, v in call.input.items() if k not in ("id", "again")}
    if given.get("columns") is None:
        guesses = await staging.guessed(call.changes.connection, row["found"], call.policy)
        given["columns"] = [{"column": g.column, "target": g.goal} for g in guesses.values()]
    new = await _new_fields(call, given["columns"])
    return {
        "mode": given.get("mode") or "CREATE_ONLY",
        "key": given.get("key") or "code",
        "columns": [{k: v for k, v in c.items() if k != "newField"} for c in given["columns"]],
        "tags": list(given.get("tags") or ()),
        "groupIds": list(given.get("groupIds") or ()),
        "ownerIds": list(given.get("ownerIds") or ()),
        "mine": bool(given.get("mine")),
    }, set(new)


async def _new_fields(call: Call, columns: list[dict[str, Any]]) -> list[str]:
    """Add the custom fields that columns ask for, in this change set; returns their names."""
    names = []
    for i, column in enumerate(columns):
        if (wanted := column.get("newField")) is not None:
            given = {k: v for k, v in wanted.items() if v is not None}
            await call.changes.create(
                "CustomField", [{"recordType": CUSTOMER, **given}], _at("input", "columns", i, "newField")
            )
            column["target"] = wanted["name"]
            names.append(wanted["name"])
    return names


def _at(*path: str | int) -> Callable[[int], tuple[str | int, ...]]:
    return lambda _: path


async def _check_links(call: Call, plan: plans.Plan) -> None:
    """Raise Refused for groups and owners that are not there, before a job trips over them row by row."""
    for name, ids, path in (("User", plan.owners, "ownerIds"), (GROUP, plan.groups, "groupIds")):
        if not ids:
            continue
        found = [uuid_or_none(i) for i in ids]
        known = [i for i in found if i is not None]
        there = await call.changes.reached(name, Target(ids=tuple(known), path=("input", path)), "read")
        if len(there) < len(set(ids)):
            raise _refused(call, ("input", path), "NO_SUCH_ID")


def _refused(call: Call, path: tuple[str, ...], code: str, **params: Any) -> Refused:
    return Refused([UserError(path, code, text(code.lower(), call.context.locale, PACKAGE, **params), params)])


def _warning(call: Call, import_id: UUID) -> UserError:
    message = text("already_imported", call.context.locale, PACKAGE)
    return UserError(("input", "id"), "ALREADY_IMPORTED", message, {"id": str(import_id)})


OBJECTS = (
    InputType(
        "ImportNewFieldInput",
        "A custom field of customers that an import adds on the way; it needs the ability `custom_fields`.",
        (
            Argument("name", "String!", "Its name in GraphQL, such as `shoeSize`."),
            Argument("label", "String", "Its name for people."),
            Argument("kind", "CustomFieldKind!", "What it holds."),
            Argument("choices", "[String!]", "The choices, for kinds that have any."),
        ),
    ),
    InputType(
        COLUMN_MAPPING,
        "Where a column of the file goes.",
        (
            Argument("column", "Int!", "The column's place in the file, counted from 0."),
            Argument("target", "String", "What it is mapped to, such as `taxCode`; null for nothing."),
            Argument("newField", "ImportNewFieldInput", "A custom field to be added, and what it is then mapped to."),
            Argument("checkDuplicates", "Boolean", "Whether rows that share a value with another are duplicates."),
            Argument("required", "Boolean", "Whether a blank cell is a fault."),
            Argument("emptyClears", "Boolean", "Whether a blank cell clears the field; it is left alone by default."),
        ),
    ),
    ObjectType(
        "ImportSheet",
        "A sheet of a file.",
        (Member("name", "String!", "Its name."), Member("visible", "Boolean!", "Whether the file shows it.")),
    ),
    ObjectType(
        "ImportColumn",
        "A column of a file: what is in it, and what it is likely meant for.",
        (
            Member("index", "Int!", "Its place, counted from 0."),
            Member("letter", "String!", "What spreadsheets call it, such as `C`."),
            Member("header", "String!", "Its header as it stands in the file; blank where it has none."),
            Member("name", "String!", "A name that no other column of the file has."),
            Member(
                "type", "String!", "What it holds: text, phone, email, date, number, tax, code, url, bool or blank."
            ),
            Member("filled", "Int!", "How many of its cells are not blank."),
            Member("distinct", "Int!", "How many different values are among the first of them."),
            Member("samples", "[String!]!", "Some of its values."),
            Member("errors", "Int!", "How many of its cells hold an error such as #N/A."),
            Member("withoutValue", "Int!", "How many of its cells hold a formula that was never calculated."),
            Member("target", "String", "The suggested target; null where none is likely."),
            Member("confidence", "Float!", "How sure the suggestion is, from 0 to 1."),
            Member("by", "String", "What it follows from: REMEMBERED, LABEL, SYNONYM, SPELLING or CONTENT."),
        ),
    ),
    ObjectType(
        "ImportableField",
        "Something that a column can be mapped to.",
        (
            Member("name", "String!", "How a mapping calls it, such as `taxCode` or `contact.name`."),
            Member("labelVi", "String!", "Its name in Vietnamese."),
            Member("labelEn", "String!", "Its name in English."),
            Member("type", "String!", "What it holds."),
            Member("description", "String!", "What it means."),
            Member("canCheckDuplicates", "Boolean!", "Whether rows can be told apart by it."),
            Member("isUnique", "Boolean!", "Whether no two customers have the same."),
        ),
    ),
    ObjectType(
        "ImportSetup",
        "A file as it was understood.",
        (
            Member("sheets", "[ImportSheet!]!", "Its sheets."),
            Member("sheet", "String!", "The sheet that was read."),
            Member("headerRow", "Int!", "The row that names the columns, from 1; 0 where none does."),
            Member("rowCount", "Int!", "How many rows of data there are."),
            Member("hiddenRows", "Int!", "How many of them the sheet hides; they are imported, too."),
            Member("titles", "[String!]!", "What stands above the header."),
            Member("encoding", "String", "The encoding of a text file."),
            Member("columns", "[ImportColumn!]!", "Its columns."),
            Member("targets", "[ImportableField!]!", "What they can be mapped to."),
        ),
    ),
)

_ID = Argument("id", "ID!", "The import.")
_MAPPING = (
    Argument("columns", f"[{COLUMN_MAPPING}!]", "Which column goes where; as suggested where left out."),
    Argument("mode", "ImportMode", "What becomes of rows whose customer exists; CREATE_ONLY by default."),
    Argument("key", "String", "The target by which OVERWRITE finds customers; `code` by default."),
    Argument("tags", "[String!]", "Tags for all imported customers, beside those they have."),
    Argument("groupIds", "[ID!]", "Groups for all imported customers, beside those they are in."),
    Argument(
        "ownerIds",
        "[ID!]",
        "Users among whom rows whose cell names nobody are split evenly, the remainder to the last.",
    ),
    Argument("mine", "Boolean", "Make the actor the owner of all rows, whatever the file says."),
)
_IMPORT = Member("import", "Import", "The import, null where it was refused.")
_SETUP = Member("setup", "ImportSetup", "The file as it was understood.")
_JOB = Member("job", "Job", "The job; follow its progress.")


def mutations(settings: Settings) -> tuple[Mutation, ...]:
    """The mutations, by the settings of a feature set."""

    async def uploading(call: Call) -> Payload:
        return await upload(call, settings)

    async def choosing(call: Call) -> Payload:
        return await sheet(call, settings)

    return (
        Mutation(
            "importUpload",
            "Uploads a file with customers (.xlsx, .xlsm, .xls, .xlsb, .ods or delimited text), recognised by its "
            "content, and suggests what its columns are meant for. Nothing is imported yet.",
            uploading,
            (Argument("file", "Upload!", "The file."),),
            (_IMPORT, _SETUP),
            CUSTOMER,
            "import",
        ),
        Mutation(
            "importSheet",
            "Reads an uploaded file again: another of its sheets, or with another row as the header.",
            choosing,
            (
                _ID,
                Argument("sheet", "String", "The sheet; the one that was read where it is left out."),
                Argument("headerRow", "Int", "The row that names the columns, from 1; 0 for none; found if left out."),
            ),
            (_IMPORT, _SETUP),
            CUSTOMER,
            "import",
        ),
        Mutation(
            "importPreview",
            "Maps the columns and starts a job that does the import without changing anything: it counts what would be "
            "created, updated, left alone, skipped or refused, and tells every fault.",
            preview,
            (_ID, *_MAPPING),
            (_IMPORT, _JOB),
            CUSTOMER,
            "import",
        ),
        Mutation(
            "importStart",
            "Imports the rows in a job: as they were previewed, or, where a mapping is given or nothing was previewed, "
            "right away. One file with one mapping and mode is imported once: asking again answers with the import "
            "there is, and a warning.",
            start,
            (_ID, *_MAPPING, Argument("again", "Boolean", "Import all the same what was imported before.")),
            (_IMPORT, _JOB),
            CUSTOMER,
            "import",
        ),
        Mutation(
            "importUndo",
            "Undoes an import in a job: what it created is deleted, what it changed is put back, but for records that "
            "were changed again since.",
            undo,
            (_ID,),
            (_IMPORT, _JOB),
            CUSTOMER,
            "import",
        ),
    )
