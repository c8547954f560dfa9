"""`crm schema`: the GraphQL schema of a workspace."""

from __future__ import annotations

import typer

from core.commands.console import InWorkspace, deployment, run

app = typer.Typer(help="Print a workspace's GraphQL schema.", no_args_is_help=True)


@app.callback()
def schema() -> None:
    """Print a workspace's GraphQL schema."""


@app.command(name="print")
def print_(workspace: InWorkspace = None) -> None:
    """Print the schema in the schema definition language, as its plugins and custom fields make it."""
    typer.echo(run(_sdl(workspace)), nl=False)


async def _sdl(slug: str | None) -> str:
    async with deployment() as opened:
        composition = await opened.features.composition(await opened.workspace(slug))
        return composition.sdl
