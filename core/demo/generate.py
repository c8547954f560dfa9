"""A whole demo base, its customers streamed: the same seed gives the same data, whatever the batch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Final

from core.demo import names, staff
from core.demo.customers import CustomerMaker
from core.demo.shapes import Customer, Group, Team, User
from core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUPS: Final = (
    *((names.REGION_FAMILY, name, points) for name, points in names.REGION_POINTS),
    *((names.AGE_FAMILY, name, points) for _, name, points in names.AGE_GROUPS),
    *((names.INDUSTRY_FAMILY, name, points) for name, points, _ in names.INDUSTRIES),
)


@dataclass(frozen=True, slots=True)
class DemoData:
    """A demo base: its users, teams and groups at hand, its `count` customers on demand.

    `seed` and `now` are what it was made from; `now` is the latest moment that occurs in it as a creation.
    """

    count: int
    seed: int
    now: datetime
    users: list[User]
    teams: list[Team]
    groups: list[Group]

    def customers(self, batch: int = 5000) -> Iterator[list[Customer]]:
        """Yield the customers in the order of their creation, in lists of `batch`, the last one shorter.

        Each call starts anew and gives the same customers. Raises `BadInput` for a batch below 1.
        """
        if batch < 1:
            message = "A batch holds at least one customer"
            raise BadInput(message, batch=batch)
        return self._batches(batch)

    def _batches(self, batch: int) -> Iterator[list[Customer]]:
        random = Random(f"customers {self.seed}")  # noqa: S311 - repeatable on purpose, guards nothing
        maker = CustomerMaker(self.count, self.seed, self.now, staff.owners(self.teams), random)
        for start in range(0, self.count, batch):
            yield [maker.customer(index) for index in range(start, min(start + batch, self.count))]


def generate(customers: int, seed: int = 7, *, now: datetime) -> DemoData:
    """Describe a demo base of that many customers; nothing is made before it is iterated.

    The data depends on the three arguments alone. Raises `BadInput` for a negative number of customers
    or seed, or a `now` without a time zone.
    """
    if customers < 0 or seed < 0:
        message = "The number of customers and the seed must not be negative"
        raise BadInput(message, customers=customers, seed=seed)
    if now.tzinfo is None:
        message = "`now` needs a time zone"
        raise BadInput(message, now=now.isoformat())
    now = now.astimezone(UTC)
    random = Random(f"staff {seed}")  # noqa: S311 - repeatable on purpose, guards nothing
    users = staff.users(customers, random, now.date())
    groups = [Group(family=family, name=name, points=points) for family, name, points in GROUPS]
    return DemoData(customers, seed, now, users, staff.teams(users), groups)
