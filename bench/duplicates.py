"""How well duplicates are found in labelled data, through the public API: precision, recall and F1, and why.

    python -m bench.duplicates [--febrl FILE ...] [--vietnamese WORKBOOK TRUTH]

A Febrl file is CSV with `rec_id` (`rec-7-org`, `rec-7-dup-0`) and the fields of a person; its social security number is
not used. Customers are created in bulk in a scratch workspace, and `duplicateCandidates` is asked for all of them
with the shipped threshold. Of the Vietnamese workbook the exact criteria are asked first.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import openpyxl
import orjson

from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.features import Features
from core.grants import SYSTEM
from core.migrate import migrate_workspace
from core.piccolo_app import APP_CONFIG
from core.plugins import PluginRegistry
from core.schema.execute import run
from core.schema.mutate import Mutator
from core.settings import Settings
from core.workspaces import Workspaces

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"
PAGE = 200
Pairs = set[frozenset[str]]

CREATE = """mutation($records: [CustomerCreateInput!]!) { customersBulkCreate(input: {records: $records}) {
  counts userErrors { message path } } }"""
CANDIDATES = """query($first: Int, $after: String) { duplicateCandidates(where: {}, first: $first, after: $after) {
  nodes { score left { code } right { code } evidence { field left right similarity weight } }
  pageInfo { hasNextPage endCursor } } }"""
CRITERION = """mutation($fields: [String!]!) {
  duplicateCriterionCreate(input: {fields: $fields, effect: WARN, inContacts: false}) {
    duplicateCriterion { id status } } }"""
CLUSTERS = """query($id: ID!, $after: String) { duplicateClusters(criterionId: $id, first: 200, after: $after) {
  nodes { members { code } } pageInfo { hasNextPage endCursor } } }"""


@dataclass
class Shop:
    """A scratch workspace, asked as its administrator."""

    database: Database
    features: Features
    workspace: Workspace

    @classmethod
    async def open(cls, database: Database, slug: str) -> Shop:
        workspace = await Workspaces(database).create(slug)
        await migrate_workspace(database, workspace, [APP_CONFIG])
        features = Features(database, registry=PluginRegistry.discover(["plugins.dedupe"]))
        await features.enable(workspace, "dedupe")
        return cls(database, features, workspace)

    async def ask(self, query: str, **variables: Any) -> Any:
        """The one root field of an operation."""
        pool = self.database.pool(self.workspace)
        answer = await run(
            await self.features.composition(self.workspace),
            RequestContext(self.workspace, Actor(ActorKind.SYSTEM, SYSTEM)),
            lambda text, values: pool.fetchval(text, *values),
            query,
            variables,
            mutate=Mutator(lambda: self.database.transaction(self.workspace)),
        )
        body = orjson.loads(answer.body)
        if body.get("errors"):
            raise SystemExit(body["errors"])
        (found,) = body["data"].values()
        return found

    async def load(self, customers: Iterable[Mapping[str, Any]]) -> None:
        rows = [{k: v for k, v in c.items() if v is not None} for c in customers]
        for start in range(0, len(rows), 5000):
            done = await self.ask(CREATE, records=rows[start : start + 5000])
            if done["userErrors"]:
                raise SystemExit(done["userErrors"][:3])

    async def candidates(self) -> list[dict[str, Any]]:
        """All candidates with the shipped threshold, best first."""
        found, after = [], None
        while True:
            page = await self.ask(CANDIDATES, first=PAGE, after=after)
            found += page["nodes"]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                return found

    async def same(self, *fields: str) -> Pairs:
        """The pairs that the report shows for a criterion."""
        made = await self.ask(CRITERION, fields=list(fields))
        found: Pairs = set()
        after = None
        while True:
            page = await self.ask(CLUSTERS, id=made["duplicateCriterion"]["id"], after=after)
            for cluster in page["nodes"]:
                found |= {frozenset(pair) for pair in combinations([m["code"] for m in cluster["members"]], 2)}
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                return found


def febrl(path: Path) -> tuple[list[dict[str, Any]], Pairs]:
    """The customers of a Febrl file, and which of them are one."""
    customers, people = [], dict[str, list[str]]()
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, skipinitialspace=True):
            value = {k.strip(): (v or "").strip() for k, v in row.items() if k}
            code = value["rec_id"]
            people.setdefault(code.split("-")[1], []).append(code)
            street = f"{value['street_number']} {value['address_1']}".strip()
            customers.append(
                {
                    "code": code,
                    "kind": "PERSON",
                    "name": f"{value['given_name']} {value['surname']}".strip() or "?",
                    "birthday": _day(value["date_of_birth"]),
                    "officeAddress": ", ".join(filter(None, (street, value["address_2"], value["postcode"]))) or None,
                    "district": value["suburb"] or None,
                    "province": value["state"] or None,
                }
            )
    return customers, {frozenset(pair) for same in people.values() for pair in combinations(same, 2)}


def _day(text: str) -> str | None:
    """A date of eight digits; None where it is none, as a slip may have made it."""
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])).isoformat()
    except ValueError:
        return None


def vietnamese(workbook: Path, truth: Path) -> tuple[list[dict[str, Any]], Pairs]:
    """The customers of the Vietnamese workbook, and which of them are one; who is one with a third, too."""
    book = openpyxl.load_workbook(workbook, read_only=True)
    sheet = book.worksheets[0]
    fields = ("code", "name", "phone", "email", "taxCode", "birthday", "officeAddress", "district", "province")
    customers = []
    for row in sheet.iter_rows(min_row=2, max_col=len(fields), values_only=True):
        values = dict(zip(fields, row, strict=True))
        customers.append({"kind": "PERSON", **{k: _text(v) for k, v in values.items() if v}})
    book.close()
    same: dict[str, set[str]] = {}
    with truth.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            one, other = (same.setdefault(code, {code}) for code in (row["code"], row["duplicate_of"]))
            one |= other
            same.update(dict.fromkeys(one, one))
    return customers, {frozenset(pair) for codes in same.values() for pair in combinations(codes, 2)}


def _text(value: Any) -> str:
    """A cell as it is sent: days as ISO dates, however the sheet has them."""
    if isinstance(value, datetime):
        return value.date().isoformat()
    text = str(value).strip()
    parts = re.fullmatch(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})", text)
    return f"{parts[3]}-{int(parts[2]):02}-{int(parts[1]):02}" if parts else text


@dataclass(frozen=True)
class Quality:
    """How well pairs were found."""

    found: int
    right: int
    true: int

    @classmethod
    def of(cls, found: Pairs, truth: Pairs) -> Quality:
        return cls(len(found), len(found & truth), len(truth))

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.true if self.true else 1.0

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    def __str__(self) -> str:
        return (
            f"{self.found:6} pairs of {self.true}: precision {self.precision:.4f}, recall {self.recall:.4f}, "
            f"F1 {self.f1:.4f}"
        )


def codes(candidates: Iterable[Mapping[str, Any]]) -> Pairs:
    """The pairs of codes of candidates."""
    return {frozenset((c["left"]["code"], c["right"]["code"])) for c in candidates}


def explain(candidates: list[dict[str, Any]], number: int = 10) -> None:
    """Print the evidence for some candidates, evenly from the surest to the least sure."""
    step = max(len(candidates) // number, 1)
    for c in candidates[::step][:number]:
        print(f"  {c['left']['code']} = {c['right']['code']}: {c['score']:.4f}")
        for e in c["evidence"]:
            print(f"    {e['weight']:+6.2f}  {e['field']:14} {e['left']!r} ~ {e['right']!r} ({e['similarity']:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--febrl", type=Path, nargs="*", default=[REAL / "febrl1.csv"])
    parser.add_argument(
        "--vietnamese",
        type=Path,
        nargs=2,
        default=[REAL / "vn_customers_2000.xlsx", REAL / "vn_customers_2000.truth.csv"],
    )
    given = parser.parse_args()
    if lacking := [path for path in (*given.febrl, *given.vietnamese) if not path.is_file()]:
        sys.exit(f"not there: {', '.join(map(str, lacking))}")
    asyncio.run(_measure(given.febrl, given.vietnamese))


async def _measure(febrls: Iterable[Path], workbook: Sequence[Path]) -> None:
    with tempfile.TemporaryDirectory(prefix="crm-duplicates-") as folder:
        settings = Settings.load(data_dir=Path(folder), log_level="warning", statement_timeout_ms=120_000)
        database = await Database.open(settings)
        try:
            for i, path in enumerate(febrls):
                await _febrl(database, f"febrl_{i}", path)
            await _vietnamese(database, *workbook)
        finally:
            await database.close()


async def _febrl(database: Database, slug: str, path: Path) -> None:
    shop = await Shop.open(database, slug)
    customers, truth = febrl(path)
    await shop.load(customers)
    began = asyncio.get_running_loop().time()
    found = await shop.candidates()
    took = asyncio.get_running_loop().time() - began
    print(f"{path.name}, {len(customers)} customers ({took:.1f} s)\n{Quality.of(codes(found), truth)}")
    explain(found)
    await shop.features.close()


async def _vietnamese(database: Database, workbook: Path, truth_file: Path) -> None:
    shop = await Shop.open(database, "vietnamese")
    customers, truth = vietnamese(workbook, truth_file)
    await shop.load(customers)
    print(f"{workbook.name}, {len(customers)} customers")
    for fields in (("phone",), ("email",), ("taxCode",)):
        print(f"{' + '.join(fields):10} {Quality.of(await shop.same(*fields), truth)}")
    found = await shop.candidates()
    print(f"{'fuzzy':10} {Quality.of(codes(found), truth)}")
    await shop.features.close()


if __name__ == "__main__":
    main()
