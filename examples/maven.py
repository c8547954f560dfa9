"""Load the Maven CRM tables through the public GraphQL API, ask it three figures, and compare them with the files.

    python examples/maven.py URL TOKEN FOLDER

URL is the GraphQL endpoint and TOKEN an access token or an API key of somebody who may do everything there. FOLDER
holds `maven_accounts.csv`, `maven_products.csv`, `maven_sales_teams.csv` and `maven_sales_pipeline.csv`. What is
there already is not loaded again. Exits with 1 where an answer differs from the files. Needs nothing but Python.

How the tables become records: an account is a customer; an agent a user; a manager a user too, who leads a team of
his agents; a deal an opportunity of its account, named after its id and its product, and owned by its agent. Won and
Lost are outcomes; Engaging and Prospecting are both open, and worth what the product costs. Deals without an account
belong to one customer of their own, "(no account)".
"""

from __future__ import annotations

import csv
import json
import re
import sys
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

#: Well below what a server takes unless it is told otherwise (2,000,000 bytes).
MAX_BYTES = 1_000_000
CODE = "MAVEN-"
NO_ACCOUNT = "(no account)"
OUTCOMES = {"Won": "WON", "Lost": "LOST", "Engaging": "OPEN", "Prospecting": "OPEN"}

#: By the plural of their record types: their name, what a record is known by, and which ones are ours.
RECORDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "users": ("User", "login", {"login": {"startsWith": "maven-"}}),
    "teams": ("Team", "name", {"name": {"startsWith": "Team "}}),
    "customers": ("Customer", "code", {"code": {"startsWith": CODE}}),
    "opportunities": ("Opportunity", "name", {"customer": {"code": {"startsWith": CODE}}}),
}
KNOWN = """query($where: {record}Where!, $after: String) {{
  page: {plural}(where: $where, first: 200, after: $after) {{
    nodes {{ id name: {known} }} pageInfo {{ hasNextPage endCursor }} }} }}"""
CREATE = """mutation($records: [{record}CreateInput!]!) {{
  done: {plural}BulkCreate(input: {{records: $records}}) {{ userErrors {{ path message }} }} }}"""
MEMBERS = """mutation($id: ID!, $userIds: [ID!]!) {
  done: teamMembersSet(input: {id: $id, userIds: $userIds}) { userErrors { path message } } }"""

OURS = RECORDS["opportunities"][2]
WON = {**OURS, "outcome": {"eq": "WON"}}
BY_AGENT = """query($ours: OpportunityWhere!) {
  opportunitiesAggregate(where: $ours, groupBy: [{field: OWNER}, {field: OUTCOME}], first: 1000) {
    groups { key { owner { displayName } outcome } count } } }"""
BY_TEAM = "query({variables}) {{ {totals} }}"
OF_TEAM = "team{0}: opportunitiesAggregate(where: $team{0}) {{ sum {{ amount }} }}"
LARGEST = """query($won: OpportunityWhere!) {
  opportunitiesAggregate(
    where: $won, groupBy: [{field: CUSTOMER}], orderBy: [{by: SUM, field: AMOUNT, direction: DESC}], first: 10
  ) { groups { key { customer { name } } sum { amount } } } }"""

Row = dict[str, str]
Figure = dict[str, str]


@dataclass(frozen=True)
class Tables:
    """The four files."""

    accounts: list[Row]
    products: list[Row]
    teams: list[Row]
    deals: list[Row]

    @classmethod
    def read(cls, folder: Path) -> Tables:
        """Read them from a folder."""
        names = ("accounts", "products", "sales_teams", "sales_pipeline")
        found = []
        for name in names:
            with (folder / f"maven_{name}.csv").open(newline="", encoding="utf-8") as file:
                found.append(list(csv.DictReader(file)))
        return cls(*found)

    @property
    def agents(self) -> dict[str, str]:
        """Managers by agent."""
        return {row["sales_agent"]: row["manager"] for row in self.teams}


