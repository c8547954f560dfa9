from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import psutil
import pytest

from core import embedded
from core.errors import ConfigError, DatabaseError
from core.settings import Settings

BINARIES = Settings.load().postgres_bin

HOLD = """
import sys, time
from pathlib import Path
from core import embedded
server = embedded.start(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2] else None)
print(server.dsn, flush=True)
if sys.argv[3] == "hold":
    time.sleep(60)
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose server is gone after the test, whatever happened."""
    folder = tmp_path / "crm"
    yield folder
    pid = postmaster(folder)
    if pid is not None:
        embedded.start(folder, BINARIES).stop()
        assert postmaster(folder) is None


def start(folder: Path) -> embedded.EmbeddedServer:
    return embedded.start(folder, BINARIES)


def postmaster(folder: Path) -> int | None:
    try:
        pid = int((folder / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
    except FileNotFoundError:
        return None
    return pid if is_running(pid) else None


def is_running(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run(dsn: str, statement: str) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    with asyncio.Runner() as runner:
        return runner.run(fetch())


def other_process(folder: Path, mode: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(BINARIES or ""), mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("postgresql://"):
        process.kill()
        process.communicate()
        pytest.fail(f"the other process did not start the server: {line!r}")
    return process


def end(process: subprocess.Popen[str], how: signal.Signals) -> None:
    process.send_signal(how)
    process.communicate(timeout=10)


def test_starts_serves_and_stops(home: Path) -> None:
    server = start(home)
    assert run(server.dsn, "select current_setting('listen_addresses') = '' and current_setting('jit') = 'off'")
    assert run(server.dsn, "select current_setting('max_connections')") == "200"
    assert run(server.dsn, "select upper('đường') || lower('ẾỚ')") == "ĐƯỜNGếớ"
    assert stat_mode(home / "postgres") == 0o700
    assert server.stop()
    assert postmaster(home) is None
    assert not server.stop()


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_environments_postgres_settings_do_not_matter(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PGPORT": "1",
        "PGHOST": "nowhere",
        "PGDATABASE": "x",
        "PGUSER": "x",
        "PGDATA": "/",
    }.items():
        monkeypatch.setenv(name, value)
    server = start(home)
    assert run(server.dsn, "select 1") == 1
    server.stop()


def test_data_survives_a_restart(home: Path) -> None:
    server = start(home)
    run(server.dsn, "create table t as select 42 as x")
    server.stop()
    server = start(home)
    assert run(server.dsn, "select x from t") == 42
    server.stop()


def test_holders_share_one_server_and_the_last_one_stops_it(home: Path) -> None:
    first, second = start(home), start(home)
    assert first.dsn == second.dsn
    assert not first.stop()
    assert run(second.dsn, "select 1") == 1
    assert second.stop()
    assert postmaster(home) is None


def test_many_starting_at_once_start_one_server(home: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        servers = list(pool.map(lambda _: start(home), range(6)))
        assert len({server.dsn for server in servers}) == 1
        assert sorted(pool.map(lambda server: server.stop(), servers)) == [False] * 5 + [True]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_dies_lets_go(home: Path, how: signal.Signals) -> None:
    process = other_process(home, "hold")
    server = start(home)
    end(process, how)
    assert run(server.dsn, "select 1") == 1
    assert server.stop()
    assert postmaster(home) is None


def test_a_server_whose_processes_all_died_is_joined_and_stopped(home: Path) -> None:
    process = other_process(home, "hold")
    pid = postmaster(home)
    end(process, signal.SIGKILL)
    assert postmaster(home) == pid
    server = start(home)
    assert postmaster(home) == pid
    assert server.stop()


def test_a_process_that_forgets_to_stop_it_does_so_when_it_ends(home: Path) -> None:
    process = other_process(home, "leave")
    process.communicate(timeout=30)
    assert postmaster(home) is None
    assert (home / "postgres" / "PG_VERSION").exists()


def test_a_killed_server_starts_again_with_its_data(home: Path) -> None:
    server = start(home)
    run(server.dsn, "create table t as select 42 as x")
    pid = postmaster(home)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while postmaster(home) is not None:
        time.sleep(0.01)
    again = start(home)
    assert run(again.dsn, "select x from t") == 42
    assert not server.stop()
    assert again.stop()


def test_a_stale_lock_of_another_program_is_removed(home: Path) -> None:
    start(home).stop()
    (home / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{home}/postgres\n1\n5432\n{home}\n\n\nready\n")
    server = start(home)
    assert run(server.dsn, "select 1") == 1
    server.stop()


def test_an_interrupted_first_start_leaves_nothing_half_made(home: Path) -> None:
    draft = home / "postgres.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    server = start(home)
    assert run(server.dsn, "select 1") == 1
    server.stop()


@pytest.mark.parametrize(("version", "cure"), [("99", "install a newer headless-crm"), ("9", "run pg_upgrade")])
def test_data_of_another_version_is_refused(home: Path, version: str, cure: str) -> None:
    start(home).stop()
    (home / "postgres" / "PG_VERSION").write_text(f"{version}\n")
    with pytest.raises(ConfigError, match=rf"belongs to PostgreSQL {version}, this is \d+: {cure}") as caught:
        start(home)
    assert "\n" not in caught.value.message


def test_a_server_that_cannot_start_says_why_in_one_line(home: Path) -> None:
    start(home).stop()
    with (home / "postgres" / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(DatabaseError, match="does not start: ") as caught:
        start(home)
    assert "\n" not in caught.value.message


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "crm", Path("/proc/crm")):
        with pytest.raises(ConfigError, match=f"cannot write to the data folder {folder}: ") as caught:
            start(folder)
        assert "\n" not in caught.value.message


def test_a_folder_without_a_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no PostgreSQL server"):
        embedded.start(tmp_path / "crm", tmp_path)


def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25) / "crm"
    server = start(folder)
    try:
        assert len(str(folder)) > 107
        assert run(server.dsn, "select 1") == 1
        sockets = Path(str(run(server.dsn, "show unix_socket_directories")))
        assert stat_mode(sockets) == 0o700
    finally:
        assert server.stop()
    shutil.rmtree(sockets)


def test_a_prepared_socket_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("long" * 25) / "crm"
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("core.cluster.digest", lambda _path: "taken")
    (tmp_path / "crm-taken").mkdir(mode=0o777)
    (tmp_path / "crm-taken").chmod(0o777)
    with pytest.raises(ConfigError, match="is not a private folder"):
        start(folder)


def test_it_listens_on_no_port_and_lets_nobody_else_in(home: Path) -> None:
    server = start(home)
    pid = postmaster(home)
    assert pid is not None
    ports = [c for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert ports == []
    path = home / "postgres" / ".s.PGSQL.5432"
    assert stat_mode(path) == 0o700
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
    server.stop()


def test_the_log_repeats_no_personal_data(home: Path) -> None:
    server = start(home)
    run(server.dsn, "create table person (email text primary key)")
    run(server.dsn, "insert into person values ('lan@example.com')")
    with pytest.raises(asyncpg.UniqueViolationError):
        run(server.dsn, "insert into person values ('lan@example.com')")
    server.stop()
    log = (home / "postgres.log").read_text()
    assert "ready to accept connections" in log
    assert "example.com" not in log


def test_a_later_start_is_quick(home: Path) -> None:
    start(home).stop()
    started = time.monotonic()
    server = start(home)
    assert time.monotonic() - started < 3
    server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_an_ordinary_user_can_run_it(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    folder = Path("/tmp") / f"crm-test-{os.getpid()}"
    try:
        subprocess.run([sys.executable, "-c", ""], user="nobody", group=nobody.pw_gid, extra_groups=[], check=True)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("an ordinary user cannot reach this Python")
    folder.mkdir(mode=0o700)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    try:
        done = subprocess.run(
            [sys.executable, "-c", HOLD, str(folder), str(BINARIES or ""), "leave"],
            user="nobody", group=nobody.pw_gid, extra_groups=[], check=False, capture_output=True, text=True,
            cwd=Path(__file__).parent.parent, timeout=60,
        )  # fmt: skip
        assert done.stdout.startswith("postgresql://"), done.stderr
        assert (folder / "postgres").stat().st_uid == nobody.pw_uid
        assert postmaster(folder) is None
    finally:
        shutil.rmtree(folder)
