from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import BadInput
from core.periods import UNITS, bounds
from tests.reference import floor, shift

ZONES = ("Asia/Ho_Chi_Minh", "UTC", "America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu")
TIMES = st.integers(0, 3_900_000_000).map(lambda s: datetime.fromtimestamp(s, UTC))
CALENDAR = ("this", "previous", "following")


def local(zone: str, *parts: int, fold: int = 0) -> datetime:
    return datetime(*parts, tzinfo=ZoneInfo(zone), fold=fold)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("period", "unit", "low", "high"),
    [
        ("this", "DAY", (2026, 3, 17), (2026, 3, 18)),
        ("previous", "DAY", (2026, 3, 16), (2026, 3, 17)),
        ("following", "DAY", (2026, 3, 18), (2026, 3, 19)),
        ("this", "WEEK", (2026, 3, 16), (2026, 3, 23)),
        ("previous", "MONTH", (2026, 2, 1), (2026, 3, 1)),
        ("this", "QUARTER", (2026, 1, 1), (2026, 4, 1)),
        ("previous", "QUARTER", (2025, 10, 1), (2026, 1, 1)),
        ("following", "YEAR", (2027, 1, 1), (2028, 1, 1)),
        ("this", "HOUR", (2026, 3, 17, 0), (2026, 3, 17, 1)),
        ("previous", "MINUTE", (2026, 3, 17, 0, 29), (2026, 3, 17, 0, 30)),
    ],
)
def test_calendar_periods(period: str, unit: str, low: tuple[int, ...], high: tuple[int, ...]) -> None:
    zone = "Asia/Ho_Chi_Minh"
    now = datetime(2026, 3, 16, 17, 30, 12, 5, tzinfo=UTC)  # the 17th, half past midnight, in Viet Nam
    assert bounds(now, zone, period, unit) == (local(zone, *low), local(zone, *high))


@pytest.mark.parametrize(
    ("now", "count", "unit", "edge"),
    [
        ((2026, 3, 31), -1, "MONTH", (2026, 2, 28)),
        ((2024, 3, 31), -1, "MONTH", (2024, 2, 29)),
        ((2024, 2, 29), 1, "YEAR", (2025, 2, 28)),
        ((2026, 11, 30), 1, "QUARTER", (2027, 2, 28)),
        ((2026, 1, 1), -1, "DAY", (2025, 12, 31)),
    ],
)
def test_rolling_months_end_with_the_month(
    now: tuple[int, int, int], count: int, unit: str, edge: tuple[int, int, int]
) -> None:
    at = datetime(*now, 12, tzinfo=UTC)
    low, high = bounds(at, "UTC", "last" if count < 0 else "next", unit, abs(count))
    assert (low if count < 0 else high) == datetime(*edge, 12, tzinfo=UTC)


def test_now_lies_in_what_ends_now() -> None:
    now = datetime(2026, 3, 17, tzinfo=UTC)
    low, high = bounds(now, "UTC", "last", "DAY", 0)
    assert low <= now < high
    low, high = bounds(now, "UTC", "next", "DAY", 0)
    assert low == high == now


def test_hours_are_hours_when_the_clocks_change() -> None:
    zone = "America/New_York"
    # Clocks went back from 2:00 to 1:00; it is half past one for the second time.
    now = local(zone, 2026, 11, 1, 1, 30, fold=1).astimezone(UTC)
    low, _ = bounds(now, zone, "last", "HOUR", 2)
    assert low == now - timedelta(hours=2)
    start, end = bounds(now, zone, "this", "HOUR")
    assert start <= now < end
    assert end - start == timedelta(hours=1)
    assert bounds(now, zone, "previous", "HOUR") == (start - timedelta(hours=1), start)
    # A day has 25 of them.
    start, end = bounds(now, zone, "this", "DAY")
    assert end - start == timedelta(hours=25)
    # Midnight came twice in Havana: the day begins with the first.
    now = local("America/Havana", 2026, 11, 1, 0, 30, fold=1).astimezone(UTC)
    start, end = bounds(now, "America/Havana", "this", "DAY")
    assert start == local("America/Havana", 2026, 11, 1).astimezone(UTC)
    assert end - start == timedelta(hours=25)


@given(TIMES, st.sampled_from(ZONES), st.sampled_from(UNITS))
@example(datetime(2026, 11, 1, 6, 30, tzinfo=UTC), "America/New_York", "HOUR")
@example(datetime(2026, 4, 4, 15, 15, tzinfo=UTC), "Australia/Lord_Howe", "HOUR")
def test_calendar_periods_lie_end_to_end(now: datetime, zone: str, unit: str) -> None:
    previous, this, following = (bounds(now, zone, p, unit) for p in ("previous", "this", "following"))
    assert this[0] <= now < this[1]
    assert previous[0] < previous[1] == this[0]
    assert this[1] == following[0] < following[1]
    assert all(t.tzinfo is UTC for t in (*previous, *this, *following))


@given(TIMES, st.sampled_from(ZONES), st.sampled_from(("DAY", "WEEK", "MONTH", "QUARTER", "YEAR")), st.integers(0, 60))
def test_agrees_with_the_reference(now: datetime, zone: str, unit: str, count: int) -> None:
    at = now.astimezone(ZoneInfo(zone))
    assert bounds(now, zone, "last", unit, count)[0] == shift(at, unit, -count).astimezone(UTC)
    assert bounds(now, zone, "next", unit, count)[1] == shift(at, unit, count).astimezone(UTC)
    assert bounds(now, zone, "this", unit)[0] == floor(at, unit).astimezone(UTC)


@pytest.mark.parametrize("count", [-1, 100_001])
def test_absurd_counts(count: int) -> None:
    with pytest.raises(BadInput):
        bounds(datetime(2026, 3, 17, tzinfo=UTC), "UTC", "last", "DAY", count)


@pytest.mark.parametrize("period", ["last", "next"])
@pytest.mark.parametrize("unit", ["MONTH", "QUARTER", "YEAR"])
def test_beyond_the_calendar(period: str, unit: str) -> None:
    with pytest.raises(BadInput):
        bounds(datetime(2026, 3, 17, tzinfo=UTC), "UTC", period, unit, 100_000)


def test_every_period_of_every_unit_is_known() -> None:
    now = datetime(2026, 3, 17, 12, tzinfo=UTC)
    for unit in UNITS:
        for period in ("last", "next", *CALENDAR):
            low, high = bounds(now, "Asia/Ho_Chi_Minh", period, unit)
            assert low < high