class Api:
    """The GraphQL endpoint."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer. Exits where there are errors."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.token}"}
        try:
            request = urllib.request.Request(self.url, body, headers)  # noqa: S310 - whoever runs it names the URL
            with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                sys.exit(f"{self.url} answered {error.code}: {error.read(1000).decode(errors='replace')}")
        except OSError as error:
            sys.exit(f"{self.url} cannot be reached: {error}")
        if "errors" in answer:
            sys.exit("\n".join(e["message"] for e in answer["errors"]))
        data: dict[str, Any] = answer["data"]
        return data

    def do(self, mutation: str, **variables: Any) -> None:
        """Do a mutation. Exits where it was refused."""
        errors = self.ask(mutation, **variables)["done"]["userErrors"]
        if errors:
            sys.exit("\n".join(f"{'.'.join(e['path'])}: {e['message']}" for e in errors[:10]))

    def known(self, plural: str) -> dict[str, str]:
        """The ids of our records that are there already, by what each is known by."""
        record, known, where = RECORDS[plural]
        query = KNOWN.format(record=record, plural=plural, known=known)
        found: dict[str, str] = {}
        after = None
        while True:
            page = self.ask(query, where=where, after=after)["page"]
            found |= {node["name"]: node["id"] for node in page["nodes"]}
            if not page["pageInfo"]["hasNextPage"]:
                return found
            after = page["pageInfo"]["endCursor"]

    def create(self, plural: str, records: Iterable[dict[str, Any]]) -> dict[str, str]:
        """Create the records that are missing, in as few requests as their size allows; the ids of all."""
        record, known, _ = RECORDS[plural]
        there = self.known(plural)
        missing = [r for r in records if r[known] not in there]
        for chunk in chunks(missing):
            self.do(CREATE.format(record=record, plural=plural), records=chunk)
            print(f"  {len(chunk)} {plural} created")
        return self.known(plural) if missing else there


def chunks(records: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Records in lists that make bodies of a size that servers take."""
    chunk: list[dict[str, Any]] = []
    size = 0
    for record in records:
        bytes_ = len(json.dumps(record)) + 2
        if chunk and size + bytes_ > MAX_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(record)
        size += bytes_
    if chunk:
        yield chunk


