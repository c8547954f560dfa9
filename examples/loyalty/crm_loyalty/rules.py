"""What the ledger must satisfy."""

from __future__ import annotations

from core import Batch, ChangeSet, Fault, Row, text

from crm_loyalty.settings import Settings

PACKAGE = "crm_loyalty"
TOO_FEW = "LOYALTY_TOO_FEW_POINTS"
ERROR_CODES = {TOO_FEW: "The customer has fewer points than that."}

# Two statements: what the second one sees is what others committed while the first one waited for them.
_LOCK = "select from customer where id = any($1::uuid[]) order by id for no key update"
_BALANCES = """
select customer_id::text, sum(points) from loyalty_entry where customer_id = any($1::uuid[]) group by customer_id
"""


async def check_balances(batch: Batch, changes: ChangeSet, settings: Settings) -> list[Fault]:
    """Nobody has fewer points than none, nor more than the workspace allows."""
    customers = sorted({_customer(row) for row in batch.rows})
    await changes.connection.execute(_LOCK, customers)
    balances: dict[str, int] = dict(await changes.connection.fetch(_BALANCES, customers))
    faults = []
    for row in batch.rows:
        customer = _customer(row)
        balance = balances.get(customer, 0)
        after = balance + _points(row.after) - _points(row.before)
        if 0 <= after <= settings.most_points:
            balances[customer] = after
        else:
            faults.append(_fault(row, customer, balance, after, changes.context.locale, settings))
    return faults


def _customer(row: Row) -> str:
    return str((row.after or row.before or {})["customerId"])


def _points(values: dict[str, int] | None) -> int:
    return values["points"] if values else 0


def _fault(row: Row, customer: str, balance: int, after: int, locale: str, settings: Settings) -> Fault:
    params = {"customerId": customer, "balance": balance}
    if after < 0:
        return Fault(row, TOO_FEW, text("too_few", locale, PACKAGE, balance=balance), "points", params)
    message = text("too_many", locale, PACKAGE, limit=settings.most_points)
    return Fault(row, "OUT_OF_RANGE", message, "points", {**params, "limit": settings.most_points})
