"""What a column can be mapped to: fields of customers and of their contacts, groups, owner and referrer.

Everything comes from the catalog, so custom fields and the fields of plugins are there as soon as they are declared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core import Field, Kind, Policy, Record

CUSTOMER, CONTACT, GROUP, MEMBER = "Customer", "Contact", "Group", "GroupMember"
OWNER, REFERRER, GROUPS = "owner", "referrer", "groups"
#: How many contacts one row may bring.
CONTACTS = 5

_CONTACT = re.compile(r"contact([2-5]?)\.(\w+)")


@dataclass(frozen=True, slots=True)
class Goal:
    """One thing a column can be mapped to.

    `name` is how a mapping calls it: a field of the customer (`taxCode`, a custom field), `contact.name` to
    `contact5.email`, `groups`, `owner` or `referrer`. `role` is `field`, `contact`, `groups`, `owner` or `referrer`,
    `contact` counts contacts from 1.
    """

    name: str
    role: str
    field: Field
    labels: Mapping[str, str]
    contact: int = 0

    @property
    def key(self) -> str:
        """The name of the field in its record."""
        return self.field.name

    @property
    def checkable(self) -> bool:
        """Whether rows can be told apart by it."""
        return self.role == "field" and self.field.kind is Kind.TEXT

    @property
    def type(self) -> str:
        """What it holds, for people: the name of the field's kind."""
        return "CHOICE" if self.field.kind is Kind.ENUM else self.field.kind.name


def writable(record: Record, policy: Policy, declared: Field) -> bool:
    """Whether the actor may set a field at all."""
    if not declared.exposed or not declared.writable or declared.kind is Kind.JSON or declared.condition:
        return False
    return policy.grants.unlimited or policy.access(record.name, declared.name).name == "WRITE"


def goals(policy: Policy) -> dict[str, Goal]:
    """Everything that the actor can map a column to, by name."""
    return {g.name: g for g in _goals(policy)}


def _goals(policy: Policy) -> Iterator[Goal]:
    catalog = policy.catalog
    customer = catalog[CUSTOMER]
    for declared in customer.exposed_fields():
        link = next((r for r in customer.to_one.values() if r.key.name == declared.name), None)
        if not writable(customer, policy, declared):
            continue
        if link is None and (declared.kind is not Kind.ID or declared.custom):
            yield Goal(declared.name, "field", declared, declared.labels)
        elif link is not None and link.name in (OWNER, REFERRER):
            yield Goal(link.name, link.name, declared, link.labels)
    contact = catalog[CONTACT]
    for n in range(1, CONTACTS + 1):
        prefix = "contact" if n == 1 else f"contact{n}"
        for declared in contact.exposed_fields():
            plain = declared.kind is not Kind.ID or declared.custom
            if plain and declared.name != "isMain" and writable(contact, policy, declared):
                labels = {k: v if n == 1 else f"{v} {n}" for k, v in declared.labels.items()}
                yield Goal(f"{prefix}.{declared.name}", "contact", declared, labels, n)
    if GROUP in catalog and MEMBER in catalog and policy.grants.reach(GROUP, "read").name != "NONE":
        names = catalog[GROUP].type.labels
        groups = Field("groups", Kind.TEXTS, "Names of the groups it is put into, split by commas.", labels=names)
        yield Goal(GROUPS, GROUPS, groups, names)


def describe(goal: Goal) -> dict[str, Any]:
    """A goal as the API shows it."""
    return {
        "name": goal.name,
        "labelVi": goal.labels.get("vi", goal.name),
        "labelEn": goal.labels.get("en", goal.name),
        "type": goal.type,
        "description": goal.field.description,
        "canCheckDuplicates": goal.checkable,
        "isUnique": goal.role == "field" and goal.field.unique,
    }
