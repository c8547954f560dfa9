"""Each look of `crm doctor`, with a fault that it must find and the state without it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from core.commands.console import Deployment
from core.context import Workspace
from core.database import Database
from core.doctor import disk, jobs, production, secret, server, workspaces
from core.doctor.finding import Finding
from core.features import Features
from core.migrate import migrate_workspace
from core.piccolo_app import APP_CONFIG
from core.settings import Settings
from core.workspaces import Workspaces
from tests.conftest import NewWorkspace
from tests.serving import CRM, environment

STRONG = "kP9x2LmQ7vRt4WzY8bNc3HjF6sDg1aEu5ToIqXyZ"


def load(tmp_path: Path, **values: Any) -> Settings:
    return Settings.load(**{"data_dir": tmp_path, "secret": STRONG, **values})


def of(findings: Iterable[Finding]) -> dict[str, str]:
    """The levels by what was looked at; whatever is not well says what to do."""
    found = list(findings)
    assert all(bool(f.cure) == (f.level != "ok") and f.detail for f in found)
    return {f.what: f.level for f in found}


def test_a_secret_that_can_be_guessed(tmp_path: Path) -> None:
    assert of(secret.secret(load(tmp_path))) == {"secret": "ok"}
    assert of(secret.secret(load(tmp_path, secret="changeme" * 5))) == {"secret": "warn"}


def test_files_with_secrets_that_others_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(tmp_path, secret=None)
    assert of(secret.secret(settings)) == {"secret": "ok", "secret file": "ok"}
    (tmp_path / "secret").chmod(0o644)
    assert of(secret.secret(settings)) == {"secret": "ok", "secret file": "fail"}
    config = tmp_path / "crm.toml"
    config.write_text(f'[sign_in]\nsecret = "{STRONG}"\n')
    config.chmod(0o640)
    monkeypatch.setenv("CRM_CONFIG", str(config))
    assert of(secret.secret(Settings.load(data_dir=tmp_path))) == {"secret": "ok", "settings file": "fail"}
    config.chmod(0o600)
    assert of(secret.secret(Settings.load(data_dir=tmp_path))) == {"secret": "ok", "settings file": "ok"}
    config.write_text("[server]\nport = 9000\n")
    config.chmod(0o644)
    assert of(secret.secret(load(tmp_path))) == {"secret": "ok"}


def test_a_secret_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("no folder")
    assert of(secret.secret(load(tmp_path / "taken", secret=None))) == {"secret": "fail"}


def test_switches_of_production(tmp_path: Path) -> None:
    good = {
        "production": True,
        "public_url": "https://crm.example.com",
        "allowed_hosts": "crm.example.com",
        "database_url": "postgresql://db/crm",
    }
    assert of(production.production(load(tmp_path, **good))) == {"production": "ok"}
    faults: dict[str, Any] = {
        "public_url": "http://crm.example.com",
        "allowed_hosts": "*",
        "trusted_proxies": "*",
        "cors_origins": "http://localhost:*",
        "rate_limit_requests": 0,
        "rate_limit_anonymous": 0,
        "statement_timeout_ms": 0,
        "log_level": "debug",
        "database_url": None,
    }
    for name, fault in faults.items():
        assert of(production.production(load(tmp_path, **{**good, name: fault}))) == {name: "warn"}
    assert of(production.production(load(tmp_path, **{**good, "public_url": ""}))) == {"public_url": "warn"}
    assert of(production.production(load(tmp_path))) == {"production": "ok"}
    assert of(production.production(load(tmp_path, host="0.0.0.0"))) == {"production": "warn"}


def test_folders_and_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "LITTLE_BYTES", 0)
    monkeypatch.setattr(disk, "LITTLE_SHARE", 0.0)
    well = {"files": "ok", "disk of the data": "ok", "disk of the files": "ok"}
    assert of(disk.folders(load(tmp_path))) == well
    (tmp_path / "files").chmod(0o777)
    assert of(disk.folders(load(tmp_path))) == well | {"files folder": "fail"}
    (tmp_path / "taken").write_text("no folder")
    assert of(disk.folders(load(tmp_path, files_dir=tmp_path / "taken")))["files"] == "fail"
    free = disk.shutil.disk_usage(tmp_path).free
    (tmp_path / "files").chmod(0o750)
    monkeypatch.setattr(disk, "LITTLE_BYTES", free * 2)
    assert of(disk.folders(load(tmp_path)))["disk of the data"] == "warn"
    monkeypatch.setattr(disk, "LITTLE_BYTES", free * 2 * disk.ALMOST_NOTHING)
    assert of(disk.folders(load(tmp_path)))["disk of the files"] == "fail"


async def test_the_server_as_it_should_be(database: Database) -> None:
    found = of(await server.server(database))
    assert found.pop("connections") in ("ok", "warn")  # as many as are open, on the tests' own server
    assert set(found.values()) == {"ok"}
    assert found.keys() >= {"database", "extension pg_trgm", "rights", "clock"}


@asynccontextmanager
async def elsewhere(database: Database, *statements: str) -> AsyncIterator[Database]:
    """Another database on the same server, prepared by some statements, open as a deployment's own."""
    async with database.admin() as c:
        await c.execute("create database doctor")
    dsn = database.dsn.replace("/postgres?", "/doctor?")
    try:
        connection = await asyncpg.connect(dsn)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()
        opened = await Database.open(database.settings.model_copy(update={"database_url": SecretStr(dsn)}))
        try:
            yield opened
        finally:
            await opened.close()
    finally:
        async with database.admin() as c:
            await c.execute("drop database doctor with (force)")


