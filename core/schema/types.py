"""Strawberry types made from declarations.

Types are named as in GraphQL (`[Contact!]!`); a `Types` collects the types of one composition, so that they can
refer to each other before they exist.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import strawberry
from graphql import GraphQLError
from strawberry.annotation import StrawberryAnnotation
from strawberry.scalars import JSON
from strawberry.schema_directives import OneOf
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import UNRESOLVED, StrawberryField

from core.errors import CompositionError
from core.files import Upload
from core.operations import Argument as Declared
from core.operations import InputType

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
    """A field of an object type; `deprecated` says why it is to be used no longer."""

    name: str
    type: str
    description: str
    arguments: tuple[Argument, ...] = ()
    deprecated: str = ""


def arguments(declared: Iterable[Declared]) -> tuple[Argument, ...]:
    """Arguments as Strawberry takes them: one without a default may be left out, which is not the same as null."""
    return tuple(
        Argument(a.name, a.type, a.description, strawberry.UNSET if a.default is ... else a.default) for a in declared
    )


def annotation(type_: str, named: Mapping[str, Any]) -> Any:
    """`[Contact!]!` -> `list[Contact]`, `String` -> `String | None`.

    Raises NameError where there is no such type yet, CompositionError where there can be none.
    """
    required = type_.endswith("!")
    inner = type_.removesuffix("!")
    if inner.startswith("["):
        found = list[annotation(inner[1:-1], named)]  # type: ignore[misc,valid-type]
    elif inner in named:
        found = named[inner]
    elif re.fullmatch(r"[A-Za-z_]\w*", inner):
        raise NameError(f"there is no GraphQL type {inner!r}", name=inner)
    else:
        raise CompositionError(f"{type_!r} is not a GraphQL type")
    return found if required else Optional[found]  # noqa: UP045 - enums are no operands of `|`


class _Reference(StrawberryAnnotation):
    """A type by its name in GraphQL. Looked up where Strawberry would compile the annotation as Python."""

    def evaluate(self) -> Any:
        """The type as Python writes it."""
        assert isinstance(self.raw_annotation, str)
        assert self.namespace is not None
        return annotation(self.raw_annotation, self.namespace)


class _Field(StrawberryField):
    """A field that is what its annotation says: nothing here is generic, and nothing has resolvers of its own."""

    def resolve_type(self, *, type_definition: StrawberryObjectDefinition | None = None) -> Any:  # noqa: ARG002
        """The type, which the annotation keeps once it is found; UNRESOLVED as long as there is none of its name."""
        assert self.type_annotation is not None
        try:
            return self.type_annotation.resolve()
        except NameError:
            return UNRESOLVED


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
        self._declared: dict[str, InputType] = {}

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
            found = self._references[type_] = _Reference(type_, namespace=self.named)
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
        class_ = type(name, (self.named[interface],) if interface else (), {})
        fields = [
            _Field(
                python_name(m.name),
                m.name,
                self.refer(m.type),
                class_,
                description=m.description,
                deprecation_reason=m.deprecated or None,
            )
            for m in members
        ]
        for field, member in zip(fields, members, strict=True):
            field.arguments = [self._argument(a) for a in member.arguments]
        interfaces = [self.named[interface].__strawberry_definition__] if interface else []
        self._define(class_, description, fields, is_interface=is_interface, interfaces=interfaces)
        return self.add(name, class_, plugin)

    @staticmethod
    def _define(class_: Any, description: str, fields: Sequence[StrawberryField], **more: Any) -> None:
        """Make a class a GraphQL type. What Strawberry's decorators would do besides takes most of the time."""
        defaults: dict[str, Any] = {"is_input": False, "is_interface": False, "interfaces": [], "directives": ()}
        class_.__strawberry_definition__ = StrawberryObjectDefinition(
            name=class_.__name__,
            origin=class_,
            description=description,
            extend=False,
            is_type_of=None,
            resolve_type=None,
            fields=list(fields),
            **(defaults | more),
        )

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
        class_ = type(name, (), {})
        fields = []
        for a in members:
            required = a.type.endswith("!") and a.default is strawberry.UNSET
            default = dataclasses.MISSING if required else a.default
            fields.append(
                _Field(
                    python_name(a.name),
                    a.name,
                    self.refer(a.type),
                    class_,
                    description=a.description,
                    default=default,
                )
            )
            fields[-1].name = fields[-1].python_name
        self._define(class_, description, fields, is_input=True, directives=(OneOf(),) if one_of else ())
        return self.add(name, class_, plugin)

    def declared(self, declared: InputType, plugin: str) -> None:
        """An input type from its declaration; an equal one under the same name is shared."""
        if self._declared.get(declared.name) != declared:
            self._declared[declared.name] = declared
            self.input(declared.name, declared.description, arguments(declared.members), plugin=plugin)

    def enum(self, name: str, description: str, values: Mapping[str, str], plugin: str = "core") -> Any:
        """An enum type from values and their descriptions; an equal one under the same name is shared."""
        if name in self.named and self._enums.get(name) == dict(values):
            return self.named[name]
        made = enum.Enum(name, {v: strawberry.enum_value(v, description=d) for v, d in values.items()})  # type: ignore[misc]
        result = strawberry.enum(made, name=name, description=description)
        self._enums[name] = dict(values)
        return self.add(name, result, plugin)
