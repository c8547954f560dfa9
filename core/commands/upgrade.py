# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm upgrade`: try the installed code on copies of the workspaces, then bring them up to it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from core.commands.console import Json, deployment, print_json, run

if TYPE_CHECKING:
    from core.upgrade import Upgrade


def upgrade(
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Try it on a copy of each, which is dropped; touch nothing that lives.")
    ] = False,
    workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Only this one.")] = None,
    as_json: Json = False,
) -> None:
    """Bring workspaces up to the installed version, each whole or not at all, while the others are served."""
    from core.errors import MigrationError

    found = run(_upgrade(rehearse, workspace, as_json))
    if as_json:
        print_json([asdict(one) for one in found])
    if bad := [one.workspace for one in found if one.problems]:
        what = "not ready for it" if rehearse else "not as they should be"
        raise MigrationError(f"{what}: {', '.join(bad)}", workspaces=bad)


async def _upgrade(rehearse: bool, slug: str | None, as_json: bool) -> list[Upgrade]:
    from core import upgrade

    found = []
    async with deployment() as opened:
        chosen = await opened.workspaces.list() if slug is None else [await opened.workspaces.get(slug)]
        for workspace in chosen:
            done = await (upgrade.rehearse if rehearse else upgrade.upgrade)(opened.features, workspace)
            found.append(done)
            if not as_json:
                _tell(done, rehearsed=rehearse)
    return found


def _tell(done: Upgrade, *, rehearsed: bool) -> None:
    migrations = ", ".join(done.migrations) or "up to date"
    times = f"copied in {done.copied:.1f} s, " if rehearsed else ""
    typer.echo(f"{done.workspace}: {migrations} ({times}migrated in {done.migrated:.2f} s)")
    for table, who in done.locks.items():
        typer.echo(f"  {who} of {table} wait until then")
    for table, (before, after) in done.rows.items():
        typer.echo(f"  {table}: {before} rows become {after}")
    if rehearsed and done.contract is None:
        typer.echo("  what clients saw before is not known: crm upgrade writes it down")
    for difference in done.contract or ():
        typer.echo(f"  {difference.severity.lower()}: {difference.description}")
    for problem in done.problems:
        typer.echo(f"  {typer.style('problem', fg='red')}: {problem}", err=True)
