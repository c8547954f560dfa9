# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm workspace backup`, `restore`, `copy`, `move`: a workspace as a file, as another workspace, elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import typer

from core import clock
from core.commands.console import Json, deployment, print_json, run

if TYPE_CHECKING:
    from core.backup.move import Moved
    from core.backup.restore import Restored
    from core.backup.save import Saved

Slug = Annotated[str, typer.Argument(help="The workspace.")]


def backup(
    workspace: Slug,
    to: Annotated[
        str | None,
        typer.Option(help="File, for its owner only; - is standard output. Without it, named by slug and time."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write everything of a workspace, as it is at one moment, to a file; everybody goes on working meanwhile."""
    path = to or f"{workspace}-{clock.now():%Y%m%dT%H%M%SZ}.backup.tar.gz"
    with _output(path) as out:
        saved = run(_backup(workspace, out))
    echo = _aside if path == "-" else typer.echo
    for id_ in saved.missing:
        _aside(f"the bytes of the file {id_} are not there: it is in the backup without them")
    if as_json:
        echo(_json({"file": path, **asdict(saved)}))
    else:
        echo(f"{workspace}: {_told(saved.rows, saved.files)} in {path}")


def restore(
    file: Annotated[str, typer.Argument(help="The backup; - is standard input.")],
    slug: Annotated[str | None, typer.Option("--as", help="Another name than it had.")] = None,
    database_url: Annotated[
        str | None, typer.Option(help="Another database to live in; - reads it from standard input.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a workspace of a backup, and bring it up to the installed version: whole, or not at all."""
    from core.errors import ConfigError

    if file == database_url == "-":
        raise ConfigError("standard input is either the backup or the database's address")
    url = sys.stdin.readline().strip() if database_url == "-" else database_url
    with _input(file) as source:
        restored = run(_restore(source, slug, url))
    _report(restored, as_json, "is restored")


def copy(workspace: Slug, new: Annotated[str, typer.Argument(help="The copy.")], as_json: Json = False) -> None:
    """Make a workspace like another one, with its users, files and keys, but without its host name and waiting jobs."""
    _report(run(_copy(workspace, new)), as_json, f"is a copy of {workspace}")


def move(
    workspace: Slug,
    database_url: Annotated[str, typer.Option(help="Where it is to live; - reads it from standard input.")],
    as_json: Json = False,
) -> None:
    """Move a workspace to another database while people work in it; they wait for the last moment only."""
    from core.errors import DatabaseError

    url = sys.stdin.readline().strip() if database_url == "-" else database_url
    moved = run(_move(workspace, url))
    if as_json:
        print_json(asdict(moved) | {"workspace": workspace})
    else:
        typer.echo(
            f"{workspace} is moved: {_told(moved.rows)}, then {moved.carried} changed rows in {moved.rounds} rounds;"
            f" writers waited for {moved.closed:.2f} s"
        )
    if moved.differ:
        raise DatabaseError(f"the old copy is kept, for it has other rows in {', '.join(moved.differ)}")


async def _backup(slug: str, out: BinaryIO) -> Saved:
    from core.backup.save import save

    async with deployment() as opened:
        return await save(opened.database, opened.features.registry, await opened.workspaces.get(slug), out)


async def _move(slug: str, database_url: str) -> Moved:
    from core.backup.move import move as moved

    async with deployment() as opened:
        workspace = await opened.workspaces.get(slug)
        return await moved(opened.database, opened.features.registry, workspace, database_url)


async def _restore(source: BinaryIO, slug: str | None, database_url: str | None) -> Restored:
    from core.backup.restore import restore as restored

    async with deployment() as opened:
        return await restored(opened.database, opened.features.registry, source, slug, database_url=database_url)


async def _copy(slug: str, new: str) -> Restored:
    from core.backup.copy import copy as copied

    async with deployment() as opened:
        workspace = await opened.workspaces.get(slug)
        return await copied(opened.database, opened.features.registry, workspace, new)


def _report(restored: Restored, as_json: bool, what: str) -> None:
    slug = restored.workspace.slug
    for id_ in restored.damaged:
        _aside(f"the file {id_} is not what it was when it was stored: its bytes were damaged before the backup")
    if as_json:
        facts = asdict(restored) | {"workspace": slug, "id": restored.workspace.id}
        print_json(facts)
        return
    migrated = f", migrated by {', '.join(restored.migrated)}" if restored.migrated else ""
    goes_on = f", {restored.jobs} jobs go on" if restored.jobs else ""
    typer.echo(f"{slug} {what}: {_told(restored.rows, restored.files)}{goes_on}{migrated}")


def _told(rows: dict[str, int], files: int | None = None) -> str:
    told = f"{sum(rows.values())} rows of {len(rows)} tables"
    return told if files is None else f"{told}, {files} files"


def _json(value: dict[str, Any]) -> str:
    import json

    return json.dumps(value, indent=2, default=str)


def _aside(line: str) -> None:
    typer.echo(line, err=True)


@contextmanager
def _output(path: str) -> Iterator[BinaryIO]:
    """A stream to a file that is there, whole, only at the end of the block; nobody else may read it."""
    from core.errors import ConfigError

    if path == "-":
        if sys.stdout.isatty():
            raise ConfigError("a backup is nothing to look at: send standard output to a file or program")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    if target.exists():
        raise ConfigError(f"{path} exists: it is not overwritten")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        draft.rename(target)
    except OSError as error:
        if error.filename is None and not error.errno:
            raise
        raise ConfigError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _input(path: str) -> Iterator[BinaryIO]:
    from core.errors import ConfigError

    if path == "-":
        # Unbuffered: what has come is read at once.
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as raw:
            yield cast("BinaryIO", raw)
        return
    try:
        source = Path(path).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    with source:
        yield source
