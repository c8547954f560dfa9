"""What differs between a file and a workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import BadInput, Refused


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is created, changed or deleted; `changes` are pairs of before and after, in the file's terms.

    What is `destructive` takes something away: a plugin, a field, a role, a record.
    """

    action: str
    section: str
    name: str
    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    destructive: bool = False

    def shown(self) -> dict[str, Any]:
        """The difference as JSON."""
        changes = [{"path": p, "before": before, "after": after} for p, (before, after) in self.changes.items()]
        return {
            "action": self.action,
            "section": self.section,
            "name": self.name,
            "destructive": self.destructive,
            "changes": changes,
        }


class FileFault(BadInput):
    """A file cannot be applied: `faults` are all that were found, each with its place."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults), faults=list(faults))
        self.faults = tuple(faults)

    @classmethod
    def of(cls, refused: Refused) -> FileFault:
        """What a change set refused, by the places of the rows."""
        return cls([f"{'.'.join(map(str, e.path))}: {e.message}" for e in refused.errors])
