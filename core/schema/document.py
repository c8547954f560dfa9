"""GraphQL documents prepared once per text: parsed, validated, and split into operations."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from graphql import (
    ArgumentNode,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLBoolean,
    GraphQLError,
    GraphQLInputType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLSyntaxError,
    NonNullTypeNode,
    OperationDefinitionNode,
    StringValueNode,
    Undefined,
    VariableNode,
    Visitor,
    coerce_input_value,
    get_nullable_type,
    parse,
    type_from_ast,
    validate,
    visit,
)
from graphql.execution.values import get_variable_values

from core.arguments import shape, words
from core.schema.measure import Limits, Measure, Measurer

if TYPE_CHECKING:
    from core.schema.compile import Read

MAX_ERRORS = 5
#: How the parser tells of an escape that stands for half a character, which no text can hold.
_LONE_SURROGATE = re.compile(r"Invalid Unicode escape sequence: '\\u\{?0*[dD][89a-fA-F][0-9a-fA-F]{2}\}?'")


class Operation:
    """One operation of a document, with the plans made for it so far."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        node: OperationDefinitionNode,
        measure: Measure,
        deciding: _Deciding,
    ) -> None:
        self.schema = schema
        self.document = document
        self.node = node
        self.measure = measure
        self.kind: str = node.operation.value
        self.name = node.name.value if node.name else ""
        self.variables: dict[str, GraphQLInputType] = {}
        #: Those that may be left out and are not there then.
        self._optional: set[str] = set()
        for definition in node.variable_definitions or ():
            name = definition.variable.name.value
            self.variables[name] = type_from_ast(schema, definition.type)  # type: ignore[assignment]
            if definition.default_value is None and not isinstance(definition.type, NonNullTypeNode):
                self._optional.add(name)
        self._shapes = {name: self._shaper(name, deciding) for name in self.variables}
        self._plans: OrderedDict[Any, Read] = OrderedDict()

    def coerce(self, given: dict[str, Any]) -> dict[str, Any] | list[GraphQLError]:
        """The coerced variables, or what is wrong with them."""
        coerced = {}
        for name, type_ in self.variables.items():
            if name not in given and name in self._optional:
                continue
            value = coerce_input_value(given[name], type_) if name in given else Undefined
            if value is Undefined:
                return self._coerce(given)
            coerced[name] = value
        return coerced

    def _coerce(self, given: dict[str, Any]) -> dict[str, Any] | list[GraphQLError]:
        """The same with defaults and for variables that are not good, which takes longer."""
        found = get_variable_values(
            self.schema, self.node.variable_definitions or (), given, max_errors=MAX_ERRORS, hide_suggestions=True
        )
        return found if isinstance(found, list) else found.coerced

    def shape(self, variables: dict[str, Any]) -> Any:
        """The part of the variables that decides the SQL text."""
        shapes = self._shapes
        return tuple([(name, shapes[name](value)) for name, value in variables.items()])

    def _shaper(self, name: str, deciding: _Deciding) -> Callable[[Any], Any]:
        """What names the part of a variable's values that decides the SQL text."""
        if name in deciding.sizes:
            return _itself
        if name in deciding.searches:
            return _words
        type_ = self.variables[name]
        nullable = get_nullable_type(type_)
        if isinstance(nullable, GraphQLScalarType) and nullable is not GraphQLBoolean:
            return _given
        return partial(shape, type_=type_)

    def plan(self, key: Any) -> Read | None:
        """The plan kept under a key."""
        return self._plans.get(key)

    @property
    def kept(self) -> int:
        """How many plans are kept."""
        return len(self._plans)

    def keep(self, key: Any, plan: Read) -> None:
        """Keep a plan; of too many, the oldest goes."""
        self._plans[key] = plan
        if len(self._plans) > 100:
            self._plans.popitem(last=False)


def _itself(value: Any) -> Any:
    return value


def _words(text: str | None) -> int | None:
    return None if text is None else len(words(text))


def _given(value: Any) -> bool:
    return value is not None


class Prepared:
    """A document: its operations, or the errors that keep it from running."""

    def __init__(self, document: DocumentNode | None, errors: list[GraphQLError]) -> None:
        self.document = document
        self.errors = errors
        self.operations: dict[str, Operation] = {}
        self.fragments: dict[str, FragmentDefinitionNode] = {}

    def operation(self, name: str | None) -> Operation | GraphQLError:
        """The operation to run; an error where the name does not choose exactly one."""
        code = {"code": "OPERATION_RESOLUTION_FAILURE"}
        if name:
            found = self.operations.get(name)
            return found or GraphQLError(f"Unknown operation named {name!r}.", extensions=code)
        if len(self.operations) != 1:
            problem = "has several operations; name one" if self.operations else "has no operation"
            return GraphQLError(f"The document {problem}.", extensions=code)
        return next(iter(self.operations.values()))


