"""What a document asks for, measured in one pass that visits every fragment once.

Size (depth, aliases, directives, fields) is fixed by the text; cost also depends on the page sizes in the
variables, so it is kept as a formula: rows times fields, summed over the selection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
)

if TYPE_CHECKING:
    from core.settings import Settings

#: How many rows a list of objects without a page size is taken for.
UNPAGED = 10
#: Selection sets within one another, fragments included, for each level of fields allowed.
NESTING = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may ask for, and the page sizes its cost is reckoned with."""

    characters: int = 50_000
    tokens: int = 4000
    depth: int = 18
    aliases: int = 30
    directives: int = 50
    fields: int = 1500
    repeats: int = 100
    root_fields: int = 30
    cost: int = 20_000
    default_page: int = 50
    max_page: int = 200
    introspection: bool = True

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits that a deployment's settings ask for."""
        return cls(
            characters=settings.max_document_characters,
            tokens=settings.max_tokens,
            depth=settings.max_depth,
            aliases=settings.max_aliases,
            directives=settings.max_directives,
            fields=settings.max_fields,
            root_fields=settings.max_root_fields,
            cost=settings.max_cost,
            default_page=settings.default_page_size,
            max_page=settings.max_page_size,
            introspection=not settings.production,
        )


@dataclass(slots=True)
class Size:
    """The size of a selection; its cost is `constant` and, in `rows`, (variable, step) -> factor."""

    depth: int = 0
    nesting: int = 0
    aliases: int = 0
    directives: int = 0
    fields: int = 0
    repeats: int = 0
    introspects: bool = False
    constant: int = 0
    rows: dict[tuple[str, int], int] = field(default_factory=dict)

    def add(self, other: Size, times: int = 1) -> None:
        """Take in what stands inside, `times` as costly; depth, nesting and repeats are maxima."""
        self.depth = max(self.depth, other.depth)
        self.nesting = max(self.nesting, other.nesting)
        self.repeats = max(self.repeats, other.repeats)
        self.aliases += other.aliases
        self.directives += other.directives
        self.fields += other.fields
        self.introspects |= other.introspects
        self.constant += times * other.constant
        for key, factor in other.rows.items():
            self.rows[key] = self.rows.get(key, 0) + times * factor


@dataclass(frozen=True, slots=True)
class Measure:
    """The measure of one operation: its size, root fields and the steps its cost is worked out in."""

    size: Size
    root_fields: int
    steps: tuple[tuple[int, tuple[tuple[str, int, int], ...]], ...]

    def excess(self, limits: Limits) -> str:
        """What is over its limit, in words; empty where nothing is."""
        size = self.size
        for name, value, limit in (
            ("nesting of fragments", size.nesting, limits.depth * NESTING),
            ("depth", size.depth, limits.depth),
            ("number of root fields", self.root_fields, limits.root_fields),
            ("number of aliases", size.aliases, limits.aliases),
            ("number of directives", size.directives, limits.directives),
            ("number of fields", size.fields, limits.fields),
            ("number of times a field is repeated", size.repeats, limits.repeats),
        ):
            if value > limit:
                return f"The operation's {name} is over the limit of {limit}."
        return ""

    @property
    def fixed(self) -> bool:
        """Whether no variable enters the cost."""
        return not self.steps

    def cost(self, variables: Mapping[str, Any], limits: Limits) -> int:
        """Rows times fields for given (coerced) variables."""
        if self.fixed:
            return self.size.constant
        values: list[int] = []
        for constant, terms in self.steps:
            total = constant
            for variable, step, factor in terms:
                total += factor * _rows(variables.get(variable), limits) * values[step]
            values.append(total)
        return self.size.constant + sum(
            factor * _rows(variables.get(variable), limits) * values[step]
            for (variable, step), factor in self.size.rows.items()
        )


def _rows(given: Any, limits: Limits) -> int:
    """The rows that a page size or a list of ids stands for; what is out of range is refused when run."""
    if isinstance(given, list):
        return max(1, len(given))
    if isinstance(given, int):
        return max(1, min(given, limits.max_page))
    return limits.default_page


