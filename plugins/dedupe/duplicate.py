"""What is told of a duplicate, and in which words: all to whoever reads the other customer, little to others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from core import Conditions, Member, ObjectType, Policy, RequestContext, text
from plugins.dedupe.criteria import PACKAGE, Criterion
from plugins.dedupe.settings import Disclosure, Settings

KIND = "DuplicateError"

TYPE = ObjectType(
    KIND,
    "That a customer is there already. What is told of the other one is as much as the reader may know.",
    (
        Member("criterionId", "ID!", "The criterion that found it."),
        Member("criterion", "String!", "What people call the criterion."),
        Member("fields", "[String!]!", "The fields that are the same."),
        Member("value", "String!", "Their values, as they were given."),
        Member("blocking", "Boolean!", "Whether it was refused for this, or only reported."),
        Member("inContact", "Boolean", "Whether a contact of the other customer has it. Null where not disclosed."),
        Member("customerId", "ID", "The other customer. Null where it may not be read, or is in the same request."),
        Member("customerCode", "String", "Its code. Null where it may not be read."),
        Member("customerName", "String", "Its name. Null where that is not disclosed."),
        Member("ownerId", "ID", "Its owner. Null where it has none, or it may not be read."),
        Member("ownerName", "String", "Its owner's name. Null where it has none, or that is not disclosed."),
        Member("deleted", "Boolean!", "Whether it is deleted; false where not disclosed."),
        Member("row", "Int", "Its place among the records of the same request, from 0, where it is one of them."),
    ),
    user_error=True,
)


@dataclass(frozen=True)
class Other:
    """The other customer, as far as the actor may know it."""

    id: str | None = None
    code: str | None = None
    name: str | None = None
    owner_id: str | None = None
    owner: str | None = None
    deleted: bool = False
    readable: bool = False


@dataclass(frozen=True)
class Match:
    """One thing that two customers have in common. `row` is the other one's place where both are being written."""

    criterion: Criterion
    value: str
    other: Other
    in_contact: bool = False
    row: int | None = None

    def _known(self, disclose: Disclosure) -> bool:
        return self.other.readable or disclose is not Disclosure.EXISTENCE or self.row is not None

    def fields(self, label: str, disclose: Disclosure) -> dict[str, Any]:
        """The fields of the DuplicateError."""
        return {
            "criterionId": str(self.criterion.id),
            "criterion": label,
            "fields": list(self.criterion.fields),
            "value": self.value,
            "blocking": self.criterion.blocking,
            "inContact": self.in_contact if self._known(disclose) else None,
            "customerId": self.other.id,
            "customerCode": self.other.code,
            "customerName": self.other.name,
            "ownerId": self.other.owner_id,
            "ownerName": self.other.owner,
            "deleted": self.other.deleted,
            "row": self.row,
        }

    def message(self, label: str, locale: str, disclose: Disclosure) -> str:
        """Such as: Email a@b.vn already exists in customer A of owner X."""
        shown = self.value if len(self.value) <= 100 else self.value[:99] + "…"
        params = {"field": label, "value": shown, "name": self.other.name or "", "owner": self.other.owner or ""}
        if self.other.deleted:
            params["name"] = text("deleted", locale, PACKAGE, name=params["name"])
        if self.row is not None:
            return text("in_row", locale, PACKAGE, row=self.row + 1, **params)
        told = "_name" * bool(params["name"]) + "_owner" * bool(params["owner"])
        place = "contact" if self.in_contact and self._known(disclose) else "customer"
        return text(f"{place}{told}", locale, PACKAGE, **params)


async def others(
    fetch: Any, context: RequestContext, policy: Policy, ids: Sequence[UUID], settings: Settings
) -> Mapping[UUID, Other]:
    """What the actor may know of customers, by id. `fetch` runs a statement that returns one JSON value."""
    conditions = Conditions(policy)
    readable = conditions.sql(policy.scope("Customer").predicate, "c")
    # crm: allow P802 the policy says for each what is told of it, and of what may not be read, `disclose` does
    statement = f"""
        select json_agg(json_build_array(c.id, ({readable}) is true and c.deleted_at is null, c.code, c.name,
            c.owner_id, u.display_name, c.deleted_at is not null))
        from customer c left join app_user u on u.id = c.owner_id
        where c.id = any({conditions.known(list(ids), "uuid[]")})"""
    data = await fetch(statement, conditions.bind(context))
    record = policy.catalog["Customer"]
    names = settings.disclose is Disclosure.NAME_AND_OWNER
    owners = names or settings.disclose is Disclosure.OWNER
    owner_shown = policy.readable(record, "ownerId")
    found = {}
    for id_, seen, code, name, owner_id, owner, deleted in orjson.loads(data or b"[]") or []:
        found[UUID(id_)] = Other(
            id_ if seen else None,
            code if seen else None,
            name if seen or names else None,
            owner_id if seen and owner_shown else None,
            owner if (seen or owners) and owner_shown else None,
            deleted and (seen or names),
            seen,
        )
    return found
