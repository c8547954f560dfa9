"""A GraphQL argument seen twice: its structure when a statement is planned, its scalar values when it runs.

Which keys an input object has, which enum values and booleans stand in it, what is null and how many values a short
list has decide the SQL text; `shape` names exactly that part of the variables, so that one plan serves all requests of
equal shape. Every other scalar becomes a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    Undefined,
    ValueNode,
    VariableNode,
    get_nullable_type,
    value_from_ast,
)

from core.predicate import FEW, Operand, constant, few

Path = tuple[str | int, ...]


class Argument:
    """One argument, or a part of one."""

    __slots__ = ("_operand", "_value", "items", "keys")

    def __init__(
        self,
        value: Any = None,
        operand: Operand | None = None,
        keys: dict[str, Argument] | None = None,
        items: list[Argument] | None = None,
    ) -> None:
        self._value = value
        self._operand = operand
        #: The members of an input object, by name, as given.
        self.keys = keys
        #: The members of a list of input objects or enums.
        self.items = items

    @property
    def is_null(self) -> bool:
        """Whether null was given."""
        return self._operand is None and self.keys is None and self.items is None

    @property
    def choice(self) -> Any:
        """An enum value (its name) or a boolean: part of the plan's shape, so it may decide the SQL text."""
        return self._value

    @property
    def operand(self) -> Operand:
        """The scalar, or list of scalars, as an operand that is read when the statement runs."""
        return self._operand or constant(None)

    def get(self, name: str) -> Argument | None:
        """A member of an input object; None where it was left out."""
        return self.keys.get(name) if self.keys else None

    def __iter__(self) -> Iterator[tuple[str, Argument]]:
        return iter((self.keys or {}).items())


def argument_of(node: ValueNode, type_: GraphQLInputType, variables: dict[str, Any]) -> Argument | None:
    """The argument that an AST value stands for; None where it is a variable that was not given."""
    nullable: Any = get_nullable_type(type_)
    if isinstance(node, VariableNode):
        name = node.name.value
        return given(variables[name], nullable, (name,)) if name in variables else None
    if isinstance(node, NullValueNode):
        return Argument()
    if isinstance(nullable, GraphQLInputObjectType) and isinstance(node, ObjectValueNode):
        keys = {}
        for member in node.fields:
            found = argument_of(member.value, nullable.fields[member.name.value].type, variables)
            if found is not None:
                keys[member.name.value] = found
        for name, declared in nullable.fields.items():
            if name not in keys and declared.default_value is not Undefined:
                keys[name] = stored(declared.default_value, declared.type)
        return Argument(keys=keys)
    if isinstance(nullable, GraphQLList):
        inner: Any = get_nullable_type(nullable.of_type)
        nodes = node.values if isinstance(node, ListValueNode) else (node,)
        if isinstance(inner, GraphQLInputObjectType | GraphQLEnumType):
            return Argument(items=[a for n in nodes if (a := argument_of(n, inner, variables)) is not None])
        return Argument(operand=_scalars(nodes, inner))
    value = _name(value_from_ast(node, nullable))
    return Argument(value, constant(value))


def given(value: Any, type_: GraphQLInputType, path: Path) -> Argument:
    """The argument for a coerced variable, or the part of it that `path` leads to."""
    nullable: Any = get_nullable_type(type_)
    if value is None:
        return Argument()
    if isinstance(nullable, GraphQLInputObjectType):
        return Argument(keys={k: given(v, nullable.fields[k].type, (*path, k)) for k, v in value.items()})
    if isinstance(nullable, GraphQLList):
        inner: Any = get_nullable_type(nullable.of_type)
        if isinstance(inner, GraphQLInputObjectType | GraphQLEnumType):
            values = value if isinstance(value, list) else [value]
            return Argument(items=[given(v, inner, (*path, i)) for i, v in enumerate(values)])
    if isinstance(nullable, GraphQLEnumType):
        return Argument(_name(value), constant(_name(value)))
    return Argument(value, Operand(_reader(path), ("variable", path), few(value)))


def stored(value: Any, type_: GraphQLInputType) -> Argument:
    """The argument for a coerced value that a rule or a view keeps: every scalar is a constant."""
    found = given(value, type_, ())
    return _frozen(found, value)


def _frozen(argument: Argument, value: Any) -> Argument:
    if argument.keys is not None:
        return Argument(keys={k: _frozen(a, value[k]) for k, a in argument.keys.items()})
    if argument.items is not None:
        return Argument(items=[_frozen(a, v) for a, v in zip(argument.items, value, strict=True)])
    return argument if argument.is_null else Argument(_name(value), constant(_name(value)))


def shape(value: Any, type_: GraphQLInputType) -> Any:
    """The part of a coerced variable that decides the SQL text, as a hashable value."""
    if value is None:
        return None
    nullable: Any = get_nullable_type(type_)
    if isinstance(nullable, GraphQLInputObjectType):
        return tuple((k, shape(v, nullable.fields[k].type)) for k, v in value.items())
    if isinstance(nullable, GraphQLEnumType) or nullable is GraphQLBoolean:
        return _name(value)
    if isinstance(nullable, GraphQLList):
        inner: Any = get_nullable_type(nullable.of_type)
        if isinstance(inner, GraphQLInputObjectType | GraphQLEnumType):
            return tuple(shape(v, inner) for v in (value if isinstance(value, list) else [value]))
        return min(len(value), FEW + 1)
    return True


def words(text: str) -> list[str]:
    """The different words of a text that is searched for; how many they are decides the SQL text."""
    return list(dict.fromkeys(text.split()))


def _name(value: Any) -> Any:
    return value.name if isinstance(value, Enum) else value


def _scalars(nodes: Any, type_: Any) -> Operand:
    """A list literal, whose members may be variables."""
    parts = [(n.name.value, None) if isinstance(n, VariableNode) else (None, value_from_ast(n, type_)) for n in nodes]
    return Operand(lambda v, _c: [v.get(name) if name is not None else value for name, value in parts], most=few(parts))


def _reader(path: Path) -> Callable[[dict[str, Any], Any], Any]:
    first, *rest = path or ("",)
    first = str(first)
    if not rest:
        return lambda v, _c: v[first]

    def read(variables: dict[str, Any], _context: Any) -> Any:
        value: Any = variables[first]
        for key in rest:
            value = value[key]
        return value

    return read
