"""An import of half new, half existing customers against the bare pipeline, in one run.

    python -m bench.imports [--rows N] [--rounds N] [--no-bare]

Product: upload to commit through GraphQL and the job, overwriting by code, dedupe on phone, email and tax code, journal
on. Bare: calamine → normalise → COPY → duplicate check by code, phone, email and tax code → upsert, into the same table
with the same indexes, no journal, no policy, nothing else. Both begin with the same half of the customers, vacuumed.
The workbooks are made and the bare pipeline runs in a process of its own, so that this one's memory is the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import re
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import orjson
import psutil
import xlsxwriter
from python_calamine import CalamineWorkbook

from core.attempt import Attempts, Order
from core.commands.console import run as run_command
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.features import Features
from core.files import FileStore, Upload
from core.grants import SYSTEM
from core.migrate import migrate_workspace
from core.piccolo_app import APP_CONFIG
from core.plugins import PluginRegistry
from core.schema.execute import run
from core.schema.mutate import Mutator
from core.settings import Settings
from core.sql import quote
from core.workspaces import Workspaces

HEADERS = (
    "Mã KH", "Tên khách hàng", "Điện thoại", "Email", "Mã số thuế", "Ngày sinh", "Địa chỉ", "Quận/Huyện",
    "Tỉnh/Thành phố", "Nguồn", "Mức độ", "Tags", "Website", "Fax", "Ghi chú",
)  # fmt: skip
WORDS = ("Hoàng", "Minh", "Long", "Phát", "Đông", "Dương")
FIELDS = (
    "code", "name", "phone", "email", "tax_code", "birthday", "office_address", "district", "province", "source",
    "level", "tags", "website", "fax", "description",
)  # fmt: skip
UPLOAD = "mutation($f: Upload!) { importUpload(input: {file: $f}) { import { id } userErrors { message } } }"
START = """mutation($id: ID!) { importStart(input: {id: $id, mode: OVERWRITE}) {
  job { id } userErrors { message } } }"""
CRITERION = """mutation($fields: [String!]!) { duplicateCriterionCreate(input: {fields: $fields}) {
  userErrors { message } } }"""


def make(path: Path, numbers: range, note: str) -> Path:
    """A workbook of customers with these numbers."""
    draw = random.Random(7)
    book = xlsxwriter.Workbook(str(path), {"default_date_format": "dd/mm/yyyy", "strings_to_urls": False})
    sheet = book.add_worksheet("Khách hàng")
    sheet.write_row(0, 0, HEADERS)
    for at, n in enumerate(numbers, 1):
        sheet.write_row(at, 0, (
            f"BM{n:07}", f"Công ty TNHH Thương mại {draw.choice(WORDS)} {n}",
            f"09{n:08}", f"khach{n}@congty{n % 97}.vn", f"{3_000_000_000 + n}", date(1970, 1, 1) + timedelta(n % 15000),
            f"{n % 900} Lê Lợi, P.{n % 20}", f"Quận {n % 12}", draw.choice(("Hà Nội", "Huế", "Cần Thơ")),
            draw.choice(("Website", "Hội chợ", "Telesale")), f"Bậc {n % 5}", "VIP, Miền Nam", f"https://kh{n}.vn",
            f"028{n:08}", f"{note} {n}",
        ))  # fmt: skip
    book.close()
    return path


def bare_rows(path: Path) -> Any:
    """Normalised rows of a workbook: what the smallest sensible importer does with each cell."""
    rows = CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).iter_rows()
    next(rows)
    for row in rows:
        code, name, phone, email, tax, birthday, *rest = row
        address, district, province, source, level, tags, website, fax, note = (str(c).strip() or None for c in rest)
        digits = re.sub(r"\D", "", str(phone))
        day = birthday if isinstance(birthday, date) else None
        yield (
            str(code).strip(), str(name).strip(), digits, str(email).strip().lower(), str(tax).strip(), day, address,
            district, province, source, level, [t.strip() for t in (tags or "").split(",")], website, fax, note,
        )  # fmt: skip


@dataclass(frozen=True)
class Spent:
    """Processor time in seconds: of this process with the children it had, and of PostgreSQL."""

    here: float
    postgres: float

    @classmethod
    def now(cls, data_dir: Path) -> Spent:
        """What was spent so far."""
        me = psutil.Process()
        servers = [
            process
            for process in psutil.process_iter(["name", "cmdline"])
            if process.info["name"] == "postgres" and f"{data_dir}/" in " ".join(process.info["cmdline"] or ())
        ]
        return cls(_seconds([me]), _seconds({p for s in servers for p in (s, *s.children(recursive=True))}))

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.here - other.here, self.postgres - other.postgres)

    @property
    def whole(self) -> float:
        """All of it."""
        return self.here + self.postgres

    def __str__(self) -> str:
        return f"{self.whole:.1f} s (Python {self.here:.1f}, PostgreSQL {self.postgres:.1f})"


def _seconds(processes: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def bare(data_dir: Path, slug: str, path: Path) -> tuple[float, Spent]:
    """The bare pipeline, in this process; the seconds it took, and the processor time."""

    async def opened() -> tuple[float, Spent]:
        database = await Database.open(settings(data_dir))
        try:
            workspace = await Workspaces(database).get(slug)
            await database.pool(workspace).fetchval("select 1")
            begun = Spent.now(data_dir)
            return await _bare(database, workspace, path), Spent.now(data_dir) - begun
        finally:
            await database.close()

    return run_command(opened())


def settings(data_dir: Path) -> Settings:
    return Settings.load(data_dir=data_dir, secret="s" * 40)


async def _bare(database: Database, workspace: Workspace, path: Path) -> float:
    started = perf_counter()
    async with database.transaction(workspace, statement_timeout_ms=0) as connection:
        columns = ", ".join(f"{f} {'date' if f == 'birthday' else 'text[]' if f == 'tags' else 'text'}" for f in FIELDS)
        await connection.execute(f"create temp table given ({columns}) on commit drop")
        await connection.copy_records_to_table("given", records=bare_rows(path), columns=FIELDS, schema_name="pg_temp")
        for key in ("phone", "email", "tax_code"):
            await connection.fetch(
                f"select g.code, c.code from given g join customer c on c.{key} = g.{key} and c.code <> g.code "
                "where c.deleted_at is null"
            )
            await connection.fetch(f"select {key} from given group by {key} having count(*) > 1")
        names = ", ".join(FIELDS)
        sets = ", ".join(f"{f} = excluded.{f}" for f in FIELDS if f != "code")
        await connection.execute(
            f"insert into customer (id, kind, {names}) select uuidv7(), 'ORGANISATION', {names} from given "
            f"on conflict (code) where deleted_at is null do update set {sets}, updated_at = now(), "
            "version = customer.version + 1"
        )
    return perf_counter() - started


def weighed(path: Path) -> tuple[int, str]:
    """A file's size and SHA-256."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


