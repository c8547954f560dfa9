"""Moments as tests name them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from core import clock


def as_of(moment: datetime | timedelta | str) -> AbstractContextManager[None]:
    """Let the clock stand at a moment during a block: a time with a zone, ISO text with an offset, or a time from now.

    Raises ValueError for a moment without a time zone and for text that is no moment.
    """
    if isinstance(moment, timedelta):
        moment = clock.now() + moment
    elif isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return clock.standing_at(moment)
