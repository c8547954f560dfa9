"""Lint the GraphQL schema of core with every built-in plugin: descriptions, names, and nothing out of reach.

    python scripts/lint_schema.py

Prints one line a fault and exits with 1 where there is any.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_introspection_type,
    is_specified_scalar_type,
)

from core.check.described import undescribed
from core.contributions import Chosen, FeatureSet, compose
from core.features import core_operations
from core.plugins import PluginRegistry

TYPE = re.compile(r"[A-Z][A-Za-z0-9]*")
MEMBER = re.compile(r"[a-z][A-Za-z0-9]*")
VALUE = re.compile(r"[A-Z][A-Z0-9_]*")
#: Words that say nothing in the name of a field: everything is got.
EMPTY = re.compile(r"(get|query|fetch)[A-Z]")


def built_in() -> GraphQLSchema:
    """The schema of a feature set with every plugin that comes with the project."""
    registry = PluginRegistry.discover()
    chosen = tuple(Chosen(p.name, p.manifest.version, b"{}") for p in registry.plugins.values())
    composed = compose(FeatureSet(chosen), registry, core_operations(None))  # type: ignore[arg-type]
    if registry.broken or composed.left_out:
        sys.exit(f"plugins are broken or left out: {[*registry.broken, *composed.left_out]}")
    return composed.composition.schema


def faults(schema: GraphQLSchema) -> Iterator[str]:
    """What is wrong with a schema, one line each."""
    reached = reachable(schema)
    for name, type_ in sorted(schema.type_map.items()):
        if is_introspection_type(type_) or is_specified_scalar_type(type_):
            continue
        if not TYPE.fullmatch(name):
            yield f"{name}: a type's name is PascalCase"
        if name not in reached:
            yield f"{name}: nothing leads to this type"
        yield from described(name, type_)
        members: dict[str, Any] = getattr(type_, "fields", {})
        for member, field in members.items():
            where = f"{name}.{member}"
            if not MEMBER.fullmatch(member) or EMPTY.match(member):
                yield f"{where}: a field's name is a camelCase noun"
            yield from described(where, field)
            for argument, given in getattr(field, "args", {}).items():
                yield from described(f"{where}({argument})", given)
        if isinstance(type_, GraphQLEnumType):
            for value, declared in type_.values.items():
                if not VALUE.fullmatch(value):
                    yield f"{name}.{value}: an enum's value is UPPER_CASE"
                yield from described(f"{name}.{value}", declared)


def described(where: str, element: Any) -> Iterator[str]:
    """A description is there and begins like a sentence; a deprecation says why."""
    if (problem := undescribed(element.description)) is not None:
        yield f"{where}: {problem}"
    if getattr(element, "deprecation_reason", None) == "":
        yield f"{where}: is deprecated without a reason"


def reachable(schema: GraphQLSchema) -> set[str]:
    """The types that the root types lead to."""
    found: set[str] = set()
    waiting = [t for t in (schema.query_type, schema.mutation_type, schema.subscription_type) if t]
    while waiting:
        type_: Any = get_named_type(waiting.pop())
        if type_.name in found:
            continue
        found.add(type_.name)
        if isinstance(type_, GraphQLInterfaceType):
            waiting += schema.get_implementations(type_).objects
        if isinstance(type_, GraphQLObjectType):
            waiting += type_.interfaces
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for field in type_.fields.values():
                waiting.append(field.type)
                waiting += [a.type for a in getattr(field, "args", {}).values()]
    return found


def main() -> None:
    """Lint the built-in schema."""
    schema = built_in()
    found = list(faults(schema))
    print("\n".join([*found, f"{len(schema.type_map)} types, {len(found)} faults"]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
