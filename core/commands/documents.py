# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm documents`: the GraphQL documents that a workspace's clients name instead of sending them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from core.commands.console import InWorkspace, Json, deployment, print_json, run, show

app = typer.Typer(help="Publish GraphQL documents, list and prune them, run nothing else.", no_args_is_help=True)

SHOWN = 20


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(help="Manifest of a code generator, such as persisted-documents.json.")],
    workspace: InWorkspace = None,
    as_json: Json = False,
) -> None:
    """Publish the documents of a manifest: all of them, or none where one is faulty."""
    total, added = run(_publish(workspace, file))
    if as_json:
        print_json({"total": total, "added": added})
    else:
        typer.echo(f"{total} documents published, {added} of them new")


@app.command(name="list")
def list_(workspace: InWorkspace = None, as_json: Json = False) -> None:
    """List the published documents, the latest first."""
    show(as_json, run(_list(workspace)), "no document is published yet: crm documents publish")


@app.command()
def prune(
    unused_days: Annotated[int, typer.Option(min=0, max=36_500, help="Neither published nor used for so long.")] = 90,
    keep: Annotated[Path | None, typer.Option(help="A manifest whose documents stay.")] = None,
    workspace: InWorkspace = None,
) -> None:
    """Remove published documents that no client needs any more."""
    typer.echo(f"{run(_prune(workspace, unused_days, keep))} documents removed")


@app.command()
def trust(
    only: Annotated[bool, typer.Option("--only/--any", help="Published documents only, or any.")],
    workspace: InWorkspace = None,
) -> None:
    """Run nothing but published documents, or any again; running servers follow within a second."""
    run(_trust(workspace, only))
    typer.echo("published documents only" if only else "any document")


async def _publish(slug: str | None, file: Path) -> tuple[int, int]:
    from core import documents
    from core.errors import BadInput
    from core.schema.measure import Limits

    manifest = documents.read_manifest(_bytes(file))
    async with deployment() as opened:
        workspace = await opened.workspace(slug)
        composition = await opened.features.composition(workspace)
        faults = await documents.faults(composition.schema, Limits.of(opened.settings), manifest)
        for fault in faults[:SHOWN]:
            typer.echo(f"{fault.id}: {fault.reason}", err=True)
        if faults:
            raise BadInput(f"nothing was published: {len(faults)} of {len(manifest)} documents are faulty")
        async with opened.database.transaction(workspace) as connection:
            done = await documents.publish(connection, manifest)
    return done.total, done.added


async def _list(slug: str | None) -> list[dict[str, Any]]:
    from core import documents
    from core.schema.measure import Limits

    async with deployment() as opened:
        workspace = await opened.workspace(slug)
        composition = await opened.features.composition(workspace)
        async with opened.database.connection(workspace) as connection:
            found = await documents.listed(connection, composition.schema, Limits.of(opened.settings))
    return [
        {
            "id": d.id,
            "operations": d.operations,
            "characters": d.characters,
            "published_at": d.published_at,
            "used_at": d.used_at,
        }
        for d in found
    ]


async def _prune(slug: str | None, days: int, keep: Path | None) -> int:
    from core import documents

    kept = list(documents.read_manifest(_bytes(keep))) if keep else []
    async with deployment() as opened:
        workspace = await opened.workspace(slug)
        async with opened.database.transaction(workspace) as connection:
            return await documents.prune(connection, timedelta(days=days), kept)


async def _trust(slug: str | None, only: bool) -> None:
    from core import documents

    async with deployment() as opened:
        workspace = await opened.workspace(slug)
        async with opened.database.transaction(workspace) as connection:
            await documents.trust_only(connection, only)


def _bytes(file: Path) -> bytes:
    from core.errors import ConfigError

    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {(error.strerror or str(error)).lower()}") from error
