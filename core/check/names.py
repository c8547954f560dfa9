"""Rules on names: whose they are can be seen, and no two plugins speak of the same thing."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence

from core.check.added import added
from core.check.loaded import Loaded
from core.check.rule import Fault
from core.manifest import Manifest
from core.records import snake
from core.schema.aggregate import FUNCTIONS
from core.schema.declared import CORE

#: Types whose members say what is the matter, not whose they are.
_FREE = {"UserErrorCode"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


def carry_nouns(loaded: Loaded) -> Iterator[Fault]:
    """Every name that clients see for the first time has one of the plugin's nouns in it."""
    manifest = loaded.plugin.manifest
    there = loaded.before.type_map
    for path, _ in added(loaded.before, loaded.after):
        owner, _, member = path.partition(".")
        if owner in _FREE or "(" in member or (member and owner not in there):
            continue  # said once: of the field, or of the type
        if _is_total(owner, member, there):
            continue
        if not carries(member or owner, manifest):
            yield Fault(f"{path} has none of the plugin's nouns in its name: {', '.join(manifest.nouns)}")


def _is_total(owner: str, member: str, there: Container[str]) -> bool:
    """Whether core itself adds it: the totals of a record type of others that has its first number by the plugin."""
    if member:
        return member in FUNCTIONS and owner.removesuffix("Group").endswith("Aggregate")
    return any(f"{owner.removesuffix(f.capitalize())}Aggregate" in there for f in FUNCTIONS)


def nouns_free(loaded: Loaded) -> Iterator[Fault]:
    """The plugin's nouns are not those of core's record types, nor another plugin's."""
    manifest = loaded.plugin.manifest
    place = loaded.source.in_manifest("nouns")
    taken = {snake(t.name): "core" for t in CORE}
    for other in loaded.registry.manifests.values():
        if other.name != manifest.name:
            taken.update(dict.fromkeys(other.nouns, f"the plugin {other.name}"))
    for noun in manifest.nouns:
        if noun in taken:
            yield Fault(f"the noun {noun} is taken by {taken[noun]}", place)


def prefixed(loaded: Loaded) -> Iterator[Fault]:
    """Abilities begin with the plugin's name, kinds of job with its name and a dot."""
    name = loaded.plugin.name
    for ability in dict(loaded.contributed("abilities")):
        if ability != name and not ability.startswith(f"{name}_"):
            yield Fault(f"the ability {ability} must begin with {name}_")
    for job in loaded.contributed("jobs"):
        if not job.kind.startswith(f"{name}."):
            yield Fault(f"the job {job.kind} must begin with {name} and a dot")


def carries(name: str, manifest: Manifest) -> bool:
    """Whether a name, in any case, has one of a plugin's nouns as words; their ends may differ (tier, tiers)."""
    words = [w.lower() for w in _WORD.findall(name)]
    return any(_within(noun.split("_"), words) for noun in manifest.nouns)


def _within(noun: Sequence[str], words: Sequence[str]) -> bool:
    places = range(len(words) - len(noun) + 1)
    return any(all(words[i + k].startswith(n) for k, n in enumerate(noun)) for i in places)
