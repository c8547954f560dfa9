"""What a rule is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

#: Where each rule is explained, under its code in lower case.
DOCS = "docs/plugins/check.md"


class Stage(IntEnum):
    """What a rule needs: the plugin's files, the plugin imported and composed, or a workspace that it is tried in."""

    SOURCE = 1
    LOADED = 2
    TRIED = 3


@dataclass(frozen=True, slots=True)
class Place:
    """A file of the plugin and a line in it; 0 is the file as a whole."""

    file: Path
    line: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """What one rule found: one sentence, and where, as far as it can be told."""

    message: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A small rule under a stable code. `find` looks at what its stage has: a Source, a Loaded or a Trial.

    What it finds is not told where a rule of `follows` (codes or their beginnings) found something: it only follows.
    """

    code: str
    sentence: str
    stage: Stage
    find: Callable[[Any], Iterator[Fault]]
    follows: tuple[str, ...] = ()

    @property
    def docs(self) -> str:
        """Where it is explained."""
        return f"{DOCS}#{self.code.lower()}"