class Product:
    """A workspace with import_excel and dedupe."""

    def __init__(self, database: Database, features: Features, workspace: Workspace) -> None:
        self.database, self.features, self.workspace = database, features, workspace
        self.files = FileStore(database.settings)

    async def ask(self, query: str, **variables: Any) -> Any:
        system = Actor(ActorKind.SYSTEM, SYSTEM)
        context = RequestContext(self.workspace, system, locale="vi", extra={"files": self.files})
        pool = self.database.pool(self.workspace)
        answer = orjson.loads((await run(
            await self.features.composition(self.workspace), context, lambda t, v: pool.fetchval(t, *v), query,
            variables, mutate=Mutator(lambda: self.database.transaction(self.workspace)),
        )).body)  # fmt: skip
        found = answer["data"] and next(iter(answer["data"].values()))
        if "errors" in answer or found.get("userErrors"):
            raise SystemExit(answer)
        return found

    async def jobs(self) -> None:
        """Do the jobs that wait, as a worker does."""
        pool = self.database.pool(self.workspace)
        attempts = Attempts(self.database, self.features, 60)
        for row in await pool.fetch("select id from job where status = 'QUEUED' order by created_at"):
            await attempts.make(Order(self.workspace, row["id"], None))
        if bad := await pool.fetch("select kind, status, error from job where status <> 'DONE'"):
            raise SystemExit([dict(row) for row in bad])

    async def bring(self, path: Path) -> tuple[dict[str, float], dict[str, int]]:
        """Import a file; the seconds that its steps took, and the counts."""
        draft = self.files.draft()
        shutil.copy(path, draft)
        upload = Upload(path.name, "", *await asyncio.to_thread(weighed, path), draft)
        started = perf_counter()
        made = await self.ask(UPLOAD, f=upload)
        uploaded = perf_counter()
        await self.ask(START, id=made["import"]["id"])
        await self.jobs()
        done = perf_counter()
        counts = await self.database.pool(self.workspace).fetchval(
            "select counts from import where id = $1::uuid", made["import"]["id"]
        )
        return {"upload": uploaded - started, "job": done - uploaded, "all": done - started}, counts


