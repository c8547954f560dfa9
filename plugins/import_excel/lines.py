"""One row of a file as what is to be written: the customer's values, its contacts and its groups."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from core import Kind, check_value
from plugins.import_excel.convert import convert, fold
from plugins.import_excel.faults import BadCell, RowFault, fault, told
from plugins.import_excel.lookups import Lookups
from plugins.import_excel.plan import Column, Plan
from plugins.import_excel.targets import GROUPS, OWNER, REFERRER

_COMPANY = re.compile(
    r"\b(cong ty|cty|tnhh|co phan|ctcp|doanh nghiep|dntn|tap doan|ngan hang|truong|benh vien|hop tac xa|htx|khach san"
    r"|nha hang|chi nhanh|van phong|uy ban|hiep hoi|ltd|llc|inc|corp|corporation|company|co|group|jsc|gmbh|bank|"
    r"hotel|school|university|hospital)\b"
)

#: Of how many texts of a column it is remembered what they mean.
_MOST_KNOWN = 10_000


@dataclass(slots=True)
class Line:
    """A row: `values` are fields to set (None clears), `contacts` likewise by number, `groups` ids, in order.

    Writing adds to it what it finds out, so that a line that was `used` is of no use for a second attempt.
    """

    row: int
    cells: list[Any]
    values: dict[str, Any] = field(default_factory=dict)
    contacts: dict[int, dict[str, Any]] = field(default_factory=dict)
    groups: list[UUID] = field(default_factory=list)
    referrer: str = ""
    faults: list[RowFault] = field(default_factory=list)
    id: UUID | None = None
    used: bool = False

    def cell(self, column: Column | None) -> Any:
        """What stands in a column."""
        return self.cells[column.index] if column is not None and column.index < len(self.cells) else None


class Reader:
    """Reads rows by a plan."""

    def __init__(self, plan: Plan, lookups: Lookups, locale: str) -> None:
        self.plan, self.lookups, self.locale = plan, lookups, locale
        # Most cells are text for text: those are taken as they stand, core checks them when they are written.
        self._texts = [c for c in plan.columns if c.goal.role == "field" and c.goal.field.kind is Kind.TEXT]
        self._others = [c for c in plan.columns if c not in self._texts]
        self._straight = [(c.index, c.goal.key, c) for c in self._texts]
        # Choices, tags and names of groups come again and again.
        self._known: dict[int, dict[str, Any]] = {c.index: {} for c in plan.columns}

    def lines(self, staged: Sequence[tuple[int, bytes]]) -> list[Line]:
        """Staged rows, each with its number and its cells as JSON."""
        return [self.line(number, orjson.loads(cells)) for number, cells in staged]

    def unused(self, lines: Sequence[Line]) -> list[Line]:
        """Lines for an attempt to write them: as they are the first time, afterwards read anew."""
        found = [self.line(n.row, n.cells) if n.used else n for n in lines]
        for line in found:
            line.used = True
        return found

    def line(self, row: int, cells: list[Any]) -> Line:
        """A row with the faults of its cells."""
        found = Line(row, cells)
        width, values = len(cells), found.values
        for index, key, column in self._straight:
            cell = cells[index] if index < width else None
            if type(cell) is str:
                values[key] = cell
            else:
                self._read(found, column, cell)
        for column in self._others:
            self._read(found, column, cells[column.index] if column.index < width else None)
        if found.contacts:
            found.contacts = {n: c for n, c in found.contacts.items() if any(v is not None for v in c.values())}
        return found

    def _read(self, line: Line, column: Column, cell: Any) -> None:
        """One cell of a row."""
        if cell is None:
            if column.required:
                self._fault(line, column, "REQUIRED_CELL", cell)
            elif column.clear:
                self._put(line, column, None)
            return
        try:
            self._put(line, column, self._meaning(column, cell))
        except BadCell as bad:
            self._fault(line, column, bad.code, cell, **bad.params)

    def complete(self, line: Line) -> None:
        """Give a new customer what it cannot be without."""
        if line.values.get("name") is None:
            column = self.plan.column("name")
            index = None if column is None else column.index
            line.faults.append(fault(self.locale, line.row, "NAME_MISSING", index, "name"))
        elif line.values.get("kind") is None:
            company = bool(line.values.get("taxCode")) or _COMPANY.search(fold(line.values["name"]))
            line.values["kind"] = "ORGANISATION" if company else "PERSON"

    def _meaning(self, column: Column, cell: Any) -> Any:
        if type(cell) is not str:
            return self._value(column, cell)
        known = self._known[column.index]
        if (value := known.get(cell)) is None:
            if len(known) >= _MOST_KNOWN:
                known.clear()
            value = known[cell] = self._value(column, cell)
        return value

    def _value(self, column: Column, cell: Any) -> Any:
        options = self.lookups.options[column.goal.name]
        if column.goal.role == REFERRER:
            return str(cell)
        value = convert(column.goal.field, cell, options)
        if column.goal.role == GROUPS:
            return [self._group(name) for name in value]
        return value

    def _group(self, name: str) -> UUID:
        found = self.lookups.groups.get(fold(name))
        if found is None:
            raise BadCell("SEVERAL_GROUPS" if fold(name) in self.lookups.groups else "NO_SUCH_GROUP", name=name)
        return found

    def _put(self, line: Line, column: Column, value: Any) -> None:
        goal = column.goal
        if goal.role == GROUPS:
            line.groups = list(value or ())
            return
        if goal.role == REFERRER:
            line.referrer = value or ""
            return
        if goal.role == "contact":
            # Known now, it need not be found out by writing the batch without this row a second time.
            if value is not None and (problem := check_value(goal.field, value, self.locale)):
                code, message, _ = problem
                fault_ = told(self.locale, line.row, code, message, column.index, goal.name, line.cell(column))
                line.faults.append(fault_)
                return
            line.contacts.setdefault(goal.contact, {})[goal.key] = value
        elif goal.role == OWNER:
            line.values["ownerId"] = value
        else:
            line.values[goal.key] = value

    def _fault(self, line: Line, column: Column, code: str, cell: Any, **params: Any) -> None:
        label = column.header or column.goal.name
        line.faults.append(
            fault(self.locale, line.row, code, column.index, column.goal.name, cell, column=label, **params)
        )


def shared(count: int, owners: Sequence[str], position: int) -> str:
    """Whose the n-th of some rows is: equal shares in the order given, the whole remainder to the last.

    >>> [shared(7, ["a", "b", "c"], n) for n in range(7)]
    ['a', 'a', 'b', 'b', 'c', 'c', 'c']
    """
    share = count // len(owners)
    return owners[min(position // share, len(owners) - 1)] if share else owners[-1]
