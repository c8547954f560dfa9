"""`crm migrate --all` is killed in the middle, meets a workspace it cannot migrate, and ends complete all the same.

A plugin, installed beside the project, gets new versions with slow migrations. Meanwhile a server of the first version
goes on answering the same question in every workspace.
"""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.serving import CRM, PATIENCE, crm, environment, free_port

QUERY = '{ customers(where: {name: {contains: "lan"}}) { totalCount nodes { name slow } } }'

SET_UP = """
import asyncio, json, sys
from core.apikeys import EVERYTHING, issue_api_key
from core.commands.console import deployment
from core.commands.setup import set_up
from core.passwords import create_user
from core.rows import new_id

async def main(number):
    keys = {}
    async with deployment() as opened:
        for i in range(number):
            workspace = await opened.workspaces.create(f"w{i}")
            await set_up(opened, workspace)
            await opened.features.enable(workspace, "slow")
            async with opened.database.transaction(workspace) as connection:
                user = await create_user(connection, "boss", "long enough", "Boss", ["Admin"])
                keys[workspace.slug] = await issue_api_key(connection, user, "test", EVERYTHING)
                await connection.execute(
                    "insert into customer (id, code, name) values ($1, 'C1', 'Lan')", new_id())
                await connection.execute("insert into slow_note values (7)")
    print(json.dumps(keys))

asyncio.run(main(int(sys.argv[1])))
"""

STATE = """
import asyncio, json
from core.commands.console import deployment

async def main():
    found = {}
    async with deployment() as opened:
        for workspace in await opened.workspaces.list():
            async with opened.database.connection(workspace) as connection:
                names = await connection.fetch("select name from migration where app_name = 'slow' order by name")
                columns = await connection.fetch("select column_name from information_schema.columns where "
                    "table_schema = current_schema and table_name = 'slow_note' order by column_name")
                found[workspace.slug] = [[r[0] for r in names], [r[0] for r in columns]]
    print(json.dumps(found))

asyncio.run(main())
"""

MIGRATION = """
from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from core import ENGINE

ID = "slow_{number:04}"

async def run():
    for statement in {statements!r}:
        await ENGINE.run_ddl(statement)

async def back():
    pass

async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="slow", description="")
    manager.add_raw(run)
    manager.add_raw_backwards(back)
    return manager
"""

FILES = {
    "slow/__init__.py": "",
    "slow/hooks.py": """from core import Extension, Field, Kind, hookimpl


@hookimpl
def extensions():
    slow = Field("slow", Kind.INT, "A note.", sql=lambda alias: "(select max(x) from slow_note)", filterable=False)
    return [Extension("Customer", fields=(slow,))]
""",
    "slow/piccolo_app.py": """from pathlib import Path
from piccolo.conf.apps import AppConfig

APP_CONFIG = AppConfig(app_name="slow", migrations_folder_path=Path(__file__).parent / "piccolo_migrations",
    table_classes=[], migration_dependencies=["core.piccolo_app"])
""",
    "slow-0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: slow\nVersion: 0.1\n",
    "slow-0.1.dist-info/entry_points.txt": "[crm.plugins]\nslow = slow\n",
}


class Slow:
    """The plugin in one version: with so many migrations."""

    def __init__(self, folder: Path, *migrations: tuple[str, ...]) -> None:
        self.folder = folder
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        (folder / "slow/plugin.toml").write_text(
            'name = "slow"\nversion = "0.1"\nsummary = "x"\nrequires_core = ">=0.1"\n'
            'app = "slow.piccolo_app:APP_CONFIG"\n'
        )
        (folder / "slow/piccolo_migrations").mkdir()
        for number, statements in enumerate(migrations, 1):
            text = MIGRATION.format(number=number, statements=statements)
            (folder / f"slow/piccolo_migrations/slow_{number:04}.py").write_text(text)


FIRST = ("create table slow_note (x integer)",)
SECOND = ("alter table slow_note add y integer", "select pg_sleep(0.15)", "alter table slow_note add z integer")
THIRD = ("alter table slow_note add w integer", "alter table slow_note add constraint small check (x < 100)")


