# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm doctor`: what is wrong with this deployment, and what to do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from core.commands.console import Json, deployment, load_settings, print_json, run

if TYPE_CHECKING:
    from core.doctor.finding import Finding
    from core.settings import Settings

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(as_json: Json = False) -> None:
    """Look at settings, disk, database, jobs, plugins and workspaces; say what to do. A failure ends it with 1."""
    findings = run(_look(load_settings()))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = typer.style(f"{finding.level:<4}", fg=_COLOURS[finding.level])
            typer.echo(f"{mark}  {finding.what}: {finding.detail}")
            if finding.cure:
                typer.echo(f"      what to do: {finding.cure}")
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


async def _look(settings: Settings) -> list[Finding]:
    from core.doctor import disk, jobs, production, secret, server, workspaces
    from core.doctor.finding import fail
    from core.errors import CrmError

    findings = [*secret.secret(settings), *production.production(settings), *disk.folders(settings)]
    try:
        async with deployment(settings) as opened:
            findings += await server.server(opened.database)
            findings += await server.replica(opened.database)
            findings += workspaces.installed(opened)
            there = await opened.workspaces.list()
            findings += await jobs.queues(opened.database, there)
            for one in there:
                findings += await workspaces.workspace(opened, one)
    except CrmError as error:
        cure = "see that the server runs, that CRM_DATABASE_URL is right, and that this machine may reach it"
        findings.append(fail("database", error.message, cure))
    return findings
