"""Uploads by the GraphQL multipart request specification: a form of `operations`, `map` and files, streamed to disk.

The parts must come in that order, so that a file nobody asked for is turned away before it is written.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from core.files import FileStore, Upload, safe_content_type, safe_name
from core.http.body import body_parts, too_large
from core.http.parameters import Parameters, from_object, load
from core.http.refusal import Refusal, bad_request
from core.settings import Settings

MULTIPART = b"multipart/form-data"
#: Bytes that are gathered before a thread writes them.
_BUFFER = 1024 * 1024

# It warns of every malformed form; clients make those.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


@asynccontextmanager
async def read_form(receive: Any, headers: dict[bytes, bytes], store: FileStore) -> AsyncIterator[Parameters]:
    """The parameters of a multipart request, uploads in their places; their bytes are gone after the block.

    Raises Refusal for whatever is wrong with the form, Disconnected where it ends early, OSError where it cannot be
    written.
    """
    form = _Form(store)
    try:
        parser = MultipartParser(_boundary(headers), form.callbacks())
        limit = store.settings.max_upload_total_bytes + 2 * store.settings.max_body_bytes
        async for part in body_parts(receive, headers, limit):
            parser.write(part)
            if form.waiting >= _BUFFER:
                await form.flush()
        await form.flush()
        yield form.parameters()
    except FormParserError:
        raise bad_request("The form is not valid multipart/form-data.") from None
    finally:
        form.discard()


def _boundary(headers: dict[bytes, bytes]) -> bytes:
    _, options = parse_options_header(headers[b"content-type"])
    boundary = options.get(b"boundary")
    if not boundary:
        raise bad_request("Content-Type: multipart/form-data needs a boundary.")
    return boundary


@dataclass(slots=True)
class _File:
    """A part that is written to disk."""

    name: str
    content_type: str
    path: Path
    out: BinaryIO
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def upload(self) -> Upload:
        return Upload(self.name, self.content_type, self.size, self.digest.hexdigest(), self.path)


class _Form:
    """What is known so far of a form that is being read."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._settings: Settings = store.settings
        self._headers: dict[bytes, bytes] = {}
        self._header = b""
        self._value = b""
        self._part = ""
        self._texts: dict[str, bytearray] = {}
        self._operations: Any = None
        self._parameters: Parameters | None = None
        #: Where each file goes: an object or a list of the variables, and the key in it.
        self._places: dict[str, list[tuple[Any, Any]]] | None = None
        self._files: dict[str, _File] = {}
        self._gathered: list[tuple[_File, bytes]] = []
        self._total = 0
        self._complete = False
        #: Bytes that are to be written.
        self.waiting = 0

    def callbacks(self) -> Any:
        """What the parser is to call."""
        return {
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    async def flush(self) -> None:
        """Write what has gathered, in a thread: disks are slow, and digests are computed."""
        gathered, self._gathered, self.waiting = self._gathered, [], 0
        if gathered:
            await asyncio.to_thread(_write, gathered)

    def parameters(self) -> Parameters:
        """The parameters, once everything has been read. Raises Refusal where a part is missing."""
        if not self._complete:
            raise bad_request("The form ends in the middle.")
        if self._parameters is None or self._places is None:
            raise bad_request("The form needs the parts operations and map, in this order, before the files.")
        for name, places in self._places.items():
            file = self._files.get(name)
            if file is None:
                raise bad_request("A file that the map names is missing.")
            file.out.flush()
            for holder, key in places:
                holder[key] = file.upload()
        return self._parameters

    def discard(self) -> None:
        """Remove every file."""
        for file in self._files.values():
            file.path.unlink(missing_ok=True)
            with suppress(OSError):  # what it has left to write does not matter, and the disk may be full
                file.out.close()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _on_headers_finished(self) -> None:
        headers, self._headers = self._headers, {}
        disposition, options = parse_options_header(headers.get(b"content-disposition"))
        if disposition != b"form-data" or b"name" not in options:
            raise bad_request("Every part of the form needs Content-Disposition: form-data and a name.")
        self._part = options[b"name"].decode("utf-8", "replace")
        if b"filename" in options or b"filename*" in options:
            name = options.get(b"filename", b"").decode("utf-8", "replace")
            self._begin_file(name, headers.get(b"content-type", b"").decode("latin-1"))
        elif self._part not in ("operations", "map") or self._part in self._texts:
            raise bad_request("Besides files a form has the parts operations and map, once each.")
        else:
            self._texts[self._part] = bytearray()

    def _begin_file(self, name: str, content_type: str) -> None:
        if self._places is None:
            raise bad_request("The parts operations and map come before the files.")
        if self._part not in self._places or self._part in self._files:
            raise bad_request("Each file is a part of its own that the map names.")
        path = self._store.draft()
        out = path.open("xb")
        self._files[self._part] = _File(safe_name(name), safe_content_type(content_type), path, out)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        file = self._files.get(self._part)
        if file is None:
            text = self._texts[self._part]
            text += data[start:end]
            if len(text) > self._settings.max_body_bytes:
                raise too_large(self._settings.max_body_bytes, "part of the form without a file")
            return
        file.size += end - start
        self._total += end - start
        self.waiting += end - start
        if file.size > self._settings.max_upload_bytes:
            raise too_large(self._settings.max_upload_bytes, "file")
        if self._total > self._settings.max_upload_total_bytes:
            raise too_large(self._settings.max_upload_total_bytes, "sum of the files")
        self._gathered.append((file, data[start:end]))

    def _on_part_end(self) -> None:
        if self._part == "operations":
            self._operations = load(bytes(self._texts["operations"]), "part operations")
            self._parameters = from_object(self._operations)
        elif self._part == "map":
            self._read_map(load(bytes(self._texts["map"]), "part map"))
        self._part = ""

    def _read_map(self, given: Any) -> None:
        if self._parameters is None:
            raise bad_request("The part operations comes before the part map.")
        if type(given) is not dict or not all(
            type(paths) is list and paths and all(type(p) is str for p in paths) for paths in given.values()
        ):
            raise bad_request("The map must be an object of lists of paths.")
        if not given.keys().isdisjoint(("operations", "map")):
            raise bad_request("A file cannot be named operations or map.")
        most = self._settings.max_upload_files
        if len(given) > most:
            raise Refusal(413, "PAYLOAD_TOO_LARGE", f"A request may have {most} files at most.")
        taken: set[tuple[int, Any]] = set()
        self._places = {}
        for name, paths in given.items():
            places = [_place(self._parameters.variables, path) for path in paths]
            self._places[name] = places
            for holder, key in places:
                if (id(holder), key) in taken:
                    raise bad_request("The map puts two files into one place.")
                taken.add((id(holder), key))

    def _on_end(self) -> None:
        self._complete = True


def _place(variables: dict[str, Any], path: str) -> tuple[Any, Any]:
    """What a path such as `variables.files.0` leads to. Raises Refusal where that is no null in the variables."""
    first, *way = path.split(".")
    holder: Any = None
    key: Any = None
    value: Any = variables if first == "variables" else None
    for part in way:
        holder, key = value, part
        if type(value) is list and part.isascii() and part.isdecimal() and int(part[:9]) < len(value):
            key = int(part[:9])
        elif type(value) is not dict or part not in value:
            break
        value = holder[key]
    else:
        if holder is not None and value is None:
            return holder, key
    raise bad_request("The paths of the map must lead to nulls in the variables.")


def _write(gathered: list[tuple[_File, bytes]]) -> None:
    for file, data in gathered:
        file.out.write(data)
        file.digest.update(data)
