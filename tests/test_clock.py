"""The one clock: who reads it, and that it can be made to stand."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from core import clock
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.grants import SYSTEM
from core.rows import new_id

MOMENT = datetime(2031, 3, 1, 9, tzinfo=timezone(timedelta(hours=7)))
#: Doors, logs, made-up data and whoever compares clocks go by the machine's own.
OWN = {
    "core/clock.py",
    "core/demo/load.py",
    "core/doctor/server.py",
    "core/http/access.py",
    "core/http/events.py",
    "core/http/socket.py",
}


def test_it_goes_by_the_machine_s_clock() -> None:
    before = datetime.now(UTC)
    assert before <= clock.now() < before + timedelta(seconds=1)


async def test_it_stands_for_a_block_and_what_that_awaits_only() -> None:
    go = asyncio.Event()

    async def beside() -> datetime:
        await go.wait()
        return clock.now()

    task = asyncio.create_task(beside())
    with clock.standing_at(MOMENT):
        go.set()
        assert clock.now() == MOMENT
        assert clock.now().tzinfo is UTC
        assert await asyncio.to_thread(clock.now) == MOMENT
        assert await asyncio.create_task(beside()) == MOMENT
        with clock.standing_at(MOMENT + timedelta(days=1)):
            assert clock.now() == MOMENT + timedelta(days=1)
        assert clock.now() == MOMENT
        assert await task < MOMENT
        request = RequestContext(Workspace(new_id(), "x", "x", "x"), Actor(ActorKind.SYSTEM, SYSTEM))
        assert request.now == MOMENT
    assert clock.now() < MOMENT


def test_a_moment_needs_a_time_zone() -> None:
    with pytest.raises(ValueError, match="a moment needs a time zone"), clock.standing_at(datetime(2031, 3, 1)):  # noqa: DTZ001
        pass


def test_nothing_else_asks_the_machine_what_time_it_is(project: Path) -> None:
    files = [*(project / "core").rglob("*.py"), *(project / "plugins").rglob("*.py")]
    asks = re.compile(r"\bdate(time)?\.(now|today|utcnow)\(")
    found = {str(f.relative_to(project)) for f in files if asks.search(f.read_text())}
    assert found <= OWN, f"use core.clock.now(): {sorted(found - OWN)}"
