"""Loading a demo base into a workspace: batch by batch through the change path, resumable after any kill.

How far it has come stands in the workspace's own settings and is written with each batch, in the same transaction. The
generator gives the same data for the same seed and moment, so that whoever finds an unfinished load goes on with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import Any
from uuid import UUID

from core.apikeys import issue_api_key
from core.changes import ChangeSet, Committed
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.demo.generate import DemoData, generate
from core.demo.pools import pools
from core.demo.shapes import Customer, Opportunity, Role
from core.demo.tiers import tiers
from core.errors import ConfigError, DatabaseError
from core.grants import SYSTEM
from core.passwords import set_password
from core.pool import Connection
from core.rows import new_id
from core.schema.composition import Composition
from core.sql import quote
from core.tokens import digest

KEY = "demo"
SEED = 7
BATCH = 1000
KEY_NAME = "demo"

#: The record types of customer groups, which a plugin brings.
GROUP, MEMBER = "Group", "GroupMember"
#: That of tiers, which another brings.
TIER = "Tier"
#: That of shared pools.
POOL = "Pool"

#: The record type of criteria for duplicates, which a plugin brings, and those that the demo has.
CRITERION = "DuplicateCriterion"
CRITERIA: tuple[Mapping[str, Any], ...] = (
    {"fields": ["phone"], "effect": "BLOCK"},
    {"fields": ["email"], "effect": "BLOCK"},
    {"fields": ["name", "birthday"], "effect": "WARN"},
)

#: What `core.seed` calls the generator's roles.
ROLES: dict[Role, str] = {
    "admin": "Admin",
    "manager": "Manager",
    "salesperson": "Salesperson",
    "readonly": "Read-only",
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a demo base is loaded: `loaded` of `customers`, made from `seed` as of `now` (UTC)."""

    seed: int
    now: datetime
    customers: int
    loaded: int

    @property
    def done(self) -> bool:
        """Whether all customers are there."""
        return self.loaded == self.customers

    def data(self) -> DemoData:
        """The base that is being loaded."""
        return generate(self.customers, self.seed, now=self.now)

    def stored(self) -> dict[str, Any]:
        """As the workspace's settings keep it."""
        return {
            "seed": self.seed,
            "now": self.now.isoformat(),
            "customers": self.customers,
            "loaded": self.loaded,
        }


@dataclass(frozen=True, slots=True)
class Account:
    """A way to sign in: `token` is an API key of the user's, `role` the generator's word for his role."""

    login: str
    password: str
    token: str
    role: Role


