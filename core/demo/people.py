"""People: their names, their phones, and the contacts of customers."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final, NamedTuple

from core.demo import names
from core.demo.names import ascii_slug
from core.demo.phones import LANDLINE_LENGTH, LANDLINE_TYPINGS, MOBILE_TYPINGS

if TYPE_CHECKING:
    from core.demo.draw import Draw
    from core.demo.shapes import Contact

SLUGS: Final = {
    word: ascii_slug(word)
    for pool in (
        names.FAMILIES,
        names.MALE_MIDDLES,
        names.MALE_NAMES,
        names.FEMALE_MIDDLES,
        names.FEMALE_NAMES,
    )
    for word in pool
}
GIVEN: Final = ((names.MALE_MIDDLES, names.MALE_NAMES), (names.FEMALE_MIDDLES, names.FEMALE_NAMES))
COMPANY_CONTACTS: Final = (0,) * 2 + (1,) * 12 + (2,) * 26 + (3,) * 32 + (4,) * 28
PRIVATE_CONTACTS: Final = (0,) * 18 + (1,) * 38 + (2,) * 28 + (3,) * 12 + (4,) * 4
PHONE_COUNTS: Final = (0,) + (1,) * 14 + (2,) * 4 + (3,)


class PersonName(NamedTuple):
    """A name as it is spoken, with family and given name as they stand in mail addresses."""

    full: str
    family: str
    given: str


def person_name(draw: Draw) -> PersonName:
    """Draw a name."""
    middles, given_names = draw.pick(GIVEN)
    family, given = draw.pick(names.FAMILIES), draw.pick(given_names)
    return PersonName(f"{family} {draw.pick(middles)} {given}", SLUGS[family], SLUGS[given])


def mobile_digits(draw: Draw) -> str:
    """Draw a mobile number: ten digits."""
    return f"{draw.pick(names.MOBILE_PREFIXES)}{draw.below(10_000_000):07d}"


def mobile(draw: Draw) -> str:
    """Draw a mobile number as somebody typed it."""
    return draw.pick(MOBILE_TYPINGS)(mobile_digits(draw))


def landline(draw: Draw, area: str) -> str:
    """Draw a landline number of an area as somebody typed it."""
    rest = LANDLINE_LENGTH - len(area) - 1
    return draw.pick(LANDLINE_TYPINGS)(area, f"3{draw.below(10**rest):0{rest}d}")


def birthday(draw: Draw, today: int) -> date:
    """Draw the birthday of somebody of 18 to 77; `today` is a proleptic ordinal."""
    return date.fromordinal(today - 6_600 - int(10_900 * (draw.random() + draw.random())))


def company_contacts(draw: Draw, moment: int, today: int, domain: str) -> list[Contact]:
    """Draw the contacts of an organisation, with addresses at its mail domain."""
    found = []
    for _ in range(draw.pick(COMPANY_CONTACTS)):
        name = person_name(draw)
        email = f"{name.given}.{name.family}@{domain}"
        found.append(_contact(draw, (moment, today), name.full, draw.pick(names.COMPANY_TITLES), email))
    return _with_main(draw, found)


def private_contacts(draw: Draw, moment: int, today: int, number: int) -> list[Contact]:
    """Draw the contacts of a person: relatives and helpers; `number` keeps their mail addresses apart."""
    found = []
    for place in range(draw.pick(PRIVATE_CONTACTS)):
        name = person_name(draw)
        email = f"{name.family}{name.given}.{place}{number}@{draw.pick(names.MAIL_DOMAINS)}"
        found.append(_contact(draw, (moment, today), name.full, draw.pick(names.PRIVATE_TITLES), email))
    return _with_main(draw, found)


def _contact(draw: Draw, times: tuple[int, int], name: str, title: str, email: str) -> Contact:
    moment, today = times
    return {
        "id": draw.uuid(moment),
        "name": name,
        "title": title if draw.chance(0.9) else None,
        "email": email if draw.chance(0.6) else None,
        "phones": [mobile(draw) for _ in range(draw.pick(PHONE_COUNTS))],
        "birthday": birthday(draw, today) if draw.chance(0.3) else None,
        "is_main": False,
    }


def _with_main(draw: Draw, contacts: list[Contact]) -> list[Contact]:
    if contacts:
        contacts[0 if draw.chance(0.8) else draw.below(len(contacts))]["is_main"] = True
    return contacts
