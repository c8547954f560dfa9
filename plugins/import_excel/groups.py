"""Putting imported customers into groups: by the record types of that name, whoever declares them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from core import ChangeSet, quote
from plugins.import_excel.lines import Line
from plugins.import_excel.targets import GROUPS, MEMBER


async def write(changes: ChangeSet, lines: Sequence[Line], everyone: Sequence[str]) -> set[UUID | None]:
    """Put the customers of rows into the groups of their cells and of the whole import, besides those they are in.

    Returns the customers that were put into any.
    """
    catalog = changes.policy.catalog
    wanted = [(n, g) for n in lines for g in dict.fromkeys([*map(str, n.groups), *everyone])]
    if not wanted or MEMBER not in catalog:
        return set()
    table = quote(catalog[MEMBER].type.tablename)
    there = {
        tuple(row)
        for row in await changes.connection.fetch(
            f"select customer_id::text, group_id::text from {table} where customer_id = any($1::uuid[])",
            [n.id for n in lines],
        )
    }
    missing = [(n, g) for n, g in wanted if (str(n.id), g) not in there]
    if missing:
        rows = [{"customerId": str(n.id), "groupId": g} for n, g in missing]
        await changes.create(MEMBER, rows, lambda i: ("rows", missing[i][0].row, GROUPS))
    return {n.id for n, _ in missing}
