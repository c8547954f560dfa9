"""A workspace with import_excel and a worker, and files to import into it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import xlsxwriter

from core.context import Actor, Workspace
from core.database import Database
from core.features import Features
from core.files import FileStore, Upload
from core.plugins import PluginRegistry
from core.settings import Settings
from core.worker import Worker
from plugins.import_excel import work
from tests.jobbing import working
from tests.switching import Desk

UPLOAD = """mutation($file: Upload!) { importUpload(input: {file: $file}) {
  import { id state rowCount fileHash } userErrors { code message params }
  setup { sheets { name visible } sheet headerRow rowCount hiddenRows titles encoding
          columns { index letter header name type filled samples target confidence by } } } }"""
PREVIEW = """mutation($input: ImportPreviewInput!) { importPreview(input: $input) {
  import { id state } job { id } userErrors { code path message } } }"""
START = """mutation($input: ImportStartInput!) { importStart(input: $input) {
  import { id } job { id } warnings { code } userErrors { code message } } }"""
UNDO = "mutation($id: ID!) { importUndo(input: {id: $id}) { job { id } userErrors { code } } }"
IMPORT = """query($id: ID!) { import(id: $id) { state preview counts failedFile { id name url }
  faults(first: 200) { totalCount nodes { sheet row column field value code reason fix skipped } } } }"""
JOB = "query($id: ID!) { job(id: $id) { status error result counts progress } }"


@dataclass
class Importer(Desk):
    """Uploads, previews and imports, as the system unless another actor is given."""

    async def upload(self, path: Path, actor: Actor | None = None) -> dict[str, Any]:
        """Upload a file; the payload."""
        body = await asyncio.to_thread(path.read_bytes)
        kept = FileStore(self.database.settings).draft()
        shutil.copy(path, kept)
        given = Upload(path.name, "application/octet-stream", len(body), hashlib.sha256(body).hexdigest(), kept)
        try:
            return await self.do(UPLOAD, actor, file=given)
        finally:
            kept.unlink()

    async def finished(self, job_id: str) -> dict[str, Any]:
        """A job's end."""
        for _ in range(1200):
            job = await self.do(JOB, id=job_id)
            if job["status"] not in ("QUEUED", "RUNNING"):
                return job
            await asyncio.sleep(0.05)
        raise AssertionError(job)

    async def preview(self, import_id: str, actor: Actor | None = None, **values: Any) -> dict[str, Any]:
        """Preview an import; what is then known of it."""
        made = await self.do(PREVIEW, actor, input={"id": import_id, **values})
        assert made["userErrors"] == [], made
        job = await self.finished(made["job"]["id"])
        assert job["status"] == "DONE", job
        return await self.do(IMPORT, id=import_id)

    async def start(self, import_id: str, actor: Actor | None = None, **values: Any) -> dict[str, Any]:
        """Start an import; what became of it."""
        made = await self.do(START, actor, input={"id": import_id, **values})
        assert made["userErrors"] == [], made
        job = await self.finished(made["job"]["id"])
        assert job["status"] == "DONE", job
        return await self.do(IMPORT, id=import_id)

    async def bring(self, path: Path, actor: Actor | None = None, **values: Any) -> dict[str, Any]:
        """Upload, preview and import a file; what became of it. The preview must have said the same."""
        made = await self.upload(path, actor)
        assert made["userErrors"] == [], made
        seen = await self.preview(made["import"]["id"], actor, **values)
        done = await self.start(made["import"]["id"], actor)
        kinds = ("created", "updated", "unchanged", "skipped", "failed")
        assert {k: seen["preview"][k] for k in kinds} == {k: done["counts"][k] for k in kinds}
        assert sum(done["counts"][k] for k in kinds) == done["counts"]["rows"]
        return {**done, "id": made["import"]["id"]}

    def file(self, file_id: str) -> Path:
        """Where a kept file lies."""
        return FileStore(self.database.settings).of(self.workspace).path(UUID(file_id))


@asynccontextmanager
async def importing(
    database: Database, workspace: Workspace, *plugins: str, worker: bool = True
) -> AsyncIterator[Importer]:
    """A workspace with import_excel, further plugins and, unless told otherwise, a worker."""
    names = ["import_excel", *plugins]
    features = Features(database, registry=PluginRegistry.discover([f"plugins.{n}" for n in names]))
    for name in names:
        await features.enable(workspace, name)
    made = Importer(database, features, replace(workspace))
    if worker:
        async with working(database, features):  # type: ignore[arg-type]
            yield made
    else:
        yield made
    await features.close()


def book(path: Path, rows: Sequence[Sequence[Any]], **sheets: Sequence[Sequence[Any]]) -> Path:
    """A workbook with these rows; a dict `{"f": formula}` is a formula, with its value under `v`."""
    made = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "default_date_format": "dd/mm/yyyy"})
    for name, table in {"Sheet1": rows, **sheets}.items():
        sheet = made.add_worksheet(name)
        for r, row in enumerate(table):
            for c, value in enumerate(row):
                if isinstance(value, dict):
                    sheet.write_formula(r, c, value["f"], None, value.get("v", 0))
                elif value is not None:
                    sheet.write(r, c, value)
    made.close()
    return path


def shared() -> Path:
    """Data beside the project, for tests that need it."""
    return Path(__file__).parent.parent.parent / os.environ.get("SHARED", "shared") / "data"


async def main(data_dir: str) -> None:
    """A process that is a worker and nothing else, with small batches."""
    work.BATCH = 100
    database = await Database.open(Settings.load(data_dir=Path(data_dir), secret="s" * 40))
    await Worker(database, Features(database), heartbeat=1.0).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
