"""What the cells of a whole import are read by: users, choices, the order of days and months, groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from core import Connection, Field, Kind, Policy, RequestContext, parse_choice, quote
from plugins.import_excel.convert import Options, fold, is_phone
from plugins.import_excel.plan import Column, Plan
from plugins.import_excel.targets import GROUP, GROUPS, OWNER

_ORDER = """
select bool_or(m[1]::integer > 12) as first, bool_or(m[2]::integer > 12) as second
from (select regexp_match(cells ->> {index}, '^\\s*(\\d{{1,2}})[/.\\-](\\d{{1,2}})[/.\\-]\\d{{2,4}}') as m
      from import_row where import_id = $1) x where m is not null
"""
_KINDS: Mapping[str, tuple[str, ...]] = {
    "PERSON": ("ca nhan", "nguoi", "khach le", "individual", "person", "private", "kh ca nhan", "b2c", "cn"),
    "ORGANISATION": (
        "to chuc", "doanh nghiep", "cong ty", "company", "organisation", "organization", "business", "corporate", "dn",
        "co quan", "don vi", "kh doanh nghiep", "b2b", "tc",
    ),
}  # fmt: skip


@dataclass
class Lookups:
    """How each mapped column is read, and the groups by folded name (None where several share it)."""

    options: dict[str, Options] = field(default_factory=dict)
    groups: dict[str, UUID | None] = field(default_factory=dict)


async def load(connection: Connection, context: RequestContext, policy: Policy, import_id: UUID, plan: Plan) -> Lookups:
    """Look up what an import needs to know."""
    found = Lookups()
    people = await _people(connection)
    custom = {str(r["id"]): r for r in await connection.fetch("select id, kind, choices from custom_field")}
    for column in plan.columns:
        declared = column.goal.field
        kind = custom[declared.custom]["kind"] if declared.custom in custom else ""
        found.options[column.goal.name] = Options(
            month_first=await _month_first(connection, import_id, column),
            choices=_choices(declared, custom.get(declared.custom)),
            people=people if column.goal.role == OWNER or kind == "USER" else None,
            phone=kind == "PHONE" or is_phone(declared),
            padded=10 if declared.name == "taxCode" else 0,
            zone=context.workspace.time_zone,
        )
    if plan.column(GROUPS) is not None and GROUP in policy.catalog:
        table = quote(policy.catalog[GROUP].type.tablename)
        for id_, name in await connection.fetch(f"select id, name from {table} where deleted_at is null"):
            key = fold(name)
            found.groups[key] = None if key in found.groups else id_
    return found


async def _people(connection: Connection) -> dict[str, str | None]:
    """Ids of users by login; by email and name too, where these say who is meant."""
    rows = await connection.fetch("select id, login, email, display_name from app_user where deleted_at is null")
    found: dict[str, str | None] = {}
    for name in ("display_name", "email"):
        for row in rows:
            if row[name]:
                key = fold(row[name])
                found[key] = None if found.get(key, str(row["id"])) != str(row["id"]) else str(row["id"])
    return found | {fold(row["login"]): str(row["id"]) for row in rows}


def _choices(declared: Field, custom: Any) -> dict[str, str]:
    """Values by every folded word for them."""
    found: dict[str, str] = {}
    if custom is not None and custom["kind"] in ("CHOICE", "CHOICES"):
        for choice in custom["choices"] or ():
            value, label = parse_choice(choice)
            found |= {fold(value): value, fold(label): value}
    elif declared.enum is not None:
        for value, description in declared.enum.values.items():
            found |= {fold(value): value, fold(value.replace("_", " ")): value, fold(description): value}
        if declared.name == "kind":
            found |= {word: value for value, words in _KINDS.items() for word in words}
    return found


async def _month_first(connection: Connection, import_id: UUID, column: Column) -> bool:
    """Whether the days of a column are written month first: only where its values leave no other way."""
    if column.goal.field.kind not in (Kind.DATE, Kind.DATETIME):
        return False
    row = await connection.fetchrow(_ORDER.format(index=column.index), import_id)
    return bool(row["second"]) and not row["first"]
