"""Many records in one change set: previewed, made, undone and redone, with exact counts and a complete journal."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from core.context import Workspace
from core.database import Database
from core.targets import BATCH
from tests import serving
from tests.serving import Demo
from tests.writing import Desk, codes, desk_at

MANY = 100_000
MOST_BYTES = 500_000_000

CREATE = """mutation($records: [CustomerCreateInput!]!, $dryRun: Boolean! = false) {
  done: customersBulkCreate(input: {records: $records}, dryRun: $dryRun) {
    counts userErrors { code path } changeSet { id counts } } }"""
UPDATE = """mutation($source: String!, $level: String!) {
  done: customersBulkUpdate(input: {target: {where: {source: {eq: $source}}}, set: {level: $level}}) {
    counts userErrors { code } changeSet { id counts } } }"""
UNDO = """mutation($id: ID!) {
  done: changeSetUndo(input: {id: $id}) { conflicts counts userErrors { code } changeSet { id counts } } }"""
THERE = "query($source: String!) { customersAggregate(where: {source: {eq: $source}}) { count } }"


def people(number: int, source: str) -> list[dict[str, Any]]:
    return [
        {
            "name": f"Nguyễn Văn {i}",
            "kind": "PERSON",
            "email": f"khach{i}@example.vn",
            "phone": f"09{i:08d}",
            "province": "Hà Nội",
            "tags": ["mới", "hội chợ"],
            "source": source,
        }
        for i in range(number)
    ]


def counts(**values: int) -> dict[str, int]:
    return {"created": 0, "updated": 0, "deleted": 0, "restored": 0} | values


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    async with desk_at(database, module_workspace) as opened:
        yield opened


async def test_more_than_a_batch_previewed_made_undone_and_redone(desk: Desk) -> None:
    number = BATCH + 1000
    records = people(number, "bulk")

    async def live() -> int:
        return (await desk.do(THERE, source="bulk"))["count"]

    preview = await desk.do(CREATE, records=records, dryRun=True)
    assert (preview["counts"], preview["userErrors"]) == (counts(created=number) | {"skipped": 0}, [])
    assert (await live(), await desk.fetch("select count(*) from change")) == (0, 0)
    made = await desk.do(CREATE, records=records)
    assert made["changeSet"]["counts"] == counts(created=number)
    assert await live() == number
    changed = await desk.do(UPDATE, source="bulk", level="VIP")
    assert changed["changeSet"]["counts"] == counts(updated=number)
    undone = await desk.do(UNDO, id=changed["changeSet"]["id"])
    assert (undone["conflicts"], undone["counts"]) == (0, counts(updated=number))
    undone = await desk.do(UNDO, id=made["changeSet"]["id"])
    assert (undone["conflicts"], undone["counts"], await live()) == (0, counts(deleted=number), 0)
    redone = await desk.do(UNDO, id=undone["changeSet"]["id"])
    assert (redone["conflicts"], redone["counts"], await live()) == (0, counts(restored=number), number)
    assert await desk.fetch("select count(*) from change") == 5 * number
    await desk.demand_replay("Customer")


async def test_faults_in_every_batch_are_told_and_skipped(desk: Desk) -> None:
    records = people(BATCH + 10, "faults")
    faulty = (0, BATCH - 1, BATCH, BATCH + 9)
    for i in faulty:
        records[i]["name"] = ""
    refused = await desk.do(CREATE, records=records)
    assert {e["path"][2] for e in refused["userErrors"]} == {"0", str(BATCH - 1)}, "what is refused stops at a batch"
    records = people(BATCH + 10, "faults")
    for i in faulty:
        records[i]["name"] = ""
    done = await desk.bulk("Customer", "BulkCreate", {"records": records, "errorPolicy": "SKIP_FAILED"})
    assert [e["path"] for e in done["userErrors"]] == [["input", "records", str(i), "name"] for i in faulty]
    assert (done["counts"]["created"], done["counts"]["skipped"]) == (BATCH + 6, 4)


async def test_ids_over_a_batch_of_which_some_are_unknown(desk: Desk) -> None:
    await desk.do(CREATE, records=people(BATCH + 5, "ids"))
    rows = [str(i) for i, r in (await desk.rows("Customer")).items() if r["source"] == "ids"]
    ids = ["unknown", *rows]
    done = await desk.bulk("Customer", "BulkDelete", {"target": {"ids": ids}})
    assert (codes(done), done["changeSet"]) == (["NOT_FOUND"], None)
    done = await desk.bulk("Customer", "BulkDelete", {"target": {"ids": ids}, "errorPolicy": "SKIP_FAILED"})
    assert (done["counts"]["deleted"], done["counts"]["skipped"]) == (BATCH + 5, 1)
    assert (await desk.do(THERE, source="ids"))["count"] == 0


class Memory:
    """The most memory that a process had while it was watched."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self.most = max(self.most, self._process.memory_info().rss)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Demo]:
    """A server that takes large bodies."""
    plain: Callable[..., dict[str, str]] = serving.environment
    monkeypatch.setattr(
        serving, "environment", lambda **v: plain(**v, CRM_MAX_BODY_BYTES=50_000_000, CRM_BULK_JOB_RECORDS=200_000)
    )
    demo = Demo(tmp_path, customers=5).serve()
    yield demo
    demo.stop()


@pytest.mark.nightly
def test_a_hundred_thousand_in_one_change_set(server: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "PATIENCE", 600)
    records = people(MANY, "bulk")

    def do(query: str, **variables: Any) -> dict[str, Any]:
        answer = server.ask(query, variables)
        assert "errors" not in answer, answer
        done: dict[str, Any] = answer["data"]["done"]
        assert done["userErrors"] == []
        return done

    def live() -> int:
        return server.ask(THERE, {"source": "bulk"})["data"]["customersAggregate"]["count"]

    assert server.process is not None
    with Memory(server.process.pid) as memory:
        preview = do(CREATE, records=records, dryRun=True)
        assert preview["counts"] == counts(created=MANY) | {"skipped": 0}
        assert live() == 0
        made = do(CREATE, records=records)
        assert made["changeSet"]["counts"] == counts(created=MANY)
        assert live() == MANY
        changed = do(UPDATE, source="bulk", level="VIP")
        assert changed["changeSet"]["counts"] == counts(updated=MANY)
        assert do(UNDO, id=changed["changeSet"]["id"])["changeSet"]["counts"] == counts(updated=MANY)
        undone = do(UNDO, id=made["changeSet"]["id"])
        assert (undone["conflicts"], undone["changeSet"]["counts"]) == (0, counts(deleted=MANY))
        assert live() == 0
        redone = do(UNDO, id=undone["changeSet"]["id"])
        assert (redone["conflicts"], redone["changeSet"]["counts"]) == (0, counts(restored=MANY))
        assert live() == MANY
    assert memory.most < MOST_BYTES
    journal = """{ changeSets(first: 6) { nodes { operation counts changesAggregate { count } } } }"""
    sets = server.ask(journal)["data"]["changeSets"]["nodes"]
    assert [(s["operation"], s["changesAggregate"]["count"]) for s in sets[:5]] == [
        ("changeSetUndo", MANY),
        ("changeSetUndo", MANY),
        ("changeSetUndo", MANY),
        ("customersBulkUpdate", MANY),
        ("customersBulkCreate", MANY),
    ]