async def test_an_extension_that_was_not_updated(database: Database) -> None:
    async with elsewhere(database, "create extension btree_gin version '1.2' schema public") as old:
        async with old.admin() as c:
            newest = await c.fetchval("select default_version from pg_available_extensions where name = 'btree_gin'")
        assert newest != "1.2"
        found = of(await server.server(old))
        assert (found["extension btree_gin"], found["extension pg_trgm"]) == ("warn", "ok")


async def test_a_login_that_may_only_read(database: Database) -> None:
    async with elsewhere(database) as opened, opened.admin() as c:
        await c.execute("set default_transaction_read_only = on")
        assert (await server._version(c, opened)).level == "fail"
        await c.execute("reset default_transaction_read_only")
        assert (await server._version(c, opened)).level == "ok"


async def test_a_login_without_the_right_to_make_workspaces(database: Database) -> None:
    async with database.admin() as c, c.transaction():
        await c.execute("create role powerless")
        await c.execute("set local role powerless")
        assert (await server._rights(c)).level == "warn"
        await c.execute("reset role")
        assert (await server._rights(c)).level == "ok"
        await c.execute("drop role powerless")


def test_too_few_connections() -> None:
    row = {"most": 200, "reserved": 3, "of_login": -1, "of_database": -1, "open": 7}

    def levels(mine: int, **values: int) -> dict[str, str]:
        return of(server._connections(row | values, mine))

    assert levels(90) == {"connections": "ok"}
    assert levels(90, most=100) == {"connections": "warn"}
    assert levels(90, most=50) == {"connections": "fail"}
    assert levels(90, of_login=60) == levels(90, of_database=60) == {"connections": "fail"}
    assert levels(90, open=190) == {"connections": "ok", "open connections": "warn"}


@pytest.mark.parametrize(
    ("seconds", "level"), [(0.2, "ok"), (-0.2, "ok"), (5, "warn"), (-5, "warn"), (60, "fail"), (-60, "fail")]
)
def test_clocks_that_differ(seconds: float, level: str) -> None:
    assert server.skew(timedelta(seconds=seconds)).level == level