class Measurer:
    """Measures the operations of one document. Works before validation, so it takes nothing for granted."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, limits: Limits) -> None:
        self._schema = schema
        self._limits = limits
        self._fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self._known: dict[str, Size] = {}
        self._open: set[str] = set()
        self._steps: list[tuple[int, tuple[tuple[str, int, int], ...]]] = []

    def measure(self, operation: OperationDefinitionNode) -> Measure:
        """Measure one operation. Raises RecursionError where it is nested beyond any reason."""
        root = self._schema.get_root_type(operation.operation)
        size = self._selections(operation.selection_set, root)
        size.directives += len(operation.directives or ())
        roots = self._roots(operation.selection_set, set())
        return Measure(size, roots, tuple(self._steps) if size.rows else ())

    def _roots(self, selections: SelectionSetNode, seen: set[str]) -> int:
        count = 0
        for node in selections.selections:
            if isinstance(node, FieldNode):
                count += 1
            elif isinstance(node, InlineFragmentNode):
                count += self._roots(node.selection_set, seen)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                seen.add(node.name.value)
                if fragment := self._fragments.get(node.name.value):
                    count += self._roots(fragment.selection_set, seen)
        return count

    def _selections(self, selections: SelectionSetNode, parent: GraphQLNamedType | None) -> Size:
        size = Size()
        keys: dict[str, int] = {}
        for node in selections.selections:
            size.directives += len(node.directives or ())
            if isinstance(node, FieldNode):
                key = node.alias.value if node.alias else node.name.value
                keys[key] = keys.get(key, 0) + 1
                self._field(node, parent, size)
            elif isinstance(node, InlineFragmentNode):
                named = node.type_condition and self._schema.get_type(node.type_condition.name.value)
                size.add(self._selections(node.selection_set, named or parent))
            elif isinstance(node, FragmentSpreadNode):
                size.add(self._fragment(node.name.value))
        size.nesting += 1
        size.repeats = max(size.repeats, max(keys.values(), default=0))
        return size

    def _fragment(self, name: str) -> Size:
        known = self._known.get(name)
        if known is not None:
            return known
        definition = self._fragments.get(name)
        if definition is None or name in self._open:
            return Size()
        self._open.add(name)
        type_ = self._schema.get_type(definition.type_condition.name.value)
        known = self._known[name] = self._selections(definition.selection_set, type_)
        known.directives += len(definition.directives or ())
        self._open.discard(name)
        return known

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None, size: Size) -> None:
        size.fields += 1
        size.aliases += node.alias is not None
        size.constant += 1
        size.depth = max(size.depth, 1)
        if node.selection_set is None:
            return
        definition = (
            parent.fields.get(node.name.value) if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType) else None
        )
        inner = self._selections(node.selection_set, get_named_type(definition.type) if definition else None)
        if node.name.value in ("__schema", "__type"):
            # Validation bounds introspection by a rule of its own, and it reads no rows.
            inner.depth = inner.constant = 0
            inner.rows = {}
            inner.introspects = True
        inner.depth += 1
        times, variable = self._times(node, definition, parent)
        if variable:
            terms = tuple((name, step, factor) for (name, step), factor in inner.rows.items())
            self._steps.append((inner.constant, terms))
            inner.constant = 0
            inner.rows = {(variable, len(self._steps) - 1): 1}
        size.add(inner, times)

    def _times(self, node: FieldNode, definition: GraphQLField | None, parent: Any) -> tuple[int, str]:
        """How many rows a field stands for: a number, times the value of a variable where one says it."""
        if definition is None or is_leaf_type(get_named_type(definition.type)):
            return 1, ""
        listed = is_list_type(get_nullable_type(definition.type))
        # Groups of records come as a list that nothing bounds; `first` is the size of each.
        unpaged = UNPAGED if listed and "ids" not in definition.args and "pageInfo" not in parent.fields else 1
        for argument in node.arguments or ():
            if argument.name.value in ("first", "last", "ids"):
                value = argument.value
                if isinstance(value, VariableNode):
                    return unpaged, value.name.value
                if isinstance(value, IntValueNode):
                    return unpaged * _rows(int(value.value[:9]), self._limits), ""
                if isinstance(value, ListValueNode):
                    return max(1, len(value.values)), ""
        return unpaged * (self._limits.default_page if "first" in definition.args else 1), ""
