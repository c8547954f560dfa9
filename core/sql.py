"""SQL text and its parameters: the only place where identifiers are quoted and parameters are numbered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.context import RequestContext
from core.errors import CompositionError

#: Reads a parameter's value at the time a statement runs: from the operation's variables and the request.
Source = Callable[[dict[str, Any], RequestContext], Any]


def quote(identifier: str) -> str:
    """Quote one SQL identifier. PostgreSQL silently cuts names at 63 bytes, so longer ones are refused.

    Raises CompositionError for an empty or too long name, or one with a NUL.
    """
    if not identifier or "\x00" in identifier or len(identifier.encode()) > 63:
        raise CompositionError(f"{identifier[:80]!r} cannot be an SQL identifier")
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote text that the code itself wrote (a type's name, a JSON key); values go through Parameters."""
    if "\\" in text or "\x00" in text:
        raise CompositionError(f"{text[:80]!r} cannot be an SQL literal")
    return "'" + text.replace("'", "''") + "'"


#: What a JSON object is made of: keys with the SQL of their values.
Columns = list[tuple[str, str]]

_MOST_PAIRS = 50


def select_list(columns: Columns) -> str:
    """A select list of named values."""
    return ", ".join(f"{sql} as {quote(key)}" for key, sql in columns)


def json_object(columns: Columns, rows: str = "") -> str:
    """A JSON object of values, from the one row that `rows` (FROM and WHERE) finds; null where it finds none.

    PostgreSQL takes at most 100 arguments to a function; larger objects cost a little more.
    """
    if len(columns) > _MOST_PAIRS:
        return f"(select row_to_json(r) from (select {select_list(columns)}{rows}) r)"
    made = "json_build_object(" + ", ".join(f"{literal(key)}, {sql}" for key, sql in columns) + ")"
    return f"(select {made}{rows})" if rows else made


class Parameters:
    """Numbers the parameters of one statement; equal sources share a number.

    `add` returns the placeholder with its cast, such as `$3::uuid`.
    """

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self._seen: dict[tuple[Any, str], str] = {}

    def add(self, source: Source, type_: str, key: Any = None) -> str:
        """Register a source of a value of an SQL type; `key` identifies equal sources."""
        if key is not None and (found := self._seen.get((key, type_))):
            return found
        self.sources.append(source)
        placeholder = self.placeholder(len(self.sources), type_)
        if key is not None:
            self._seen[key, type_] = placeholder
        return placeholder

    def placeholder(self, number: int, type_: str) -> str:
        """What stands in the text for a parameter."""
        return f"${number}::{type_}"

    def constant(self, value: Any, type_: str) -> str:
        """Register a value that is the same in every run of the statement."""
        return self.add(lambda _variables, _context: value, type_)


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement: its text and where each parameter comes from."""

    text: str
    sources: tuple[Source, ...]

    def bind(self, variables: dict[str, Any], context: RequestContext) -> Sequence[Any]:
        """The parameters' values for one run, in order."""
        return [source(variables, context) for source in self.sources]
