# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm worker`: background jobs in a process of their own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from core.commands.console import deployment, load_settings, on_stop, run

if TYPE_CHECKING:
    from core.settings import Settings


def worker(
    concurrency: Annotated[int, typer.Option(min=2, help="Jobs done at the same time.")] = 4,
) -> None:
    """Do background jobs until Ctrl-C or SIGTERM; any number of workers may run, on any machine."""
    from core import tracing
    from core.log import configure

    settings = load_settings()
    configure(settings)
    tracing.start(settings)
    try:
        run(_work(settings, concurrency))
    finally:
        tracing.stop()


async def _work(settings: Settings, concurrency: int) -> None:
    from core.worker import Worker

    async with deployment(settings) as opened:
        stop = asyncio.Event()
        on_stop(lambda _: stop.set())
        await Worker(opened.database, opened.features, concurrency=concurrency).run(stop)
