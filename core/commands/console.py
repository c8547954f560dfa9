# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""What every command shares: how it runs, what it prints, and how it asks."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from core.collector import relax

if TYPE_CHECKING:
    from core.context import Workspace
    from core.database import Database
    from core.features import Features
    from core.settings import Settings
    from core.workspaces import Workspaces

Result = TypeVar("Result")

#: What a shell expects of a program that a signal ended.
ENDED_BY_SIGNAL = 128

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
InWorkspace = Annotated[
    str | None, typer.Option("--workspace", "-w", help="Slug of the workspace; without it the default one.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, not from a prompt.")
]


@dataclass(slots=True)
class Deployment:
    """An open deployment, as commands need it."""

    settings: Settings
    database: Database
    workspaces: Workspaces
    features: Features

    async def workspace(self, slug: str | None) -> Workspace:
        """The workspace with a slug, the default one without. Raises NotFound."""
        return await self.workspaces.get(slug or self.settings.default_workspace)


@asynccontextmanager
async def deployment(settings: Settings | None = None) -> AsyncIterator[Deployment]:
    """Open the deployment's database and what stands on it. Raises ConfigError or DatabaseError."""
    from core.database import Database
    from core.features import Features
    from core.workspaces import Workspaces

    settings = settings or load_settings()
    database = await Database.open(settings)
    try:
        features = Features(database, settings)
        try:
            yield Deployment(settings, database, Workspaces(database), features)
        finally:
            await features.close()
    finally:
        await database.close()


def load_settings(**values: Any) -> Settings:
    """The settings of a command: its log is silent, for it says itself what goes wrong, unless they ask for one."""
    from core.log import configure
    from core.settings import Settings

    settings = Settings.load(**values)
    if "log_level" in settings.model_fields_set:
        configure(settings)
    else:
        logging.getLogger().addHandler(logging.NullHandler())
    return settings


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's coroutine; Ctrl-C and SIGTERM cancel it, so that it closes what it opened, and end the process.

    Raises typer.Exit with 128 and the signal's number then.
    """
    relax()
    caught: list[int] = []

    async def watched() -> Result:
        task = asyncio.current_task()
        assert task is not None

        def stop(number: int) -> None:
            caught.append(number)
            task.cancel()

        on_stop(stop)
        return await main

    try:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(watched())
    except asyncio.CancelledError:
        raise typer.Exit(ENDED_BY_SIGNAL + (caught[0] if caught else signal.SIGINT)) from None


def on_stop(stop: Callable[[int], Any]) -> None:
    """Call `stop` with its number for each SIGINT and SIGTERM from now on, in place of what was called before."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, int(number))


def show(as_json: bool, rows: Sequence[dict[str, Any]], empty: str) -> None:
    """Print rows as a table, or as one JSON list; `empty` is what to say where there are none."""
    if as_json:
        print_json(list(rows))
    elif not rows:
        typer.echo(empty)
    else:
        from rich import box
        from rich.table import Table

        table = Table(*(name.replace("_", " ") for name in rows[0]), box=box.SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            table.add_row(*(_cell(value) for value in row.values()))
        stdout().print(table)


def print_json(value: Any) -> None:
    """Print a value as JSON that people can read too."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def stdout() -> Any:
    """The console on standard output. Piped, lines are as long as they need to be."""
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False, width=None if sys.stdout.isatty() else 200)


def _cell(value: Any) -> str:
    from rich.markup import escape

    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return escape(", ".join(map(str, value)))
    return "" if value is None else escape(str(value))


def confirm(question: str, answer: str, *, yes: bool) -> None:
    """Ask for `answer` to be typed, unless `yes`. Raises ConfigError where nobody can be asked or he says no."""
    from core.errors import ConfigError

    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("this cannot be taken back: add --yes to do it without asking")
    if typer.prompt(f"{question} Type {answer} to go on") != answer:
        raise ConfigError("nothing was changed")


def ask_password(*, from_stdin: bool) -> str:
    """A password, typed twice unseen or read as one line. Raises ConfigError where there is none."""
    from core.errors import ConfigError

    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        raise ConfigError("there is no terminal to ask for the password: give it with --password-stdin")
    if not password:
        raise ConfigError("the password is empty")
    return password
