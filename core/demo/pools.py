"""The demo's shared pool: customers whom nobody looks after, for everybody to see and to claim."""

from __future__ import annotations

from typing import Any


def pools() -> list[dict[str, Any]]:
    """The values of each pool by field name."""
    return [
        {
            "name": "Khách hàng chung",
            "description": "Khách hàng chưa có người phụ trách",
            "rule": {"ownerId": {"isNull": True}},
            "releaseOnExit": True,
            "claimsPerDay": 10,
            "coolDownDays": 14,
        }
    ]
