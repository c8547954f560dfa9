"""The rule on what is public and will be gone."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from core import deprecations, hookspecs
from core.check.hooks import marked_functions
from core.check.rule import Fault
from core.check.source import Source
from core.check.syntax import imported


def unused(source: Source) -> Iterator[Fault]:
    """No name, key, hook or argument is used that is deprecated."""
    for key in tomllib.loads(source.toml.read_text(encoding="utf-8")):
        if (warning := deprecations.KEYS.get(key)) is not None:
            yield Fault(str(warning), source.in_manifest(key))
    for module in (*source.code, *source.migrations):
        for origin, name, node in imported(module):
            if origin == "core" and (warning := deprecations.NAMES.get(name)) is not None:
                yield Fault(str(warning), module.at(node))
    for module, function in marked_functions(source):
        told = getattr(getattr(hookspecs, function.name, None), "crm_spec", {})
        if warning := told.get("warn_on_impl"):
            yield Fault(str(warning), module.at(function))
        for argument in function.args.args:
            if warning := (told.get("warn_on_impl_args") or {}).get(argument.arg):
                yield Fault(str(warning), module.at(argument))
