# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm serve`: the HTTP server, in one process or several."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from multiprocessing import parent_process
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.collector import relax
from core.commands.console import load_settings, on_stop, run

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess as ParentProcess

    from core.errors import ConfigError
    from core.http.application import Application
    from core.http.services import Services
    from core.settings import Settings

#: Seconds that requests and subscriptions have left when the server is told to stop.
LAST_SECONDS = 5
#: Seconds that a silent connection is kept: longer than proxies keep theirs (60 most often), so that they end it and
#: not we. Otherwise a request may be on its way into a connection that is just being closed, and is lost.
KEEP_ALIVE_SECONDS = 75


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; CRM_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; CRM_PORT.")] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that answer; with several, run crm worker beside them.")
    ] = 1,
) -> None:
    """Serve the workspaces over HTTP until Ctrl-C or SIGTERM."""
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = load_settings(**given)
    listener = listen(settings.host, settings.port)
    with listener:
        if workers == 1:
            run(_alone(settings, listener))
        else:
            _many(settings, listener, workers)


async def _alone(settings: Settings, listener: socket.socket) -> None:
    async with early_server(settings):
        from core.app import build_app

        app = build_app(settings)
        async with opened(app) as services:
            await answer(app, services, listener)


@asynccontextmanager
async def early_server(settings: Settings) -> AsyncIterator[None]:
    """Hold the embedded server, if there is to be one, which comes up while the block imports what it needs."""
    if settings.database_url is not None:
        yield
        return
    from core import embedded
    from core.errors import CrmError

    loop = asyncio.get_running_loop()
    starting = loop.run_in_executor(None, embedded.start, settings.data_dir, settings.postgres_bin)
    try:
        yield
    finally:
        # Where it did not come up, whoever opened the database has said so.
        with suppress(CrmError):
            await asyncio.to_thread((await starting).stop)


def _many(settings: Settings, listener: socket.socket, workers: int) -> None:
    """Let uvicorn keep so many processes alive; this one only holds the embedded server for them."""
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from core import embedded
    from core.log import configure

    server = None if settings.database_url else embedded.start(settings.data_dir, settings.postgres_bin)
    try:
        run(_check(settings))
        configure(settings)
        with TemporaryDirectory(prefix="crm-metrics-") as metrics:
            # Only what the environment says reaches the others.
            os.environ |= {
                "CRM_HOST": settings.host,
                "CRM_PORT": str(settings.port),
                "CRM_METRICS_DIR": str(settings.metrics_dir or metrics),
            }
            config = uvicorn.Config(
                "core.commands.serve:application", factory=True, lifespan="on", workers=workers, **_options(settings)
            )
            Multiprocess(config, [listener]).run()
    finally:
        if server is not None:
            server.stop()


async def _check(settings: Settings) -> None:
    """Raise here, in one line, what would else be raised in every worker again and again."""
    from core.app import build_app

    async with opened(build_app(settings)):
        pass


def application() -> Any:
    """The application of one worker, as the environment configures it."""
    from core.app import build_app
    from core.settings import Settings

    relax()
    if (parent := parent_process()) is not None:
        # Killed, it could not tell its children to stop, and they would keep the port.
        Thread(target=_end_after, args=(parent,), daemon=True).start()
    return build_app(Settings.load())


def _end_after(parent: ParentProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def listen(host: str, port: int) -> socket.socket:
    """Take a port without letting anybody in yet. Raises ConfigError where it is in use or cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise _taken(host, port, error) from error
    return listener


def _taken(host: str, port: int, error: OSError) -> ConfigError:
    from core.errors import ConfigError

    reason = "it is in use" if error.errno == errno.EADDRINUSE else (error.strerror or str(error)).lower()
    return ConfigError(f"cannot listen on {host} port {port}: {reason}; choose another port", host=host, port=port)


@asynccontextmanager
async def opened(app: Application) -> AsyncIterator[Services]:
    """What an application stands on between its startup and its shutdown; what startup raises is raised here."""
    events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    started = asyncio.Event()

    async def send(event: dict[str, Any]) -> None:
        if event["type"] == "lifespan.startup.complete":
            started.set()

    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    life = asyncio.ensure_future(app(scope, events.get, send))
    waiting = asyncio.ensure_future(started.wait())
    await events.put({"type": "lifespan.startup"})
    try:
        await asyncio.wait((life, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not started.is_set():
            await life
        assert app.services is not None
        yield app.services
    finally:
        waiting.cancel()
        await events.put({"type": "lifespan.shutdown"})
        await life


async def answer(
    app: Application, services: Services, listener: socket.socket, ready: Callable[[], None] = lambda: None
) -> None:
    """Answer requests on a listening socket until SIGINT or SIGTERM; `ready` is called when it does.

    Background jobs are done in the same process where the settings say so.
    """
    import uvicorn

    class Server(uvicorn.Server):
        """One that leaves the signals to `on_stop`: uvicorn raises them again, before the application is closed."""

        @contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    try:
        # Two sockets may be bound to one port as long as neither listens.
        listener.listen()
    except OSError as error:
        raise _taken(app.settings.host, app.settings.port, error) from error
    server = Server(uvicorn.Config(app, lifespan="off", **_options(app.settings)))
    on_stop(lambda number: server.handle_exit(number, None))
    stop = asyncio.Event()
    worker = asyncio.create_task(_work(services, stop))
    # One that fails ends the server too, with its error.
    worker.add_done_callback(lambda _: server.handle_exit(signal.SIGTERM, None))
    try:
        await server.serve([listener])
    finally:
        stop.set()
        await worker


async def _work(services: Services, stop: asyncio.Event) -> None:
    """Do background jobs beside the requests, where the settings ask for it, until `stop` is set."""
    if not services.settings.worker_inside:
        await stop.wait()
        return
    # In a thread: the first requests need not wait for it.
    module = await asyncio.to_thread(import_module, "core.worker")
    if not stop.is_set():
        await module.Worker(services.database, services.features).run(stop)


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "http": "httptools",
        "ws": "websockets-sansio",
        "ws_max_size": settings.max_body_bytes,
        # Events are small and go to many: compressing each would cost more than all the rest.
        "ws_per_message_deflate": False,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": LAST_SECONDS,
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": list(settings.trusted_proxies),
    }
