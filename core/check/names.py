"""Rules on names: whose they are can be seen, and no two plugins speak of the same thing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from core.check.loaded import Loaded
from core.check.rule import Fault
from core.check.syntax import saying
from core.manifest import Manifest
from core.records import Extension, RecordType, snake
from core.schema.declared import CORE

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


def carry_nouns(loaded: Loaded) -> Iterator[Fault]:
    """Every name that the plugin adds to what clients see has one of its nouns in it."""
    manifest = loaded.plugin.manifest
    for owner, name in dict.fromkeys(_declared(loaded)):
        if not carries(name, manifest):
            path = f"{owner}.{name}" if owner else name
            message = f"{path} has none of the plugin's nouns in its name: {', '.join(manifest.nouns)}"
            yield Fault(message, saying(loaded.source, name, owner))


def _declared(loaded: Loaded) -> Iterator[tuple[str, str]]:
    """The names that do not follow from others, and whose they are: of what core has, or nobody's."""
    for record in loaded.contributed("record_types"):
        yield "", record.name
        yield "", record.plural
        yield from _brought(loaded, record)
    for extension in loaded.contributed("extensions"):
        for part in (*extension.fields, *extension.relations, *extension.filters, *extension.computed):
            yield extension.record, part.name
        yield from _brought(loaded, extension)
    for hook in ("object_types", "queries", "mutations"):
        for declared in loaded.contributed(hook):
            yield "", declared.name


def _brought(loaded: Loaded, owner: RecordType | Extension) -> Iterator[tuple[str, str]]:
    """The types that fields and filters bring along, but for those that were there."""
    for field in owner.fields:
        if field.enum is not None and field.enum.name not in loaded.before.type_map:
            yield "", field.enum.name
    for part in owner.filters:
        if not isinstance(part.input, str):
            yield "", getattr(part.input, "name", None) or part.input.__name__


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
            yield Fault(f"the ability {ability} must begin with {name}_", saying(loaded.source, ability))
    for job in loaded.contributed("jobs"):
        if not job.kind.startswith(f"{name}."):
            yield Fault(f"the job {job.kind} must begin with {name} and a dot", saying(loaded.source, job.kind))


def carries(name: str, manifest: Manifest) -> bool:
    """Whether a name, in any case, has one of a plugin's nouns as words; their ends may differ (tier, tiers)."""
    words = [w.lower() for w in _WORD.findall(name)]
    return any(_within(noun.split("_"), words) for noun in manifest.nouns)


def _within(noun: Sequence[str], words: Sequence[str]) -> bool:
    places = range(len(words) - len(noun) + 1)
    return any(all(words[i + k].startswith(n) for k, n in enumerate(noun)) for i in places)
