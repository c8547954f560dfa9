# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm migrate`: bring workspaces up to the installed code, each whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from core.commands.console import Deployment, Json, deployment, print_json, run

if TYPE_CHECKING:
    from piccolo.conf.apps import AppConfig

    from core.context import Workspace
    from core.errors import CrmError
    from core.migrate import MigrationReport


def migrate(
    every: Annotated[bool, typer.Option("--all", help="Migrate every workspace.")] = False,
    workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Migrate this one.")] = None,
    as_json: Json = False,
) -> None:
    """Migrate workspaces to the installed version; one that fails stays as it was and stops no other."""
    from core.errors import BadInput, MigrationError

    if every == (workspace is not None):
        raise BadInput("say --all, or --workspace with the slug of one")
    reports = run(_migrate(workspace, as_json))
    if as_json:
        print_json([_row(report) for report in reports])
    if failed := [r.workspace for r in reports if r.error]:
        raise MigrationError(f"not migrated: {', '.join(failed)}", workspaces=failed)


async def _migrate(slug: str | None, as_json: bool) -> list[MigrationReport]:
    from core.migrate import migrate_all

    async with deployment() as opened:
        chosen = await opened.workspaces.list() if slug is None else [await opened.workspaces.get(slug)]
        apps = {w.slug: await _apps(opened, w) for w in chosen}
        report = (lambda _: None) if as_json else _report
        return await migrate_all(opened.database, chosen, lambda w: apps[w.slug](), report)


async def _apps(opened: Deployment, workspace: Workspace) -> Callable[[], Sequence[AppConfig]]:
    """The apps of a workspace, or what keeps them from being known, to be raised in its turn."""
    from core.errors import CrmError

    try:
        apps = await opened.features.apps(workspace)
    except CrmError as error:
        return partial(_raise, error)
    return lambda: apps


def _raise(error: CrmError) -> NoReturn:
    raise error


def _report(report: MigrationReport) -> None:
    if report.error:
        typer.echo(f"{report.workspace}: failed, nothing changed: {report.error.message}", err=True)
    elif report.applied:
        typer.echo(f"{report.workspace}: {', '.join(report.applied)} in {report.seconds:.2f} s")
    else:
        typer.echo(f"{report.workspace}: up to date")


def _row(report: MigrationReport) -> dict[str, Any]:
    return {
        "workspace": report.workspace,
        "applied": list(report.applied),
        "seconds": round(report.seconds, 3),
        "error": report.error.message if report.error else None,
    }
