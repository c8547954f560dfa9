"""Load the Maven CRM sales tables through the public API, ask three questions, and check them against the files.

    python examples/maven.py URL TOKEN FOLDER

FOLDER holds maven_accounts.csv, maven_sales_teams.csv and maven_sales_pipeline.csv. Accounts become customers,
agents users, managers the leads of teams of their agents. Opportunities without an account hang on a customer of
their own, "(no account)". Exits with 1 where an answer differs from a count over the files. A second run loads
nothing and asks again.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import urllib.request
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

CHUNK = 2000
NO_ACCOUNT = "(no account)"
OUTCOMES = {"Won": "WON", "Lost": "LOST"}
Row = dict[str, str]


class Api:
    """The GraphQL endpoint of a workspace."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer; ends the program where there are errors of any kind."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.token}"}
        with urllib.request.urlopen(urllib.request.Request(self.url, body, headers)) as response:  # noqa: S310
            answer = json.load(response)
        faults = answer.get("errors") or [e for p in answer["data"].values() for e in (p or {}).get("userErrors", ())]
        if faults:
            sys.exit(f"refused: {faults[:3]}")
        data: dict[str, Any] = answer["data"]
        return data

    def create(self, plural: str, type_: str, records: list[dict[str, Any]]) -> list[str]:
        """Create records in bulk, a chunk a change set; returns their ids in order."""
        mutation = f"{plural}BulkCreate"
        ids: list[str] = []
        for start in range(0, len(records), CHUNK):
            found = self.ask(
                f"mutation($records: [{type_}CreateInput!]!, $key: String) {{ {mutation}(input: {{records: $records}}, "
                f"idempotencyKey: $key) {{ {plural} {{ id }} userErrors {{ code path message }} }} }}",
                records=records[start : start + CHUNK],
                key=f"maven {plural} {start}",
            )
            ids += [r["id"] for r in found[mutation][plural]]
            print(f"  {plural}: {len(ids)} of {len(records)}")
        return ids


