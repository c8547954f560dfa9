"""The demo generator: repeatable, plausible, and in the proportions it promises."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tracemalloc
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from itertools import chain, pairwise
from statistics import fmean
from typing import TYPE_CHECKING
from uuid import RFC_4122, UUID

import pytest

from core.demo import Customer, DemoData, generate
from core.demo.clock import OfficeClock
from core.demo.places import PROVINCES, places
from core.demo.tax import tax_code
from core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
SIZE = 20_000
PHONE = re.compile(r"0(?:[35789]\d{8}|2\d{9})")
EMAIL = re.compile(r"[a-z0-9.]+@[a-z0-9]+(?:\.[a-z]+)+", re.IGNORECASE)

PRINT_FINGERPRINT = """
from tests.test_demo_generate import NOW, fingerprint
from core.demo import generate
print(fingerprint(generate(500, now=NOW)))
"""


def everybody(data: DemoData, batch: int = 5000) -> list[Customer]:
    return list(chain.from_iterable(data.customers(batch)))


def fingerprint(data: DemoData, batch: int = 5000) -> str:
    first = (data.users, data.teams, data.groups, everybody(data, batch)[:500])
    return hashlib.sha256(repr(first).encode()).hexdigest()


def national(phone: str) -> str:
    """Return the digits of a phone number as dialled inside the country."""
    digits = re.sub(r"\D", "", phone)
    return digits if digits.startswith("0") else f"0{digits.removeprefix('84')}"


def shared(values: Iterable[str | None]) -> set[str]:
    return {value for value, times in Counter(values).items() if value and times > 1}


@pytest.fixture(scope="module")
def data() -> DemoData:
    return generate(SIZE, now=NOW)


@pytest.fixture(scope="module")
def customers(data: DemoData) -> list[Customer]:
    return everybody(data)


def test_same_seed_same_data_in_another_process_with_other_hashes() -> None:
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "4711",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    other = subprocess.run(
        [sys.executable, "-c", PRINT_FINGERPRINT], env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == fingerprint(generate(500, now=NOW))


def test_batches_and_repetition_change_nothing() -> None:
    data = generate(1_234, now=NOW)
    assert [len(batch) for batch in data.customers(500)] == [500, 500, 234]
    assert everybody(data, 7) == everybody(data, 500) == everybody(data)


def test_another_seed_gives_other_customers_and_users() -> None:
    one, other = generate(500, seed=1, now=NOW), generate(500, seed=2, now=NOW)
    assert fingerprint(one) != fingerprint(other)
    assert one.users != other.users


def test_the_zone_of_now_does_not_matter() -> None:
    hanoi = NOW.astimezone(timezone(timedelta(hours=7)))
    assert fingerprint(generate(500, now=hanoi)) == fingerprint(generate(500, now=NOW))


def test_ids_and_codes_are_unique_and_ascend_with_creation(customers: list[Customer]) -> None:
    assert [customer["code"] for customer in customers] == [f"KH{number:07d}" for number in range(1, SIZE + 1)]
    for earlier, later in pairwise(customers):
        assert earlier["created_at"] < later["created_at"]
        assert earlier["id"] < later["id"]
    assert NOW - timedelta(days=6 * 365) < customers[0]["created_at"]
    assert customers[-1]["created_at"] <= NOW
    ids: list[UUID] = []
    for customer in customers:
        ids.append(customer["id"])
        ids += [contact["id"] for contact in customer["contacts"]]
        ids += [deal["id"] for deal in customer["opportunities"]]
        assert customer["id"].int >> 80 == round(customer["created_at"].timestamp() * 1000)
    assert len(set(ids)) == len(ids)
    assert all(found.version == 7 and found.variant == RFC_4122 for found in ids)
    assert max(found.int >> 80 for found in ids) <= NOW.timestamp() * 1000


@pytest.mark.parametrize("hour", [0, 3, 12, 20])
@pytest.mark.parametrize("day", range(1, 8))
def test_moments_lie_in_office_hours_before_the_end(day: int, hour: int) -> None:
    hanoi = timezone(timedelta(hours=7))
    end = datetime(2026, 6, day, hour, tzinfo=hanoi)
    clock = OfficeClock(300, end)
    moments = [clock.moment(index, 0.999999) for index in range(300)]
    assert moments == sorted(set(moments))
    assert moments[-1] <= end.timestamp() * 1000
    for moment in moments:
        local = datetime.fromtimestamp(moment / 1000, hanoi)
        assert 8 <= local.hour < 18
        assert local.isoweekday() <= 6


def test_tax_codes_of_real_companies() -> None:
    for code in ("0100109106", "0300588569", "0100233488"):
        assert tax_code(code[:9]) == code
    assert tax_code("000000000") is None


def test_tax_codes_are_valid(customers: list[Customer]) -> None:
    codes = [customer["tax_code"] for customer in customers]
    found = [code for code in codes if code]
    for code in found:
        assert re.fullmatch(r"\d{10}(-\d{3})?", code)
        weights = (31, 29, 23, 19, 17, 13, 7, 5, 3)
        total = sum(weight * int(digit) for weight, digit in zip(weights, code, strict=False))
        assert int(code[9]) == 10 - total % 11
    assert 0.005 < sum(len(code) == 14 for code in found) / len(found) < 0.15
    unclear = {None, *shared(codes)}
    offices = {province.name: province.tax for province in PROVINCES}
    own = [
        customer for customer in customers if customer["kind"] == "ORGANISATION" and customer["tax_code"] not in unclear
    ]
    assert fmean((c["tax_code"] or "").startswith(offices[c["province"]]) for c in own) > 0.98


def test_exactly_one_main_contact(customers: list[Customer]) -> None:
    for customer in customers:
        assert sum(contact["is_main"] for contact in customer["contacts"]) == bool(customer["contacts"])
        assert len(customer["contacts"]) <= 4


def test_averages(customers: list[Customer]) -> None:
    assert fmean(len(customer["contacts"]) for customer in customers) == pytest.approx(2, abs=0.1)
    assert fmean(len(customer["opportunities"]) for customer in customers) == pytest.approx(1.4, abs=0.07)
    assert fmean(len(customer["groups"]) for customer in customers) == pytest.approx(2, abs=0.1)
    assert fmean(customer["kind"] == "ORGANISATION" for customer in customers) == pytest.approx(0.45, abs=0.02)
    assert max(len(customer["opportunities"]) for customer in customers) == 4


@pytest.mark.parametrize("size", [2_000, SIZE])
def test_about_three_percent_share_a_phone_or_an_email(size: int) -> None:
    customers = everybody(generate(size, now=NOW))
    phones = [national(customer["phone"]) if customer["phone"] else None for customer in customers]
    emails = [customer["email"].lower() if customer["email"] else None for customer in customers]
    same_phone, same_email = shared(phones), shared(emails)
    sharing = sum(p in same_phone or e in same_email for p, e in zip(phones, emails, strict=True))
    assert 0.02 < sharing / size < 0.04


def test_phones_and_emails_are_well_formed(customers: list[Customer]) -> None:
    typed = [phone for customer in customers for phone in (customer["phone"], customer["fax"]) if phone]
    typed += [phone for customer in customers for contact in customer["contacts"] for phone in contact["phones"]]
    assert all(PHONE.fullmatch(national(phone)) for phone in typed)
    assert {"+84", "(+8", "84"} <= {phone[:3] for phone in typed} | {phone[:2] for phone in typed}
    assert sum(" " in phone for phone in typed) > len(typed) / 10
    emails = [customer["email"] for customer in customers]
    emails += [contact["email"] for customer in customers for contact in customer["contacts"]]
    assert all(EMAIL.fullmatch(email) for email in emails if email)


def test_names_are_mostly_nfc_with_a_few_odd_ones(customers: list[Customer]) -> None:
    names = [customer["name"] for customer in customers]
    composed = fmean(unicodedata.is_normalized("NFC", name) for name in names)
    assert 0.98 < composed < 1
    assert any(unicodedata.category(letter) == "So" for name in names for letter in name)
    assert 120 < max(map(len, names)) <= 255
    assert fmean(not name.isascii() for name in names) > 0.9


def test_opportunities_are_coherent(data: DemoData, customers: list[Customer]) -> None:
    logins = {user["login"] for user in data.users} | {None}
    deals = [(customer, deal) for customer in customers for deal in customer["opportunities"]]
    for _, deal in deals:
        closed = deal["outcome"] != "OPEN"
        assert (deal["stage"] == "CLOSED") is closed
        assert (deal["lost_reason"] is not None) is (deal["outcome"] == "LOST")
        assert 0 <= deal["probability"] <= 100
        assert deal["amount"] > 0
        assert deal["amount"] % 1_000 == 0
        assert deal["currency"] == "VND"
        assert deal["owner"] in logins
    assert {deal["outcome"] for _, deal in deals} == {"OPEN", "WON", "LOST"}
    assert {deal["stage"] for _, deal in deals} == {"NEW", "QUALIFIED", "PROPOSAL", "NEGOTIATION", "CLOSED"}
    assert any(deal["name"] is None for _, deal in deals)
    assert any(deal["owner"] != customer["owner"] for customer, deal in deals)
    assert any(deal["owner"] is None for _, deal in deals)


def test_groups_fit_their_families(data: DemoData, customers: list[Customer]) -> None:
    known = {(group["family"], group["name"]) for group in data.groups}
    assert len(known) == len(data.groups)
    used = Counter(membership for customer in customers for membership in customer["groups"])
    assert set(used) == known
    assert all(len(set(customer["groups"])) == len(customer["groups"]) for customer in customers)


def test_places_exist_and_lie_in_the_region_of_the_group(customers: list[Customer]) -> None:
    regions = {p.name: p.region for p in PROVINCES}
    real = {(p.name, place.district, place.ward) for p in PROVINCES for place in places(p)}
    for customer in customers:
        assert (customer["province"], customer["district"], customer["ward"]) in real
        assert all(n == regions[customer["province"]] for family, n in customer["groups"] if family == "Vùng")
    assert len({customer["province"] for customer in customers}) == len(PROVINCES)


def test_owners_are_skewed_and_sometimes_nobody(data: DemoData, customers: list[Customer]) -> None:
    owned = Counter(customer["owner"] for customer in customers)
    roles = {user["login"]: user["role"] for user in data.users}
    assert {roles[login] for login in owned if login} == {"manager", "salesperson"}
    assert 0.08 < owned[None] / SIZE < 0.16
    salespeople = [owned[login] for login, role in roles.items() if role == "salesperson"]
    assert min(salespeople) > 0
    assert max(salespeople) > 4 * min(salespeople)


@pytest.mark.parametrize(("size", "salespeople"), [(0, 6), (2_000, 6), (20_000, 11), (200_000, 50), (1_000_000, 50)])
def test_staff_grows_with_the_base(size: int, salespeople: int) -> None:
    data = generate(size, now=NOW)
    logins = [user["login"] for user in data.users]
    assert Counter(user["role"] for user in data.users) == Counter(
        admin=1, manager=2, salesperson=salespeople, readonly=1
    )
    assert {"admin", "manager", "sales", "sales2", "readonly"} < set(logins)
    assert len(set(logins)) == len(logins) == 4 + salespeople


def test_teams_have_members_and_their_lead_among_them(data: DemoData) -> None:
    logins = {user["login"] for user in data.users if user["role"] in {"manager", "salesperson"}}
    assert [team["name"] for team in data.teams] == [
        "Kinh doanh miền Bắc",
        "Kinh doanh miền Nam",
        "Kinh doanh miền Trung",
    ]
    assert all(team["lead"] in team["members"] for team in data.teams)
    assert sorted(login for team in data.teams for login in team["members"]) == sorted(logins)


def test_memory_stays_flat() -> None:
    def peak(size: int) -> int:
        tracemalloc.start()
        try:
            for _ in generate(size, now=NOW).customers(200):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(600)
    assert peak(4_000) < 1.3 * peak(1_000)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(BadInput):
        generate(-1, now=NOW)
    with pytest.raises(BadInput):
        generate(1, seed=-1, now=NOW)
    with pytest.raises(BadInput):
        generate(1, now=NOW.replace(tzinfo=None))
    with pytest.raises(BadInput):
        generate(1, now=NOW).customers(0)


def test_an_empty_base_has_staff_and_no_customers() -> None:
    data = generate(0, now=NOW)
    assert data.users
    assert everybody(data) == []