class Loader:
    """Loads one workspace, whose composition it is given.

    `await begin(customers)` first; then `await customers(report)` as long as what it returned is not done.
    """

    def __init__(self, database: Database, workspace: Workspace, composition: Composition) -> None:
        self._database = database
        self._workspace = workspace
        self._hooks = composition.hooks
        self._policy = composition.policy(SYSTEM)
        self._catalog = composition.catalog

    async def begin(self, customers: int) -> Progress:
        """Create users, teams and groups, or find an earlier load of whatever size.

        Raises ConfigError for a workspace with data that no demo put there.
        """
        async with self._database.transaction(self._workspace) as connection:
            await demand_demo(connection, self._workspace)
            found = await progress(connection)
            if found is not None:
                return found
            now = datetime.now(UTC).replace(microsecond=0)
            begun = Progress(SEED, now, customers, 0)
            claimed = await connection.fetchval(
                "insert into workspace_setting (key, value) values ($1, $2) on conflict do nothing returning true",
                KEY,
                begun.stored(),
            )
            if not claimed:
                raise _busy(self._workspace)
            await self._staff(connection, begun.data())
        return begun

    async def customers(self, start: Progress, report: Callable[[Progress], None]) -> Progress:
        """Load the customers that are missing, one change set a batch; `report` hears of each batch.

        Raises DatabaseError where another process loads the same workspace.
        """
        users, groups = await self._known()
        at = start
        generated = 0
        for batch in start.data().customers(BATCH):
            missing = batch[max(0, at.loaded - generated) :]
            generated += len(batch)
            if not missing:
                continue
            after = replace(at, loaded=generated)
            async with self._database.transaction(self._workspace, statement_timeout_ms=0) as connection:
                await self._advance(connection, at, after)
                committed = await self._load(connection, missing, users, groups, last=after.done)
            if committed is not None:
                await self._hooks.announce("committed", change_set=committed)
            at = after
            report(at)
        await self._last(TIER, "demoTiers", tiers(), ("read",))
        await self._last(POOL, "demoPools", pools(), ("read", "claim"))
        await self._settle()
        return at

    async def accounts(self) -> list[Account]:
        """Give every demo user a new password and a new API key in place of his former demo keys."""
        made = []
        async with self._database.transaction(self._workspace) as connection:
            found = await progress(connection)
            if found is None:
                raise ConfigError(f"the workspace {self._workspace.slug} is no demo")
            ids = {row["login"]: row["id"] for row in await _users(connection)}
            for user in found.data().users:
                login = user["login"]
                if login not in ids:
                    continue
                password = secrets.token_urlsafe(9)
                await set_password(connection, ids[login], password)
                await connection.execute(
                    "update api_key set revoked_at = now() where user_id = $1 and name = $2 and revoked_at is null",
                    ids[login],
                    KEY_NAME,
                )
                token = await issue_api_key(connection, ids[login], KEY_NAME)
                made.append(Account(login, password, token, user["role"]))
        return made

    async def valid(self, tokens: Iterable[str]) -> bool:
        """Whether there are such API keys, all of this workspace and none revoked."""
        digests = [digest(token) for token in set(tokens)]
        async with self._database.connection(self._workspace) as connection:
            known: int = await connection.fetchval(
                "select count(*) from api_key where hash = any($1::bytea[]) and revoked_at is null", digests
            )
        return 0 < len(digests) == known

    def _changes(self, connection: Connection, operation: str) -> ChangeSet:
        actor = Actor(ActorKind.SYSTEM, SYSTEM)
        context = RequestContext(self._workspace, actor, locale=self._workspace.locale)
        return ChangeSet(
            connection, context, self._policy, self._hooks, source="IMPORT", operation=operation, reason="demo data"
        )

    async def _staff(self, connection: Connection, data: DemoData) -> None:
        changes = self._changes(connection, "demoStaff")
        users = {u["login"]: new_id() for u in data.users}
        roles = {row["name"]: row["id"] for row in await connection.fetch("select id, name from role")}
        await changes.create("User", ({"id": users[u["login"]], **_camel(u, drop={"role"})} for u in data.users))
        held = ({"userId": users[u["login"]], "roleId": roles[ROLES[u["role"]]]} for u in data.users)
        await changes.create("UserRole", held)
        teams = [(new_id(), team) for team in data.teams]
        await changes.create(
            "Team", ({"id": id_, "name": team["name"], "leadId": users[team["lead"]]} for id_, team in teams)
        )
        members = ({"teamId": id_, "userId": users[login]} for id_, team in teams for login in team["members"])
        await changes.create("TeamMember", members)
        if self._grouped:
            await changes.create(GROUP, (_camel(group, drop=set()) for group in data.groups))
        others = [id_ for name, id_ in roles.items() if name != ROLES["admin"]]
        for record in (GROUP, CRITERION):
            if record in self._catalog:
                read = {"recordType": record, "action": "read", "scope": "ALL"}
                await changes.create("PermissionGrant", [{"roleId": id_, **read} for id_ in others])
        await changes.finish()

    async def _last(self, record: str, operation: str, rows: list[dict[str, Any]], actions: Sequence[str]) -> None:
        """Records with rules come last: whom they concern is found for all customers at once, by a job.

        All but administrators, who have every right, get the `actions`.
        """
        if record not in self._catalog:
            return
        async with self._database.transaction(self._workspace) as connection:
            table = quote(self._catalog[record].type.tablename)
            if not await connection.fetchval(f"select exists (select from {table})"):
                changes = self._changes(connection, operation)
                await changes.create(record, rows)
                roles = await connection.fetch("select id, name from role")
                others = [r["id"] for r in roles if r["name"] != ROLES["admin"]]
                given = (
                    {"roleId": o, "recordType": record, "action": a, "scope": "ALL"} for o in others for a in actions
                )
                await changes.create("PermissionGrant", given)
                await changes.finish()

    @property
    def _grouped(self) -> bool:
        return GROUP in self._catalog and MEMBER in self._catalog

    async def _known(self) -> tuple[dict[str, UUID], dict[tuple[str, str], UUID]]:
        """The ids of users by login, and of groups by family and name."""
        groups = {}
        async with self._database.connection(self._workspace) as connection:
            users = {row["login"]: row["id"] for row in await _users(connection)}
            if self._grouped:
                table = quote(self._catalog[GROUP].type.tablename)
                rows = await connection.fetch(f"select id, family, name from {table} where deleted_at is null")
                groups = {(row["family"], row["name"]): row["id"] for row in rows}
        return users, groups

    async def _advance(self, connection: Connection, at: Progress, after: Progress) -> None:
        status = await connection.execute(
            "update workspace_setting set value = $2 where key = $1 and value = $3", KEY, after.stored(), at.stored()
        )
        if status != "UPDATE 1":
            raise _busy(self._workspace)

    async def _load(
        self,
        connection: Connection,
        batch: list[Customer],
        users: dict[str, UUID],
        groups: dict[tuple[str, str], UUID],
        *,
        last: bool,
    ) -> Committed | None:
        changes = self._changes(connection, "demoCustomers")
        await changes.create("Customer", (_customer(c, users) for c in batch))
        await changes.create("Contact", _contacts(batch))
        now = changes.context.now
        await changes.create("Opportunity", (_opportunity(c, o, users, now) for c in batch for o in c["opportunities"]))
        held = [{"customerId": c["id"], "groupId": groups[g]} for c in batch for g in c["groups"] if g in groups]
        if held:
            await changes.create(MEMBER, held)
        if last and CRITERION in self._catalog:
            await changes.create(CRITERION, CRITERIA)
        return await changes.finish()

    async def _settle(self) -> None:
        """Let new codes go on after the demo's, and let the planner know what there is."""
        async with self._database.connection(self._workspace) as connection:
            await connection.execute("set statement_timeout = 0")
            try:
                await connection.execute(
                    "select setval('customer_code_seq', (select count(*) from customer) + 1, false)"
                )
                for record in ("Customer", "Contact", "Opportunity", GROUP, MEMBER):
                    if record in self._catalog:
                        await connection.execute(f"vacuum (analyze) {quote(self._catalog[record].type.tablename)}")
            finally:
                await connection.execute("reset statement_timeout")


