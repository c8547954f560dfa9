"""The command `crm import FILE`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer


def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The file.")],
    workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="The workspace; the default one.")] = None,
    login: Annotated[str | None, typer.Option("--as", help="The user who imports; the system if left out.")] = None,
    sheet: Annotated[str | None, typer.Option(help="The sheet; the first visible one with data.")] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help="HEADER=TARGET, such as 'Mã KH=code'; no target for nothing. As suggested otherwise."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Change customers that exist.")] = False,
    key: Annotated[str, typer.Option(help="The target by which --overwrite finds customers.")] = "code",
    mine: Annotated[bool, typer.Option("--mine", help="Make the user the owner of all rows.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Import what was imported before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of the rows.")] = False,
    failed: Annotated[Path | None, typer.Option(help="Where to put the workbook of rows that failed.")] = None,
) -> None:
    """Import customers from a spreadsheet."""
    values: dict[str, Any] = {"mode": "OVERWRITE" if overwrite else "CREATE_ONLY", "key": key, "mine": mine}
    from plugins.import_excel.console import run  # noqa: PLC0415 - `crm --help` loads nothing heavy

    work = run(file, workspace, login, sheet, given or [], values, again=again, dry_run=dry_run, failed=failed)
    asyncio.run(work)
