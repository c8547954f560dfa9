"""What a look finds: how grave it is, what it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found: `detail` is the state of things, `cure` what to do where the level is not `ok`."""

    what: str
    level: Level
    detail: str
    cure: str = ""


def ok(what: str, detail: str) -> Finding:
    """All is well."""
    return Finding(what, "ok", detail)


def warn(what: str, detail: str, cure: str) -> Finding:
    """It works, and should not stay so."""
    return Finding(what, "warn", detail, cure)


def fail(what: str, detail: str, cure: str) -> Finding:
    """Something does not work, or soon will not."""
    return Finding(what, "fail", detail, cure)
