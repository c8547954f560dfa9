"""The mutations on a file: upload it, and read it again by another sheet or header."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID

from core import (
    Argument,
    Call,
    Member,
    Mutation,
    ObjectType,
    Payload,
    Records,
    Upload,
    files_of,
    new_id,
)
from plugins.import_excel import staging
from plugins.import_excel.imports import ID, IMPORT, own, refused
from plugins.import_excel.reading.limits import MEGABYTE
from plugins.import_excel.reading.problem import Unreadable
from plugins.import_excel.settings import Settings
from plugins.import_excel.targets import CUSTOMER

SOURCE = "import_excel.source"
SETUP = Member("setup", "ImportSetup", "The file as it was understood.")


async def upload(call: Call, settings: Settings) -> Payload:
    """Keep a file, read it, stage its rows and say what its columns are likely meant for."""
    given: Upload = call.input["file"]
    if given.size > settings.max_megabytes * MEGABYTE:
        problem = Unreadable("too_large", "file_too_large", limit=settings.max_megabytes)
        raise staging.refused(problem, call.context.locale)
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
    row = await own(call)
    if row["state"] in ("PREVIEWING", "RUNNING", "DONE", "UNDONE"):
        raise refused(call, ("input", "id"), "NOT_NOW")
    await call.changes.connection.execute("set local statement_timeout = 0")
    path = files_of(call.context).path(row["file_id"])
    if not path.exists():
        raise refused(call, ("input", "id"), "FILE_GONE")
    chosen = call.input.get("sheet") or row["sheet"] or None
    await _stage(call, row["id"], path, settings, chosen, call.input.get("headerRow"))
    return await _shown(call, row["id"])


async def _stage(
    call: Call, import_id: UUID, path: Path, settings: Settings, chosen: str | None = None, header: int | None = None
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


OBJECTS = (
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
            (IMPORT, SETUP),
            CUSTOMER,
            "import",
        ),
        Mutation(
            "importSheet",
            "Reads an uploaded file again: another of its sheets, or with another row as the header.",
            choosing,
            (
                ID,
                Argument("sheet", "String", "The sheet; the one that was read where it is left out."),
                Argument("headerRow", "Int", "The row that names the columns, from 1; 0 for none; found if left out."),
            ),
            (IMPORT, SETUP),
            CUSTOMER,
            "import",
        ),
    )
