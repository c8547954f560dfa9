"""Vietnamese phone numbers, and the many ways in which people type them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Ten digits in, what was typed out; frequent ways are repeated.
MOBILE_TYPINGS: Final[tuple[Callable[[str], str], ...]] = (
    *[lambda digits: digits] * 12,
    *[lambda digits: f"+84{digits[1:]}"] * 3,
    *[lambda digits: f"{digits[:4]} {digits[4:7]} {digits[7:]}"] * 4,
    *[lambda digits: f"{digits[:3]} {digits[3:6]} {digits[6:]}"] * 2,
    lambda digits: f"{digits[:4]}.{digits[4:7]}.{digits[7:]}",
    lambda digits: f"{digits[:4]}-{digits[4:7]}-{digits[7:]}",
    lambda digits: f"+84 {digits[1:4]} {digits[4:7]} {digits[7:]}",
    lambda digits: f"(+84) {digits[1:4]} {digits[4:7]} {digits[7:]}",
    lambda digits: f"84{digits[1:]}",
)

#: Area prefix with its zero and the subscriber's digits in, what was typed out.
LANDLINE_TYPINGS: Final[tuple[Callable[[str, str], str], ...]] = (
    lambda area, digits: area + digits,
    lambda area, digits: f"{area} {digits[:-4]} {digits[-4:]}",
    lambda area, digits: f"({area}) {digits[:-4]} {digits[-4:]}",
    lambda area, digits: f"{area}.{digits}",
    lambda area, digits: f"+84 {area[1:]} {digits[:-4]} {digits[-4:]}",
    lambda area, digits: f"+84{area[1:]}{digits}",
)

#: Digits of a landline, area prefix included.
LANDLINE_LENGTH: Final = 11
