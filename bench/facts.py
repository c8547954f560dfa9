"""What the questions are asked with: actors, and ids, dates and texts of the base that lies there."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from bench.questions import Question
from bench.servers import Server, post
from core.database import Database
from core.settings import Settings
from core.workspaces import Workspaces

#: Kind of actor -> role of the demo's account that acts so.
ROLES = {"all": "admin", "team": "manager", "shared": "salesperson"}
TEXTS = ("hoa", "anh", "ngu", "tra", "pha", "mai", "kim", "lon", "tho", "vie")

#: Groups are read by everybody; one customer in fifty is shared with the salesperson, one in a hundred with everyone.
_SETUP = (
    """
insert into permission_grant (id, role_id, record_type, action, scope)
select gen_random_uuid(), id, 'Group', 'read', 'ALL' from role where name in ('Manager', 'Salesperson')
on conflict do nothing
""",
    """
insert into customer_viewer (id, customer_id, user_id, everyone)
select gen_random_uuid(), id, case when n % 2 = 0 then '{actor}'::uuid end, n % 2 = 1
from (select id, row_number() over (order by created_at, id) n from customer where deleted_at is null) c
where n % 50 < 2 and not exists (select from customer_viewer where customer_id = c.id)
""",
    "analyze",
    "select pg_notify('crm_access', 'default')",
)


@dataclass
class Facts:
    """Of one kind of actor: his header, and what the limit's statements need to know of him."""

    who: str
    authorization: str
    policy: dict[str, Any]
    ids: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    since: list[str] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)

    def asked(self, question: Question) -> list[dict[str, Any]]:
        """Variables to put the question with, one after the other; for GraphQL and for the limit alike."""
        match question.name:
            case "q1":
                return [{"id": i} for i in self.ids]
            case "q2":
                return [{"first": 50}]
            case "q2k":
                return [{"first": 50, **page} for page in self.pages]
            case "q3" | "q3t":
                return [{"owner": o} for o in self.owners]
            case "q4":
                picks = random.Random(7)
                return [_groups(picks.sample(self.groups, 3), since) for since in self.since]
            case _:
                return [{"text": t} for t in TEXTS]


def _groups(picked: Sequence[str], since: str) -> dict[str, Any]:
    one, other, third = picked
    return {"since": since, "one": one, "other": other, "third": third, "any": [one, other], "none": [third]}


def bodies(question: Question, facts: Facts, server: str) -> list[bytes]:
    """The requests of a question to a server. What only the limit needs travels where GraphQL allows it."""
    text = question.postgraphile if server == "postgraphile" else question.graphql
    found = []
    for values in facts.asked(question):
        variables = {k: v for k, v in values.items() if f"${k}:" in text}
        asked = {"query": text, "operationName": question.name.capitalize(), "variables": variables}
        if server == "limit":
            asked["extensions"] = {k: v for k, v in values.items() if k not in variables}
        found.append(json.dumps(asked).encode())
    return found


async def gather(data: Path) -> tuple[str, str, list[Facts]]:
    """The address of the base, the workspace's schema, and the facts of each kind of actor."""
    accounts = json.loads((data / "demo.json").read_text())["accounts"]
    database = await Database.open(Settings.load(data_dir=data, statement_timeout_ms=600_000))
    try:
        workspace = await Workspaces(database).get("default")
        async with database.connection(workspace) as c:
            actors = []
            for who, role in ROLES.items():
                account = next(a for a in accounts if a["role"] == role)
                actors.append((who, account, await _policy(c, account["login"], who)))
            for statement in _SETUP:
                await c.execute(statement.replace("{actor}", str(actors[-1][2]["actor"])))
            return (
                database.dsn,
                workspace.schema,
                [await _facts(c, who, account["token"], policy) for who, account, policy in actors],
            )
    finally:
        await database.close()


async def _policy(c: asyncpg.Connection, login: str, who: str) -> dict[str, Any]:
    actor = await c.fetchval("select id from app_user where login = $1 and deleted_at is null", login)
    teams = await c.fetch("select team_id from team_member where user_id = $1", actor)
    mates = await c.fetch(
        "select distinct user_id from team_member where team_id = any($1::uuid[]) union select $2::uuid",
        [t[0] for t in teams],
        actor,
    )
    return {"who": who, "actor": str(actor), "teams": [str(t[0]) for t in teams], "mates": [str(m[0]) for m in mates]}


async def _facts(c: asyncpg.Connection, who: str, token: str, policy: dict[str, Any]) -> Facts:
    mates = {"all": None, "team": policy["mates"], "shared": [policy["actor"]]}[who]
    seen = "deleted_at is null and ($1::uuid[] is null or owner_id = any($1))"
    facts = Facts(who, f"Bearer {token}", policy)
    facts.ids = [
        str(r[0]) for r in await c.fetch(f"select id from customer where {seen} order by id limit 2000", mates)
    ]
    owners = await c.fetch(
        f"select owner_id from customer where {seen} and owner_id is not null"
        " group by 1 order by count(*) desc limit 20",
        mates,
    )
    facts.owners = [str(r[0]) for r in owners]
    facts.groups = [
        str(r[0]) for r in await c.fetch("select id from customer_group where deleted_at is null order by name, id")
    ]
    facts.since = [
        r[0].isoformat()
        for r in await c.fetch(
            "select percentile_disc(f) within group (order by created_at) from customer,"
            " unnest(array[0, 0.2, 0.4, 0.5, 0.6, 0.8]::float[]) f where deleted_at is null group by f order by f"
        )
    ]
    return facts


def find_pages(facts: Facts, server: Server, page: int) -> None:
    """Walk to the page by cursors, and note where it begins: as our cursor, and as the row before it.

    For whoever sees fewer pages it is one of the last that he sees.
    """
    query = """query($first: Int!, $after: String) { customers(first: $first, after: $after,
      orderBy: [{field: CREATED_AT, direction: DESC}]) {
      nodes { id createdAt } pageInfo { endCursor hasNextPage } } }"""
    after, left = None, (page - 1) * 50
    while left > 0:
        body = json.dumps({"query": query, "variables": {"first": min(left, 200), "after": after}}).encode()
        found = post(server.url, body, facts.authorization)["data"]["customers"]
        if after is not None and not found["pageInfo"]["hasNextPage"]:
            break
        last, after = found["nodes"][-1], found["pageInfo"]["endCursor"]
        facts.pages = [{"after": after, "createdAt": last["createdAt"], "id": last["id"]}]
        left -= 200


def find_cursors(facts: Facts, server: Server, page: int) -> None:
    """The same for PostGraphile, which can be asked for the row at an offset."""
    query = f"""{{ allCustomers(first: 1, offset: {(page - 1) * 50 - 1}, orderBy: [CREATED_AT_DESC, ROW_ID_DESC],
      filter: {{deletedAt: {{isNull: true}}}}) {{ pageInfo {{ endCursor }} }} }}"""
    body = json.dumps({"query": query}).encode()
    cursor = post(server.url, body, facts.authorization)["data"]["allCustomers"]["pageInfo"]["endCursor"]
    for found in facts.pages:
        found["cursor"] = cursor
