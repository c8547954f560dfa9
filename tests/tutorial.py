"""The tutorial read as what it tells to do: files to write, commands to type, the answer to expect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NAMED = r"(?:^(?P<more>At the end of )?`(?P<file>[^`\n]+)`:\n\n)?"
_FENCED = r"^(?P<fence>`{3,4})(?P<kind>\w+)\n(?P<text>.*?)^(?P=fence)$"
_BLOCK = re.compile(_NAMED + _FENCED, re.MULTILINE | re.DOTALL)
#: What lies between a file and what is added to it, in Python.
_GAP = "\n\n"


@dataclass(frozen=True)
class Step:
    """One block of the page: a file's text, or more of it, or commands, or what the last of them answers."""

    kind: str
    text: str
    file: str = ""
    more: bool = False


def steps(page: Path) -> Iterator[Step]:
    for found in _BLOCK.finditer(page.read_text()):
        yield Step(found["kind"], found["text"], found["file"] or "", bool(found["more"]))


def files(page: Path) -> dict[str, str]:
    """Every file as it is at the end of the page."""
    written: dict[str, str] = {}
    for step in steps(page):
        if step.file:
            assert not step.more or step.file in written, f"{step.file} is added to before it is there"
            written[step.file] = written[step.file] + _GAP + step.text if step.more else step.text
    return written


def script(page: Path, staging: Path) -> str:
    """The page as a program for bash, which stops at the first command that fails."""
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for i, step in enumerate(steps(page)):
        if step.file:
            (staging / str(i)).write_text(_GAP + step.text if step.more else step.text)
            lines.append(f"cat {staging / str(i)} {'>>' if step.more else '>'} {step.file}")
        elif step.kind == "sh":
            lines.append(step.text)
    return "\n".join(lines)
