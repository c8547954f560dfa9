"""An import and many clients who write the same customers at the same time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.context import Workspace
from core.database import Database
from plugins.import_excel import work
from tests.importing import Importer, book, importing

ROWS, CLIENTS = 300, 20
CREATE = "mutation($input: CustomerCreateInput!) { customerCreate(input: $input) { userErrors { code } } }"
UPDATE = "mutation($input: CustomerUpdateInput!) { customerUpdate(input: $input) { userErrors { code } } }"
DELETE = "mutation($id: ID!) { customerDelete(input: {id: $id}) { userErrors { code } } }"
CRITERION = """mutation { duplicateCriterionCreate(input: {fields: ["phone"], effect: BLOCK}) {
  duplicateCriterion { status } userErrors { code } } }"""
TWICE = """select count(*) from (select {0} from customer where deleted_at is null and {0} is not null
  group by {0} having count(*) > 1) twice"""
FAULTY = "select count(distinct row_no) from import_fault"


def phone(n: int) -> str:
    return f"09{n % (ROWS // 2):08}"


async def client(desk: Importer, dice: random.Random, busy: asyncio.Event) -> Counter[str]:
    """Create, change and delete customers whose codes and phones are in the file, while the import goes on."""
    heard: Counter[str] = Counter()
    while busy.is_set():
        n = dice.randrange(ROWS)
        found = await desk.do("query($c: String!) { customer(code: $c) { id } }", c=f"F{n}")
        if found is None:
            given = {"code": f"F{n}", "name": "client", "kind": "PERSON", "phone": phone(dice.randrange(ROWS))}
            answer = await desk.ask(CREATE, input=given)
        elif dice.random() < 0.2:
            answer = await desk.ask(DELETE, id=found["id"])
        else:
            given = {"id": found["id"], "phone": phone(dice.randrange(ROWS)), "level": str(dice.randrange(9))}
            answer = await desk.ask(UPDATE, input=given)
        if "errors" in answer:
            heard.update(e["extensions"]["code"] for e in answer["errors"])
            continue
        (done,) = answer["data"].values()
        heard.update([e["code"] for e in done["userErrors"]] or ["done"])
    return heard


@pytest.mark.parametrize("mode", ["CREATE_ONLY", "OVERWRITE"])
async def test_an_import_and_20_clients_fight_over_the_same_codes(
    database: Database, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(work, "BATCH", 100)
    async with importing(database, workspace, "dedupe") as desk:
        assert (await desk.do(CRITERION))["duplicateCriterion"]["status"] == "ACTIVE"
        rows: list[list[Any]] = [["Mã KH", "Tên", "SĐT"], *([f"F{n}", f"file {n}", phone(n)] for n in range(ROWS))]
        made = await desk.upload(book(tmp_path / "f.xlsx", rows))
        busy = asyncio.Event()
        busy.set()
        clients = [asyncio.create_task(client(desk, random.Random(n), busy)) for n in range(CLIENTS)]
        try:
            done = await desk.start(made["import"]["id"], mode=mode)
        finally:
            busy.clear()
            heard = sum(await asyncio.gather(*clients), Counter())
        counts = done["counts"]
        assert sum(counts[k] for k in work.KINDS) == counts["rows"] == ROWS, counts
        assert counts["created"] > 0
        # Half the rows have a phone that another row of the file has, too; one may have a code that is taken besides.
        assert counts["failed"] + counts["skipped"] == await desk.fetch(FAULTY) > 0
        assert await desk.fetch(TWICE.format("code")) == 0
        assert await desk.fetch(TWICE.format("phone")) == 0
        assert heard["done"] > CLIENTS
        # Who waits for a batch of the import longer than a statement may take is told so; nothing of his is written.
        assert set(heard) <= {"done", "DUPLICATE", "DUPLICATE_CUSTOMER", "NOT_FOUND", "STATEMENT_TIMEOUT"}, heard
        written = await desk.fetch("select count(*) from change where record_type = 'Customer' and action = 'CREATE'")
        assert written >= counts["created"]
