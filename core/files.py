"""Files that live on: uploads that are kept and files that jobs make, as rows of `file` and bytes in a folder.

The bytes lie at `<files_dir>/<workspace role>/<two digits>/<file id>`: no name that a client gave is part of a path.
They are put there, whole and on disk, before the row is committed, and removed after it has gone: what a rollback or
a crash leaves behind is swept up a day later.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import hmac
import os
import re
import secrets
import shutil
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from core import clock
from core.context import Actor, RequestContext, Workspace
from core.errors import NotFound
from core.log import logger
from core.pool import Connection
from core.rows import new_id
from core.sections import MAX_FILE
from core.settings import Settings

LOG = logger("crm.files")
UNNAMED = "file"
OCTETS = "application/octet-stream"

#: What lies about for so many seconds without a row was left behind.
ORPHANED_SECONDS = 24 * 3600
_DRAFTS = "drafts"
_LONGEST_NAME = 200
_CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,99}")
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BUFFER = 1024 * 1024
_COLUMNS = "id, name, content_type, size, sha256, purpose, created_at, created_by, expires_at"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came with a request; what a mutation gets for an argument of type `Upload`.

    `name` is the client's, without folders and control characters; `content_type` is what the client says it is, so
    look into the bytes where it matters. `path` is a file that is gone when the request has been answered: `keep` it.
    """

    name: str
    content_type: str
    size: int
    sha256: str
    path: Path

    def __str__(self) -> str:
        """Equal for equal uploads, wherever their bytes lie for the moment."""
        return f"{self.sha256} {self.size} {self.content_type} {self.name}"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is kept. `size` is in bytes, `sha256` in hexadecimal digits; None never expires."""

    id: UUID
    name: str
    content_type: str
    size: int
    sha256: str
    purpose: str
    created_at: datetime
    created_by: UUID | None
    expires_at: datetime | None

    def expired(self, now: datetime) -> bool:
        """Whether nobody gets it any more."""
        return self.expires_at is not None and self.expires_at <= now


class FileStore:
    """The files of all workspaces of a deployment, and the links that lead to them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._key = hmac.digest(settings.signing_key().encode(), b"crm file link", "sha256")

    def of(self, workspace: Workspace, actor: Actor | None = None) -> Files:
        """One workspace's files; those kept are written down as the actor's."""
        return Files(self, workspace, None if actor is None else actor.user_id)

    def folder(self, workspace: Workspace) -> Path:
        """Where the bytes of a workspace lie."""
        return folder_of(self.settings, workspace)

    def draft(self) -> Path:
        """A path of its own for bytes that are still being written."""
        folder = self.settings.files / _DRAFTS
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / secrets.token_hex(16)

    def link(self, workspace: Workspace, file_id: UUID, now: datetime) -> str:
        """The signed address of a file; it holds for `file_link_minutes` and lets in whoever has it."""
        until = int(now.timestamp()) + self.settings.file_link_minutes * 60
        signature = self._signature(workspace, file_id, until)
        base = self.settings.public_url
        return f"{base}/files/{workspace.slug}/{file_id}?expires={until}&signature={signature}"

    def signed(self, workspace: Workspace, file_id: UUID, until: str, signature: str) -> bool:
        """Whether a link is one of ours; whether it still holds is another question."""
        if not until.isdecimal() or len(until) > 12 or not until.isascii():
            return False
        expected = self._signature(workspace, file_id, int(until))
        return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))

    def _signature(self, workspace: Workspace, file_id: UUID, until: int) -> str:
        said = f"{workspace.id} {file_id} {until}".encode()
        return urlsafe_b64encode(hmac.digest(self._key, said, "sha256")).decode().rstrip("=")

    def sweep_drafts(self) -> int:
        """Remove drafts, files and folders, that nobody has written to for a day; returns how many."""
        return _sweep((self.settings.files / _DRAFTS).glob("*"))


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one workspace, as one actor or the system (None) keeps them."""

    store: FileStore
    workspace: Workspace
    actor_id: UUID | None = None

    async def keep(
        self, connection: Connection, upload: Upload, *, purpose: str, expires_in: timedelta | None = None
    ) -> StoredFile:
        """Keep an upload or a finished draft, in the transaction of `connection`; the same one any number of times.

        `purpose` says what for, beginning with the plugin's name, such as `import_excel.source`; without `expires_in`
        it is kept for good. Raises OSError where the bytes cannot be stored.
        """
        file_id = new_id()
        await asyncio.to_thread(_place, upload.path, self.path(file_id))
        row = await connection.fetchrow(
            "insert into file (id, name, content_type, size, sha256, purpose, created_at, created_by, expires_at) "
            "values ($1, $2, $3, $4, $5, $6, now(), $7, now() + $8::interval) "
            f"returning {_COLUMNS}",
            file_id,
            upload.name,
            upload.content_type,
            upload.size,
            upload.sha256,
            purpose,
            self.actor_id,
            expires_in,
        )
        return StoredFile(**row)

    @asynccontextmanager
    async def draft(self, name: str, content_type: str) -> AsyncIterator[Draft]:
        """A file to be written to `draft.path`, then finished and kept; what was not kept is gone after the block.

        ::

            async with job.files.draft("khách hàng.xlsx", XLSX) as draft:
                await asyncio.to_thread(write, draft.path)
                upload = await draft.finished()
                async with job.change_set() as changes:
                    kept = await job.files.keep(changes.connection, upload, purpose="export_excel.result")
        """
        made = Draft(safe_name(name), safe_content_type(content_type), self.store.draft())
        try:
            yield made
        finally:
            made.path.unlink(missing_ok=True)

    async def find(self, connection: Connection, file_id: UUID) -> StoredFile:
        """A file by its id, be it expired. Raises NotFound; who may use it is for the caller to decide."""
        row = await connection.fetchrow(f"select {_COLUMNS} from file where id = $1", file_id)
        if row is None:
            raise NotFound("there is no such file", id=str(file_id))
        return StoredFile(**row)

    def path(self, file_id: UUID) -> Path:
        """Where a file's bytes lie, to be read and never to be written."""
        # The last digits are random, the first are the time.
        return self.store.folder(self.workspace) / file_id.hex[-2:] / str(file_id)

    async def expire(self, connection: Connection, file_id: UUID, within: timedelta | None = timedelta(0)) -> None:
        """Let a file expire, at once unless it is said when; None keeps it for good. Its bytes go with the next prune.

        Raises NotFound.
        """
        done = await connection.fetchval(
            "update file set expires_at = now() + $2::interval where id = $1 returning true", file_id, within
        )
        if not done:
            raise NotFound("there is no such file", id=str(file_id))

    def link(self, file_id: UUID, now: datetime | None = None) -> str:
        """The signed address that a file can be downloaded from, for some minutes, by whoever has it."""
        return self.store.link(self.workspace, file_id, now or clock.now())

    async def prune(self, connection: Connection) -> int:
        """Remove the files that have expired; returns how many."""
        gone = await connection.fetch("delete from file where expires_at <= now() returning id")
        await asyncio.to_thread(_remove, [self.path(row["id"]) for row in gone])
        return len(gone)

    async def sweep(self, connection: Connection) -> int:
        """Remove bytes that a rollback or a crash has left without a row; returns of how many files."""
        swept = 0
        for folder in await asyncio.to_thread(list, self.store.folder(self.workspace).glob("??")):
            old = await asyncio.to_thread(_old, folder)
            rows = await connection.fetch("select id from file where id = any($1::uuid[])", list(old)) if old else ()
            known = {row["id"] for row in rows}
            orphans = [path for id_, path in old.items() if id_ not in known]
            await asyncio.to_thread(_remove, orphans)
            swept += len(orphans)
        return swept


