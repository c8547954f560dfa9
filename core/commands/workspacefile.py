# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm workspace plan`, `apply` and `export`: a workspace's feature set as one file."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.commands.console import Json, Yes, confirm, deployment, print_json, run
from core.commands.workspace import Slug

if TYPE_CHECKING:
    from core.commands.console import Deployment
    from core.workspacefile.difference import Difference
    from core.workspacefile.plan import Plan, WorkspaceFiles

File = Annotated[str, typer.Argument(help="The workspace's file; - reads standard input.")]
Into = Annotated[
    str | None,
    typer.Option("--workspace", "-w", help="Another workspace than the file's; its host name is left alone then."),
]

SIGNS = {"create": typer.style("+", fg="green"), "change": typer.style("~", fg="yellow")}
SIGNS["delete"] = typer.style("-", fg="red")


@dataclass(frozen=True, slots=True)
class _Given:
    """A file that was read, and the workspace it is for."""

    content: dict[str, Any]
    slug: str
    name: str

    @property
    def reason(self) -> str:
        """What the journal says of it."""
        return f"file {self.name}"


def plan(file: File, workspace: Into = None, as_json: Json = False) -> None:
    """Print how a workspace differs from its file; nothing is written."""
    given = _read(file, workspace)
    with _faults(given.name):
        _show(run(_plan(given)), as_json, "is as the file says")


def apply(
    file: File,
    workspace: Into = None,
    create: Annotated[bool, typer.Option("--create", help="Create the workspace where there is none.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make a workspace what its file says, whole or not at all; asks before anything is taken away."""
    given = _read(file, workspace)
    with _faults(given.name):
        _show(run(_apply(given, create=create, yes=yes, quiet=as_json)), as_json, "was as the file says already")


def export(
    workspace: Slug,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write, instead of printing.")] = None,
) -> None:
    """Write a workspace's file from what is there. Secrets of plugins are left out."""
    from core.errors import ConfigError

    text = run(_export(workspace))
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror}", file=str(output)) from error
    typer.echo(f"the feature set of {workspace} is in {output}")


def _read(file: str, slug: str | None) -> _Given:
    from core.errors import BadInput
    from core.workspacefile import document

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BadInput(f"cannot read {file}: {reason}", file=file) from error
    content = document.read(text)
    named = content.pop("slug", None)
    if not isinstance(slug or named, str):
        raise BadInput(f'{file} does not say for which workspace it is: add slug = "…", or say --workspace', file=file)
    if slug not in (None, named) and isinstance(content.get("workspace"), dict):
        content["workspace"].pop("host_name", None)
    return _Given(content, slug or named, Path(file).name)


@contextmanager
def _faults(name: str) -> Iterator[None]:
    """Several faults of a file are told line by line."""
    from core.errors import BadInput
    from core.workspacefile.difference import FileFault

    try:
        yield
    except FileFault as error:
        if len(error.faults) == 1:
            raise
        for fault in error.faults:
            typer.echo(f"{name}: {' '.join(fault.split())}", err=True)
        raise BadInput(f"{name} cannot be applied: it has {len(error.faults)} faults", file=name) from error


@asynccontextmanager
async def _files() -> AsyncIterator[tuple[Deployment, WorkspaceFiles]]:
    from core.workspacefile.plan import WorkspaceFiles

    async with deployment() as opened:
        yield opened, WorkspaceFiles(opened.features)


async def _plan(given: _Given) -> Plan:
    async with _files() as (opened, files):
        return await files.plan(await opened.workspaces.get(given.slug), given.content)


async def _apply(given: _Given, *, create: bool, yes: bool, quiet: bool) -> Plan:
    async with _files() as (opened, files):
        if create and given.slug not in {w.slug for w in await opened.workspaces.list()}:
            return await _create(opened, files, given)
        workspace = await opened.workspaces.get(given.slug)
        if yes:
            return await files.apply(workspace, given.content, given.reason)
        planned = await files.plan(workspace, given.content)
        if planned.destructive:
            if not quiet:
                _show(planned, False, "")
            confirm(f"{len(planned.destructive)} of these take something away.", planned.workspace, yes=yes)
        return await files.apply(workspace, given.content, given.reason, planned)


async def _create(opened: Deployment, files: WorkspaceFiles, given: _Given) -> Plan:
    from core.commands.setup import set_up

    workspace = await opened.workspaces.create(given.slug)
    try:
        await set_up(opened, workspace)
        return await files.apply(workspace, given.content, given.reason)
    except BaseException:
        await opened.workspaces.erase(workspace.slug)
        raise


async def _export(slug: str) -> str:
    async with _files() as (opened, files):
        return await files.export(await opened.workspaces.get(slug))


def _show(plan: Plan, as_json: bool, same: str) -> None:
    if as_json:
        differences = [difference.shown() for difference in plan.differences]
        print_json({"workspace": plan.workspace, "differences": differences})
    elif not plan.differences:
        typer.echo(f"{plan.workspace} {same}")
    else:
        for difference in plan.differences:
            for line in _lines(difference):
                typer.echo(line)


def _lines(difference: Difference) -> Iterator[str]:
    """A difference for people: what is done to what, and below it the values of what is changed."""
    yield f"{SIGNS[difference.action]} {difference.section} {difference.name}"
    if difference.action == "change":
        for path, (before, after) in difference.changes.items():
            yield f"    {path}: {_text(before)} -> {_text(after)}"


def _text(value: Any) -> str:
    if value is None:
        return "nothing"
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """A decimal as the number it is, a date as its text."""
    from decimal import Decimal

    return float(value) if isinstance(value, Decimal) else str(value)
