# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm schema`: the GraphQL schema of a workspace, and what changed in it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.commands.console import InWorkspace, Json, deployment, print_json, run

if TYPE_CHECKING:
    from graphql import GraphQLSchema

app = typer.Typer(help="Print a workspace's GraphQL schema, or compare it.", no_args_is_help=True)

_COLOURS = {"BREAKING": "red", "DANGEROUS": "yellow", "SAFE": "green"}


@app.command(name="print")
def print_(workspace: InWorkspace = None) -> None:
    """Print the schema in the schema definition language, as its plugins and custom fields make it."""
    typer.echo(run(_sdl(workspace)), nl=False)


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="File with the old schema, as `crm schema print` prints it.")],
    new: Annotated[Path | None, typer.Argument(help="File with the new one; without it, a workspace's.")] = None,
    workspace: InWorkspace = None,
    as_json: Json = False,
) -> None:
    """Tell what changed from one schema to another; the exit code is 1 where a change breaks clients."""
    from core.errors import ConfigError
    from core.schema.differences import BREAKING, differences

    if new is not None and workspace is not None:
        raise ConfigError("compare with a file or with a workspace, not with both")
    before = _read(old)
    after = _read(new) if new is not None else _parse(run(_sdl(workspace)), "the workspace's schema")
    found = differences(before, after)
    if as_json:
        print_json([asdict(difference) for difference in found])
    elif not found:
        typer.echo("nothing changed")
    else:
        for difference in found:
            severity = typer.style(f"{difference.severity:<9}", fg=_COLOURS[difference.severity])
            typer.echo(f"{severity}  {difference.description}")
    if any(difference.severity == BREAKING for difference in found):
        raise typer.Exit(1)


async def _sdl(slug: str | None) -> str:
    async with deployment() as opened:
        composition = await opened.features.composition(await opened.workspace(slug))
        return composition.sdl


def _read(file: Path) -> GraphQLSchema:
    from core.errors import ConfigError

    try:
        return _parse(file.read_text(encoding="utf-8"), str(file))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not text in UTF-8") from error


def _parse(sdl: str, what: str) -> GraphQLSchema:
    from graphql import GraphQLError, build_schema

    from core.errors import ConfigError

    try:
        return build_schema(sdl)
    except (GraphQLError, TypeError) as error:
        reason = error.message if isinstance(error, GraphQLError) else next(iter(str(error).splitlines()), "")
        raise ConfigError(f"{what} is not a GraphQL schema: {reason}") from error
