"""Strawberry types made from declarations.

Types are named as in GraphQL (`[Contact!]!`); a `Types` collects the types of one composition, so that they can
refer to each other before they exist.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry.annotation import StrawberryAnnotation
from strawberry.scalars import JSON
from strawberry.types.arguments import StrawberryArgument

from core.errors import CompositionError
from core.files import Upload

SCALARS: dict[str, Any] = {
    "ID": strawberry.ID,
    "String": str,
    "Int": int,
    "Float": float,
    "Boolean": bool,
    "Decimal": decimal.Decimal,
    "Date": dt.date,
    "DateTime": dt.datetime,
    "JSON": JSON,
    "Upload": Upload,
}


def _uploaded(value: Any) -> Upload:
    if isinstance(value, Upload):
        return value
    message = "An upload is sent as a part of a multipart request, with null in its place in the variables."
    raise GraphQLError(message, extensions={"code": "BAD_USER_INPUT"})


def _never(_value: Any, _variables: Any = None) -> Any:
    return _uploaded(None)


#: Scalars that Strawberry has to be told of.
OWN_SCALARS: dict[object, Any] = {
    Upload: strawberry.scalar(
        name="Upload",
        description="A file, sent by the GraphQL multipart request specification.",
        serialize=_never,
        parse_value=_uploaded,
        parse_literal=_never,
    )
}


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a field, or a member of an input: name, GraphQL type, description and default."""

    name: str
    type: str
    description: str
    default: Any = strawberry.UNSET


@dataclass(frozen=True, slots=True)
class Member:
    """A field of an object type."""

    name: str
    type: str
    description: str
    arguments: tuple[Argument, ...] = ()
    deprecated: str | None = None


def annotation(type_: str) -> str:
    """`[Contact!]!` -> `list[Contact]`, `String` -> `String | None`."""
    required = type_.endswith("!")
    inner = type_.removesuffix("!")
    if inner.startswith("["):
        text = f"list[{annotation(inner[1:-1])}]"
    elif re.fullmatch(r"[A-Za-z_]\w*", inner):
        text = inner
    else:
        raise CompositionError(f"{type_!r} is not a GraphQL type")
    return text if required else f"{text} | None"


def python_name(name: str) -> str:
    """`from` is a fine name in GraphQL and none in Python."""
    return f"{name}_" if keyword.iskeyword(name) else name


class Types:
    """The types of one composition, by name."""

    def __init__(self) -> None:
        self.named: dict[str, Any] = dict(SCALARS)
        self._by: dict[str, str] = {}
        self._references: dict[str, StrawberryAnnotation] = {}
        self._enums: dict[str, dict[str, str]] = {}

    def add(self, name: str, class_: Any, plugin: str = "core") -> Any:
        """Register a Strawberry type under its name. Raises CompositionError where the name is taken by another."""
        if self.named.get(name, class_) is not class_:
            raise CompositionError(
                f"GraphQL type {name!r} of {plugin} is already declared by {self._by.get(name, 'core')}"
            )
        self.named[name] = class_
        self._by[name] = plugin
        return class_

    def refer(self, type_: str) -> StrawberryAnnotation:
        """A reference to a GraphQL type, which need not exist yet; one for all, as each is costly to resolve."""
        found = self._references.get(type_)
        if found is None:
            found = self._references[type_] = StrawberryAnnotation(annotation(type_), namespace=self.named)
        return found

    def object(
        self,
        name: str,
        description: str,
        members: Iterable[Member],
        *,
        interface: str = "",
        is_interface: bool = False,
        plugin: str = "core",
    ) -> Any:
        """An object type (or an interface)."""
        members = tuple(members)
        body: dict[str, Any] = {
            python_name(m.name): strawberry.field(
                name=m.name, description=m.description, deprecation_reason=m.deprecated, graphql_type=Any
            )
            for m in members
        }
        body["__annotations__"] = {python_name(m.name): Any for m in members}
        class_ = type(name, (self.named[interface],) if interface else (), body)
        make = strawberry.interface if is_interface else strawberry.type
        made: Any = make(class_, name=name, description=description)
        by_name = {python_name(m.name): m for m in members}
        for field in made.__strawberry_definition__.fields:
            member = by_name.get(field.python_name)
            if member is not None:
                field.type_annotation = self.refer(member.type)
                field.arguments = [self._argument(a) for a in member.arguments]
        return self.add(name, made, plugin)

    def _argument(self, argument: Argument) -> StrawberryArgument:
        return StrawberryArgument(
            python_name=argument.name,
            graphql_name=argument.name,
            type_annotation=self.refer(argument.type),
            description=argument.description,
            default=argument.default,
        )

    def input(
        self,
        name: str,
        description: str,
        members: Iterable[Argument],
        *,
        one_of: bool = False,
        plugin: str = "core",
    ) -> Any:
        """An input type; members that may be left out have no default, so that absent and null differ."""
        members = tuple(members)
        body: dict[str, Any] = {}
        for a in members:
            optional = {} if a.type.endswith("!") and a.default is strawberry.UNSET else {"default": a.default}
            body[python_name(a.name)] = strawberry.field(
                name=a.name, description=a.description, graphql_type=Any, **optional
            )
        body["__annotations__"] = {python_name(a.name): Any for a in members}
        made: Any = strawberry.input(type(name, (), body), name=name, description=description, one_of=one_of)
        by_name = {python_name(a.name): a for a in members}
        for field in made.__strawberry_definition__.fields:
            field.type_annotation = self.refer(by_name[field.python_name].type)
        return self.add(name, made, plugin)

    def enum(self, name: str, description: str, values: Mapping[str, str], plugin: str = "core") -> Any:
        """An enum type from values and their descriptions; an equal one under the same name is shared."""
        if name in self.named and self._enums.get(name) == dict(values):
            return self.named[name]
        made = enum.Enum(name, {v: strawberry.enum_value(v, description=d) for v, d in values.items()})  # type: ignore[misc]
        result = strawberry.enum(made, name=name, description=description)
        self._enums[name] = dict(values)
        return self.add(name, result, plugin)
