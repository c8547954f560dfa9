"""Which hooks of which plugins were called, and with how much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from core.changes import Batch, Committed
from core.hooks import OBSERVERS


@dataclass(frozen=True, slots=True)
class HookCall:
    """One call of a plugin's hook.

    `record` and `action` are those of the batch or of what `narrow` was asked, empty where there are none; `size` is
    the number of rows of the batch, or of all that was committed, 0 for other hooks.
    """

    plugin: str
    hook: str
    record: str = ""
    action: str = ""
    size: int = 0


@dataclass
class HookRecord:
    """The calls of hooks in the order in which they were made, in all workspaces of the run."""

    calls: list[HookCall] = field(default_factory=list)

    def of(self, plugin: str, hook: str = "") -> list[HookCall]:
        """The calls of one plugin, or of one hook of it."""
        return [c for c in self.calls if c.plugin == plugin and hook in ("", c.hook)]

    def sizes(self, plugin: str, hook: str, record: str = "") -> list[int]:
        """With how many rows each time a plugin's hook was called, for all record types or for one."""
        return [c.size for c in self.of(plugin, hook) if record in ("", c.record)]

    def hooks(self, plugin: str) -> set[str]:
        """The hooks of a plugin that were called at all."""
        return {c.hook for c in self.of(plugin)}

    def clear(self) -> None:
        """Forget what was recorded so far."""
        self.calls.clear()

    def note(self, plugin: str, hook: str, arguments: Mapping[str, Any]) -> None:
        """Record a call; `recording` has it done."""
        record, action = arguments.get("record"), arguments.get("action", "")
        size, batch, committed = 0, arguments.get("batch"), arguments.get("change_set")
        if isinstance(batch, Batch):
            record, action, size = batch.record, batch.action, len(batch.rows)
        if isinstance(committed, Committed):
            size = sum(sum(by_action.values()) for by_action in committed.touched.values())
        self.calls.append(HookCall(plugin, hook, record.name if record is not None else "", action, size))


@contextmanager
def recording() -> Iterator[HookRecord]:
    """Record the calls of hooks during the block."""
    record = HookRecord()
    OBSERVERS.append(record.note)
    try:
        yield record
    finally:
        OBSERVERS.remove(record.note)
