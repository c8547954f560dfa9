"""From an uploaded file to staged rows: read in a child, streamed into a table by COPY, columns recognised."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from core import Connection, Policy, Refused, UserError, text
from plugins.import_excel import suggest
from plugins.import_excel.faults import PACKAGE
from plugins.import_excel.reading.problem import Unreadable
from plugins.import_excel.reading.reader import Reading
from plugins.import_excel.settings import Settings
from plugins.import_excel.targets import describe, goals

COPY_BYTES = 1 << 16


async def stage(
    connection: Connection,
    import_id: UUID,
    path: Path,
    settings: Settings,
    locale: str,
    sheet: str | None = None,
    header: int | None = None,
) -> dict[str, Any]:
    """Replace an import's staged rows by those of a file; returns what is known of the file.

    Raises Refused, saying why in a sentence, where the file cannot be read.
    """
    reading = Reading(path, settings.limits(), str(import_id), sheet, header)
    await connection.execute("delete from import_row where import_id = $1", import_id)
    # Rows are read before COPY is told so: what goes wrong in reading must not look like a fault of the database.
    failure: list[Unreadable] = []

    async def chunks() -> AsyncIterator[bytes]:
        try:
            async for chunk in reading:
                yield chunk
        except Unreadable as problem:
            failure.append(problem)

    await connection.copy_to_table("import_row", source=chunks(), columns=["import_id", "row_no", "cells"])
    if failure:
        raise refused(failure[0], locale)
    found = reading.summary
    return found | {"headersKey": suggest.key([c["header"] for c in found["columns"]])}


def refused(problem: Unreadable, locale: str) -> Refused:
    """Why a file is refused, in words that a salesperson understands."""
    message = text(f"unreadable_{problem.code}", locale, PACKAGE, **problem.params)
    params = {"kind": problem.kind, "reason": problem.code, **problem.params}
    return Refused([UserError(("input", "file"), "UNREADABLE_FILE", message, params)])


async def guessed(connection: Connection, found: Mapping[str, Any], policy: Policy) -> dict[int, suggest.Guess]:
    """What the columns of a file are likely meant for."""
    remembered = await connection.fetchval("select targets from import_mapping where headers = $1", found["headersKey"])
    return suggest.suggest(found["columns"], goals(policy), remembered)


def described(found: Mapping[str, Any], guesses: Mapping[int, suggest.Guess], policy: Policy) -> dict[str, Any]:
    """A file as the API shows it."""
    return {
        "sheets": found["sheets"],
        "sheet": found["sheet"],
        "headerRow": found["headerRow"],
        "rowCount": found["rows"],
        "hiddenRows": found["hiddenRows"],
        "titles": [" ".join(t) for t in found["titles"]],
        "encoding": found.get("encoding"),
        "columns": _columns(found["columns"], guesses),
        "targets": [describe(g) for g in goals(policy).values()],
    }


def _columns(columns: Sequence[Mapping[str, Any]], guesses: Mapping[int, suggest.Guess]) -> list[dict[str, Any]]:
    found = []
    for column in columns:
        guess = guesses.get(column["index"])
        known = {k: column[k] for k in ("index", "letter", "header", "name", "type", "filled", "samples", "distinct")}
        found.append(
            known
            | {
                "errors": column["kinds"].get("error", 0),
                "withoutValue": column["kinds"].get("formula", 0),
                "target": guess.goal if guess else None,
                "confidence": round(guess.confidence, 2) if guess else 0.0,
                "by": guess.by if guess else None,
            }
        )
    return found


async def remember(
    connection: Connection, columns: Sequence[Mapping[str, Any]], chosen: Mapping[int, str | None]
) -> None:
    """Keep the mapping of a set of headers for the next file that has them."""
    targets = {suggest.bare(c["header"]): chosen.get(c["index"]) for c in columns if suggest.bare(c["header"])}
    if not targets:
        return
    await connection.execute(
        "insert into import_mapping (headers, targets) values ($1, $2) "
        "on conflict (headers) do update set targets = excluded.targets, at = now()",
        suggest.key([c["header"] for c in columns]),
        targets,
    )
