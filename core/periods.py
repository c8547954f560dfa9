"""Periods relative to now, in a workspace's time zone: "last 30 days", "this month"."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from core.errors import BadInput

#: Units a period is counted in.
UNITS = ("MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR")
_TIMES = {"MINUTE": timedelta(minutes=1), "HOUR": timedelta(hours=1)}
_DAYS = {"DAY": timedelta(days=1), "WEEK": timedelta(weeks=1)}
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


def bounds(now: datetime, zone: str, period: str, unit: str, count: int = 1) -> tuple[datetime, datetime]:
    """The half-open span [from, to) of a period, as UTC times.

    `last` and `next` roll: the last 30 days end now. `this`, `previous` and `following` are calendar periods of
    the zone; weeks begin on Monday. Raises BadInput for a negative or absurd count.
    """
    if not 0 <= count <= 100_000:
        raise BadInput("a period's count must be between 0 and 100000")
    local = now.astimezone(ZoneInfo(zone))
    try:
        if period == "last":
            return _shift(local, unit, -count).astimezone(UTC), now + timedelta(microseconds=1)
        if period == "next":
            return now, _shift(local, unit, count).astimezone(UTC)
        start = _floor(local, unit)
        offset = {"this": 0, "previous": -1, "following": 1}[period]
        return _shift(start, unit, offset).astimezone(UTC), _shift(start, unit, offset + 1).astimezone(UTC)
    except (OverflowError, ValueError):
        raise BadInput("a period reaches outside the calendar") from None


def _floor(t: datetime, unit: str) -> datetime:
    if unit in _TIMES:
        past = timedelta(minutes=t.minute if unit == "HOUR" else 0, seconds=t.second, microseconds=t.microsecond)
        return (t.astimezone(UTC) - past).astimezone(t.tzinfo)
    t = t.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if unit == "WEEK":
        return t - timedelta(days=t.weekday())
    if unit in _MONTHS:
        return t.replace(day=1, month=t.month - (t.month - 1) % _MONTHS[unit])
    return t


def _shift(t: datetime, unit: str, count: int) -> datetime:
    if unit in _TIMES:
        # An hour takes an hour even when the clocks change; a day may take another.
        return (t.astimezone(UTC) + _TIMES[unit] * count).astimezone(t.tzinfo)
    if unit in _DAYS:
        return t + _DAYS[unit] * count
    months = t.year * 12 + t.month - 1 + _MONTHS[unit] * count
    year, month = divmod(months, 12)
    day = t.day
    while True:
        try:
            return t.replace(year=year, month=month + 1, day=day)
        except ValueError:
            if not 1 <= year <= 9999 or day <= 28:
                raise
            day -= 1
