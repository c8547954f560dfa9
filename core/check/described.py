"""Rules on what people read in the schema and in forms: descriptions everywhere, labels in every language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from core.check.added import added
from core.check.loaded import Loaded
from core.check.rule import Fault, Place
from core.check.syntax import saying
from core.messages import LANGUAGES
from core.records import Field, RecordType, ToOne


def described(loaded: Loaded) -> Iterator[Fault]:
    """Whatever the plugin adds says in a sentence what it is."""
    for name, element in added(loaded.before, loaded.after):
        if (problem := undescribed(element.description)) is not None:
            yield Fault(f"{name} {problem}", _place(loaded, name))
    for hook in ("abilities", "error_codes"):
        for name, description in dict(loaded.contributed(hook)).items():
            if (problem := undescribed(description)) is not None:
                yield Fault(f"{name} of {hook} {problem}", saying(loaded.source, name))
    for job in loaded.contributed("jobs"):
        if (problem := undescribed(job.description)) is not None:
            yield Fault(f"the job {job.kind} {problem}", saying(loaded.source, job.kind))


def undescribed(text: str | None) -> str | None:
    """What is wrong with a description: it is missing, or does not begin like a sentence."""
    if not (text or "").strip():
        return "has no description"
    first = str(text).lstrip("`")[:1]
    return None if first.isupper() or first.isdigit() else "has a description that does not begin with a capital"


def labelled(loaded: Loaded) -> Iterator[Fault]:
    """Record types, fields and links have a label in every language."""
    for name, part in _labelled(loaded):
        if missing := [language for language in LANGUAGES if not part.labels.get(language, "").strip()]:
            yield Fault(f"{name} has no label in {' and '.join(missing)}", _place(loaded, name))


def _place(loaded: Loaded, path: str) -> Place | None:
    """Where `Type`, `Type.member` or `Type.member(argument:)` is declared."""
    *owners, name = [name for name in re.split(r"\W+", path) if name]
    return saying(loaded.source, name, owners[-1] if owners else "")


def _labelled(loaded: Loaded) -> Iterator[tuple[str, Any]]:
    for declared in (*loaded.contributed("record_types"), *loaded.contributed("extensions")):
        if isinstance(declared, RecordType):
            yield declared.name, declared
        owner = declared.name if isinstance(declared, RecordType) else declared.record
        for part in (*declared.fields, *declared.relations):
            if isinstance(part, Field | ToOne) and getattr(part, "exposed", True):
                yield f"{owner}.{part.name}", part
