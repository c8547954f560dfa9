"""Criteria as they are applied: which keys a customer or a contact has, and what a saved criterion must satisfy."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from core import Batch, ChangeSet, Fault, Field, Kind, Record, Row, text
from plugins.dedupe.normalise import Normaliser

PACKAGE = "plugins.dedupe"

#: How the core's fields are compared, by name.
STYLES: Mapping[str, str] = {
    "name": "name",
    "code": "text",
    "email": "email",
    "phone": "phone",
    "fax": "phone",
    "taxCode": "digits",
    "officeAddress": "text",
    "description": "text",
    "birthday": "date",
}
#: The field of contacts that has what a field of customers has.
IN_CONTACTS: Mapping[str, str] = {"phone": "phones", "email": "email"}

MOST_FIELDS = 5
#: A key as long as this is replaced by its hash: an index takes no pages of text.
LONGEST = 200
#: How many keys one record can have by one criterion: several phones in one field, times several emails.
MOST_KEYS = 20

#: All live criteria as JSON, for a statement that reads them along with something else.
# crm: allow P802 whoever writes customers is held to the criteria, whether he may read them or not
CRITERIA = """(select coalesce(json_agg(c order by c.id), '[]'::json) from (
  select id, name, set_id, fields, coalesce(exact, '{}') as exact, effect, in_contacts, status, made_with
  from dedupe_criterion where deleted_at is null) c)"""


@dataclass(frozen=True)
class Criterion:
    """One criterion. `contact_field` is the field of contacts that has the value, too; empty where none is asked."""

    id: UUID
    name: str
    set_id: int
    fields: tuple[str, ...]
    exact: frozenset[str]
    blocking: bool
    active: bool
    contact_field: str
    made_with: str

    def label(self, record: Record, locale: str) -> str:
        """What people call it, such as `Email` or `Name + Birthday`."""
        labels = (record.fields[f].labels.get(locale, f) if f in record.fields else f for f in self.fields)
        return self.name or " + ".join(labels)

    def shown(self, values: Mapping[str, Any]) -> str:
        """The values that it compares, as they were typed."""
        parts = (values.get(f) for f in self.fields)
        return ", ".join(", ".join(p) if isinstance(p, list) else str(p).strip() for p in parts if p is not None)

    def keys(self, normaliser: Normaliser, values: Mapping[str, Any]) -> list[str]:
        """The keys of a customer, given by field name; none where one of the fields has no value."""
        if len(self.fields) == 1:
            return self._of_one(normaliser, values.get(self.fields[0]))
        meanings = [normaliser.values(style(f), values.get(f), exact=f in self.exact) for f in self.fields]
        return [key_of(combined) for combined in itertools.islice(itertools.product(*meanings), MOST_KEYS)]

    def contact_keys(self, normaliser: Normaliser, values: Mapping[str, Any]) -> list[str]:
        """The keys of a contact; none where contacts are not looked at."""
        return self._of_one(normaliser, values.get(self.contact_field)) if self.contact_field else []

    def _of_one(self, normaliser: Normaliser, value: Any) -> list[str]:
        field = self.fields[0]
        found = normaliser.values(style(field), value, exact=field in self.exact)
        return [key_of((meaning,)) for meaning in found[:MOST_KEYS]]


def style(field: str) -> str:
    """How a field is compared; custom fields are text."""
    return STYLES.get(field, "text")


def key_of(values: Sequence[str]) -> str:
    """One key of one or several values."""
    key = " | ".join(values)
    return key if len(key) <= LONGEST else "sha256 " + hashlib.sha256(key.encode()).hexdigest()


@lru_cache(1000)
def read_criteria(source: bytes) -> tuple[Criterion, ...]:
    """The criteria that `CRITERIA` has read."""
    return tuple(
        Criterion(
            UUID(c["id"]),
            c["name"] or "",
            c["set_id"],
            tuple(c["fields"]),
            frozenset(c["exact"]),
            c["effect"] == "BLOCK",
            c["status"] == "ACTIVE",
            IN_CONTACTS.get(c["fields"][0], "") if c["in_contacts"] and len(c["fields"]) == 1 else "",
            c["made_with"],
        )
        for c in orjson.loads(source)
    )


def comparable(declared: Field | None) -> bool:
    """Whether customers can be compared by a field."""
    if declared is None:
        return False
    return declared.name in STYLES or bool(declared.custom and declared.kind not in (Kind.JSON, Kind.TEXTS, Kind.BOOL))


def check_criteria(batch: Batch, changes: ChangeSet) -> list[Fault]:
    """A criterion names fields that can be compared, each once, and is exact only in some of them."""
    customer, locale = changes.policy.catalog["Customer"], changes.context.locale
    faults = []

    def fault(row: Row, at: str, code: str, key: str, **params: Any) -> None:
        faults.append(Fault(row, code, text(key, locale, PACKAGE, **params), at, params))

    for row in batch.rows:
        values = row.after or {}
        fields, exact = values.get("fields") or [], values.get("exact") or []
        if not 1 <= len(fields) <= MOST_FIELDS:
            fault(row, "fields", "OUT_OF_RANGE", "fields_number", limit=MOST_FIELDS)
        for name in dict.fromkeys(fields):
            if not comparable(customer.fields.get(name)):
                fault(row, "fields", "INVALID", "field_unknown", field=name)
        for name in dict.fromkeys(f for f in fields if fields.count(f) > 1):
            fault(row, "fields", "DUPLICATE", "field_twice", field=name)
        for name in exact:
            if name not in fields:
                fault(row, "exact", "INVALID", "exact_foreign", field=name)
    return faults
