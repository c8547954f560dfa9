"""Counting SQL statements: what a block of a test sends to the database, and nothing that goes on beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Any

import asyncpg

from core.database import Database

#: Failures show the test's own lines.
__tracebackhide__ = methodcaller("errisinstance", AssertionError)

_SEEN: ContextVar[Statements | None] = ContextVar("crm_statements", default=None)


@dataclass
class Statements:
    """The statements that a block has executed so far, in order, as they were sent."""

    statements: list[str] = field(default_factory=list)


class WatchedConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that tells the block it is used in of each statement."""

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        """See asyncpg."""
        _note(query)
        return await super().execute(query, *args, **options)

    async def executemany(self, command: str, args: Any, **options: Any) -> Any:
        """See asyncpg."""
        _note(command)
        return await super().executemany(command, args, **options)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """See asyncpg."""
        _note(query)
        return await super().fetch(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        """See asyncpg."""
        _note(query)
        return await super().fetchval(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        """See asyncpg."""
        _note(query)
        return await super().fetchrow(query, *args, **options)

    async def fetchmany(self, query: str, args: Any, **options: Any) -> Any:
        """See asyncpg."""
        _note(query)
        return await super().fetchmany(query, args, **options)

    def cursor(self, query: str, *args: Any, **options: Any) -> Any:
        """See asyncpg."""
        _note(query)
        return super().cursor(query, *args, **options)


class WatchedDatabase(Database):
    """The database with connections that are watched."""

    connection_class = WatchedConnection


def _note(query: str) -> None:
    if (seen := _SEEN.get()) is not None:
        seen.statements.append(query)


@contextmanager
def watching() -> Iterator[Statements]:
    """Note the statements of the block."""
    seen = Statements()
    token = _SEEN.set(seen)
    try:
        yield seen
    finally:
        _SEEN.reset(token)


@contextmanager
def unwatched() -> Iterator[None]:
    """Leave out statements that the kit itself needs."""
    token = _SEEN.set(None)
    try:
        yield
    finally:
        _SEEN.reset(token)


class OneStatement:
    """Demands that a block executes exactly one statement; exiting raises AssertionError that lists them where not."""

    def __enter__(self) -> Statements:
        self._watching = watching()
        self._seen = self._watching.__enter__()
        return self._seen

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._watching.__exit__(None, None, None)
        count = len(self._seen.statements)
        if kind is None and count != 1:
            shown = "".join(f"\n{n}. {_short(text)}" for n, text in enumerate(self._seen.statements, 1))
            message = f"expected exactly one SQL statement, {count or 'none'} ran{':' if shown else ''}{shown}"
            raise AssertionError(message)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]} … ({len(line)} characters)"
