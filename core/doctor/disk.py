"""The folders of a deployment: whether they can be written, who else may look in, and how much room is left."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from core.doctor.finding import Finding, fail, ok, warn
from core.errors import CrmError
from core.files import FileStore
from core.settings import Settings

GB = 1_000_000_000
#: Below these, in bytes and as a share of the disk, there is too little; below a fifth of them, next to nothing.
LITTLE_BYTES, LITTLE_SHARE = 2 * GB, 0.10
ALMOST_NOTHING = 5


def folders(settings: Settings) -> Iterator[Finding]:
    """The folder of data and that of files."""
    try:
        draft = FileStore(settings).draft()
        draft.touch(0o600)
        draft.unlink()
    except (OSError, CrmError) as error:
        reason = error.message if isinstance(error, CrmError) else f"{error.strerror}: {error.filename}"
        cure = "let CRM_FILES_DIR be a folder that all servers and workers share and may write"
        yield fail("files", f"cannot be written: {reason}", cure)
    else:
        yield ok("files", f"in {settings.files}")
        yield from _private("files folder", settings.files)
    for what, folder in {"disk of the data": settings.data_dir, "disk of the files": settings.files}.items():
        yield _room(what, _nearest(folder))


def _private(what: str, folder: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & stat.S_IWOTH:
        yield fail(what, f"{folder} has the mode {mode:04o}: anybody may put files there", f"chmod 0750 {folder}")


def _room(what: str, folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    share = usage.free / usage.total
    detail = f"{usage.free / GB:.1f} GB of {usage.total / GB:.0f} GB are free at {folder}"
    cure = "make room or a larger disk: a full one stops every write"
    nodes = os.statvfs(folder)
    if nodes.f_files and nodes.f_favail / nodes.f_files < LITTLE_SHARE / ALMOST_NOTHING:
        return fail(what, f"there is room for {nodes.f_favail} more files at {folder}", cure)
    if usage.free < LITTLE_BYTES / ALMOST_NOTHING or share < LITTLE_SHARE / ALMOST_NOTHING:
        return fail(what, detail, cure)
    return warn(what, detail, cure) if usage.free < LITTLE_BYTES or share < LITTLE_SHARE else ok(what, detail)


def _nearest(folder: Path) -> Path:
    """The folder, or what is there of it: a data folder is made when it is first needed."""
    return next(f for f in (folder, *folder.parents) if f.is_dir())
