"""Operations that are not plain reads, through graphql-core's executor."""

from __future__ import annotations

from typing import Any, cast

import orjson
from graphql import GraphQLObjectType, GraphQLResolveInfo
from graphql.execution import Executor, execute
from graphql.execution.values import get_argument_values

from core.arguments import Argument
from core.operations import Ask, Records
from core.schema.answer import Answer, code_of, graphql_error
from core.schema.document import MAX_ERRORS, Operation
from core.schema.running import Running
from core.schema.select import Selection


class _Executor(Executor):  # type: ignore[type-arg]
    """graphql-core's executor, which splices in what is ready, reads `Records` and hands mutations over."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_value.executor = self

    def let_go(self) -> None:
        """Let go of what was asked: the executor refers to itself, and is only found when garbage is looked for."""
        self.context_value = None
        self.variable_values = cast("Any", None)

    def execute_field(
        self, parent_type: GraphQLObjectType, source: Any, field_details_list: Any, path: Any, position_context: Any
    ) -> Any:
        running: Running = self.context_value
        if path.prev is None:
            if path.key in running.ready:
                return running.ready[path.key]
            name = field_details_list[0].node.name.value
            if parent_type is self.schema.mutation_type and name in running.composition.mutations:
                return running.mutate.run(self, running, parent_type, field_details_list, path)
            if parent_type is self.schema.query_type and name in running.composition.queries:
                source = {name: self._ask(running, parent_type, field_details_list)}
        return super().execute_field(parent_type, source, field_details_list, path, position_context)

    async def _ask(self, running: Running, parent: GraphQLObjectType, details: Any) -> Any:
        query = running.composition.queries[details[0].node.name.value]
        if query.signed_in:
            running.demand_signed_in()
        if query.ability:
            running.policy.demand(query.ability)
        arguments = self.arguments(parent, details)
        selection = Selection(running.document, parent, query.name, [d.node for d in details])
        ask = Ask(
            query.name,
            arguments,
            running.context,
            running.policy,
            running.fetch,
            lambda way: _part_of(selection, way),
            running.variables,
            running.composition.hooks,
        )
        return await query.resolve(ask)

    def arguments(self, parent: GraphQLObjectType, details: Any) -> dict[str, Any]:
        """The coerced arguments of a field, enums as their names."""
        definition = parent.fields[details[0].node.name.value]
        given: dict[str, Any] = plain(get_argument_values(definition, details[0].node, self.variable_values))
        return given

    def complete_value(
        self, return_type: Any, field_details_list: Any, info: Any, path: Any, result: Any, position_context: Any
    ) -> Any:
        if isinstance(result, orjson.Fragment):
            return result
        if isinstance(result, Records):
            nodes = [d.node for d in field_details_list]
            selection = Selection(self.context_value.document, info.parent_type, path.key, nodes)
            return self.context_value.records(result, selection)
        return super().complete_value(return_type, field_details_list, info, path, result, position_context)


def _part_of(selection: Selection, way: str) -> Argument | None:
    """The argument, or the part of one, that a dotted path leads to."""
    first, *rest = way.split(".")
    found = selection.argument(first)
    for name in rest:
        found = found.get(name) if found else None
    return found


def plain(value: Any) -> Any:
    """A coerced value with enum members as their names."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return getattr(value, "name", value) if hasattr(type(value), "__members__") else value


async def through_executor(running: Running, operation: Operation) -> Answer:
    """Run an operation whose fields are not all reads of records; what is `ready` is spliced in."""
    document = operation.document
    result: Any = execute(
        running.composition.schema,
        document,
        context_value=running,
        variable_values=running.given,
        operation_name=operation.name or None,
        field_resolver=_member,
        executor_class=_Executor,
        hide_suggestions=True,
    )
    try:
        if not hasattr(result, "data"):
            result = await result
    finally:
        if running.executor is not None:
            running.executor.let_go()
    id_ = running.context.request_id
    errors = [graphql_error(e.original_error, e, id_) if e.original_error else e for e in result.errors or ()]
    body: dict[str, Any] = {"data": result.data, "extensions": orjson.Fragment(running.extensions)}
    if errors:
        body = {"errors": [e.formatted for e in errors[:MAX_ERRORS]], **body}
    return Answer(orjson.dumps(body), codes=tuple(code_of(e) for e in errors))


def _member(source: Any, info: GraphQLResolveInfo[Any], **_arguments: Any) -> Any:
    return source.get(info.field_name) if isinstance(source, dict) else getattr(source, info.field_name)
