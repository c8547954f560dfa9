# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm plugin`: what is installed, whether it is well made, and a plugin to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.commands.check import check
from core.commands.console import Json, load_settings, show

app = typer.Typer(help="See the installed plugins, check one, begin one.", no_args_is_help=True)

_NEXT = """{place} is a plugin that works: a record type, a field and a filter of customers,
a rule, an ability, mutations, a nightly job, settings, messages and tests. Next:

    cd {place}
    python3 -m venv .venv
    .venv/bin/pip install -e '.[testing]'
    .venv/bin/pytest
    .venv/bin/crm plugin check .

Then make it yours: records.py says what there is, hooks.py what the plugin takes part in."""


@app.callback()
def plugin() -> None:
    """See the installed plugins, check one, begin one."""


app.command()(check)


@app.command(name="list")
def list_(as_json: Json = False) -> None:
    """List the installed plugins, and why one cannot be used."""
    from core.plugins import PluginRegistry

    load_settings()
    registry = PluginRegistry.discover()
    rows = [
        {"name": s.name, "version": s.version, "state": s.state.value, "reason": s.reason} for s in registry.status()
    ]
    show(as_json, rows, "no plugin is installed")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="What it is called: lower case letters, digits and _, as gift_cards.")],
    folder: Annotated[Path, typer.Option(help="Where its own folder is made.")] = Path(),
) -> None:
    """Write a new plugin: a complete package of its own, with tests, to be made into yours."""
    from core.scaffold.new import create

    load_settings()
    typer.echo(_NEXT.format(place=create(name, folder)))
