# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm config`: the deployment's settings, whether they are right, and where each comes from."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from core.commands.console import Json, print_json, show

if TYPE_CHECKING:
    from core.settings import Settings

app = typer.Typer(help="Check and show the settings; print a file of them to begin with.", no_args_is_help=True)

MASKED = "***"
WIDTH = 100


@app.command()
def check(as_json: Json = False) -> None:
    """Name every fault of the settings; the exit code says whether there is one."""
    from core.given import gather
    from core.settings import Settings

    found = gather()
    Settings.of(found)
    if as_json:
        print_json({"file": found.file, "faults": found.faults})
    else:
        for fault in found.faults:
            typer.echo(f"{typer.style('FAIL', fg='red')}  {fault}")
        if not found.faults:
            file = f"{found.file} and the environment are" if found.file else "no file is there, the environment is"
            typer.echo(f"{typer.style('ok', fg='green')}  {file} right: {len(found.values)} settings are given")
    if found.faults:
        raise typer.Exit(1)


@app.command(name="show")
def show_(as_json: Json = False) -> None:
    """Show the settings in force and where each comes from; secrets are masked."""
    from core.given import gather
    from core.settings import Settings

    settings = Settings.load()
    rows = list(_rows(settings, {name: (o.source, o.place) for name, o in gather().origins.items()}))
    if as_json:
        print_json(rows)
    else:
        show(as_json, [{**row, "value": _text(row["value"])} for row in rows], "")


@app.command()
def template() -> None:
    """Print a crm.toml with every setting, its meaning and its default, as comments."""
    from core.given import SECRETS
    from core.sections import SECTIONS

    for section, model in SECTIONS.items():
        typer.echo(f"# {model.__doc__}\n[{section}]")
        for name, field in model.model_fields.items():
            typer.echo(textwrap.fill(f"{field.description}.", WIDTH, initial_indent="# ", subsequent_indent="# "))
            example = _example(field.default)
            if name in SECRETS:
                typer.echo(f'# {name} = {example}  # or, better, {name}_file = "/run/secrets/{name}"')
            else:
                typer.echo(f"# {name} = {example}")
        typer.echo()


def _rows(settings: Settings, origins: dict[str, tuple[str, str]]) -> Iterator[dict[str, Any]]:
    from core.given import SECRETS
    from core.sections import SECTIONS

    for section, model in SECTIONS.items():
        for name in model.model_fields:
            value = getattr(settings, name)
            source, place = origins.get(name, ("default", ""))
            shown = value if value is None or name not in SECRETS else MASKED
            yield {"section": section, "setting": name, "value": shown, "from": source, "place": place}


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _example(value: Any) -> str:
    """A default as TOML; a text where there is none."""
    if value is None:
        return '""'
    if isinstance(value, tuple):
        return json.dumps(list(value))
    return json.dumps(value, default=str)
