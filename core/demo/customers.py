"""Customers: persons and organisations, where they are, who owns them, and a few odd ones."""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime
from itertools import combinations
from typing import TYPE_CHECKING, Final, NamedTuple

from core.demo import names
from core.demo.clock import DAY, OfficeClock
from core.demo.deals import UNIX_EPOCH, opportunities
from core.demo.draw import Draw
from core.demo.names import ascii_slug
from core.demo.people import (
    birthday,
    company_contacts,
    landline,
    mobile_digits,
    person_name,
    private_contacts,
)
from core.demo.phones import MOBILE_TYPINGS
from core.demo.places import PROVINCES, Place, places
from core.demo.tax import tax_code

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from core.demo.shapes import Customer, Kind, Opportunity

ORGANISATION_SHARE: Final = 0.45
#: Of the customers, those entered a second time; with their originals about 3 % share a phone or an email.
REENTERED_SHARE: Final = 0.0165
#: How many earlier customers are kept to be entered again: bounds the memory.
REMEMBERED: Final = 500
ODD_NAME_SHARE: Final = 0.01

#: A prime: stepping by it visits every number of a range it does not divide before any comes again.
STRIDE: Final = 7_368_787

PLACES: Final = tuple(wards for province in PROVINCES for wards in [places(province)] for _ in range(province.weight))
TRADES: Final = tuple((industry, trade) for industry, _, trades in names.INDUSTRIES for trade in trades)
INDUSTRIES: Final = tuple(industry for industry, _, _ in names.INDUSTRIES)
#: So many organisations are named before a name comes again.
NAME_COUNT: Final = len(names.BRAND_FIRST) * len(names.BRAND_LAST) * len(TRADES)
SLUGS: Final = {
    word: ascii_slug(word)
    for pool in (names.BRAND_FIRST, names.BRAND_LAST, [trade for _, trade in TRADES])
    for word in pool
}
TAG_SETS: Final = ((),) * 60 + tuple(tags for size in (1, 2, 3) for tags in list(combinations(names.TAGS, size))[:60])

#: How a second salesperson spells the name of a customer who is already there.
RESPELLINGS: Final[tuple[Callable[[str], str], ...]] = (
    lambda name: name,
    lambda name: name,
    str.upper,
    lambda name: name.replace(" ", "  ", 1),
    lambda name: (
        unicodedata.normalize("NFD", name.replace("đ", "d").replace("Đ", "D")).encode("ascii", "ignore").decode()
    ),
)


class Card(NamedTuple):
    """What a customer is called and reached by; `mail_domain` is an organisation's."""

    kind: Kind
    name: str
    industry: str | None
    mail_domain: str
    phone: str | None
    phone_digits: str | None
    email: str | None
    tax_code: str | None


