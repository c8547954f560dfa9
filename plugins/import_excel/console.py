"""The work of `crm import`: an import through the API, told on the terminal."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import typer

from core import BadInput, Terminal, files_of, open_terminal, uuid_or_none

_UPLOAD = """mutation($file: Upload!) { importUpload(input: {file: $file}) { import { id } userErrors { message }
  setup { sheet rowCount columns { index letter name type target confidence } } } }"""
_SHEET = """mutation($id: ID!, $sheet: String) { importSheet(input: {id: $id, sheet: $sheet}) { import { id }
  userErrors { message } setup { sheet rowCount columns { index letter name type target confidence } } } }"""
_PREVIEW = (
    """mutation($input: ImportPreviewInput!) { importPreview(input: $input) { job { id } userErrors { message } } }"""
)
_START = """mutation($input: ImportStartInput!) { importStart(input: $input) { job { id } userErrors { message }
  warnings { message } } }"""
_FAULTS = """query($id: ID!) { import(id: $id) { failedFile { id } faults(first: 20) { totalCount nodes {
  row column value reason fix } } } }"""


async def run(
    file: Path,
    workspace: str | None,
    login: str | None,
    sheet: str | None,
    given: list[str],
    values: dict[str, Any],
    *,
    again: bool,
    dry_run: bool,
    failed: Path | None,
) -> None:
    """Do what the command is asked to. Raises BadInput for what is refused."""
    async with open_terminal(workspace, login) as api:
        async with api.upload(file) as upload:
            made = await api.ask(_UPLOAD, file=upload)
        id_ = made["import"]["id"]
        if sheet is not None:
            made = await api.ask(_SHEET, id=id_, sheet=sheet)
        columns = mapped(made["setup"]["columns"], given)
        for column in columns:
            typer.echo(f"{column['letter']:>3}  {column['name'][:40]:<40}  {column['target'] or '-'}")
        values |= {"id": id_, "columns": [{"column": c["index"], "target": c["target"]} for c in columns]}
        if dry_run:
            started = await api.ask(_PREVIEW, input=values)
        else:
            started = await api.ask(_START, input={**values, "again": again})
            for warning in started["warnings"]:
                typer.echo(warning["message"], err=True)
        job = await api.finished(started["job"]["id"])
        if job["status"] != "DONE":
            raise BadInput(job["error"] or f"the job is {job['status']}")
        typer.echo(", ".join(f"{k}: {v}" for k, v in job["result"].items() if k != "shared"))
        await _tell(api, id_, failed)


def mapped(columns: list[dict[str, Any]], given: list[str]) -> list[dict[str, Any]]:
    """Columns with the targets that were given by header or letter, else those suggested. Raises BadInput."""
    wanted = {}
    for pair in given:
        header, equals, target = pair.rpartition("=")
        if not equals or header not in {c["name"] for c in columns} | {c["letter"] for c in columns}:
            raise BadInput(f"--map {pair}: write HEADER=TARGET with a header of the file")
        wanted[header] = target or None
    taken = set(wanted.values())
    found = []
    for column in columns:
        chosen = next((h for h in (column["name"], column["letter"]) if h in wanted), None)
        suggested = None if column["target"] in taken else column["target"]
        found.append(column | {"target": suggested if chosen is None else wanted[chosen]})
    return found


async def _tell(api: Terminal, import_id: str, failed: Path | None) -> None:
    """Print the first faults, and put the workbook of failed rows where it is wanted."""
    told = await api.ask(_FAULTS, id=import_id)
    for fault in told["faults"]["nodes"]:
        typer.echo(f"{fault['column'] or ''}{fault['row']}: {fault['reason']} {fault['fix']} [{fault['value'] or ''}]")
    left = told["faults"]["totalCount"] - len(told["faults"]["nodes"])
    if left > 0:
        typer.echo(f"… {left} more")
    file_id = told["failedFile"] and uuid_or_none(told["failedFile"]["id"])
    if failed is not None and file_id is not None:
        await asyncio.to_thread(shutil.copyfile, files_of(api.context).path(file_id), failed)
