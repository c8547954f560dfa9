"""The file a backup is: a gzipped tar, written and read in one pass, so that its size is no matter.

Its members, in this order: `manifest.json` says what is in it; `tables/<table>/<number>`, one after the other, are what
PostgreSQL's COPY writes as text, cut wherever a piece is large enough; `files/<id>` are uploaded and made files; and
`end.json` holds what is known only then, with the SHA-256 of all names, sizes and contents before it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import orjson

from core.errors import ConfigError

FORMAT = "headless-crm backup"
#: Whatever a reader of an older version would misunderstand raises it.
VERSION = 1
MANIFEST, TABLES, FILES, END = "manifest.json", "tables", "files", "end.json"
PIECE = 1024 * 1024
#: Text of people compresses to a quarter at the quickest; more takes twice the time for a tenth less.
COMPRESSION = 1
_LARGEST_JSON = 256 * 1024 * 1024


class Writer:
    """Writes a backup to a stream, which stays open. Its methods wait for the disk: call them in a thread."""

    def __init__(self, out: BinaryIO, manifest: Mapping[str, Any], *, compressed: bool = True) -> None:
        self._gzip = gzip.GzipFile("", "wb", COMPRESSION if compressed else 0, out, mtime=0)
        self._digest = hashlib.sha256()
        self.add(MANIFEST, orjson.dumps({"format": FORMAT, "version": VERSION, **manifest}))

    def add(self, name: str, data: bytes) -> None:
        """Write one member."""
        self.add_stream(name, len(data), io.BytesIO(data))

    def add_stream(self, name: str, size: int, content: BinaryIO) -> None:
        """Write one member of `size` bytes from an open file. Raises OSError where the file is shorter."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        self._digest.update(_heading(member))
        # Not by TarFile, which remembers every member, and there may be any number.
        self._gzip.write(member.tobuf(tarfile.PAX_FORMAT))
        left = size
        while left:
            piece = content.read(min(PIECE, left))
            if not piece:
                raise OSError(f"{name} is shorter than it was")
            self._digest.update(piece)
            self._gzip.write(piece)
            left -= len(piece)
        self._gzip.write(bytes(-size % tarfile.BLOCKSIZE))

    def finish(self, end: Mapping[str, Any]) -> None:
        """Write the end, without which nobody restores it."""
        self.add(END, orjson.dumps({**end, "sha256": self._digest.hexdigest()}))
        self._gzip.write(bytes(2 * tarfile.BLOCKSIZE))
        self._gzip.close()


class Reader:
    """Reads a backup from a stream. Its methods wait for the disk: call them in a thread.

    They raise ConfigError, in one line, for what is no backup, one of a newer version, one that was cut short and one
    that is damaged. What was read is as it was written only once `finish` has said so.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._digest = hashlib.sha256()
        with _sound("this is not a backup of a workspace"):
            self._gzip = gzip.GzipFile(fileobj=source, mode="rb")
            # Any: that it remembers its members is not declared.
            self._tar: Any = tarfile.open(fileobj=self._gzip, mode="r|")  # noqa: SIM115
            self.name = ""
            self._content: _Hashed | None = None
            self.advance()
            manifest = self._json() if self.name == MANIFEST else {}
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ConfigError("this is not a backup of a workspace")
        version = manifest.get("version")
        if version != VERSION:
            message = f"the backup is of format {version}, this version reads {VERSION}: restore it with a newer one"
            raise ConfigError(message, version=version)
        self.manifest: Mapping[str, Any] = manifest
        self.advance()

    def advance(self) -> None:
        """Go to the next member; `name` is empty after the last one. What is left of the present one is read, too."""
        with _sound():
            while self._content is not None and self._content.read(PIECE):
                pass
            self._before = self._digest.hexdigest()
            member = self._tar.next()
            # There may be any number of them.
            self._tar.members.clear()
            if member is None:
                self.name, self._content = "", None
                return
            if not member.isreg():
                raise ConfigError(f"the backup is damaged: {member.name!r} is no file")
            content: Any = self._tar.extractfile(member)
            self._digest.update(_heading(member))
            self.name, self._content = member.name, _Hashed(content, self._digest)

    def read(self) -> bytes:
        """The next piece of the present member; empty at its end."""
        if self._content is None:
            return b""
        with _sound():
            return self._content.read(PIECE)

    def finish(self) -> Mapping[str, Any]:
        """The end, where the reader has come to it and all before it was as it was written."""
        if self.name != END:
            raise ConfigError("the backup is cut short or damaged: it has no end where it should")
        expected = self._before
        found = self._json()
        if not isinstance(found, dict) or found.get("sha256") != expected:
            raise ConfigError("the backup is damaged: its content is not what was written")
        self.advance()
        if self.name:
            raise ConfigError("the backup is damaged: something follows its end")
        with _sound():
            # To the end of the stream, where its checksum is.
            while self._gzip.read(PIECE):
                pass
        return found

    def _json(self) -> Any:
        data = bytearray()
        while piece := self.read():
            data += piece
            if len(data) > _LARGEST_JSON:
                raise ConfigError(f"the backup is damaged: {self.name} is too long")
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"the backup is damaged: {self.name} is no JSON") from error


class _Hashed:
    """A file whose content passes a digest as it is read."""

    def __init__(self, content: BinaryIO, digest: Any) -> None:
        self._content, self._digest = content, digest

    def read(self, size: int) -> bytes:
        data = self._content.read(size)
        self._digest.update(data)
        return data


def _heading(member: tarfile.TarInfo) -> bytes:
    return f"{member.name}\0{member.size}\0".encode("utf-8", "surrogatepass")


@contextmanager
def _sound(message: str = "the backup is cut short or damaged") -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError) as error:
        raise ConfigError(message) from error