class _Deciding(Visitor):
    """Finds the variables whose values decide the SQL text where a type alone does not say so."""

    def __init__(self) -> None:
        super().__init__()
        #: Those that are page sizes, which stand in the SQL text.
        self.sizes: set[str] = set()
        #: Those that are searched for.
        self.searches: set[str] = set()

    def enter_argument(self, node: ArgumentNode, *_: Any) -> None:
        found = {"first": self.sizes, "last": self.sizes, "search": self.searches}.get(node.name.value)
        if found is not None and isinstance(node.value, VariableNode):
            found.add(node.value.name.value)


def prepare(schema: GraphQLSchema, text: str, limits: Limits) -> Prepared:
    """Parse, measure and validate a document. The faults of it are kept in its `errors`, never raised."""
    if len(text) > limits.characters:
        excess = f"The document is over the limit of {limits.characters} characters."
        return Prepared(None, [GraphQLError(excess, extensions={"code": "LIMIT_EXCEEDED"})])
    try:
        document = parse(text, max_tokens=limits.tokens)
        _unlink(document)
        measures = _measure(schema, document, limits)
        if isinstance(measures, GraphQLError):
            return Prepared(document, [measures])
        if "\\u" in text and _holds_nul(document):
            error = GraphQLError("Text must not hold NUL.", extensions={"code": "BAD_USER_INPUT"})
            return Prepared(document, [error])
        errors = validate(schema, document, max_errors=MAX_ERRORS, hide_suggestions=True)
    except GraphQLSyntaxError as fault:
        if _LONE_SURROGATE.search(fault.message):
            code = {"code": "BAD_USER_INPUT"}
            return Prepared(None, [GraphQLError("Text must not hold lone surrogates.", extensions=code)])
        fault.extensions = {"code": "GRAPHQL_PARSE_FAILED"}
        # It is kept, but not the parser that raised it.
        return Prepared(None, [fault.with_traceback(None)])
    except RecursionError:
        code = {"code": "GRAPHQL_PARSE_FAILED"}
        return Prepared(None, [GraphQLError("The document is nested too deeply.", extensions=code)])
    for e in errors:
        e.extensions = {"code": "GRAPHQL_VALIDATION_FAILED", **(e.extensions or {})}
    prepared = Prepared(document, errors[:MAX_ERRORS])
    if not errors:
        deciding = _Deciding()
        visit(document, deciding)
        for definition in document.definitions:
            if isinstance(definition, FragmentDefinitionNode):
                prepared.fragments[definition.name.value] = definition
            elif isinstance(definition, OperationDefinitionNode):
                name = definition.name.value if definition.name else ""
                prepared.operations[name] = Operation(schema, document, definition, measures[name], deciding)
    return prepared


def _unlink(document: DocumentNode) -> None:
    """Part a document's tokens, which know one another: else only a search for garbage would find what is let go of."""
    token = document.loc and document.loc.start_token
    while token:
        following = token.next
        token.prev = token.next = None
        token = following


def _measure(schema: GraphQLSchema, document: DocumentNode, limits: Limits) -> dict[str, Measure] | GraphQLError:
    """The measure of each operation by name, or what is over a limit. It bounds what validation costs."""
    measurer = Measurer(schema, document, limits)
    found: dict[str, Measure] = {}
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            measure = measurer.measure(definition)
            if excess := measure.excess(limits):
                return GraphQLError(excess, extensions={"code": "LIMIT_EXCEEDED"})
            if measure.size.introspects and not limits.introspection:
                code = {"code": "GRAPHQL_VALIDATION_FAILED"}
                return GraphQLError("Introspection is switched off.", extensions=code)
            found[definition.name.value if definition.name else ""] = measure
    return found


def _holds_nul(document: DocumentNode) -> bool:
    """Whether a text in the document holds NUL, which PostgreSQL cannot store."""
    found = _Texts()
    visit(document, found)
    return found.nul


class _Texts(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.nul = False

    def enter_string_value(self, node: StringValueNode, *_: Any) -> None:
        self.nul |= "\0" in node.value