def slug(name: str) -> str:
    """`Darcel Schlecht` -> `darcel-schlecht`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def load(api: Api, tables: Tables) -> None:
    """Bring everything that is missing into the workspace."""
    managers = sorted(set(tables.agents.values()))
    people = [*managers, *tables.agents]
    given: Iterable[dict[str, Any]] = ({"login": f"maven-{slug(p)}", "displayName": p, "locale": "en"} for p in people)
    users = api.create("users", given)
    user = {p: users[f"maven-{slug(p)}"] for p in people}
    teams = api.create("teams", ({"name": f"Team {m}", "leadId": user[m]} for m in managers))
    for manager in managers:
        members = [user[manager], *(user[agent] for agent, m in tables.agents.items() if m == manager)]
        api.do(MEMBERS, id=teams[f"Team {manager}"], userIds=members)
    customers = api.create("customers", map(customer, [*tables.accounts, {"account": NO_ACCOUNT}]))
    prices = {squeezed(row["product"]): row for row in tables.products}
    deals = (opportunity(row, prices, user, customers) for row in tables.deals)
    api.create("opportunities", deals)


def customer(row: Row) -> dict[str, Any]:
    """An account as a customer."""
    facts = (("revenue", "Revenue: {} million USD"), ("employees", "{} employees"), ("subsidiary_of", "belongs to {}"))
    described = "; ".join(text.format(row[name]) for name, text in facts if row.get(name))
    founded = row.get("year_established")
    return {
        "code": CODE + slug(row["account"]),
        "name": row["account"],
        "kind": "ORGANISATION",
        "country": row.get("office_location"),
        "birthday": f"{founded}-01-01" if founded else None,
        "tags": [row["sector"]] if row.get("sector") else [],
        "description": described or None,
    }


def opportunity(row: Row, prices: dict[str, Row], user: dict[str, str], customers: dict[str, str]) -> dict[str, Any]:
    """A deal as an opportunity. The pipeline spells a product without its space now and then."""
    product = prices[squeezed(row["product"])]
    return {
        "name": f"{row['opportunity_id']} {product['product']}",
        "customerId": customers[CODE + slug(row["account"] or NO_ACCOUNT)],
        "ownerId": user[row["sales_agent"]],
        "stage": row["deal_stage"],
        "outcome": OUTCOMES[row["deal_stage"]],
        "amount": row["close_value"] or product["sales_price"],
        "currency": "USD",
        "closedAt": f"{row['close_date']}T00:00:00Z" if row["close_date"] else None,
    }


def squeezed(name: str) -> str:
    """A name without its spaces."""
    return name.replace(" ", "")


def asked(api: Api, tables: Tables) -> Iterator[tuple[str, Figure]]:
    """The three figures as the API answers them, each in one query."""
    counts: dict[str, Counter[str]] = {agent: Counter() for agent in tables.agents}
    for group in api.ask(BY_AGENT, ours=OURS)["opportunitiesAggregate"]["groups"]:
        counts[group["key"]["owner"]["displayName"]][group["key"]["outcome"]] = group["count"]
    yield "won/lost/open by agent", {agent: shown(n) for agent, n in counts.items()}

    managers = sorted(set(tables.agents.values()))
    wheres = {
        f"team{i}": {**WON, "owner": {"teams": {"some": {"name": {"eq": f"Team {manager}"}}}}}
        for i, manager in enumerate(managers)
    }
    variables = ", ".join(f"${name}: OpportunityWhere!" for name in wheres)
    query = BY_TEAM.format(variables=variables, totals=" ".join(OF_TEAM.format(i) for i in range(len(managers))))
    totals = api.ask(query, **wheres)
    yield "won by manager's team", {m: plain(totals[f"team{i}"]["sum"]["amount"]) for i, m in enumerate(managers)}

    groups = api.ask(LARGEST, won=WON)["opportunitiesAggregate"]["groups"]
    yield "largest accounts by won amount", {g["key"]["customer"]["name"]: plain(g["sum"]["amount"]) for g in groups}


def counted(tables: Tables) -> Iterator[Figure]:
    """The same figures, counted in the files."""
    counts: dict[str, Counter[str]] = {agent: Counter() for agent in tables.agents}
    teams: dict[str, Decimal] = defaultdict(Decimal)
    accounts: dict[str, Decimal] = defaultdict(Decimal)
    for row in tables.deals:
        outcome = OUTCOMES[row["deal_stage"]]
        counts[row["sales_agent"]][outcome] += 1
        if outcome == "WON":
            teams[tables.agents[row["sales_agent"]]] += Decimal(row["close_value"])
            accounts[row["account"] or NO_ACCOUNT] += Decimal(row["close_value"])
    yield {agent: shown(n) for agent, n in counts.items()}
    yield {manager: plain(teams[manager]) for manager in sorted(set(tables.agents.values()))}
    largest = sorted(accounts, key=lambda a: accounts[a], reverse=True)[:10]
    yield {account: plain(accounts[account]) for account in largest}


def shown(counts: Counter[str]) -> str:
    """`12/7/3`."""
    return "/".join(str(counts[outcome]) for outcome in ("WON", "LOST", "OPEN"))


def plain(amount: Any) -> str:
    """An amount as it is shown on both sides; none is nothing."""
    return f"{Decimal(amount or 0).normalize():f}"


def main() -> int:
    """Load, ask, count and compare."""
    if len(sys.argv) != 4:
        print("usage: python examples/maven.py URL TOKEN FOLDER", file=sys.stderr)
        return 2
    api, folder = Api(sys.argv[1], sys.argv[2]), Path(sys.argv[3])
    try:
        tables = Tables.read(folder)
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is missing")
    print(f"{len(tables.accounts)} accounts, {len(tables.agents)} agents, {len(tables.deals)} deals")
    load(api, tables)
    different = 0
    for (title, answer), count in zip(asked(api, tables), counted(tables), strict=True):
        print(f"\n{title:<32} {'API':>14} {'files':>14}")
        for name in dict.fromkeys([*count, *answer]):
            one, other = answer.get(name, "-"), count.get(name, "-")
            print(f"{name:<32} {one:>14} {other:>14}{'' if one == other else '  <- differs'}")
        if list(answer.items()) != list(count.items()):
            different += 1
            print("These differ, or are in another order.")
    print("\nAll figures agree." if not different else f"\n{different} of 3 figures differ.")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
