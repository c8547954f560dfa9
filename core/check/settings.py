"""Rules on settings: each has a default and says what it is, and unknown ones are refused."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from pydantic import BaseModel

from core.check.loaded import Loaded
from core.check.rule import Fault, Place
from core.check.source import Source


def documented(loaded: Loaded) -> Iterator[Fault]:
    """Each setting has a description."""
    for name, field in loaded.plugin.model.model_fields.items():
        if not (field.description or "").strip():
            yield Fault(f"the setting {name} has no description", _place(loaded, name))


def with_defaults(source: Source) -> Iterator[Fault]:
    """A plugin can be switched on without any setting."""
    reference = source.manifest.settings
    module = source.module(reference.partition(":")[0]) if reference else None
    if module is None:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and node.name == reference.partition(":")[2]:
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _required(field.value):
                    yield Fault(f"the setting {field.target.id} has no default", module.at(field))


def unknown_refused(loaded: Loaded) -> Iterator[Fault]:
    """A misspelled setting is an error."""
    model = loaded.plugin.model
    if model.model_config.get("extra") != "forbid":
        message = f"{model.__name__} takes settings that it does not know"
        yield Fault(f'{message}: write class {model.__name__}(BaseModel, extra="forbid")', _place(loaded, ""))


def _required(value: ast.expr | None) -> bool:
    """Whether a field of a model has no default: nothing is assigned, or a Field without one."""
    if value is None:
        return True
    if not isinstance(value, ast.Call) or getattr(value.func, "id", getattr(value.func, "attr", "")) != "Field":
        return False
    first = value.args[0] if value.args else None
    named = {k.arg for k in value.keywords}
    if first is None:
        return not named & {"default", "default_factory", None}
    return isinstance(first, ast.Constant) and first.value is Ellipsis


def _place(loaded: Loaded, name: str) -> Place | None:
    """Where a setting is declared, or its model."""
    model: type[BaseModel] = loaded.plugin.model
    module = loaded.source.module(model.__module__)
    for node in ast.walk(module.tree) if module else ():
        if isinstance(node, ast.ClassDef) and node.name == model.__name__:
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and getattr(field.target, "id", "") == name:
                    return module.at(field) if module else None
            return module.at(node) if module else None
    return None
