"""Opportunities of customers."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from core.demo import names
from core.demo.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.demo.draw import Draw
    from core.demo.shapes import Kind, Opportunity, Outcome, Stage

COUNTS: Final = (0,) * 28 + (1,) * 32 + (2,) * 20 + (3,) * 12 + (4,) * 8
#: Open stages with the probabilities (percent) that people enter for them.
OPEN_STAGES: Final[tuple[tuple[Stage, tuple[int, ...]], ...]] = (
    ("NEW", (0, 5, 10, 10, 15, 20)),
    ("QUALIFIED", (20, 25, 30, 40)),
    ("PROPOSAL", (40, 50, 50, 60)),
    ("NEGOTIATION", (60, 70, 75, 80, 90)),
)
OUTCOMES_OF_PAST: Final[tuple[Outcome, ...]] = ("WON",) * 9 + ("LOST",) * 8 + ("OPEN",) * 3
OUTCOMES_OF_FUTURE: Final[tuple[Outcome, ...]] = ("OPEN",) * 16 + ("WON",) * 3 + ("LOST",)
UNIX_EPOCH: Final = date(1970, 1, 1).toordinal()


def _amounts(median: float, sigma: float) -> tuple[Decimal, ...]:
    """Return the thousand-quantiles of a log-normal law in VND, to two digits as prices are quoted."""
    law = NormalDist(math.log(median), sigma)
    amounts = (math.exp(law.inv_cdf(share / 1000)) for share in range(1, 1000))
    return tuple(Decimal(round(amount, 1 - int(math.log10(amount)))).quantize(Decimal(1)) for amount in amounts)


AMOUNTS: Final[dict[Kind, tuple[Decimal, ...]]] = {
    "PERSON": _amounts(9_000_000, 0.9),
    "ORGANISATION": _amounts(60_000_000, 1.3),
}


def opportunities(
    draw: Draw, kind: Kind, span: tuple[int, int], owner: str | None, others: Sequence[str | None]
) -> list[Opportunity]:
    """Draw the opportunities of a customer; `span` is its creation and now, in epoch milliseconds.

    Most go to the customer's owner, the rest to one of `others`, who may be nobody.
    """
    return [
        _opportunity(draw, kind, span, owner if draw.chance(0.8) else draw.pick(others))
        for _ in range(draw.pick(COUNTS))
    ]


def _opportunity(draw: Draw, kind: Kind, span: tuple[int, int], owner: str | None) -> Opportunity:
    created, now = span
    opened = created + int((now - created) * draw.random() * draw.random())
    close = UNIX_EPOCH + opened // DAY + 10 + draw.below(140)
    outcome = draw.pick(OUTCOMES_OF_PAST if close < UNIX_EPOCH + now // DAY else OUTCOMES_OF_FUTURE)
    stage, probability = _standing(draw, outcome)
    return {
        "id": draw.uuid(opened),
        "name": draw.pick(names.DEALS) if draw.chance(0.65) else None,
        "probability": probability,
        "amount": draw.pick(AMOUNTS[kind]),
        "currency": "VND",
        "stage": stage,
        "outcome": outcome,
        "lost_reason": draw.pick(names.LOST_REASONS) if outcome == "LOST" else None,
        "expected_close": date.fromordinal(close),
        "owner": owner,
    }


def _standing(draw: Draw, outcome: Outcome) -> tuple[Stage, int]:
    if outcome == "OPEN":
        stage, probabilities = draw.pick(OPEN_STAGES)
        return stage, draw.pick(probabilities)
    return "CLOSED", 100 if outcome == "WON" else 0
