"""Which host names this deployment answers to."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

#: Of names this long at most it is remembered how they are read; no longer one can be looked up.
_LONGEST = 260


def host_of(header: bytes) -> str:
    """The name in a Host header, without port, in lower case."""
    return _cached(header) if len(header) <= _LONGEST else _read(header)


def _read(header: bytes) -> str:
    name = header.decode("latin-1").strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]


_cached = lru_cache(500)(_read)


class Hosts:
    """The allowed names: `*` for any, `*.example.com` for subdomains."""

    def __init__(self, allowed: Iterable[str]) -> None:
        names = [a.lower() for a in allowed]
        self.any = "*" in names
        self._names = frozenset(n for n in names if not n.startswith("*"))
        self._endings = tuple(n[1:] for n in names if n.startswith("*."))

    def __contains__(self, name: str) -> bool:
        return self.any or name in self._names or (bool(self._endings) and name.endswith(self._endings))
