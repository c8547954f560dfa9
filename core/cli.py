"""The command `crm`. Every error ends it with one line on standard error and exit code 1."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from core.commands import (
    config,
    demo,
    doctor,
    documents,
    migrate,
    person,
    plugin,
    schema,
    serve,
    upgrade,
    user,
    worker,
    workspace,
    workspacefile,
)

app = typer.Typer(
    name="crm",
    help="A headless CRM: one GraphQL endpoint per workspace, everything beyond a small core added by plugins.",
    epilog="Settings come from the environment (CRM_PORT=9000) and from a file: --config, CRM_CONFIG or ./crm.toml.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo.demo)
app.command()(serve.serve)
app.command()(worker.worker)
app.command()(migrate.migrate)
app.command()(upgrade.upgrade)
app.command()(doctor.doctor)
for command in (workspacefile.plan, workspacefile.apply, workspacefile.export):
    workspace.app.command()(command)
app.add_typer(config.app, name="config")
app.add_typer(workspace.app, name="workspace")
app.add_typer(user.app, name="user")
app.command()(user.token)
app.add_typer(person.app, name="person")
app.add_typer(plugin.app, name="plugin")
app.add_typer(schema.app, name="schema")
app.add_typer(documents.app, name="documents")


@app.callback(invoke_without_command=True)
def crm(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    config: Annotated[Path | None, typer.Option("--config", help="The deployment's settings: a crm.toml.")] = None,
) -> None:
    """Take what is for every command."""
    if config is not None:
        # So that processes which a command starts have them, too.
        os.environ["CRM_CONFIG"] = str(config.absolute())
    if version:
        from importlib.metadata import version as installed  # noqa: PLC0415

        typer.echo(f"headless-crm {installed('headless-crm')}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments` (those of the process by default) and end the process."""
    sys.exit(_status(arguments))


def _status(arguments: Sequence[str] | None) -> int:
    from core.errors import CrmError  # noqa: PLC0415

    try:
        _add_plugged(sys.argv[1:] if arguments is None else arguments)
        status = app(args=arguments, prog_name="crm", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except CrmError as error:
        return _failed(error.message)
    except typer.TyperException as error:
        # Without a message it was the help that was printed.
        return _failed(message) if (message := error.format_message()) else 1
    except (typer.Abort, KeyboardInterrupt):
        return _failed("stopped", 130)
    except BrokenPipeError:
        # The reader has gone, as `head` does: nothing may be written any more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("CRM_LOG_LEVEL") == "debug":  # else one line, for people
            raise
        # PostgreSQL repeats rows on the further lines.
        reason = next(iter(str(error).splitlines()), "")
        return _failed(f"{type(error).__name__}: {reason} (CRM_LOG_LEVEL=debug shows where)")


def _add_plugged(arguments: Sequence[str]) -> None:
    """Add the commands of plugins: the one that is asked for, or all of them where the help may be.

    One that cannot be loaded is left out of the help and fails when it is asked for.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415

    from core.errors import PluginError  # noqa: PLC0415

    known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    before = ("", *arguments)
    words = (word for word, option in zip(arguments, before, strict=False) if option != "--config")
    asked = next((word for word in words if not word.startswith("-")), None)
    if asked in known - {None}:
        return
    for point in entry_points(group="crm.commands"):
        if point.name in known or asked not in (None, point.name):
            continue
        try:
            app.command(name=point.name)(point.load())
        except Exception as error:
            if asked is not None:
                raise PluginError(f"the command {point.name} cannot be loaded: {error}", plugin=point.value) from error


def _failed(message: str, status: int = 1) -> int:
    line = " ".join(message.split())
    typer.echo(f"{typer.style('error:', fg='red')} {line}", err=True)
    return status