class CustomerMaker:
    """Makes the customers of one base, to be asked for in order: 0, 1, 2, ..."""

    def __init__(
        self,
        count: int,
        seed: int,
        now: datetime,
        owners: Mapping[str, tuple[str | None, ...]],
        random: Random,
    ) -> None:
        """Prepare `count` customers created before `now`; `owners` is per region a pool to draw from."""
        self._draw = Draw(random)
        self._clock = OfficeClock(count, now)
        self._now = int(now.timestamp() * 1000)
        self._today = UNIX_EPOCH + self._now // DAY
        self._owners = owners
        self._offset = seed
        self._digits = 10 ** max(4, len(str(count)))
        self._organisations = 0
        self._remembered: list[Card] = []

    def customer(self, index: int) -> Customer:
        """Make the customer that was created index-th."""
        draw = self._draw
        moment = self._clock.moment(index, draw.random())
        number = (index * STRIDE + self._offset) % self._digits
        place = draw.pick(draw.pick(PLACES))
        card = self._card(index, number, place)
        company = card.kind == "ORGANISATION"
        pool = self._owners[place.province.region]
        owner = draw.pick(pool)
        born = self._born(moment, company)
        deals = opportunities(draw, card.kind, (moment, self._now), owner, pool)
        registered = self._address(place) if draw.chance(0.85) else None
        return {
            "id": draw.uuid(moment),
            "code": f"KH{index + 1:07d}",
            "name": card.name,
            "kind": card.kind,
            "email": card.email,
            "phone": card.phone,
            "fax": landline(draw, place.province.area) if company and draw.chance(0.25) else None,
            "tax_code": card.tax_code,
            "registered_address": f"{registered} {place.province.postal}" if registered and company else registered,
            "office_address": self._office(registered, company),
            "country": "VN",
            "province": place.province.name,
            "district": place.district,
            "ward": place.ward,
            "website": self._website(card.mail_domain) if company else None,
            "description": draw.pick(names.DESCRIPTIONS) if draw.chance(0.3) else None,
            "birthday": born,
            "source": draw.pick(names.SOURCES) if draw.chance(0.94) else None,
            "relationship": draw.pick(names.RELATIONSHIPS) if draw.chance(0.92) else None,
            "level": self._level(deals),
            "tags": list(draw.pick(TAG_SETS)),
            "owner": owner,
            "created_at": datetime.fromtimestamp(moment / 1000, UTC),
            "contacts": company_contacts(draw, moment, self._today, card.mail_domain)
            if company
            else private_contacts(draw, moment, self._today, number),
            "opportunities": deals,
            "groups": self._groups(place, born, card),
        }

    def _card(self, index: int, number: int, place: Place) -> Card:
        draw = self._draw
        if self._remembered and draw.chance(REENTERED_SHARE):
            return self._reentered(draw.pick(self._remembered))
        if draw.chance(ORGANISATION_SHARE):
            card = self._organisation(index, number, place)
        else:
            card = self._person(index, number)
        if draw.chance(ODD_NAME_SHARE):
            card = card._replace(name=self._odd(card.name, place))
        if card.email and card.phone_digits:
            if len(self._remembered) < REMEMBERED:
                self._remembered.append(card)
            elif draw.chance(0.1):
                self._remembered[draw.below(REMEMBERED)] = card
        return card

    def _person(self, index: int, number: int) -> Card:
        draw = self._draw
        name = person_name(draw)
        local = f"{name.given}{name.family}" if draw.chance(0.5) else f"{name.family}.{name.given}"
        digits = mobile_digits(draw) if draw.chance(0.96) else None
        return Card(
            kind="PERSON",
            name=name.full,
            industry=draw.pick(INDUSTRIES) if draw.chance(0.2) else None,
            mail_domain="",
            phone=draw.pick(MOBILE_TYPINGS)(digits) if digits else None,
            phone_digits=digits,
            email=f"{local}{number}@{draw.pick(names.MAIL_DOMAINS)}" if draw.chance(0.75) else None,
            tax_code=tax_code(f"8{(index * STRIDE + self._offset) % 10**8:08d}") if draw.chance(0.12) else None,
        )

    def _organisation(self, index: int, number: int, place: Place) -> Card:
        draw = self._draw
        cycle, serial = divmod(self._organisations, NAME_COUNT)
        self._organisations += 1
        rest, first = divmod((serial * STRIDE + self._offset) % NAME_COUNT, len(names.BRAND_FIRST))
        trade, last = divmod(rest, len(names.BRAND_LAST))
        industry, activity = TRADES[trade]
        brand = f"{names.BRAND_FIRST[first]} {names.BRAND_LAST[last]}"
        slug = SLUGS[names.BRAND_FIRST[first]] + SLUGS[names.BRAND_LAST[last]]
        domain = f"{slug}{SLUGS[activity]}{cycle + 1 if cycle else ''}.{draw.pick(names.COMPANY_TLDS)}"
        email = f"{draw.pick(names.MAILBOXES)}@{domain}" if draw.chance(0.8) else f"{slug}{number}@gmail.com"
        digits = mobile_digits(draw) if draw.chance(0.55) else None
        return Card(
            kind="ORGANISATION",
            name=f"{draw.pick(names.LEGAL_FORMS)} {activity} {brand}",
            industry=industry,
            mail_domain=domain,
            phone=draw.pick(MOBILE_TYPINGS)(digits) if digits else landline(draw, place.province.area),
            phone_digits=digits,
            email=email if draw.chance(0.88) else None,
            tax_code=self._company_tax_code(index, place) if draw.chance(0.9) else None,
        )

    def _company_tax_code(self, index: int, place: Place) -> str | None:
        serial = (index * STRIDE + self._offset) % 10**7
        code = tax_code(f"{place.province.tax}{serial:07d}")
        return f"{code}-{1 + self._draw.below(20):03d}" if code and self._draw.chance(0.08) else code

    def _reentered(self, card: Card) -> Card:
        """Return an earlier customer as somebody types it in again: by phone, by email, or by both."""
        draw = self._draw
        shares = draw.below(3)
        digits = card.phone_digits if shares != 1 else mobile_digits(draw)
        email = card.email if shares else None
        return card._replace(
            name=draw.pick(RESPELLINGS)(card.name),
            phone=draw.pick(MOBILE_TYPINGS)(digits) if digits else None,
            email=email.upper() if email and draw.chance(0.2) else email,
            tax_code=card.tax_code if draw.chance(0.3) else None,
        )

    def _odd(self, name: str, place: Place) -> str:
        draw = self._draw
        if draw.chance(0.5):
            return unicodedata.normalize("NFD", name)
        if draw.chance(0.6):
            return f"{name} {draw.pick(names.EMOJI)}"
        return f"{name} - {place.tail} {names.LONG_NOTE}"

    def _born(self, moment: int, company: bool) -> date | None:
        draw = self._draw
        if not draw.chance(0.8):
            return None
        if company:
            return date.fromordinal(UNIX_EPOCH + moment // DAY - 30 - int(9000 * draw.random() * draw.random()))
        return birthday(draw, self._today)

    def _address(self, place: Place) -> str:
        draw = self._draw
        if place.ward.startswith("Xã"):
            return f"Thôn {draw.below(9) + 1}, {place.tail}"
        house = f"{draw.below(400) + 1}" if draw.chance(0.6) else f"{draw.below(90) + 1}/{draw.below(60) + 1}"
        return f"{house} {draw.pick(names.STREETS)}, {place.tail}"

    def _office(self, registered: str | None, company: bool) -> str | None:
        draw = self._draw
        if draw.chance(0.35 if company else 0.8):
            return None
        return registered if draw.chance(0.4) else self._address(draw.pick(draw.pick(PLACES)))

    def _website(self, domain: str) -> str | None:
        draw = self._draw
        if not draw.chance(0.6):
            return None
        return f"{draw.pick(('https://', 'https://www.', 'www.', ''))}{domain}"

    def _level(self, deals: list[Opportunity]) -> str:
        draw = self._draw
        if any(deal["outcome"] == "WON" for deal in deals) and draw.chance(0.85):
            return names.SIGNED_LEVEL
        return draw.pick(names.LEVELS)

    def _groups(self, place: Place, born: date | None, card: Card) -> list[tuple[str, str]]:
        draw = self._draw
        found = [(names.REGION_FAMILY, place.province.region)] if draw.chance(0.9) else []
        if born and card.kind == "PERSON":
            found.append((names.AGE_FAMILY, self._age_group(born)))
        if card.industry:
            found.append((names.INDUSTRY_FAMILY, card.industry))
            second = draw.pick(INDUSTRIES)
            if second != card.industry and draw.chance(0.2):
                found.append((names.INDUSTRY_FAMILY, second))
        return found

    def _age_group(self, born: date) -> str:
        age = int((self._today - born.toordinal()) / 365.2425)
        return next(name for oldest, name, _ in names.AGE_GROUPS if age <= oldest)
