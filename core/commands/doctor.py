# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm doctor`: what is wrong with this deployment, and what is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer

from core.commands.console import Deployment, Json, deployment, load_settings, print_json, run

if TYPE_CHECKING:
    from core.context import Workspace
    from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found: `detail` is the reason where it is not `ok`."""

    what: str
    ok: bool
    detail: str


def doctor(as_json: Json = False) -> None:
    """Look at settings, database, plugins and workspaces; the exit code says whether all is well."""
    findings = run(_look(load_settings()))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = typer.style("ok  ", fg="green") if finding.ok else typer.style("FAIL", fg="red")
            typer.echo(f"{mark}  {finding.what}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


async def _look(settings: Settings) -> list[Finding]:
    from core.errors import CrmError

    findings = [_secret(settings), _files(settings)]
    try:
        async with deployment(settings) as opened:
            findings.append(await _database(opened))
            findings += _plugins(opened)
            for workspace in await opened.workspaces.list():
                findings += [finding async for finding in _workspace(opened, workspace)]
    except CrmError as error:
        findings.append(Finding("database", False, error.message))
    return findings


def _secret(settings: Settings) -> Finding:
    from core.errors import CrmError

    try:
        settings.signing_key()
    except CrmError as error:
        return Finding("secret", False, error.message)
    given = settings.secret is not None
    return Finding("secret", True, "from the settings" if given else f"in {settings.data_dir / 'secret'}")


def _files(settings: Settings) -> Finding:
    from core.errors import CrmError
    from core.files import FileStore

    try:
        draft = FileStore(settings).draft()
        draft.touch(0o600)
        draft.unlink()
    except (OSError, CrmError) as error:
        reason = error.message if isinstance(error, CrmError) else f"{error.strerror}: {error.filename}"
        return Finding("files", False, f"cannot be written: {reason}")
    return Finding("files", True, f"in {settings.files}")


async def _database(opened: Deployment) -> Finding:
    from core.database import address

    async with opened.database.admin() as connection:
        version = await connection.fetchval("show server_version")
    where = address(opened.database.dsn) if opened.settings.database_url else "the embedded server's"
    return Finding("database", True, f"PostgreSQL {version}, {where}")


def _plugins(opened: Deployment) -> list[Finding]:
    return [
        Finding(f"plugin {s.name}", not s.reason, s.reason or f"version {s.version} can be used")
        for s in opened.features.registry.status()
    ]


async def _workspace(opened: Deployment, workspace: Workspace) -> AsyncIterator[Finding]:
    from core.errors import CrmError
    from core.migrate import pending

    what = f"workspace {workspace.slug}"
    try:
        waiting = await pending(opened.database, workspace, await opened.features.apps(workspace))
        if waiting:
            yield Finding(what, False, f"not migrated, run crm migrate --all: {', '.join(waiting)} missing")
            return
        statuses = await opened.features.status(workspace)
        composed = await opened.features.composed(workspace)
    except CrmError as error:
        yield Finding(what, False, error.message)
        return
    on = [s.name for s in statuses if s.enabled]
    yield Finding(what, True, f"migrated, plugins on: {', '.join(on) or 'none'}")
    bad = {s.name: s.reason for s in statuses if s.enabled and s.reason} | dict(composed.left_out)
    for name, reason in sorted(bad.items()):
        yield Finding(f"{what}, {name}", False, reason)
