"""`crm workspace backup`, `restore`, `copy` and `erase`, as processes: also those that are killed."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from core.context import Workspace
from core.database import Database
from core.features import Features
from core.settings import Settings
from core.traces import look
from core.workspaces import Workspaces
from tests.serving import CRM, PATIENCE, crm, environment
from tests.switching import Desk
from tests.test_backup import contents, left

Run = Callable[..., CompletedProcess[str]]
EMAIL = "nobody.else.has.it@example.vn"


@pytest.fixture(scope="module")
async def shop(database: Database, workspaces: Workspaces) -> AsyncIterator[Workspace]:
    features = Features(database)
    made = await workspaces.create("shop")
    from core.commands.console import Deployment
    from core.commands.setup import set_up

    await set_up(Deployment(database.settings, database, workspaces, features), made)
    await features.enable(made, "groups")
    desk = Desk(database, features, made)
    for number in range(20):
        # Half of the backup lies within the customers, however it is compressed.
        noise = secrets.token_hex(4000)
        await desk.customer(f"Customer {number}", email=EMAIL if number == 7 else None, description=noise)
    yield made
    await features.close()
    await workspaces.erase("shop")


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Run:
    values = {"CRM_DATA_DIR": settings.data_dir, "CRM_SECRET": "s" * 40}
    return lambda *arguments: crm(tmp_path, *arguments, **values)


def one_line(done: CompletedProcess[str], text: str) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert text in done.stderr


async def test_a_workspace_goes_through_a_file(
    run: Run, tmp_path: Path, database: Database, workspaces: Workspaces, shop: Workspace
) -> None:
    file = tmp_path / "shop.backup"
    saved = run("workspace", "backup", "shop", "--to", str(file), "--json")
    assert json.loads(saved.stdout)["rows"]["customer"] == 20
    assert file.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == [file.name]
    one_line(run("workspace", "backup", "shop", "--to", str(file)), "exists: it is not overwritten")
    one_line(run("workspace", "restore", str(file)), "the slug 'shop' is in use")
    one_line(run("workspace", "restore", str(tmp_path / "none")), "cannot read")
    (tmp_path / "cut").write_bytes(file.read_bytes()[:-100])
    one_line(run("workspace", "restore", str(tmp_path / "cut"), "--as", "cut"), "the backup is cut short or damaged")
    done = run("workspace", "restore", str(file), "--as", "shop2")
    assert done.returncode == 0, done.stderr
    assert "shop2 is restored: " in done.stdout
    made = await workspaces.get("shop2")
    assert await contents(database, made) == await contents(database, shop)
    erased = run("workspace", "erase", "shop2", "--yes", "--json")
    assert erased.returncode == 0, erased.stderr
    assert {trace["found"] for trace in json.loads(erased.stdout)} == {0}
    copied = run("workspace", "copy", "shop", "shop3")
    assert copied.stdout.startswith("shop3 is a copy of shop: "), copied.stderr
    await workspaces.erase("shop3")


@pytest.mark.nightly
async def test_a_restore_that_is_killed_leaves_nothing_and_can_be_repeated(
    run: Run, tmp_path: Path, settings: Settings, database: Database, workspaces: Workspaces, shop: Workspace
) -> None:
    file = tmp_path / "shop.backup"
    assert run("workspace", "backup", "shop", "--to", str(file)).returncode == 0
    data = file.read_bytes()
    before = await left(database)
    environ = environment(CRM_DATA_DIR=settings.data_dir, CRM_SECRET="s" * 40)
    command = [CRM, "workspace", "restore", "-", "--as", "killed"]
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE) as process:  # noqa: ASYNC220
        assert process.stdin is not None
        process.stdin.write(data[: len(data) // 2])
        process.stdin.flush()
        async with database.admin() as connection:
            deadline = time.monotonic() + PATIENCE
            while not await connection.fetchval(
                "select exists (select from pg_stat_activity where query like 'COPY%')"
            ):
                assert process.poll() is None
                assert time.monotonic() < deadline
        process.kill()
        process.stdin.close()
    deadline = time.monotonic() + PATIENCE
    async with database.admin() as connection:
        while await connection.fetchval(
            "select exists (select from pg_stat_activity where query like 'COPY%' and pid <> pg_backend_pid())"
        ):
            assert time.monotonic() < deadline
    # What files it had placed lie among the drafts, which are swept.
    assert [name for name in await left(database) if "/restore-" not in name] == before
    assert run("workspace", "restore", str(file), "--as", "killed").returncode == 0
    assert await contents(database, await workspaces.get("killed")) == await contents(database, shop)
    await workspaces.erase("killed")


@pytest.mark.nightly
async def test_nothing_of_an_erased_workspace_is_left_in_the_whole_cluster(
    run: Run, database: Database, workspaces: Workspaces, shop: Workspace
) -> None:
    assert run("workspace", "copy", "shop", "doomed").returncode == 0
    doomed = await workspaces.get("doomed")
    async with database.transaction(doomed) as connection:
        await connection.execute("select crm.enqueue($1, interval '1 day', null)", doomed.id)
    async with database.admin() as connection:
        user = await database.pool(doomed).fetchval(
            "insert into app_user (id, login, display_name) values (gen_random_uuid(), 'x', 'X') returning id"
        )
        await connection.execute("insert into crm.allowance values ($1, 1, 1, now())", str(user))
        await connection.execute(
            "insert into crm.pgqueuer_schedules (expression, entrypoint, next_run) values ('1 1 * * *', $1, now())",
            f"{doomed.role} UTC groups.pass",
        )
    assert await everywhere(database, EMAIL) == 4
    assert await everywhere(database, doomed.role) > 3
    done = run("workspace", "erase", "doomed", "--yes", "--everywhere")
    assert done.returncode == 0, done.stderr
    assert "the workspace doomed is gone: nothing of it was found in" in done.stdout
    for place in ("registry", "schema ws_doomed", "crm.pgqueuer", "files in", "ws_shop.change_set"):
        assert place in done.stdout
    assert await everywhere(database, EMAIL) == 2
    assert await everywhere(database, doomed.role) == await everywhere(database, str(user)) == 0


async def test_what_is_left_of_an_erased_workspace_is_found(
    database: Database, workspaces: Workspaces, shop: Workspace
) -> None:
    await workspaces.create("leaky")
    erased = await workspaces.erase("leaky")
    assert {trace.found for trace in await look(database, erased)} == {0}
    payload = json.dumps({"role": erased.workspace.role}).encode()
    async with database.admin() as connection:
        await connection.execute(
            "insert into crm.pgqueuer (priority, entrypoint, payload, status, execute_after)"
            " values (0, 'x', $1, 'queued', now() + interval '1 day')",
            payload,
        )
    folder = database.settings.files / erased.workspace.role
    folder.mkdir(parents=True)
    try:
        (folder / "bytes").touch()
        found = {trace.place: trace.found for trace in await look(database, erased) if trace.found}
        assert found == {"crm.pgqueuer": 1, f"files in {folder}": 1}
    finally:
        (folder / "bytes").unlink()
        folder.rmdir()
        async with database.admin() as connection:
            await connection.execute("delete from crm.pgqueuer where payload = $1", payload)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def everywhere(database: Database, text: str) -> int:
    """In how many tables of all schemas any row has a text, whatever the column."""
    found = 0
    async with database.admin_at(database.dsn) as connection:
        tables = await connection.fetch(
            "select format('%I.%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace"
            " where relkind = 'r' and nspname not in ('information_schema', 'pg_toast')"
            # What has just run, and how values are spread, as long as it is not analysed anew.
            " and relname not in ('pg_statistic')"
        )
        for (table,) in tables:
            rows = await connection.fetchval(
                f"select count(*) from {table} t where t::text ilike '%' || $1 || '%'"
                " or t::text ilike '%' || right(encode(convert_to($1, 'UTF8'), 'hex'), 60) || '%'",
                text,
            )
            found += bool(rows)
    return found
