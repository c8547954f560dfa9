"""Imports that are broken off: they go on where they were, and every row is accounted for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core.context import Workspace
from core.database import Database
from core.settings import Settings
from plugins.import_excel import work
from plugins.import_excel.writer import Writer
from tests.importing import IMPORT, PREVIEW, START, Importer, book, importing

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

    async def failing(self: Writer, changes: Any, staged: Any, position: int) -> Any:
        outcome = await original(self, changes, staged, position)
        seen.append(staged[0][0])
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
