"""One PostgreSQL data folder and the programs that serve it: make, start, find and stop its server."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote as url_quote

import psutil

from core.errors import ConfigError, DatabaseError
from core.log import logger

LOG = logger("crm.embedded")
DATABASE_USER = "postgres"
START_SECONDS = 60
#: How long each way of stopping may take; after a fast one that wrote what many workspaces left, nothing is recovered.
STOP_SECONDS = {"fast": 120, "immediate": 30}
MAX_SOCKET_PATH = 100
MAX_LOG_BYTES = 10_000_000
PORT = 5432
SOCKET = f".s.PGSQL.{PORT}"
SOCKET_LINE, STATUS_LINE = 4, 7  # of postmaster.pid

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


class Cluster:
    """The server's files in `data_dir/postgres`, its log beside them, and the account it runs as.

    The caller sees to it that only one process at a time launches or shuts down.
    """

    def __init__(self, data_dir: Path, binaries: Path, account: pwd.struct_passwd | None) -> None:
        self.data_dir = data_dir
        self.folder = data_dir / "postgres"
        self.log_file = data_dir / "postgres.log"
        self._binaries = binaries
        self._account = account

    def running(self) -> str | None:
        """The DSN of the server that runs here, None where none does; a dead server's locks are removed.

        Raises DatabaseError for a server that does not become ready.
        """
        deadline = time.monotonic() + START_SECONDS
        while (lines := _lines(self.folder / "postmaster.pid")) is not None:
            if not lines or not _is_postgres(lines[0]):
                self._remove_locks(lines, deadline)
                return None
            ready = len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready"
            if ready and _answers(Path(lines[SOCKET_LINE].strip())):
                return _dsn(Path(lines[SOCKET_LINE].strip()))
            if time.monotonic() > deadline:
                message = f"the server in {self.folder} (process {lines[0]}) is not ready: see {self.log_file}"
                raise DatabaseError(message, path=str(self.folder))
            time.sleep(0.05)
        return None

    def _remove_locks(self, lines: list[str], deadline: float) -> None:
        """PostgreSQL stumbles over locks whose process id is another program's by now, or a zombie's.

        Its own guard against a second server is one of them, so first every process of the dead server must
        be gone.
        """
        while pids := [p.pid for p in psutil.process_iter() if _is_postgres(str(p.pid)) and _works_in(p, self.folder)]:
            if time.monotonic() > deadline:
                message = f"processes of a killed server still use {self.folder}: end {', '.join(map(str, pids))}"
                raise DatabaseError(message, path=str(self.folder))
            time.sleep(0.05)
        LOG.warning("stale_lock_removed", path=str(self.folder))
        if len(lines) > SOCKET_LINE and lines[SOCKET_LINE].strip():
            (Path(lines[SOCKET_LINE].strip()) / f"{SOCKET}.lock").unlink(missing_ok=True)
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def launch(self) -> str:
        """Start the server, making its files first where there are none; returns its DSN.

        Raises ConfigError for another version's files, DatabaseError with the server's own reason.
        """
        if not (self.folder / "PG_VERSION").exists():
            self._initialise()
        self._check_version()
        sockets = self._socket_folder()
        settings = {**CONFIGURATION, "unix_socket_directories": str(sockets)}
        text = "".join(f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items())
        self._own(self.folder / "crm.conf").write_text(text)
        if self.log_file.exists() and self.log_file.stat().st_size > MAX_LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        before = self._own(self.log_file).stat().st_size
        wait = ("-w", "-t", str(START_SECONDS))
        done = self._run("pg_ctl", "start", *wait, "-D", str(self.folder), "-l", str(self.log_file))
        if done.returncode:
            reason = self._complaint(before) or _last_line(done.stderr or done.stdout)
            message = f"the embedded server in {self.folder} does not start: {reason}"
            raise DatabaseError(message, path=str(self.folder))
        LOG.info("server_started", path=str(self.folder))
        return _dsn(sockets)

    def shut_down(self) -> bool:
        """Stop the server, breaking off what still runs in it. False where none runs."""
        lines = _lines(self.folder / "postmaster.pid")
        if not lines or not _is_postgres(lines[0]):
            return False
        for mode, seconds in STOP_SECONDS.items():
            done = self._run("pg_ctl", "stop", "-w", "-t", str(seconds), "-m", mode, "-D", str(self.folder))
            if done.returncode == 0:
                LOG.info("server_stopped", path=str(self.folder), mode=mode)
                return True
        LOG.error("server_does_not_stop", path=str(self.folder), pid=lines[0])
        return False

    def _initialise(self) -> None:
        """Make the files elsewhere and rename them: an interrupted attempt leaves nothing half made."""
        draft = self.data_dir / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self._own(draft)
        # From 17 on PostgreSQL brings its own Unicode tables: the same order on every system, and a fast one.
        builtin = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        locale = builtin if self._major() >= 17 else ("--locale=C.UTF-8",)
        user = ("-U", DATABASE_USER, "--auth=trust", "--encoding=UTF8", "--no-sync")
        done = self._run("initdb", "-D", str(draft), *user, *locale)
        if done.returncode:
            shutil.rmtree(draft, ignore_errors=True)
            message = f"cannot make the embedded database in {self.folder}: {_last_line(done.stderr)}"
            raise DatabaseError(message, path=str(self.folder))
        with (draft / "postgresql.conf").open("a") as file:
            file.write("include_if_exists = 'crm.conf'\n")
        if self.folder.exists():
            self.folder.rmdir()
        draft.rename(self.folder)

    def _check_version(self) -> None:
        found, mine = (self.folder / "PG_VERSION").read_text().strip(), self._major()
        if found != str(mine):
            cure = (
                "install a newer headless-crm or set CRM_POSTGRES_BIN"
                if int(found) > mine
                else "run pg_upgrade, or set CRM_POSTGRES_BIN to the older server"
            )
            message = f"the data in {self.folder} belongs to PostgreSQL {found}, this is {mine}: {cure}"
            raise ConfigError(message, found=found, installed=mine)

    def _major(self) -> int:
        """The server's major version, from a line such as `postgres (PostgreSQL) 18.6`."""
        words = self._run("postgres", "--version").stdout.split(")")[-1].split()
        digits = words[0].split(".")[0] if words else ""
        if not digits.isdigit():
            raise ConfigError(f"the PostgreSQL server in {self._binaries} does not run", path=str(self._binaries))
        return int(digits)

    def _socket_folder(self) -> Path:
        """The cluster's own folder, or a private one among the temporary files if that is too long."""
        if len(os.fsencode(self.folder)) <= MAX_SOCKET_PATH - len(SOCKET):
            return self.folder
        folder = Path(tempfile.gettempdir()) / f"crm-{digest(self.folder)}"
        owner = self._account.pw_uid if self._account else os.geteuid()
        try:
            folder.mkdir(mode=0o700)
            self._own(folder)
        except FileExistsError:
            pass  # whose it is, is checked next
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != owner or state.st_mode & 0o077:
            raise ConfigError(f"{folder} is not a private folder of this server's", path=str(folder))
        return folder

    def _own(self, path: Path) -> Path:
        """Give a file or folder to the account the server runs as; a missing file is made."""
        if not path.exists():
            path.touch(mode=0o600)
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)
        return path

    def _complaint(self, offset: int) -> str | None:
        """The first fatal line the server wrote to its log after `offset`."""
        with self.log_file.open(errors="replace") as log:
            log.seek(offset)
            return next((line.split("FATAL:", 1)[1].strip() for line in log if "FATAL:" in line), None)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {
            "LC_ALL": "C",
            "TZ": "UTC",
        }
        account = self._account
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            # Files, not pipes: the server that pg_ctl leaves behind would keep a pipe open for ever.
            done = subprocess.run(
                [str(self._binaries / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                check=False,
                cwd="/",
                env=environment,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())


def digest(path: Path) -> str:
    """A short name for a path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _lines(path: Path) -> list[str] | None:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return None


def _is_postgres(pid: str) -> bool:
    try:
        process = psutil.Process(int(pid))
        return bool(process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE)
    except (ValueError, psutil.Error):
        return False


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()) == folder.resolve()
    except psutil.Error:
        return False


def _answers(sockets: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(sockets / SOCKET))
        except OSError:
            return False
    return True


def _dsn(sockets: Path) -> str:
    # The port is part of the socket's name; left out, PGPORT would decide it.
    return f"postgresql://{DATABASE_USER}@/postgres?host={url_quote(str(sockets), safe='')}&port={PORT}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"
