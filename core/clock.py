"""The one clock: what time it is, for everything that records, rules and schedules depend on.

Requests, change sets and jobs take their `now` from here when they begin. What guards the door or measures (tokens,
timeouts, heartbeats, log lines) goes by the machine's own clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_STANDING: ContextVar[datetime | None] = ContextVar("crm_clock", default=None)


def now() -> datetime:
    """What time it is, in UTC."""
    return _STANDING.get() or datetime.now(UTC)


@contextmanager
def standing_at(moment: datetime) -> Iterator[None]:
    """Let the clock stand at a moment (with a time zone) for whatever the block does, awaited or in threads of its own.

    Other tasks of the process go on by the machine's clock.
    """
    if moment.tzinfo is None:
        message = "a moment needs a time zone"
        raise ValueError(message)
    token = _STANDING.set(moment.astimezone(UTC))
    try:
        yield
    finally:
        _STANDING.reset(token)
