"""Drawing from pools: the few random moves every maker needs, fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from core.demo.clock import uuid7

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random
    from uuid import UUID

T = TypeVar("T")


class Draw:
    """A source of random choices. `random.choice` takes several times as long as `pick`."""

    def __init__(self, random: Random) -> None:
        """Draw from `random`, which decides everything."""
        self.random = random.random
        self._bits = random.getrandbits

    def pick(self, pool: Sequence[T]) -> T:
        """Return one of a pool, each as likely as another."""
        return pool[int(self.random() * len(pool))]

    def chance(self, probability: float) -> bool:
        """Return true as often as `probability` (0 to 1) says."""
        return self.random() < probability

    def below(self, limit: int) -> int:
        """Return an integer from 0 up to, not including, `limit`."""
        return int(self.random() * limit)

    def uuid(self, moment: int) -> UUID:
        """Return a UUIDv7 of an epoch millisecond."""
        return uuid7(moment, self._bits(74))