@dataclass(frozen=True, slots=True)
class Draft:
    """A file being made: write it to `path`."""

    name: str
    content_type: str
    path: Path

    async def finished(self) -> Upload:
        """The file as it is now, to be kept. Raises OSError where nothing was written or it has grown too large."""
        size, sha256 = await asyncio.to_thread(_measured, self.path)
        if size > MAX_FILE:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return Upload(self.name, self.content_type, size, sha256, self.path)


def files_of(context: RequestContext) -> Files:
    """The files of a request's or a job's workspace, as its actor keeps them."""
    store: FileStore = context.extra["files"]
    return store.of(context.workspace, context.actor)


def folder_of(settings: Settings, workspace: Workspace) -> Path:
    """Where the bytes of a workspace lie. The role, unlike the slug, is never given a second time."""
    return settings.files / workspace.role


def safe_name(given: str) -> str:
    """A file name to show and to offer: the last part of a path, without what cannot be seen, of bounded length."""
    name = _UNSHOWN.sub("", re.split(r"[/\\]", given)[-1]).strip()
    if not name.strip("."):
        return UNNAMED
    if len(name) > _LONGEST_NAME:
        stem, dot, suffix = name.rpartition(".")
        ending = f"{dot}{suffix}" if stem and len(suffix) <= 10 else ""
        name = name[: _LONGEST_NAME - len(ending)] + ending
    return name


def safe_content_type(given: str) -> str:
    """A media type without parameters; that of any bytes where it is none."""
    bare = given.partition(";")[0].strip().lower()
    return bare if _CONTENT_TYPE.fullmatch(bare) else OCTETS


def _place(source: Path, target: Path) -> None:
    """Put a finished file in its place, whole or not at all, and to disk."""
    for folder in (target.parent.parent, target.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with source.open("rb") as file:
        os.fsync(file.fileno())
    try:
        target.hardlink_to(source)
    except OSError:
        # Not every file system knows links.
        draft = target.with_name(f".{target.name}")
        try:
            with source.open("rb") as read, draft.open("xb") as write:
                shutil.copyfileobj(read, write, _BUFFER)
                write.flush()
                os.fsync(write.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _measured(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _old(folder: Path) -> dict[UUID, Path]:
    """The files in a folder that are old enough to have a row, by id."""
    found = {}
    for path in folder.iterdir():
        with suppress(ValueError, FileNotFoundError):
            if time.time() - path.stat().st_ctime > ORPHANED_SECONDS:
                found[UUID(path.name.lstrip("."))] = path
    return found


def _sweep(paths: Iterator[Path]) -> int:
    swept = 0
    for path in paths:
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ORPHANED_SECONDS:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
                swept += 1
    return swept


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
