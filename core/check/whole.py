"""Rules on a plugin among others: it can be loaded, takes no name, and adds without changing anything."""

from __future__ import annotations

from collections.abc import Iterator

from core.check.loaded import Loaded
from core.check.rule import Fault
from core.schema.differences import differences

#: What may become of a schema that others use.
_ADDITIONS = {
    "DIRECTIVE_ADDED", "FIELD_ADDED", "IMPLEMENTED_INTERFACE_ADDED", "OPTIONAL_ARG_ADDED",
    "OPTIONAL_INPUT_FIELD_ADDED", "TYPE_ADDED", "TYPE_ADDED_TO_UNION", "VALUE_ADDED_TO_ENUM",
}  # fmt: skip


def composes(loaded: Loaded) -> Iterator[Fault]:
    """It composes with core and every other plugin, and no other is left out for it."""
    for name, reason in loaded.both.left_out.items():
        if loaded.without.left_out.get(name) != reason:
            whose = "" if name == loaded.plugin.name else f"{name} is left out beside it: "
            yield Fault(f"{whose}{reason}")


def adds_only(loaded: Loaded) -> Iterator[Fault]:
    """Nothing that core and the other plugins show goes or changes."""
    if loaded.both.left_out.keys() - loaded.without.left_out.keys():
        return  # what is missing then is told already
    for difference in differences(loaded.before, loaded.after):
        if difference.type not in _ADDITIONS:
            yield Fault(difference.description)
