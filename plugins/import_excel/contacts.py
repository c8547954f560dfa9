"""The contacts of imported customers: found by name, phone or email and patched, else added; none is ever removed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from core import ChangeSet, Row, Target
from plugins.import_excel import alike
from plugins.import_excel.convert import fold
from plugins.import_excel.lines import Line
from plugins.import_excel.targets import CONTACT

_THERE = """
select id, customer_id, name, email, phones from contact
where customer_id = any($1::uuid[]) and deleted_at is null order by created_at, id
"""


async def write(changes: ChangeSet, lines: Sequence[Line], created: Collection[UUID | None]) -> set[UUID | None]:
    """Write the contacts of rows whose customers are there; returns the customers whose contacts changed."""
    lines = [n for n in lines if n.contacts]
    if not lines:
        return set()
    there: dict[UUID, list[Mapping[str, Any]]] = {}
    old = [n.id for n in lines if n.id not in created]
    for row in await changes.connection.fetch(_THERE, old) if old else ():
        there.setdefault(row["customer_id"], []).append(row)
    new: list[tuple[Line, int, dict[str, Any]]] = []
    patches: dict[UUID, tuple[Line, int, dict[str, Any]]] = {}
    for line in lines:
        for number, values in line.contacts.items():
            found = _same(values, [c for c in there.get(line.id, ()) if c["id"] not in patches])  # type: ignore[arg-type]
            if found is not None:
                patches[found["id"]] = (line, number, values)
            else:
                given = {k: v for k, v in values.items() if v is not None}
                given.setdefault("name", _called(line, given))
                new.append((line, number, {**given, "customerId": str(line.id)}))
    changed = {line.id for line, _, _ in new}
    if new:
        paths = [("rows", line.row, _goal(number)) for line, number, _ in new]
        await changes.create(CONTACT, [values for *_, values in new], lambda i: paths[i])
    seen: list[Row] = []
    record = changes.policy.catalog[CONTACT]

    def patch(row: Row) -> Mapping[str, Any]:
        _, _, values = patches[row.id]  # type: ignore[index]
        seen.append(row)
        phones = values.get("phones")
        if phones:
            kept = (row.before or {}).get("phones") or []
            known = {_digits(p) for p in kept}
            values = {**values, "phones": [*kept, *(p for p in phones if _digits(p) not in known)]}
        return alike.changed(record, row.before or {}, values)

    if patches:
        targets = {i: ("rows", line.row, _goal(number)) for i, (line, number, _) in patches.items()}
        await changes.update(CONTACT, Target(ids=tuple(patches), paths=targets), patch)
    return changed | {patches[row.id][0].id for row in seen if row.changed}  # type: ignore[index]


def _same(values: Mapping[str, Any], there: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The contact that a row means: by email, else by phone, else by name."""
    email, name = fold(values.get("email") or ""), fold(values.get("name") or "")
    phones = {_digits(p) for p in values.get("phones") or ()} - {""}
    for contact in there:
        if email and fold(contact["email"] or "") == email:
            return contact
    for contact in there:
        if phones & {_digits(p) for p in contact["phones"] or ()}:
            return contact
    for contact in there:
        if name and fold(contact["name"]) == name:
            return contact
    return None


def _digits(phone: str) -> str:
    """A phone number in its national digits, roughly: enough to tell one customer's contacts apart."""
    digits = "".join(c for c in phone if c.isdecimal())
    return digits.removeprefix("00").removeprefix("84").lstrip("0")


def _called(line: Line, given: Mapping[str, Any]) -> str:
    """The name of a contact that came without one."""
    return str(line.values.get("name") or given.get("email") or next(iter(given.get("phones") or ()), "?"))


def _goal(number: int) -> str:
    return "contact" if number == 1 else f"contact{number}"
