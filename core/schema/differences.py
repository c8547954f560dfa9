"""What changed between two schemas, and what it does to clients: breaks them, may surprise them, or neither."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    find_breaking_changes,
    find_dangerous_changes,
    is_introspection_type,
    is_specified_scalar_type,
)

BREAKING, DANGEROUS, SAFE = "BREAKING", "DANGEROUS", "SAFE"


@dataclass(frozen=True, slots=True)
class Difference:
    """One change: BREAKING, DANGEROUS or SAFE, what it is (`FIELD_REMOVED`, …) and in words."""

    severity: str
    type: str
    description: str


def differences(old: GraphQLSchema, new: GraphQLSchema) -> list[Difference]:
    """Every change from one schema to another, those that break clients first."""
    found = [Difference(BREAKING, c.type.name, c.description) for c in find_breaking_changes(old, new)]
    found += [Difference(DANGEROUS, c.type.name, c.description) for c in find_dangerous_changes(old, new)]
    told = {d.description for d in found}
    found += [d for d in _safe(old, new) if d.description not in told]
    return found


def _safe(old: GraphQLSchema, new: GraphQLSchema) -> Iterator[Difference]:
    """What was added or deprecated, which graphql-core does not tell."""
    before, after = _types(old), _types(new)
    for name in sorted(after.keys() - before.keys()):
        yield Difference(SAFE, "TYPE_ADDED", f"{name} was added.")
    for name in sorted(after.keys() & before.keys()):
        yield from _within(name, before[name], after[name])
    known = {d.name for d in old.directives}
    for directive in new.directives:
        if directive.name not in known:
            yield Difference(SAFE, "DIRECTIVE_ADDED", f"@{directive.name} was added.")


def _within(name: str, old: GraphQLNamedType, new: GraphQLNamedType) -> Iterator[Difference]:
    members = (GraphQLObjectType, GraphQLInterfaceType, GraphQLInputObjectType)
    if isinstance(old, members) and isinstance(new, members):
        # A required member of an input, and an optional one, are told by graphql-core.
        added = [] if isinstance(new, GraphQLInputObjectType) else _added(old.fields, new.fields)
        for field in added:
            yield Difference(SAFE, "FIELD_ADDED", f"{name}.{field} was added.")
        for field in old.fields.keys() & new.fields.keys():
            yield from _deprecated(f"{name}.{field}", old.fields[field], new.fields[field])
    elif isinstance(old, GraphQLEnumType) and isinstance(new, GraphQLEnumType):
        for value in old.values.keys() & new.values.keys():
            yield from _deprecated(f"{name}.{value}", old.values[value], new.values[value])
    if (old.description or "") != (new.description or ""):
        yield Difference(SAFE, "DESCRIPTION_CHANGED", f"{name} is described otherwise.")


def _deprecated(name: str, old: object, new: object) -> Iterator[Difference]:
    before, after = getattr(old, "deprecation_reason", None), getattr(new, "deprecation_reason", None)
    if before is None and after is not None:
        yield Difference(SAFE, "DEPRECATED", f"{name} is deprecated: {after}")
    elif before is not None and after is None:
        yield Difference(SAFE, "DEPRECATION_REMOVED", f"{name} is no longer deprecated.")
    if getattr(old, "description", None) != getattr(new, "description", None):
        yield Difference(SAFE, "DESCRIPTION_CHANGED", f"{name} is described otherwise.")


def _added(old: Iterable[str], new: Iterable[str]) -> list[str]:
    return sorted(set(new) - set(old))


def _types(schema: GraphQLSchema) -> dict[str, GraphQLNamedType]:
    return {
        name: type_
        for name, type_ in schema.type_map.items()
        if not is_introspection_type(type_) and not is_specified_scalar_type(type_)
    }
