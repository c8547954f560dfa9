"""What one schema has that another has not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphql import GraphQLNamedType, GraphQLSchema


def added(before: GraphQLSchema, after: GraphQLSchema) -> Iterator[tuple[str, Any]]:
    """Each type, field, argument and enum value that is new, as `Type`, `Type.field`, `Type.field(argument:)`."""
    for name, type_ in sorted(after.type_map.items()):
        old = before.type_map.get(name)
        if old is None:
            yield name, type_
        for member, element in _members(type_).items():
            there = _members(old).get(member) if old else None
            if there is None:
                yield f"{name}.{member}", element
            for argument, given in getattr(element, "args", {}).items():
                if there is None or argument not in getattr(there, "args", {}):
                    yield f"{name}.{member}({argument}:)", given


def _members(type_: GraphQLNamedType | None) -> dict[str, Any]:
    """Fields of objects and inputs, values of enums."""
    return getattr(type_, "fields", None) or getattr(type_, "values", None) or {}