def read(folder: Path, name: str) -> list[Row]:
    """The rows of one table."""
    with (folder / f"maven_{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def load(api: Api, accounts: list[Row], agents: list[Row], pipeline: list[Row]) -> None:
    """Load everything through bulk mutations."""
    names = sorted({a["sales_agent"] for a in agents} | {a["manager"] for a in agents})
    people = [{"login": re.sub(r"\W+", ".", n.lower()), "displayName": n} for n in names]
    users = dict(zip(names, api.create("users", "User", people), strict=True))
    managers = sorted({a["manager"] for a in agents})
    teams = [{"name": f"Team of {m}", "leadId": users[m]} for m in managers]
    for manager, team in zip(managers, api.create("teams", "Team", teams), strict=True):
        api.ask(
            "mutation($id: ID!, $users: [ID!]!) { teamMembersSet(input: {id: $id, userIds: $users}) "
            "{ userErrors { code message } } }",
            id=team,
            users=[users[a["sales_agent"]] for a in agents if a["manager"] == manager],
        )
    customers = [
        {
            "name": a["account"],
            "kind": "ORGANISATION",
            "officeAddress": a["office_location"],
            "description": f"Founded {a['year_established']}, {a['employees']} employees, {a['revenue']} M$ a year",
            "tags": ["maven", a["sector"]],
        }
        for a in accounts
    ]
    customers.append({"name": NO_ACCOUNT, "kind": "ORGANISATION", "tags": ["maven"]})
    ids = api.create("customers", "Customer", customers)
    by_name = dict(zip([c["name"] for c in customers], ids, strict=True))
    api.create("opportunities", "Opportunity", [opportunity(o, by_name, users) for o in pipeline])


def opportunity(row: Row, customers: dict[str, str], users: dict[str, str]) -> dict[str, Any]:
    """One opportunity; those neither won nor lost are open."""
    values: dict[str, Any] = {
        "name": f"{row['opportunity_id']} {row['product']}",
        "customerId": customers[row["account"] or NO_ACCOUNT],
        "ownerId": users[row["sales_agent"]],
        "stage": row["deal_stage"],
        "outcome": OUTCOMES.get(row["deal_stage"], "OPEN"),
        "currency": "USD",
    }
    if row["close_value"]:
        values["amount"] = row["close_value"]
    if row["close_date"]:
        values["closedAt"] = f"{row['close_date']}T00:00:00Z"
    return values


def outcomes(api: Api) -> dict[Any, Any]:
    """Won, lost and open opportunities of each agent, in one query."""
    found = api.ask(
        '{ opportunitiesAggregate(where: {customer: {tags: {has: "maven"}}}, '
        "groupBy: [{field: OWNER}, {field: OUTCOME}], first: 1000) "
        "{ groups { key { owner { displayName } outcome } count } } }"
    )
    groups = found["opportunitiesAggregate"]["groups"]
    return {(g["key"]["owner"]["displayName"], g["key"]["outcome"]): g["count"] for g in groups}


def team_totals(api: Api) -> dict[Any, Any]:
    """What each manager's team has won, in one query."""
    teams = api.ask('{ teams(where: {name: {startsWith: "Team of "}}) { nodes { id lead { displayName } } } }')
    nodes = teams["teams"]["nodes"]
    parts = [
        f"t{i}: opportunitiesAggregate(where: {{outcome: {{eq: WON}}, "
        f"owner: {{teams: {{some: {{id: {{eq: $t{i}}}}}}}}}}}) {{ sum {{ amount }} }}"
        for i in range(len(nodes))
    ]
    declared = ", ".join(f"$t{i}: ID!" for i in range(len(nodes)))
    variables = {f"t{i}": node["id"] for i, node in enumerate(nodes)}
    found = api.ask(f"query({declared}) {{ {' '.join(parts)} }}", **variables)
    return {n["lead"]["displayName"]: Decimal(found[f"t{i}"]["sum"]["amount"]) for i, n in enumerate(nodes)}


def largest(api: Api) -> dict[Any, Any]:
    """The ten accounts that have brought most, in one query."""
    found = api.ask(
        "query($none: String!) { opportunitiesAggregate("
        'where: {outcome: {eq: WON}, customer: {tags: {has: "maven"}, name: {ne: $none}}}, '
        "groupBy: [{field: CUSTOMER}], orderBy: [{by: SUM, field: AMOUNT, direction: DESC}], first: 10) "
        "{ groups { key { customer { name } } sum { amount } } } }",
        none=NO_ACCOUNT,
    )
    groups = found["opportunitiesAggregate"]["groups"]
    return {g["key"]["customer"]["name"]: Decimal(g["sum"]["amount"]) for g in groups}


def counted(agents: list[Row], pipeline: list[Row]) -> list[dict[Any, Any]]:
    """The same three figures, straight from the files."""
    per_agent = Counter((o["sales_agent"], OUTCOMES.get(o["deal_stage"], "OPEN")) for o in pipeline)
    manager = {a["sales_agent"]: a["manager"] for a in agents}
    teams: dict[str, Decimal] = defaultdict(Decimal)
    accounts: dict[str, Decimal] = defaultdict(Decimal)
    for o in pipeline:
        if o["deal_stage"] == "Won":
            teams[manager[o["sales_agent"]]] += Decimal(o["close_value"])
            if o["account"]:
                accounts[o["account"]] += Decimal(o["close_value"])
    top = dict(sorted(accounts.items(), key=lambda item: -item[1])[:10])
    return [dict(per_agent), dict(teams), top]


def main() -> None:
    """Load, ask, compare."""
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    api, folder = Api(sys.argv[1], sys.argv[2]), Path(sys.argv[3])
    accounts, agents, pipeline = read(folder, "accounts"), read(folder, "sales_teams"), read(folder, "sales_pipeline")
    there = api.ask('{ customers(where: {tags: {has: "maven"}}) { totalCount } }')["customers"]["totalCount"]
    if not there:
        load(api, accounts, agents, pipeline)
    different = False
    titles = ("Outcomes per agent", "Won per manager's team", "The ten largest accounts")
    answers = (outcomes(api), team_totals(api), largest(api))
    for title, answer, count in zip(titles, answers, counted(agents, pipeline), strict=True):
        print(f"\n{title}")
        for key in count | answer:
            same = answer.get(key) == count.get(key)
            different |= not same
            print(f"  {key!s:<45} {answer.get(key)!s:>12} {count.get(key)!s:>12} {'' if same else '  DIFFERENT'}")
    sys.exit(different)


if __name__ == "__main__":
    main()