async def progress(connection: Connection) -> Progress | None:
    """How far the workspace's demo base is loaded; None where it is no demo."""
    value = await connection.fetchval("select value from workspace_setting where key = $1", KEY)
    if value is None:
        return None
    return Progress(value["seed"], datetime.fromisoformat(value["now"]), value["customers"], value["loaded"])


async def demand_demo(connection: Connection, workspace: Workspace) -> None:
    """Raise ConfigError for a workspace that has data and is no demo."""
    if not await connection.fetchval("select to_regclass('workspace_setting') is not null"):
        return
    taken = await connection.fetchval("select exists (select from app_user) or exists (select from customer)")
    if taken and await progress(connection) is None:
        message = f"the workspace {workspace.slug} holds data that is not the demo's: nothing was changed"
        raise ConfigError(message, workspace=workspace.slug)


async def _users(connection: Connection) -> list[Any]:
    rows: list[Any] = await connection.fetch("select id, login from app_user where deleted_at is null")
    return rows


def _busy(workspace: Workspace) -> DatabaseError:
    return DatabaseError(f"another process is loading the demo of the workspace {workspace.slug}")


def _camel(values: Any, drop: set[str]) -> dict[str, Any]:
    """The generator's keys as the names of fields."""
    return {_field(name): value for name, value in values.items() if name not in drop}


def _field(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _customer(customer: Customer, users: dict[str, UUID]) -> dict[str, Any]:
    values = _camel(customer, drop={"owner", "contacts", "opportunities", "groups"})
    owner = customer["owner"]
    return values | {"ownerId": owner and users[owner], "updatedAt": customer["created_at"]}


def _contacts(batch: list[Customer]) -> Iterator[dict[str, Any]]:
    for customer in batch:
        made = {"createdAt": customer["created_at"], "updatedAt": customer["created_at"]}
        for contact in customer["contacts"]:
            yield _camel(contact, drop=set()) | made | {"customerId": customer["id"]}


def _opportunity(customer: Customer, opportunity: Opportunity, users: dict[str, UUID], now: datetime) -> dict[str, Any]:
    opened = datetime.fromtimestamp((opportunity["id"].int >> 80) / 1000, UTC)
    owner = opportunity["owner"]
    values = _camel(opportunity, drop={"owner"})
    values |= {
        "customerId": customer["id"],
        "ownerId": owner and users[owner],
        "createdAt": opened,
        "updatedAt": opened,
    }
    if opportunity["outcome"] != "OPEN":
        due = datetime.combine(opportunity["expected_close"], time(9), UTC)
        values["closedAt"] = values["updatedAt"] = max(opened, min(due, now))
    return values