async def test_a_queue_that_waits_and_jobs_that_failed(database: Database, workspace: Workspace) -> None:
    async with database.admin() as c:
        await c.execute("truncate crm.pgqueuer")
    assert of([jobs._queue("queue", await queue_row(database))]) == {"queue": "ok"}
    assert await jobs.failures(database, workspace) == []
    add = "insert into crm.pgqueuer (priority, entrypoint, status, created, execute_after, heartbeat)"
    faults = {
        "(0, 'job', 'queued', now() - interval '9 min', now() - interval '9 min', now())": "warn",
        "(0, 'job', 'queued', now() - interval '2 h', now() - interval '2 h', now())": "fail",
        "(0, 'job', 'queued', now() - interval '2 h', now() + interval '1 h', now())": "ok",
        "(0, 'job', 'picked', now() - interval '2 h', now() - interval '2 h', now())": "ok",
        "(0, 'job', 'picked', now(), now(), now() - interval '9 min')": "warn",
    }
    for row, level in faults.items():
        async with database.admin() as c:
            await c.execute(f"{add} values {row}")
        assert of([jobs._queue("queue", await queue_row(database))]) == {"queue": level}, row
        async with database.admin() as c:
            await c.execute("truncate crm.pgqueuer")
    await database.pool(workspace).execute(
        "insert into job (id, kind, status, created_at, finished_at)"
        " values (gen_random_uuid(), 'a.b', 'FAILED', now(), now())"
    )
    assert of(await jobs.failures(database, workspace)) == {f"workspace {workspace.slug}, jobs": "warn"}


async def queue_row(database: Database) -> Any:
    async with database.admin() as c:
        return await c.fetchrow(jobs._QUEUE)


async def test_workers_that_are_not_there_or_stand_still(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def level() -> str:
        return of(await jobs.queues(database, []))["workers"]

    async with elsewhere(database) as other:
        assert of(await jobs.queues(other, []))["workers"] == "warn"
    env = environment(CRM_DATABASE_URL=database.dsn, CRM_DATA_DIR=settings.data_dir, CRM_SECRET=STRONG)
    worker = await asyncio.create_subprocess_exec(CRM, "worker", env=env, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if await level() == "ok":
                break
            await asyncio.sleep(0.1)
        assert await level() == "ok"
        worker.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(jobs, "SILENT", timedelta(seconds=1))
        await asyncio.sleep(1.5)
        assert await level() == "fail"
    finally:
        worker.kill()
        await worker.wait()


async def test_a_plugin_that_is_left_out_and_a_missing_migration(
    database: Database, new_workspace: NewWorkspace, settings: Settings
) -> None:
    async def look() -> dict[str, str]:
        features = Features(database, settings)
        try:
            opened = Deployment(settings, database, Workspaces(database), features)
            assert set(of(workspaces.installed(opened)).values()) == {"ok"}
            return of(await workspaces.workspace(opened, bare))
        finally:
            await features.close()

    bare = await new_workspace(migrated=False)
    name = f"workspace {bare.slug}"
    assert await look() == {name: "fail"}
    await migrate_workspace(database, bare, [APP_CONFIG])
    assert await look() == {name: "ok"}
    await database.pool(bare).execute(
        "insert into feature (plugin, enabled, version, at) values ('nowhere', true, '1.0.0', now())"
    )
    assert await look() == {name: "ok", f"{name}, nowhere": "fail"}


def test_the_command_says_what_to_do_and_fails(tmp_path: Path, database: Database) -> None:
    weak = {"CRM_DATABASE_URL": database.dsn, "CRM_DATA_DIR": tmp_path, "CRM_FILES_DIR": "/dev/null/files"}
    done = subprocess.run([CRM, "doctor"], env=environment(**weak), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "fail  files: cannot be written" in done.stdout
    assert "      what to do: let CRM_FILES_DIR be a folder that all servers and workers share" in done.stdout
