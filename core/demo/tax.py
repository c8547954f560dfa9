"""Vietnamese tax codes: ten digits, the last one a check digit; a branch appends three."""

from __future__ import annotations

from typing import Final

WEIGHTS: Final = (31, 29, 23, 19, 17, 13, 7, 5, 3)
MODULUS: Final = 11


def tax_code(nine: str) -> str | None:
    """Return nine digits with their check digit, or nothing for the one number in eleven that has none."""
    remainder = sum(weight * int(digit) for weight, digit in zip(WEIGHTS, nine, strict=True)) % MODULUS
    return f"{nine}{10 - remainder}" if remainder else None
