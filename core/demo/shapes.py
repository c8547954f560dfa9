"""What the generator hands out: plain dictionaries, typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from datetime import date, datetime
    from decimal import Decimal
    from uuid import UUID

Kind = Literal["PERSON", "ORGANISATION"]
Outcome = Literal["OPEN", "WON", "LOST"]
Role = Literal["admin", "manager", "salesperson", "readonly"]
Stage = Literal["NEW", "QUALIFIED", "PROPOSAL", "NEGOTIATION", "CLOSED"]


class User(TypedDict):
    """A user; `locale` is a language code, `time_zone` an IANA name. Passwords are the loader's affair."""

    login: str
    display_name: str
    email: str
    birthday: date
    locale: str
    time_zone: str
    role: Role


class Team(TypedDict):
    """A team by logins; the lead is one of the members."""

    name: str
    lead: str
    members: list[str]


class Group(TypedDict):
    """A customer group in its family."""

    family: str
    name: str
    points: int


class Contact(TypedDict):
    """A contact of a customer; `phones` are as people type them."""

    id: UUID
    name: str
    title: str | None
    email: str | None
    phones: list[str]
    birthday: date | None
    is_main: bool


class Opportunity(TypedDict):
    """An opportunity of a customer; without a name it goes by the customer's. `probability` is in percent."""

    id: UUID
    name: str | None
    probability: int
    amount: Decimal
    currency: str
    stage: Stage
    outcome: Outcome
    lost_reason: str | None
    expected_close: date
    owner: str | None


class Customer(TypedDict):
    """A customer with its contacts, its opportunities and its (family, group) memberships.

    `birthday` is an organisation's founding day; `owner` is a login; `created_at` is UTC, in whole
    milliseconds.
    """

    id: UUID
    code: str
    name: str
    kind: Kind
    email: str | None
    phone: str | None
    fax: str | None
    tax_code: str | None
    registered_address: str | None
    office_address: str | None
    country: str
    province: str
    district: str
    ward: str
    website: str | None
    description: str | None
    birthday: date | None
    source: str | None
    relationship: str | None
    level: str
    tags: list[str]
    owner: str | None
    created_at: datetime
    contacts: list[Contact]
    opportunities: list[Opportunity]
    groups: list[tuple[str, str]]
