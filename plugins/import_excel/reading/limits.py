"""What a file may cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one file and on the process that reads it; sizes in bytes, times in seconds of processor time."""

    rows: int = 1_000_000
    columns: int = 16_384
    unpacked: int = 1024 * MEGABYTE
    strings: int = 300 * MEGABYTE
    #: A sheet whose XML is larger is streamed instead of being held in memory.
    held: int = 350 * MEGABYTE
    parts: int = 10_000
    ratio: int = 120
    memory: int = 1000 * MEGABYTE
    seconds: float = 6.0
    seconds_per_megabyte: float = 1.5

    def clock(self, size: int) -> float:
        """The processor time that a file of a size may take."""
        return self.seconds + self.seconds_per_megabyte * size / MEGABYTE

    def plain(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)
