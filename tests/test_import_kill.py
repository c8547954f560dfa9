"""Imports that are broken off: they go on where they were, and every row is accounted for."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from core.context import Workspace
from core.database import Database
from core.settings import Settings
from plugins.import_excel import work
from plugins.import_excel.writer import Writer
from tests import serving
from tests.importing import IMPORT, PREVIEW, START, Importer, book, importing
from tests.serving import Demo

PROJECT = Path(__file__).parent.parent


def rows(count: int) -> list[list[Any]]:
    """A table in which every tenth row has a fault."""
    return [
        ["Mã KH", "Tên", "Liên hệ"],
        *([f"Z{n}", None if n % 10 == 0 else f"Khách {n}", "An"] for n in range(count)),
    ]


async def whole(desk: Importer, count: int, done: dict[str, Any]) -> None:
    """Each row was dealt with once."""
    assert {k: done["counts"][k] for k in ("created", "failed", "rows")} == {
        "created": count * 9 // 10,
        "failed": count // 10,
        "rows": count,
    }
    assert await desk.fetch("select count(*) from customer") == count * 9 // 10
    assert await desk.fetch("select count(*) from contact") == count * 9 // 10
    assert done["faults"]["totalCount"] == count // 10


@pytest.fixture
async def desk(database: Database, workspace: Workspace) -> AsyncIterator[Importer]:
    async with importing(database, workspace) as made:
        yield made


async def test_an_attempt_that_fails_in_the_middle_is_gone_on_with(
    desk: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "BATCH", 20)
    made = await desk.upload(book(tmp_path / "k.xlsx", rows(100)))
    await desk.preview(made["import"]["id"])
    original, seen = Writer.batch, []

    async def failing(self: Writer, changes: Any, lines: Any, position: int) -> Any:
        outcome = await original(self, changes, lines, position)
        seen.append(lines[0].row)
        if len(seen) == 3:
            raise ConnectionError
        return outcome

    monkeypatch.setattr(Writer, "batch", failing)
    await whole(desk, 100, await desk.start(made["import"]["id"]))
    # The third batch was written twice, the first and the second once.
    assert seen == [2, 22, 42, 42, 62, 82]


@pytest.mark.nightly
async def test_a_worker_that_is_killed_is_followed_by_another(
    database: Database, workspace: Workspace, settings: Settings, tmp_path: Path
) -> None:
    async with importing(database, workspace, worker=False) as desk:
        made = await desk.upload(book(tmp_path / "k.xlsx", rows(3000)))
        id_ = made["import"]["id"]
        for mutation in (PREVIEW, START):
            started = await desk.do(mutation, input={"id": id_})
            worker = await spawn(settings)
            try:
                if mutation is START:
                    await until(desk, started["job"]["id"])
                    worker.kill()
                    await worker.wait()
                    worker = await spawn(settings)
                job = await desk.finished(started["job"]["id"])
                assert job["status"] == "DONE", job
            finally:
                worker.kill()
                await worker.wait()
        await whole(desk, 3000, await desk.do(IMPORT, id=id_))


async def spawn(settings: Settings) -> asyncio.subprocess.Process:
    """A worker in a process of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.importing", str(settings.data_dir), cwd=PROJECT
    )


async def until(desk: Importer, job_id: str) -> None:
    """Wait until some batches were committed and some were not."""
    for _ in range(600):
        position = await desk.fetch("select (counts ->> 'position')::integer from job where id = $1::uuid", job_id)
        if position and position > 300:
            assert position < 2900
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the worker did nothing")


MANY = 24_000
UPLOAD = "mutation($file: Upload!) { importUpload(input: {file: $file}) { import { id } userErrors { message } } }"
BEGIN = "mutation($id: ID!) { importStart(input: {id: $id}) { job { id } userErrors { message } } }"
STATE = "query($id: ID!) { import(id: $id) { state counts faults { totalCount } } }"
PLACE = "query($id: ID!) { job(id: $id) { status error counts } }"
THERE = """query($word: String!) { customersAggregate(where: {source: {eq: $word}}) { count }
  contactsAggregate(where: {customer: {source: {eq: $word}}}) { count } }"""


def table(word: str) -> bytes:
    """A file of as many customers, each tenth of whom has no name."""
    lines = (f"{word}{n},{'' if n % 10 == 0 else f'Khách {word} {n}'},An,{word}" for n in range(MANY))
    return "\n".join(["Mã KH,Tên,Liên hệ,Nguồn", *lines]).encode()


def begun(server: Demo, word: str) -> tuple[str, str]:
    """Upload a table and start its import; the ids of the import and its job."""
    body = {"query": UPLOAD, "variables": {"file": None}}
    token = server.account("admin")["token"]
    answer = httpx.post(
        json.loads(server.file.read_text())["url"],
        data={"operations": json.dumps(body), "map": '{"0": ["variables.file"]}'},
        files={"0": (f"{word}.csv", table(word))},
        headers={"authorization": f"Bearer {token}", "graphql-require-preflight": "1"},
        timeout=60,
    ).json()
    id_ = answer["data"]["importUpload"]["import"]["id"]
    started = server.ask(BEGIN, {"id": id_})["data"]["importStart"]
    assert started["userErrors"] == []
    return id_, started["job"]["id"]


def watched(server: Demo, job_id: str, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until a job is as it is wanted; the server may need a while to find its database again."""
    deadline = time.monotonic() + 120
    job: dict[str, Any] = {}
    while time.monotonic() < deadline:
        with suppress(OSError, HTTPException):
            job = (server.ask(PLACE, {"id": job_id}).get("data") or {}).get("job") or job
            if job and enough(job):
                return job
        time.sleep(0.05)
    raise AssertionError(job)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path, customers=5).serve()
    yield demo
    if demo.process is not None and demo.process.poll() is None:
        demo.stop()


@pytest.mark.nightly
def test_an_import_whose_server_or_database_is_killed_ends_as_an_undisturbed_one(server: Demo) -> None:
    found = {}
    for victim in ("nobody", "server", "database", "both"):
        id_, job_id = begun(server, victim)
        if victim != "nobody":
            job = watched(server, job_id, lambda job: bool(job["counts"].get("position")))
            assert job["status"] == "RUNNING", "it was killed in the middle"
            assert server.process is not None
            for pid in serving.servers(server.folder) if victim != "server" else ():
                with suppress(psutil.NoSuchProcess):
                    psutil.Process(pid).kill()
            # A server whose embedded database is gone is started anew, too.
            server.stop(signal.SIGTERM if victim == "database" else signal.SIGKILL)
            server.serve()
        job = watched(server, job_id, lambda job: job["status"] not in ("QUEUED", "RUNNING"))
        assert (job["status"], job["error"]) == ("DONE", None), victim
        state = server.ask(STATE, {"id": id_})["data"]["import"]
        found[victim] = (state, server.ask(THERE, {"word": victim})["data"])
    assert (
        found["nobody"][0]["counts"] | {"created": MANY * 9 // 10, "failed": MANY // 10, "rows": MANY}
        == (found["nobody"][0]["counts"])
    )
    assert found["nobody"][1]["customersAggregate"]["count"] == MANY * 9 // 10
    assert {victim: told for victim, told in found.items() if told != found["nobody"]} == {}
