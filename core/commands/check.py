# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm plugin check`: whether a plugin keeps the rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.commands.console import Json, load_settings, print_json, show

if TYPE_CHECKING:
    from core.check.checker import Found, Report

#: Exit codes besides 0: faults were found; it could not be checked.
FAULTY, UNCHECKED = 1, 2

_NEEDS = {1: "files", 2: "import", 3: "database"}


def check(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH...", help="Folder of a plugin or of its repository, or an installed plugin."),
    ] = None,
    static: Annotated[bool, typer.Option("--static", help="Read the files only, import nothing.")] = False,
    no_database: Annotated[bool, typer.Option("--no-database", help="Import it, but start no server.")] = False,
    select: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Only this rule or family, such as P301 or P3; repeatable.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="CODE", help="Not this one; repeatable.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the rules and check nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Check a plugin: its files, how it composes with core and all other plugins, and how it does in a workspace.

    The workspace is one of its own, on a server that runs as long as the check. A line is let through a rule by a
    comment on it or above it: # crm: allow CODE reason.

    Exit code 0: no fault was found. 1: there are faults. 2: it could not be checked.
    """
    from core.check.checker import check as run
    from core.check.checker import chosen
    from core.check.rule import Stage
    from core.errors import ConfigError, CrmError

    try:
        rules = chosen(select or (), ignore or ())
        if list_:
            rows = [{"code": r.code, "rule": r.sentence, "needs": _NEEDS[r.stage], "docs": r.docs} for r in rules]
            show(as_json, rows, "no rule")
            return
        if not paths:
            raise ConfigError("name the folder of a plugin, or an installed plugin")
        load_settings()
        stage = Stage.SOURCE if static else Stage.LOADED if no_database else Stage.TRIED
        reports = run(paths, rules, stage, (lambda _: None) if as_json else _print)
    except CrmError as error:
        typer.echo(f"{typer.style('error:', fg='red')} {' '.join(error.message.split())}", err=True)
        raise typer.Exit(UNCHECKED) from error
    if as_json:
        print_json([_json(report) for report in reports])
    if any(report.found for report in reports):
        raise typer.Exit(FAULTY)


def _print(report: Report) -> None:
    for found in report.found:
        code = typer.style(found.rule.code, fg="red")
        typer.echo(f"{_where(report, found)}: {code} {found.fault.message} ({found.rule.docs})")
    count = len(report.found)
    faults = typer.style("no fault", fg="green") if not count else f"{count} fault{'s' * (count > 1)}"
    stopped = f"; not all could be checked: {report.stopped}" if report.stopped else ""
    took = f"{len(report.rules)} rules in {report.seconds:.1f} s"
    typer.echo(f"{report.name} {report.version}".rstrip() + f": {faults}, {took}{stopped}")


def _where(report: Report, found: Found) -> str:
    """The line, the file, or the plugin's folder."""
    from core.check.rule import Place

    place = found.fault.place or Place(report.folder)
    return f"{_near(place.file)}:{place.line}" if place.line else _near(place.file)


def _near(file: Path) -> str:
    """A path as it is from here, where it is below."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)


def _json(report: Report) -> dict[str, Any]:
    return {
        "plugin": report.name,
        "version": report.version,
        "folder": str(report.folder),
        "faults": [
            {
                "code": found.rule.code,
                "message": found.fault.message,
                "rule": found.rule.sentence,
                "file": str(found.fault.place.file) if found.fault.place else None,
                "line": found.fault.place.line or None if found.fault.place else None,
                "docs": found.rule.docs,
            }
            for found in report.found
        ],
        "rules": [rule.code for rule in report.rules],
        "stopped": report.stopped or None,
        "seconds": round(report.seconds, 2),
    }
