"""A GraphQL selection set made flat: fragments spread, duplicates merged, `@skip` and `@include` decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLAbstractType,
    GraphQLBoolean,
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionSetNode,
    get_named_type,
    is_abstract_type,
)

from core.arguments import Argument, argument_of
from core.errors import BadInput
from core.predicate import constant


class Document:
    """What selections of one operation share: the schema, its fragments and the coerced variables."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: dict[str, Any],
    ) -> None:
        self.schema = schema
        self.fragments = fragments
        self.variables = variables

    def collect(self, parent: GraphQLObjectType, *sets: SelectionSetNode) -> list[Selection]:
        """The fields that selection sets ask of an object type, in order, merged by response key."""
        found: dict[str, list[FieldNode]] = {}
        visited: set[str] = set()
        for selection_set in sets:
            self._collect(parent, selection_set, found, visited)
        return [Selection(self, parent, key, nodes) for key, nodes in found.items()]

    def _collect(
        self,
        parent: GraphQLObjectType,
        selection_set: SelectionSetNode,
        found: dict[str, list[FieldNode]],
        visited: set[str],
    ) -> None:
        for node in selection_set.selections:
            if not self._included(node):
                continue
            if isinstance(node, FieldNode):
                key = node.alias.value if node.alias else node.name.value
                found.setdefault(key, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                if node.type_condition is None or self._applies(node.type_condition.name.value, parent):
                    self._collect(parent, node.selection_set, found, visited)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in visited:
                visited.add(node.name.value)
                fragment = self.fragments[node.name.value]
                if self._applies(fragment.type_condition.name.value, parent):
                    self._collect(parent, fragment.selection_set, found, visited)

    def _included(self, node: Any) -> bool:
        if not node.directives:
            return True
        for directive in node.directives:
            if directive.name.value in ("skip", "include"):
                condition = argument_of(directive.arguments[0].value, GraphQLBoolean, self.variables)
                if condition is not None and condition.choice is (directive.name.value == "skip"):
                    return False
        return True

    def _applies(self, name: str, parent: GraphQLObjectType) -> bool:
        type_: GraphQLNamedType | None = self.schema.get_type(name)
        if type_ is parent:
            return True
        if type_ is not None and is_abstract_type(type_):
            assert isinstance(type_, GraphQLAbstractType)
            return self.schema.is_sub_type(type_, parent)
        return False


class Selection:
    """One field asked for: its response key, its arguments and what is asked below it."""

    def __init__(self, document: Document, parent: GraphQLObjectType, key: str, nodes: list[FieldNode]) -> None:
        if len(key.encode()) > 63:
            raise BadInput(f"the alias {key[:20]!r}… is longer than 63 bytes")
        self.document = document
        self.parent = parent
        self.key = key
        self.nodes = nodes
        self.name = nodes[0].name.value

    @property
    def definition(self) -> GraphQLField:
        """The field's definition in the schema."""
        definition: GraphQLField = self.parent.fields[self.name]
        return definition

    @property
    def type(self) -> GraphQLNamedType:
        """The named type of the field."""
        return get_named_type(self.definition.type)

    def argument(self, name: str) -> Argument | None:
        """An argument by name: as given, else its default, else None."""
        declared = self.definition.args.get(name)
        if declared is None:
            return None
        for given in self.nodes[0].arguments or ():
            if given.name.value == name:
                found = argument_of(given.value, declared.type, self.document.variables)
                if found is not None:
                    return found
        default = declared.default_value
        if isinstance(default, str | int | bool):
            return Argument(default, constant(default))
        return None

    def under(self, type_: GraphQLNamedType | None = None) -> list[Selection]:
        """What is asked of the field's own type, or of one of its possible types."""
        target = type_ or self.type
        assert isinstance(target, GraphQLObjectType)
        return self.document.collect(target, *self._sets())

    def _sets(self) -> Iterator[SelectionSetNode]:
        for node in self.nodes:
            if node.selection_set:
                yield node.selection_set
