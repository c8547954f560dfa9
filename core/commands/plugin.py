# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm plugin`: what is installed, and whether it is well made."""

from __future__ import annotations

import typer

from core.commands.check import check
from core.commands.console import Json, load_settings, show

app = typer.Typer(help="See the installed plugins, and check one.", no_args_is_help=True)


@app.callback()
def plugin() -> None:
    """See the installed plugins, and check one."""


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
