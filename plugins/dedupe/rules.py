"""What the keys of a workspace are made by: its criteria, and how it normalises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core import Record, Workspace
from plugins.dedupe.criteria import Criterion, read_criteria
from plugins.dedupe.normalise import Normaliser
from plugins.dedupe.settings import Settings

Key = tuple[int, str]

#: The criteria that a workspace had last: a guess, which every look-up proves or corrects.
_GUESSES: dict[UUID, bytes] = {}
_MOST_GUESSES = 10_000


@dataclass(frozen=True)
class Rules:
    """The criteria of a workspace and how it normalises; `source` is what they were read from."""

    source: bytes
    criteria: tuple[Criterion, ...]
    normaliser: Normaliser

    def fields(self, record: Record) -> frozenset[str]:
        """The fields of customers or of contacts that the criteria compare."""
        if record.name == "Contact":
            return frozenset(c.contact_field for c in self.criteria)
        return frozenset(f for c in self.criteria for f in c.fields)

    def keys(self, record: Record, values: Mapping[str, Any]) -> dict[Key, Criterion]:
        """The keys of a customer or a contact, given by field name."""
        contact = record.name == "Contact"
        found: dict[Key, Criterion] = {}
        for criterion in self.criteria:
            make = criterion.contact_keys if contact else criterion.keys
            for key in make(self.normaliser, values):
                found[criterion.set_id, key] = criterion
        return found


def rules_of(workspace: Workspace, settings: Settings, source: bytes | None = None) -> Rules:
    """The rules that a statement has read; without one those that are likely to be true still."""
    if source is None:
        source = _GUESSES.get(workspace.id, b"[]")
    else:
        if len(_GUESSES) > _MOST_GUESSES:
            _GUESSES.clear()
        _GUESSES[workspace.id] = source
    return Rules(source, read_criteria(source), Normaliser.of(settings, workspace.country))
