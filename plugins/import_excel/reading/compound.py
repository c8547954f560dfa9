"""OLE compound files: the container of .xls, of Word's .doc and of encrypted workbooks. Only the root is listed."""

from __future__ import annotations

import struct
from pathlib import Path

from plugins.import_excel.reading.problem import Unreadable

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_LAST = 0xFFFFFFFA
_ENTRY = 128


def root_streams(path: Path) -> dict[str, int]:
    """The streams and storages in the root, with their sizes in bytes. Raises Unreadable for a damaged one.

    Embedded objects have containers of their own further down, so only the root tells what a file is.
    """
    data = path.read_bytes()
    if len(data) < 512:
        raise Unreadable("corrupt")
    shift = struct.unpack_from("<H", data, 30)[0]
    if shift not in (9, 12):
        raise Unreadable("corrupt")
    size = 1 << shift
    fat = _fat(data, size)
    directory = b"".join(_chain(data, fat, struct.unpack_from("<I", data, 48)[0], size))
    if len(directory) < _ENTRY:
        raise Unreadable("corrupt")
    return _children(directory)


def _sector(data: bytes, number: int, size: int) -> bytes:
    start = (number + 1) * size
    return data[start : start + size]


def _fat(data: bytes, size: int) -> list[int]:
    """The table of which sector follows which."""
    sectors = [n for n in struct.unpack_from("<109I", data, 76) if n < _LAST]
    following, left = struct.unpack_from("<II", data, 68)
    seen = set()
    while following < _LAST and left:
        if following in seen:
            raise Unreadable("corrupt")
        seen.add(following)
        part = _sector(data, following, size)
        if len(part) < size:
            raise Unreadable("corrupt")
        numbers = struct.unpack(f"<{size // 4}I", part)
        sectors += [n for n in numbers[:-1] if n < _LAST]
        following, left = numbers[-1], left - 1
    fat: list[int] = []
    for number in sectors:
        part = _sector(data, number, size)
        if len(part) == size:
            fat += struct.unpack(f"<{size // 4}I", part)
    return fat


def _chain(data: bytes, fat: list[int], start: int, size: int) -> list[bytes]:
    found: list[bytes] = []
    seen = set()
    while start < _LAST:
        if start in seen or start >= len(fat):
            raise Unreadable("corrupt")
        seen.add(start)
        found.append(_sector(data, start, size))
        start = fat[start]
    return found


def _children(directory: bytes) -> dict[str, int]:
    """The root's children and their sizes: a binary tree by sibling."""
    count = len(directory) // _ENTRY
    names: dict[str, int] = {}
    seen: set[int] = set()
    waiting = [struct.unpack_from("<I", directory, 76)[0]]
    while waiting:
        number = waiting.pop()
        if number >= count or number in seen:
            continue
        seen.add(number)
        entry = directory[number * _ENTRY : (number + 1) * _ENTRY]
        length = min(struct.unpack_from("<H", entry, 64)[0], 64)
        names[entry[: max(length - 2, 0)].decode("utf-16-le", "replace")] = struct.unpack_from("<I", entry, 120)[0]
        waiting += struct.unpack_from("<II", entry, 68)
    return names
