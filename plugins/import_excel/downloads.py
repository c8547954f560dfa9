"""The mutations that make files: the export, and the template for imports."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from core import (
    LANGUAGES,
    Argument,
    Call,
    Member,
    Mutation,
    Payload,
    Records,
    Refused,
    UserError,
    enqueue,
    files_of,
    parse_choice,
    plain_json,
    stored_condition,
    text,
)
from plugins.import_excel import template
from plugins.import_excel.export import EXPORT, KIND_NAMES, parts, usual
from plugins.import_excel.faults import PACKAGE
from plugins.import_excel.settings import Settings
from plugins.import_excel.sheets import XLSX
from plugins.import_excel.targets import CUSTOMER, goals


def _locale(call: Call) -> str:
    given = call.input.get("locale")
    return given if given in LANGUAGES else call.context.locale


async def export(call: Call, settings: Settings) -> Payload:
    """Start a job that writes customers to a file. Raises Refused for a column the actor may not read."""
    locale = _locale(call)
    known = parts(call.policy, locale)
    chosen = call.input.get("columns")
    columns = list(dict.fromkeys(chosen)) if chosen else usual(known)
    errors = [
        UserError(
            ("input", "columns", i),
            "NO_SUCH_COLUMN",
            text("no_such_export", call.context.locale, PACKAGE, column=name),
            {"column": name},
        )
        for i, name in enumerate(columns)
        if name not in known
    ]
    if errors:
        raise Refused(errors)
    where = call.input.get("where")
    stored = None if where is None else plain_json(where)
    if stored is not None:
        # Refused here and now rather than in the job, where it hides a field from the actor.
        stored_condition(stored, call.policy.catalog[CUSTOMER], call.policy)
    given = {
        "where": stored,
        "columns": columns,
        "format": call.input.get("format") or "XLSX",
        "locale": locale,
        "days": settings.keep_days,
    }
    job_id = await enqueue(call.changes.connection, call.context.workspace, EXPORT, given, call.context.actor)
    return Payload({"job": Records("Job", [job_id], single=True)})


async def make_template(call: Call, settings: Settings) -> Payload:
    """Make the template, as the actor may fill it in."""
    locale = _locale(call)
    rows = await call.changes.connection.fetch(
        "select name, choices from custom_field where record_type = $1 and kind in ('CHOICE', 'CHOICES')", CUSTOMER
    )
    choices = {row["name"]: [parse_choice(c)[1] for c in row["choices"] or ()] for row in rows}
    choices["kind"] = list(KIND_NAMES[locale].values())
    columns = [g for g in goals(call.policy).values() if g.contact < 2]
    files = files_of(call.context)
    name = text("template_name", locale, PACKAGE) + ".xlsx"
    async with files.draft(name, XLSX) as draft:
        await asyncio.to_thread(template.write, draft.path, columns, choices, locale)
        upload = await draft.finished()
        kept = await files.keep(
            call.changes.connection,
            upload,
            purpose="import_excel.template",
            expires_in=timedelta(days=settings.keep_days),
        )
    return Payload({"file": Records("File", [kept.id], single=True)})


def mutations(settings: Settings) -> tuple[Mutation, ...]:
    """The mutations, by the settings of a feature set."""

    async def exporting(call: Call) -> Payload:
        return await export(call, settings)

    async def templating(call: Call) -> Payload:
        return await make_template(call, settings)

    locale = Argument("locale", "String", "Language of the headers, `vi` or `en`; that of the request if left out.")
    done: Any = Member("job", "Job", "The job; its `result` has `rows` and `fileId`, the file to be downloaded.")
    return (
        Mutation(
            "customersExport",
            "Writes the customers that match a condition, as far as the actor may export them, to a file: only fields "
            "he may read. Imported again, it changes nothing.",
            exporting,
            (
                Argument("where", "CustomerWhere", "Which customers; all where it is left out."),
                Argument("columns", "[String!]", "Which columns, as mappings call them; all that import if left out."),
                Argument("format", "ExportFormat", "The kind of file; XLSX by default."),
                locale,
            ),
            (done,),
            CUSTOMER,
            "export",
        ),
        Mutation(
            "importTemplate",
            "Makes a workbook to be filled in and imported: headers, types, drop-down lists, notes and a guide.",
            templating,
            (locale,),
            (Member("file", "File", "The workbook."),),
            CUSTOMER,
            "import",
        ),
    )
