"""What becomes of a deployment behind pgbouncer: it is refused, in every mode, before anything can be mixed up."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from core.context import Workspace
from core.database import Database
from core.errors import DatabaseError
from tests.serving import free_port

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
OURS = "role, search_path, statement_timeout, jit, max_parallel_workers_per_gather"
CONFIGURATION = """
[databases]
* = host={host} port=5432 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
ignore_startup_parameters = {ignored}
logfile = {folder}/log
"""

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="needs pgbouncer")


@contextmanager
def bouncer(folder: Path, dsn: str, mode: str, ignored: str) -> Iterator[str]:
    """A pgbouncer before the tests' server; gives the address that leads through it."""
    port, host = free_port(), parse_qs(urlsplit(dsn).query)["host"][0]
    file = folder / "pgbouncer.ini"
    file.write_text(CONFIGURATION.format(host=host, port=port, mode=mode, ignored=ignored, folder=folder))
    command = [str(PGBOUNCER), "-q", str(file)]
    if os.geteuid() == 0:  # it refuses to run as root; the server's account may use the server's socket
        folder.chmod(0o777)
        for parent in folder.parents:
            parent.chmod(parent.stat().st_mode | 0o001)
        command[1:1] = ["-u", "headless-crm"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not (folder / "log").exists() or "process up" not in (folder / "log").read_text():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_what_makes_a_connection_a_workspaces_is_refused(database: Database, tmp_path: Path, mode: str) -> None:
    with bouncer(tmp_path, database.dsn, mode, "") as url:
        settings = database.settings.model_copy(update={"database_url": SecretStr(url)})
        with pytest.raises(DatabaseError, match="unsupported startup parameter"):
            await Database.open(settings)


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_where_it_is_told_to_drop_it_no_row_is_read(
    database: Database, workspace: Workspace, tmp_path: Path, mode: str
) -> None:
    with bouncer(tmp_path, database.dsn, mode, OURS) as url:
        settings = database.settings.model_copy(update={"database_url": SecretStr(url)})
        opened = await Database.open(settings)
        try:
            with pytest.raises(DatabaseError, match="a pooler before the database drops role"):
                await opened.pool(workspace).fetchval("select count(*) from customer")
        finally:
            await opened.close()
