# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm person erase`: forget one person, wherever the workspace knows of him."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from core.commands.console import InWorkspace, Json, Yes, confirm, deployment, print_json, run, show

if TYPE_CHECKING:
    from core.person import Erasure

app = typer.Typer(help="Erase what a workspace knows of a person.", no_args_is_help=True)


@app.command()
def erase(
    values: Annotated[
        list[str] | None,
        typer.Argument(help="What identifies the person: email addresses, phone numbers, tax codes, a login."),
    ] = None,
    record: Annotated[
        list[str] | None, typer.Option(help="A record of the person's, such as Customer:<id>; any number of them.")
    ] = None,
    workspace: InWorkspace = None,
    reason: Annotated[str, typer.Option(help="Why, for the journal: a number of the request, no name.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell where something would be erased.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Erase a person's data in records, their history, imports, jobs and files, for good; tell where, never what."""
    from core.errors import BadInput

    if not values and not record:
        raise BadInput("say whom: by what identifies the person, or by --record")
    records = _records(record or [])
    # What would be done is told first, unless nobody is to be asked.
    if dry_run or not yes:
        _tell(run(_erase(workspace, values or [], records, reason, dry_run=True)), as_json and dry_run, would=True)
    if dry_run:
        return
    confirm("All of that will be gone for good.", "erase", yes=yes)
    _tell(run(_erase(workspace, values or [], records, reason, dry_run=False)), as_json, would=False)


def _records(given: list[str]) -> dict[str, list[UUID]]:
    from core.errors import BadInput

    found: dict[str, list[UUID]] = {}
    for text in given:
        name, _, id_ = text.partition(":")
        try:
            found.setdefault(name, []).append(UUID(id_))
        except ValueError as error:
            raise BadInput(f"{text!r} is no record: write Customer:<id>") from error
    return found


async def _erase(
    slug: str | None, values: list[str], records: dict[str, list[UUID]], reason: str, *, dry_run: bool
) -> Erasure:
    from core.changes import ChangeSet
    from core.context import Actor, ActorKind, RequestContext
    from core.files import FileStore
    from core.grants import SYSTEM
    from core.person import erase as erased

    async with deployment() as opened:
        workspace = await opened.workspace(slug)
        composition = await opened.features.composition(workspace)
        store = FileStore(opened.settings)
        context = RequestContext(workspace, Actor(ActorKind.SYSTEM, SYSTEM), locale="en", extra={"files": store})
        async with opened.database.connection(workspace) as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                changes = ChangeSet(
                    connection,
                    context,
                    composition.policy(SYSTEM),
                    composition.hooks,
                    source="COMMAND",
                    operation="personErase",
                    reason=reason,
                )
                done = await erased(changes, store.of(workspace), values, records)
                committed = await changes.finish()
            except BaseException:
                await transaction.rollback()
                raise
            if dry_run:
                await transaction.rollback()
                return done
            await transaction.commit()
            if committed is not None:
                await composition.hooks.announce("committed", change_set=committed)
            await store.of(workspace).prune(connection)
    return done


def _tell(done: Erasure, as_json: bool, *, would: bool) -> None:
    if as_json:
        print_json(asdict(done))
        return
    rows = [{"table": p.table, "rows": p.rows, "fields": p.fields, "": "erased"} for p in done.places]
    rows += [{"table": p.table, "rows": p.rows, "fields": p.fields, "": "left, of others"} for p in done.left]
    show(False, rows, "nothing is in a table")
    records = ", ".join(f"{count} {name}" for name, count in done.records.items()) or "no record"
    typer.echo(f"{records}, {done.files} files {'would be' if would else 'are'} erased")