class Client:
    """Asks the same question in every workspace, again and again, until it is told to stop."""

    def __init__(self, port: int, keys: dict[str, str]) -> None:
        self.answers: Counter[str] = Counter()
        self.wrong: list[Any] = []
        self._port, self._keys, self._over = port, keys, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        for slug in itertools.cycle(self._keys):
            if self._over.is_set():
                return
            try:
                answer = self.ask(slug)
                good = answer["data"]["customers"] == {"totalCount": 1, "nodes": [{"name": "Lan", "slow": 7}]}
            except (OSError, urllib.error.HTTPError, KeyError, TypeError) as error:
                answer, good = repr(error), False
            self.answers[slug] += 1
            if not good:
                self.wrong.append((slug, answer))

    def ask(self, slug: str) -> Any:
        headers = {"content-type": "application/json", "authorization": f"Bearer {self._keys[slug]}"}
        body = json.dumps({"query": QUERY}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/w/{slug}/graphql", body, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)


class Deployment:
    """A data folder with workspaces, and commands of one or another version of the plugin."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first = Slow(folder / "first", FIRST)
        self.second = Slow(folder / "second", FIRST, SECOND)
        self.third = Slow(folder / "third", FIRST, SECOND, THIRD)

    def python(self, code: str, *arguments: str, version: Slow | None = None) -> Any:
        made = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=self.folder,
            env=self.environment(version or self.first),
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        return json.loads(made.stdout.splitlines()[-1])

    @staticmethod
    def environment(version: Slow) -> dict[str, str]:
        return environment(PYTHONPATH=f"{version.folder}:{Path(__file__).parent.parent}", CRM_WORKER_INSIDE="false")

    def migrate(self, version: Slow) -> subprocess.CompletedProcess[str]:
        return crm(self.folder, "migrate", "--all", PYTHONPATH=version.folder)

    def migrate_and_kill(self, version: Slow, after: int) -> list[str]:
        """Kill the command after so many workspaces are migrated, in the middle of the next; returns what it said."""
        command = [CRM, "migrate", "--all"]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment(version), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(after)]
            time.sleep(0.07)
            process.send_signal(signal.SIGKILL)
            said += process.stdout.readlines()
        assert process.returncode == -signal.SIGKILL
        return said

    def state(self) -> dict[str, Any]:
        return self.python(STATE)


@pytest.fixture
def deployed(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


@pytest.fixture
def server(deployed: Deployment) -> Iterator[int]:
    """The port of a server of the first version."""
    port = free_port()
    with (deployed.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [CRM, "serve", "--port", str(port)],
            cwd=deployed.folder,
            env=deployed.environment(deployed.first),
            stdout=log,
            stderr=log,
        )
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, (deployed.folder / "log").read_text()
            time.sleep(0.1)
    yield port
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE)


@pytest.mark.nightly
def test_killed_failed_and_repeated(deployed: Deployment, server: int) -> None:
    number, killed_after = 50, (5, 20)
    keys = deployed.python(SET_UP, str(number))
    with Client(server, keys) as client:
        done: set[str] = set()
        for after in killed_after:
            said = deployed.migrate_and_kill(deployed.second, after)
            done |= {line.split(":")[0] for line in said if "slow_0002" in line}
            state = deployed.state()
            for slug, (migrations, columns) in state.items():
                whole = columns == (["x", "y", "z"] if "slow_0002" in migrations else ["x"])
                assert whole, f"{slug} is migrated whole or not at all"
            there = {slug for slug, (migrations, _) in state.items() if "slow_0002" in migrations}
            assert done <= there, "what was said to be done is done"
            assert len(there) < number, "it was killed in the middle"
        repeated = deployed.migrate(deployed.second)
        assert (repeated.returncode, repeated.stderr) == (0, "")
        said_now = Counter("up to date" in line for line in repeated.stdout.splitlines())
        assert said_now == {True: len(there), False: number - len(there)}
        assert {tuple(columns) for _, columns in deployed.state().values()} == {("x", "y", "z")}

        spoil = "insert into slow_note values ({})"
        deployed.python(_sql("w7", spoil.format(1000)))
        failed = deployed.migrate(deployed.third)
        assert failed.returncode == 1
        assert re.search(
            r"^w7: failed, nothing changed: .*slow_0003 of slow failed: .*small", failed.stderr, re.MULTILINE
        )
        assert failed.stderr.splitlines()[-1] == "error: not migrated: w7"
        state = deployed.state()
        assert {slug for slug, (migrations, _) in state.items() if "slow_0003" not in migrations} == {"w7"}
        assert state["w7"][1] == ["x", "y", "z"], "nothing of it is left"
        deployed.python(_sql("w7", "delete from slow_note where x = 1000"))
        mended = deployed.migrate(deployed.third)
        assert mended.returncode == 0
        assert mended.stdout.count("up to date") == number - 1
        assert {tuple(columns) for _, columns in deployed.state().values()} == {("w", "x", "y", "z")}
    wrong = [(slug, answer) for slug, answer in client.wrong if not (slug == "w7" and "'slow': 1000" in str(answer))]
    assert wrong == []
    assert min(client.answers.values()) > 3, client.answers
    print(f"{sum(client.answers.values())} answers of {number} workspaces, none wrong")  # noqa: T201


def _sql(slug: str, statement: str) -> str:
    return f"""
import asyncio
from core.commands.console import deployment

async def main():
    async with deployment() as opened:
        async with opened.database.transaction(await opened.workspaces.get({slug!r})) as connection:
            await connection.execute({statement!r})
    print("null")

asyncio.run(main())
"""