async def prepared(database: Database, slug: str) -> Workspace:
    """A new workspace with the core's tables."""
    workspace = await Workspaces(database).create(slug)
    await migrate_workspace(database, workspace, [APP_CONFIG])
    return workspace


async def settle(database: Database, *workspaces: Workspace) -> None:
    """Leave nothing of what was done before to autovacuum and the checkpointer while something is measured."""
    for workspace in workspaces:
        async with database.connection(workspace) as connection:
            await connection.execute("set statement_timeout = 0")
            tables = await connection.fetch("select tablename from pg_tables where schemaname = current_schema()")
            for (table,) in tables:
                await connection.execute(f"vacuum (analyze) {quote(table)}")
            await connection.execute("reset statement_timeout")
    async with database.admin() as connection:
        await connection.execute("checkpoint")


async def watch(peaks: dict[str, int]) -> None:
    """The highest resident memory of the reading child."""
    me = psutil.Process()
    while True:
        for child in me.children():
            with suppress(psutil.Error):
                if "plugins.import_excel.reading.child" in child.cmdline():
                    peaks["child"] = max(peaks.get("child", 0), child.memory_info().rss)
        await asyncio.sleep(0.5)


async def elsewhere(function: Callable[..., Any], *arguments: Any) -> Any:
    """Do something in a process of its own and wait for its end, so that its time is not counted later."""
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
        return await asyncio.get_running_loop().run_in_executor(apart, function, *arguments)


async def measure(rows: int, rounds: int, *, beside_bare: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-imports-"))
    data_dir = folder / "data"
    half = await elsewhere(make, folder / "half.xlsx", range(rows // 2), "cũ")
    whole = await elsewhere(make, folder / "whole.xlsx", range(rows), "mới")
    size, load = whole.stat().st_size / 1e6, os.getloadavg()[0]
    print(f"{rows:,} rows × {len(HEADERS)} columns, {size:.1f} MB; load {load:.1f}")
    database = await Database.open(settings(data_dir))
    features = Features(database, registry=PluginRegistry.discover(["plugins.import_excel", "plugins.dedupe"]))
    peaks: dict[str, int] = {}
    watching = asyncio.create_task(watch(peaks))
    ratios = []
    try:
        for n in range(rounds):
            plain, full = [await prepared(database, f"{name}{n}") for name in ("bare", "full")]
            for name in ("import_excel", "dedupe"):
                await features.enable(full, name)
            product = Product(database, features, full)
            for field in ("phone", "email", "taxCode"):
                await product.ask(CRITERION, fields=[field])
            await product.jobs()
            await product.bring(half)
            if beside_bare:
                await elsewhere(bare, data_dir, plain.slug, half)
            bared = None
            if beside_bare:
                await settle(database, plain, full)
                bared = await elsewhere(bare, data_dir, plain.slug, whole)
            await settle(database, plain, full)
            begun = Spent.now(data_dir)
            took, counts = await product.bring(whole)
            worked = Spent.now(data_dir) - begun
            shown = ", ".join(f"{k} {v:.1f} s" for k, v in took.items())
            print(f"round {n + 1}: product {shown}; {counts}")
            print(f"  processor time {worked}")
            if bared is not None:
                alone, plainly = bared
                ratios.append(took["all"] / alone)
                print(f"  bare {alone:.1f} s, processor time {plainly}; ratio {ratios[-1]:.2f}")
    finally:
        watching.cancel()
        await features.close()
        await database.close()
        shutil.rmtree(folder)
    server = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if ratios:
        print(f"median ratio {median(ratios):.2f}")
    print(f"server at most {server:.0f} MB, the reading child {peaks.get('child', 0) / 1e6:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--no-bare", action="store_true", help="measure the product only")
    given = parser.parse_args()
    # As every command runs.
    run_command(measure(given.rows, given.rounds, beside_bare=not given.no_bare))
