"""Which field each column is most likely meant for."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from rapidfuzz.distance import Levenshtein

from core import Kind
from plugins.import_excel.convert import fold
from plugins.import_excel.targets import Goal

IGNORED = "ignored"
#: Headers people write, without case and accents, by goal; `ignored` are columns that no field is for.
SYNONYMS: Mapping[str, Sequence[str]] = tomllib.loads(
    (files("plugins.import_excel") / "synonyms.toml").read_text(encoding="utf-8")
)

#: The farthest a header may be from a name that it is taken for, in edits per letter.
FARTHEST = 0.2
#: How sure each way of knowing is.
REMEMBERED, LABEL, SYNONYM, TYPED, CONTENT = 1.0, 0.98, 0.95, 0.8, 0.5
_NOT_WORDS = re.compile(r"[^a-z0-9/#]+")
_ASIDE = re.compile(r"\(.*?\)|\[.*?\]|\*")


@dataclass(frozen=True, slots=True)
class Guess:
    """That a column is meant for a goal: how sure, from 0 to 1, and by what (REMEMBERED, LABEL, SYNONYM, …)."""

    column: int
    goal: str
    confidence: float
    by: str


def key(headers: Sequence[str]) -> str:
    """What a set of headers is remembered by, whatever their order, case and accents."""
    return hashlib.sha256("\n".join(sorted(map(bare, headers))).encode()).hexdigest()


def bare(header: str) -> str:
    """A header without case, accents, asides and punctuation."""
    return " ".join(_NOT_WORDS.sub(" ", _ASIDE.sub(" ", fold(header))).split())


def suggest(
    columns: Sequence[Mapping[str, Any]], goals: Mapping[str, Goal], remembered: Mapping[str, str | None] | None = None
) -> dict[int, Guess]:
    """The best goal of each column that has one, no goal twice.

    `remembered` are goals by bare header, None for columns that were left out.
    """
    remembered = remembered or {}
    names = _names(goals)
    ignored = {bare(s) for s in SYNONYMS[IGNORED]}
    guesses: list[Guess] = []
    settled: set[int] = set()
    for column in columns:
        header = bare(column["header"])
        if header and header in remembered:
            settled.add(column["index"])
            goal = remembered[header]
            if goal and goal in goals:
                guesses.append(Guess(column["index"], goal, REMEMBERED, "REMEMBERED"))
            continue
        if header in ignored and not any(n == header for n, _, by in names if by == "LABEL"):
            settled.add(column["index"])
            continue
        guesses += _by_name(column, header, names, goals)
    chosen = _distinct(guesses)
    taken = {g.goal for g in chosen.values()}
    left = [c for c in columns if c["index"] not in chosen and c["index"] not in settled]
    chosen |= _distinct([g for c in left for g in _by_content(c, goals) if g.goal not in taken])
    return chosen


def _names(goals: Mapping[str, Goal]) -> list[tuple[str, str, str]]:
    """Every name of every goal: (name, goal, LABEL or SYNONYM)."""
    found = []
    for goal in goals.values():
        spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", goal.name)
        for label in {*goal.labels.values(), goal.name, spaced}:
            found.append((bare(label), goal.name, "LABEL"))
        found += [(bare(s), goal.name, "SYNONYM") for s in SYNONYMS.get(goal.name, ())]
        if goal.contact > 1:
            base = "contact." + goal.key
            found += [(f"{bare(s)} {goal.contact}", goal.name, "SYNONYM") for s in SYNONYMS.get(base, ())]
    return [f for f in found if f[0]]


def _by_name(
    column: Mapping[str, Any], header: str, names: Sequence[tuple[str, str, str]], goals: Mapping[str, Goal]
) -> list[Guess]:
    found: dict[str, Guess] = {}
    if not header:
        return []
    squeezed = header.replace(" ", "").replace("/", "")
    for name, goal, by in names:
        sure = 0.0
        if name == header:
            sure = LABEL if by == "LABEL" else SYNONYM
        elif name.replace(" ", "").replace("/", "") == squeezed:
            sure = SYNONYM - 0.02
        else:
            longest = max(len(name), len(header))
            most = int(longest * FARTHEST)
            if most and (distance := Levenshtein.distance(name, header, score_cutoff=most)) <= most:
                sure, by = TYPED * (1 - distance / longest), "SPELLING"  # noqa: PLW2901 - what it is known by
        if sure:
            sure *= _fits(column, goals[goal])
        if sure and (goal not in found or found[goal].confidence < sure):
            found[goal] = Guess(column["index"], goal, sure, by)
    return list(found.values())


def _fits(column: Mapping[str, Any], goal: Goal) -> float:
    """How well what is in a column goes with a goal of the right name: 1, or less where it can hardly be meant."""
    type_ = column.get("type", "blank")
    if type_ in ("blank", "text"):
        return 1.0
    kind = goal.field.kind
    if kind in (Kind.DATE, Kind.DATETIME):
        return 1.0 if type_ in ("date", "datetime", "int") else 0.6
    if goal.key == "email":
        return 1.0 if type_ == "email" else 0.6
    if goal.key == "name" and type_ in ("date", "datetime", "email", "url"):
        return 0.6
    if type_ in ("date", "datetime") and kind is Kind.TEXT:
        return 0.7
    return 1.0


def _by_content(column: Mapping[str, Any], goals: Mapping[str, Goal]) -> list[Guess]:
    """What the values of a column look like, where its header says nothing."""
    if bare(column["header"]) and not column["header"].isdigit():
        # A header that is a word of its own is better left to people than guessed by what looks alike.
        wanted: Mapping[str, tuple[str, ...]] = {"email": ("email",)}
    else:
        wanted = {"email": ("email",), "phone": ("phone",), "url": ("website",), "tax": ("taxCode",), "code": ("code",)}
    return [
        Guess(column["index"], goal, CONTENT, "CONTENT") for goal in wanted.get(column["type"], ()) if goal in goals
    ]


def _distinct(guesses: Sequence[Guess]) -> dict[int, Guess]:
    """The surest guesses, no column and no goal twice."""
    chosen: dict[int, Guess] = {}
    taken: set[str] = set()
    for guess in sorted(guesses, key=lambda g: (-g.confidence, g.column)):
        if guess.column not in chosen and guess.goal not in taken:
            chosen[guess.column] = guess
            taken.add(guess.goal)
    return chosen
