"""The demo's tiers: by what customers have bought, with the discounts they get for it."""

from __future__ import annotations

from typing import Any, Final

#: Name, discount in percent, what else, and the amount in VND that one of their deals has reached.
_STEPS: Final = (
    ("Đồng", "0", ["Bản tin hằng tháng"], "1000000"),
    ("Bạc", "3", ["Bản tin hằng tháng", "Giao hàng miễn phí"], "20000000"),
    ("Vàng", "5", ["Giao hàng miễn phí", "Quà sinh nhật"], "100000000"),
    ("Kim cương", "10", ["Giao hàng miễn phí", "Quà sinh nhật", "Chăm sóc riêng"], "500000000"),
)


def tiers() -> list[dict[str, Any]]:
    """The values of each tier by field name, the lowest first."""
    return [
        {
            "name": name,
            "rank": rank,
            "discountPercent": discount,
            "benefits": benefits,
            "auto": True,
            "rule": {"opportunities": {"some": {"outcome": {"eq": "WON"}, "amount": {"gte": amount}}}},
        }
        for rank, (name, discount, benefits, amount) in enumerate(_STEPS, 1)
    ]
