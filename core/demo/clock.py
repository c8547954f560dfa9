"""Office hours and time-ordered ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

if TYPE_CHECKING:
    from datetime import datetime

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY
WORKDAYS: Final = 6
OPENING: Final = 8 * HOUR
SHIFT: Final = 10 * HOUR
#: Monday 5 January 1970, midnight in Viet Nam (UTC+7), in epoch milliseconds.
FIRST_MONDAY: Final = 4 * DAY - 7 * HOUR

RANDOM_LOW: Final = (1 << 62) - 1


class OfficeClock:
    """Spreads moments over the years before `end`, all within Vietnamese office hours, Monday to Saturday.

    In epoch milliseconds; the later a moment, the denser its surroundings, as in a growing business.
    """

    def __init__(self, count: int, end: datetime, years: int = 5) -> None:
        """Prepare `count` moments before `end`."""
        self._count = count
        self._span = years * 52 * WORKDAYS * SHIFT - count
        self._first = _worked(int(end.timestamp() * 1000)) - self._span - count

    def moment(self, index: int, jitter: float) -> int:
        """Return the index-th moment (from 0), strictly later than the one before; `jitter` is in [0, 1)."""
        worked = self._first + index + int(self._span * ((index + jitter) / self._count) ** 0.7)
        day, time = divmod(worked, SHIFT)
        week, weekday = divmod(day, WORKDAYS)
        return FIRST_MONDAY + week * WEEK + weekday * DAY + OPENING + time


def _worked(moment: int) -> int:
    """Return how many milliseconds had been worked before a moment, nights and Sundays left out."""
    week, rest = divmod(moment - FIRST_MONDAY, WEEK)
    day, time = divmod(rest, DAY)
    if day >= WORKDAYS:
        return (week + 1) * WORKDAYS * SHIFT
    return (week * WORKDAYS + day) * SHIFT + min(max(time - OPENING, 0), SHIFT)


def uuid7(moment: int, bits: int) -> UUID:
    """Return the UUIDv7 of an epoch millisecond and 74 random bits."""
    return UUID(int=moment << 80 | 7 << 76 | bits >> 62 << 64 | 2 << 62 | bits & RANDOM_LOW)
