# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm demo`: a whole deployment with data in it, from nothing, in one command."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.commands.console import Deployment, load_settings, run, stdout

if TYPE_CHECKING:
    import socket

    from core.context import Workspace
    from core.demo.load import Account, Loader, Progress
    from core.http.services import Services
    from core.settings import Settings

SLUG = "default"
FILE = "demo.json"
PLUGINS = ("dedupe", "groups", "import_excel", "shared_pool", "sharing", "tiering")
#: What the demo sets where nobody has set it: a quiet log, and a frontend in development on the same machine may call.
DEFAULTS: dict[str, Any] = {
    "log_level": "warning",
    "log_format": "console",
    "cors_origins": ("http://localhost:*", "http://127.0.0.1:*"),
}
QUERY = "{ customers(first: 3) { totalCount nodes { code name owner { displayName } } } }"


def demo(
    customers: Annotated[
        int, typer.Option(min=0, max=1_000_000, envvar="CUSTOMERS", help="Customers to load the first time.")
    ] = 2000,
    port: Annotated[int | None, typer.Option(envvar="PORT", help="Port to listen on.")] = None,
) -> None:
    """Serve a demo workspace with realistic Vietnamese customers; the first start loads them.

    Everything is kept under ./.crm: the database, and demo.json with the accounts. Delete that folder to start anew.
    """
    from core.commands.serve import listen
    from core.errors import ConfigError

    given: dict[str, Any] = {"default_workspace": SLUG} | ({} if port is None else {"port": port})
    settings = load_settings(**given)
    if settings.production:
        raise ConfigError("the demo has well-known accounts: it does not start with CRM_PRODUCTION")
    with listen(settings.host, settings.port) as listener, _alone(settings.data_dir):
        run(_begin(settings, listener, customers))


async def _begin(settings: Settings, listener: socket.socket, customers: int) -> None:
    from core.commands.serve import early_server

    async with early_server(settings):
        await _demo(settings, listener, customers)


async def _demo(settings: Settings, listener: socket.socket, customers: int) -> None:
    from core.app import build_app
    from core.commands.serve import answer, opened
    from core.demo.load import Loader

    served = settings.model_copy(
        update={name: value for name, value in DEFAULTS.items() if name not in settings.model_fields_set}
    )
    file = settings.data_dir / FILE
    url = f"http://{_shown(settings.host)}:{settings.port}/graphql"
    # The application is opened first: what it opens is all that loading needs, and the first answer comes at once.
    app = build_app(served)
    async with opened(app) as services:
        found = _deployment(services)
        workspace = await _workspace(found)
        loader = Loader(found.database, workspace, await found.features.composition(workspace))
        progress = await loader.begin(customers)
        if not progress.done:
            progress = await _load(loader, progress)
        accounts = await _accounts(loader, file, url)
        await answer(app, services, listener, lambda: _announce(progress, customers, url, accounts, file))


def _deployment(services: Services) -> Deployment:
    from core.features import Features
    from core.workspaces import Workspaces

    features = services.features
    assert isinstance(features, Features)
    return Deployment(services.settings, services.database, Workspaces(services.database), features)


def _shown(host: str) -> str:
    """An address that one can connect to, as it stands in a URL."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - that is what is asked for
    return f"[{host}]" if ":" in host else host


async def _workspace(found: Deployment) -> Workspace:
    """The demo's workspace with its tables, roles and plugins, made where there is none."""
    from core.commands.setup import set_up
    from core.demo.load import demand_demo
    from core.errors import NotFound

    try:
        workspace = await found.workspaces.get(SLUG)
    except NotFound:
        workspace = await found.workspaces.create(SLUG)
    async with found.database.connection(workspace) as connection:
        await demand_demo(connection, workspace)
    await set_up(found, workspace)
    for plugin in await found.features.status(workspace):
        # One that was switched off by hand is DISABLED and stays so.
        if plugin.name in PLUGINS and plugin.state == "AVAILABLE":
            await found.features.enable(workspace, plugin.name)
    return workspace


async def _load(loader: Loader, start: Progress) -> Progress:
    """Load with a bar, or with a line for every tenth where nobody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        return await loader.customers(start, _lines(console.print, start))
    columns = (TextColumn("Loading customers"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("", total=start.customers, completed=start.loaded)
        return await loader.customers(start, lambda at: bar.update(task, completed=at.loaded))


def _lines(write: Callable[[str], None], start: Progress) -> Callable[[Progress], None]:
    tenths = start.loaded * 10 // max(start.customers, 1)

    def report(at: Progress) -> None:
        nonlocal tenths
        if at.loaded * 10 // at.customers > tenths:
            tenths = at.loaded * 10 // at.customers
            write(f"loaded {at.loaded:,} of {at.customers:,} customers")

    return report


async def _accounts(loader: Loader, file: Path, url: str) -> list[Account]:
    """The accounts as the file has them; new ones where it is missing or is another database's."""
    accounts = _read(file)
    if not accounts or not await loader.valid(account.token for account in accounts):
        accounts = await loader.accounts()
    _write(file, {"url": url, "accounts": [asdict(account) for account in accounts]})
    return accounts


def _read(file: Path) -> list[Account]:
    from core.demo.load import Account

    try:
        return [Account(**account) for account in json.loads(file.read_text())["accounts"]]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _write(file: Path, value: dict[str, Any]) -> None:
    """Put a file that only its owner reads in place of the old one, whole or not at all."""
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(value, out, indent=2)
        out.write("\n")
    draft.replace(file)


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Only one demo at a time in a folder. The kernel frees the lock however the process ends."""
    from core.errors import ConfigError

    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(data_dir / ".demo.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"cannot write to the data folder {data_dir}: {error.strerror}"
        raise ConfigError(message, path=str(data_dir)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(f"a demo is already running in {data_dir}", path=str(data_dir)) from error
    else:
        yield
    finally:
        os.close(lock)


def _announce(progress: Progress, wanted: int, url: str, accounts: Sequence[Account], file: Path) -> None:
    from rich import box
    from rich.table import Table

    console = stdout()
    console.print(f"The demo answers at {url}, with {progress.customers:,} customers.")
    if progress.customers != wanted:
        console.print(f"It was loaded with that many: delete {file.parent} to load {wanted:,}.")
    table = Table("role", "login", "password", box=box.SIMPLE_HEAD, pad_edge=False)
    first: dict[str, Account] = {}
    for account in accounts:
        if first.setdefault(account.role, account) is account:
            table.add_row(account.role, account.login, account.password)
    console.print(table)
    console.print(f"All {len(accounts)} accounts, with API keys: {file}. Try a query:")
    body = json.dumps({"query": QUERY})
    token = accounts[0].token if accounts else ""
    typer.echo(f"\ncurl {url} -H 'content-type: application/json' -H 'authorization: Bearer {token}' -d '{body}'\n")
    typer.echo("Ctrl-C stops it.")
