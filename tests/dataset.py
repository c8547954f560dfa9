"""A small seeded workspace for the tests of reading: people and teams, roles that differ, and awkward rows."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

from core.catalog import Catalog
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.grants import ABILITIES, Access, Grants, Reach, RoleGrants
from core.hooks import Hooks
from core.records import EnumType, Extension, Field, Kind
from core.schema.answer import Answer
from core.schema.composition import Composition
from core.schema.declared import CORE
from core.schema.execute import run
from core.schema.measure import Limits
from core.schema.mutate import Mutator
from core.schema.mutations import UNDO, standard_mutations

CODES = dict.fromkeys(
    ("REQUIRED", "TOO_LONG", "INVALID", "OUT_OF_RANGE", "DUPLICATE", "NOT_FOUND", "STALE", "CONFLICT"), "A fault."
)
NOW = datetime(2026, 3, 17, 9, 30, tzinfo=UTC)
FREE = Limits(cost=10**15, aliases=10**4, depth=50, fields=10**5, repeats=10**5, directives=10**4, root_fields=10**3)

CUSTOM = Extension(
    "Customer",
    fields=(
        Field("shoeSize", Kind.INT, "A custom number.", custom="c0000000-0000-0000-0000-000000000001"),
        Field("nickname", Kind.TEXT, "A custom text.", custom="c0000000-0000-0000-0000-000000000002"),
        Field("hobbies", Kind.TEXTS, "Custom choices.", custom="c0000000-0000-0000-0000-000000000003"),
        Field("visited", Kind.DATETIME, "A custom time.", custom="c0000000-0000-0000-0000-000000000004"),
        Field("credit", Kind.DECIMAL, "A custom decimal.", custom="c0000000-0000-0000-0000-000000000005"),
        Field(
            "grade",
            Kind.ENUM,
            "A custom choice.",
            enum=EnumType("CustomerGradeChoice", "Grades.", {"A": "Best.", "B": "Good.", "C": "Poor."}),
            custom="c0000000-0000-0000-0000-000000000006",
        ),
        Field("vip", Kind.BOOL, "A custom yes or no.", custom="c0000000-0000-0000-0000-000000000007"),
        Field("secret", Kind.TEXT, "A unique one.", custom="c0000000-0000-0000-0000-000000000008", unique=True),
    ),
)

TEXTS = (
    "Nguyễn Văn An",
    unicodedata.normalize("NFD", "Nguyễn Văn An"),
    "nguyen van an",
    "ĐẶNG Thị Bưởi",
    "Đặng thị bưởi",
    'O\'Neil "Max" & Sons',
    "100%_sure\\really",
    "100 sure",
    "%",
    "_",
    "\\",
    "Công ty TNHH Ánh Dương",
    "CÔNG TY tnhh anh duong",
    "  spaced   out  ",
    "z",
    "Z",
    "a",
    "null",
)

#: Reaches by record type and action; `read` alone is "Customer", several actions are "Customer:update".
Spec = Mapping[str, str]
READABLE = ("Customer", "Contact", "Opportunity", "User", "Team", "Role", "PermissionGrant", "FieldRule", "ChangeSet")
ROLES: dict[str, Spec] = {
    "admin": dict.fromkeys(READABLE, "ALL"),
    "sales": {"Customer": "OWN", "Contact": "OWN", "Opportunity": "OWN", "User": "ALL", "Team": "ALL"},
    "manager": {"Customer": "TEAM", "Contact": "TEAM", "Opportunity": "TEAM", "User": "ALL", "Team": "ALL"},
    "reader": {"Customer": "ALL", "Contact": "ALL", "Opportunity": "ALL", "User": "ALL"},
    "clerk": {"Customer": "ALL", "Contact": "ALL", "Opportunity": "ALL", "User": "ALL"},
    "mixed": {"Customer": "ALL", "Contact": "OWN", "Opportunity": "TEAM"},
    "odd": {"Customer": "OWN", "Contact": "ALL", "Opportunity": "ALL", "User": "TEAM"},
}
#: Roles that only read.
READERS = frozenset({"reader", "clerk"})
WRITES = ("create", "update", "delete", "restore", "transfer")
HIDDEN: dict[str, dict[tuple[str, str], str]] = {
    "clerk": {
        ("Customer", "phone"): "HIDE",
        ("Customer", "name"): "HIDE",
        ("Customer", "ownerId"): "HIDE",
        ("Customer", "birthday"): "READ",
        ("Customer", "shoeSize"): "HIDE",
        ("Customer", "secret"): "HIDE",
        ("Customer", "tags"): "HIDE",
        ("Opportunity", "amount"): "HIDE",
        ("Contact", "email"): "HIDE",
        ("User", "email"): "HIDE",
    },
    "reader": {("Opportunity", "amount"): "HIDE", ("Customer", "email"): "HIDE"},
}
#: Users with their roles and teams.
PEOPLE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "eve": (("admin",), ()),
    "ann": (("sales",), ("north",)),
    "bob": (("sales",), ("north", "south")),
    "cat": (("manager",), ("south",)),
    "dan": (("reader",), ()),
    "fay": (("clerk",), ()),
    "gil": (("clerk", "sales"), ("gone",)),
    "kim": (("clerk", "reader"), ()),
    "max": (("mixed",), ("north",)),
    "ola": (("odd",), ("south",)),
    "hal": ((), ("north",)),
}


def grants_of(name: str) -> RoleGrants:
    """A role of `ROLES` as the policy knows it; all but READERS may also write as far as they read."""
    writes = () if name in READERS else WRITES
    reaches = {(r, a): Reach[scope] for r, scope in ROLES[name].items() for a in ("read", *writes)}
    hidden = {key: Access[access] for key, access in HIDDEN.get(name, {}).items()}
    return RoleGrants(name, reaches, hidden, frozenset(ABILITIES if name == "admin" else ()))


@dataclass
class Data:
    """The workspace, everyone who may ask, and how to ask."""

    database: Database
    workspace: Workspace
    composition: Composition
    actors: dict[str, Actor] = field(default_factory=dict)
    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    statements: list[tuple[str, Any]] = field(default_factory=list)
    #: Ids of records that a test hides, by what they are.
    hidden: dict[str, str] = field(default_factory=dict)

    @property
    def catalog(self) -> Catalog:
        return self.composition.catalog

    def context(self, actor: str) -> RequestContext:
        return RequestContext(self.workspace, self.actors[actor], "test", "en", NOW)

    async def ask(
        self,
        actor: str,
        query: str,
        variables: dict[str, Any] | None = None,
        limits: Limits = FREE,
        operation: str | None = None,
    ) -> Answer:
        """Run an operation as one of `actors`; the statements it takes are left in `statements`."""
        self.statements = []

        async def fetch(text: str, values: Any) -> bytes | None:
            self.statements.append((text, values))
            found: bytes | None = await self.database.pool(self.workspace).fetchval(text, *values)
            return found

        mutator = Mutator(lambda: self.database.transaction(self.workspace))
        return await run(self.composition, self.context(actor), fetch, query, variables, operation, mutator, limits)

    async def answer(self, actor: str, query: str, variables: dict[str, Any] | None = None) -> Any:
        """The body of the answer as values."""
        return orjson.loads((await self.ask(actor, query, variables)).body)

    async def data(self, actor: str, query: str, variables: dict[str, Any] | None = None) -> Any:
        """The data of an answer that must have no errors."""
        body = await self.answer(actor, query, variables)
        assert "errors" not in body, body["errors"]
        return body["data"]

    async def codes(self, actor: str, query: str, variables: dict[str, Any] | None = None) -> tuple[str, ...]:
        """The error codes of an answer that must have no data."""
        answer = await self.ask(actor, query, variables)
        data = orjson.loads(answer.body).get("data")
        assert data is None or all(v is None for v in data.values()), answer.body
        return answer.codes


def compose() -> Composition:
    """The core with a few custom fields, and nothing else."""
    catalog = Catalog.build(CORE, [("custom", CUSTOM)])
    return Composition("tests", catalog, (), [*standard_mutations(catalog), UNDO], (), CODES, {}, Hooks())


async def load(database: Database, workspace: Workspace) -> Data:
    """Fill a workspace; equal in every run."""
    rows = _rows(random.Random(20260317))
    async with database.transaction(workspace) as connection:
        for table, values in rows:
            names = ", ".join(values)
            places = ", ".join(f"${i}" for i in range(1, len(values) + 1))
            await connection.execute(f"insert into {table} ({names}) values ({places})", *values.values())
        await connection.execute("analyze")
    data = Data(database, workspace, compose())
    teams = {name: UUID(int=0x200 + i) for i, name in enumerate(("north", "south", "gone"))}
    for i, (name, (roles, member)) in enumerate(PEOPLE.items()):
        live = [t for t in member if t != "gone"]
        mates = {n for n, (_, other) in PEOPLE.items() if set(other) & set(live)} | {name}
        data.roles[name] = roles
        data.actors[name] = Actor(
            ActorKind.USER,
            Grants(tuple(grants_of(r) for r in roles)),
            UUID(int=0x100 + i),
            name,
            team_ids=tuple(teams[t] for t in live),
            mate_ids=tuple(UUID(int=0x100 + j) for j, n in enumerate(PEOPLE) if n in mates),
        )
    data.roles["key"] = ("admin",)
    data.actors["key"] = Actor(
        ActorKind.API_KEY,
        Grants((grants_of("admin"),), allowed=frozenset({("Customer", "read"), ("Contact", "*")})),
        data.actors["eve"].user_id,
    )
    data.roles["anonymous"] = ()
    data.actors["anonymous"] = Actor(ActorKind.USER, Grants())
    return data


def _rows(dice: random.Random) -> Iterable[tuple[str, dict[str, Any]]]:  # noqa: PLR0912
    start = datetime(2025, 12, 1, 0, 0, tzinfo=UTC)
    people = [UUID(int=0x100 + i) for i in range(len(PEOPLE))]

    def moment() -> datetime:
        # Few distinct times, so that orders have ties; some around midnight in Viet Nam.
        return start + timedelta(days=dice.choice((0, 3, 31, 90, 105, 106)), hours=dice.choice((0, 16, 17)))

    def audit(deleted: float = 0.15) -> dict[str, Any]:
        at = moment()
        return {
            "created_at": at,
            "updated_at": at + timedelta(microseconds=dice.choice((0, 1, 500_000))),
            "created_by": dice.choice((None, *people)),
            "version": dice.randint(1, 3),
            "deleted_at": at + timedelta(days=1) if dice.random() < deleted else None,
        }

    for i, name in enumerate(PEOPLE):
        email = None if i % 3 == 0 else f"{name}@example.vn"
        values = {"id": people[i], "login": name, "display_name": TEXTS[i], "email": email, "active": i % 5 != 4}
        yield "app_user", values | audit(0) | {"created_by": None}
    for i, name in enumerate(("north", "south", "gone")):
        lead = None if i == 1 else people[i]
        yield (
            "team",
            {"id": UUID(int=0x200 + i), "name": name, "lead_id": lead}
            | audit(0)
            | {"deleted_at": NOW if name == "gone" else None},
        )
    links = 0x900
    for i, (_, teams) in enumerate(PEOPLE.values()):
        for team in teams:
            links += 1
            of = ("north", "south", "gone").index(team)
            yield "team_member", {"id": UUID(int=links), "team_id": UUID(int=0x200 + of), "user_id": people[i]}
    for i, name in enumerate(ROLES):
        yield "role", {"id": UUID(int=0x300 + i), "name": name, "abilities": ["undo"] * (i == 0)} | audit(0)
        for j, (record, scope) in enumerate(ROLES[name].items()):
            yield (
                "permission_grant",
                {
                    "id": UUID(int=0x3000 + i * 64 + j),
                    "role_id": UUID(int=0x300 + i),
                    "record_type": record,
                    "action": "read",
                    "scope": scope,
                },
            )
    for i, (roles, _) in enumerate(PEOPLE.values()):
        for role in roles:
            links += 1
            of = list(ROLES).index(role)
            yield "user_role", {"id": UUID(int=links), "user_id": people[i], "role_id": UUID(int=0x300 + of)}
    customers = [UUID(int=0x10000 + dice.getrandbits(12) * 64 + i) for i in range(44)]
    for i, id_ in enumerate(customers):
        name = dice.choice(TEXTS)
        custom: dict[str, Any] = {}
        for key, value in (
            (1, dice.randint(-2, 3)),
            (2, dice.choice(TEXTS)),
            (3, dice.sample(["golf", "tea", "chess"], dice.randint(1, 3))),
            (4, moment().isoformat()),
            (5, str(Decimal(dice.randint(-500, 500)) / 100)),
            (6, dice.choice("ABC")),
            (7, dice.random() < 0.5),
            (8, f"secret-{i}"),
        ):
            if dice.random() < 0.6:
                custom[f"c0000000-0000-0000-0000-00000000000{key}"] = value
        yield (
            "customer",
            {
                "id": id_,
                "code": f"KH{i:04d}" if i % 4 else f"kh-{i}-Đ",
                "name": name,
                "kind": dice.choice(("PERSON", "ORGANISATION")),
                "email": dice.choice((None, f"{i % 5}@Example.vn", "Ánh@dương.vn")),
                "phone": dice.choice((None, "0903 123 456", "090", "+84 903")),
                "province": dice.choice((None, "Hà Nội", "hà nội", "Đà Nẵng", "")),
                "birthday": dice.choice((None, date(1990, 2, 28), date(2000, 2, 29), NOW.date(), date(2026, 2, 15))),
                "tags": dice.choice((None, [], ["vip"], ["vip", "mới"], ["O'x", '"q"', "%"])),
                "custom": custom,
                "owner_id": dice.choice((None, *people, *people)),
                "referrer_id": dice.choice((None, customers[dice.randrange(i)])) if i else None,
            }
            | audit(),
        )
    given: set[tuple[Any, ...]] = set()
    for _ in range(24):
        who = dice.choice((("user_id", dice.choice(people)), ("team_id", UUID(int=0x200 + dice.randrange(3))), None))
        customer = dice.choice(customers)
        if (customer, who) in given:
            continue
        given.add((customer, who))
        links += 1
        yield (
            "customer_viewer",
            {
                "id": UUID(int=links),
                "customer_id": customer,
                **({who[0]: who[1]} if who else {"everyone": True}),
                "can_edit": dice.random() < 0.5,
                "source": "lost_plugin" if links % 6 == 0 else ("share", "transfer")[links % 2],
                "created_at": moment(),
                "created_by": dice.choice((None, *people)),
            },
        )
    for i in range(48):
        phones = dice.choice((None, [], ["090"], ["090", "091 2"]))
        yield (
            "contact",
            {
                "id": UUID(int=0x400000 + dice.getrandbits(10) * 64 + i),
                "customer_id": dice.choice(customers[:30]),
                "name": dice.choice(TEXTS),
                "title": dice.choice((None, "Giám đốc", "giám ĐỐC", "CEO")),
                "email": dice.choice((None, "a@b.vn", "Ánh@b.vn")),
                "phones": phones,
                "birthday": dice.choice((None, date(1990, 2, 28), date(2026, 3, 1))),
            }
            | audit(),
        )
    for i in range(48):
        yield (
            "opportunity",
            {
                "id": UUID(int=0x600000 + dice.getrandbits(10) * 64 + i),
                "customer_id": dice.choice(customers[:32]),
                "name": dice.choice(TEXTS),
                "probability": dice.choice((None, 0, 10, 50, 100)),
                "amount": dice.choice(
                    (None, Decimal(0), Decimal("12.50"), Decimal("-3.1"), Decimal("1e12"), Decimal("0.1"))
                ),
                "currency": dice.choice((None, "VND", "USD")),
                "stage": dice.choice((None, "Mới", "mới", "Đàm phán")),
                "owner_id": dice.choice((None, *people)),
                "expected_close": dice.choice(
                    (None, date(2026, 3, 17), date(2026, 3, 18), date(2026, 4, 1), date(2025, 12, 31))
                ),
                "closed_at": dice.choice((None, moment(), NOW, NOW - timedelta(days=1))),
                "outcome": dice.choice(("OPEN", "WON", "LOST")),
            }
            | audit(),
        )
