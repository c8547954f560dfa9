"""Who works in the demo company: users, teams, and how customers fall to them."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from core.demo import names
from core.demo.places import CENTRE, NORTH, SOUTH
from core.demo.shapes import Role, Team, User

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

MANAGERS: Final = 2
FEWEST_SALESPEOPLE: Final = 6
MOST_SALESPEOPLE: Final = 50
CUSTOMERS_PER_SALESPERSON: Final = 4_000
UNOWNED_SHARE: Final = 0.12

#: Salespeople join these in turn, so the first ones differ in region.
REGIONS: Final = (NORTH, SOUTH, CENTRE)


def _logins(role: str, count: int) -> list[str]:
    return [role if number == 1 else f"{role}{number}" for number in range(1, count + 1)]


def _user(login: str, role: Role, random: Random, today: date) -> User:
    woman = random.random() < 1 / 2
    middles, given = (names.FEMALE_MIDDLES, names.FEMALE_NAMES) if woman else (names.MALE_MIDDLES, names.MALE_NAMES)
    return User(
        login=login,
        display_name=" ".join((random.choice(names.FAMILIES), random.choice(middles), random.choice(given))),
        email=f"{login}@headless-crm.example",
        birthday=today - timedelta(days=random.randrange(22 * 365, 55 * 365)),
        locale="vi",
        time_zone="Asia/Ho_Chi_Minh",
        role=role,
    )


def users(customers: int, random: Random, today: date) -> list[User]:
    """Return the users for a base of that many customers: admin, managers, salespeople, one reader."""
    salespeople = FEWEST_SALESPEOPLE + customers // CUSTOMERS_PER_SALESPERSON
    logins: list[tuple[str, Role]] = [("admin", "admin")]
    logins += [(login, "manager") for login in _logins("manager", MANAGERS)]
    logins += [(login, "salesperson") for login in _logins("sales", min(salespeople, MOST_SALESPEOPLE))]
    logins.append(("readonly", "readonly"))
    return [_user(login, role, random, today) for login, role in logins]


def teams(staff: Sequence[User]) -> list[Team]:
    """Return one team a region; managers lead the first, a salesperson leads where no manager is left."""
    managers = [user["login"] for user in staff if user["role"] == "manager"]
    salespeople = [user["login"] for user in staff if user["role"] == "salesperson"]
    found = []
    for turn, region in enumerate(REGIONS):
        members = managers[turn : turn + 1] + salespeople[turn :: len(REGIONS)]
        found.append(Team(name=f"Kinh doanh {region[0].lower()}{region[1:]}", lead=members[0], members=members))
    return found


def owners(crew: Sequence[Team]) -> dict[str, tuple[str | None, ...]]:
    """Return per region a pool to draw owners from: its team, the first far ahead, some nobody."""
    everybody = [login for team in crew for login in team["members"]]
    pools: dict[str, tuple[str | None, ...]] = {}
    for region, team in zip(REGIONS, crew, strict=True):
        salespeople = [login for login in team["members"] if login.startswith("sales")]
        pool: list[str | None] = list(everybody)
        for rank, login in enumerate(salespeople, start=1):
            pool += [login] * (1 + 600 // rank)
        pool += [None] * round(len(pool) * UNOWNED_SHARE / (1 - UNOWNED_SHARE))
        pools[region] = tuple(pool)
    return pools
