"""Running one operation: straight to one statement where every field is a read, through the executor where not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import asyncpg
import orjson
import structlog
from graphql import GraphQLError, GraphQLObjectType, GraphQLResolveInfo
from graphql.execution import Executor, execute
from graphql.execution.values import get_argument_values

from core import tracing
from core.arguments import Argument
from core.context import RequestContext
from core.errors import BadInput, ClientError, LimitExceeded, PluginFailed, TookTooLong, Unauthenticated
from core.meters import PLANS
from core.operations import Ask, Records
from core.policy import Policy
from core.predicate import constant
from core.schema.compile import IDENTITY, Read, Reader, root_of
from core.schema.composition import Composition
from core.schema.document import MAX_ERRORS, Operation
from core.schema.measure import Limits
from core.schema.select import Document, Selection

log = structlog.get_logger("crm.graphql")

#: What PostgreSQL raises for values and queries that only the caller can mend.
DATABASE_REFUSES = (asyncpg.DataError, asyncpg.QueryCanceledError, asyncpg.ProgramLimitExceededError)

Fetch = Callable[[str, Sequence[Any]], Awaitable[bytes | None]]


@dataclass(slots=True)
class Answer:
    """The answer of one operation: the response body, and what the transport must know of it.

    `request_error` is True where nothing ran at all (the body has no `data`); `codes` are those of its errors.
    """

    body: bytes
    request_error: bool = False
    codes: tuple[str, ...] = ()
    kind: str = "query"
    operation: str = ""
    statements: int = 0
    cost: int = 0


@dataclass(slots=True)
class Running:
    """One operation being run: where it runs, for whom, and what is ready already."""

    composition: Composition
    context: RequestContext
    policy: Policy
    fetch: Fetch
    document: Document
    variables: dict[str, Any]
    limits: Limits
    given: dict[str, Any] = field(default_factory=dict)
    extensions: bytes = b""
    ready: dict[str, Any] = field(default_factory=dict)
    statements: int = 0
    mutate: Any = None
    stale: Fetch | None = None
    executor: Any = None
    waiting: dict[Any, tuple[dict[UUID, None], asyncio.Future[dict[str, Any]]]] = field(default_factory=dict)

    async def read(self, plan: Read, fetch: Fetch | None = None) -> bytes:
        """Run a compiled read, by `fetch` if given, and fill in what Python computes; returns a JSON object."""
        self.statements += 1
        data = await (fetch or self.fetch)(plan.statement.text, plan.statement.bind(self.variables, self.context))
        assert data is not None
        return await fill(plan, data, self.context) if plan.slots else data

    def reader(self) -> Reader:
        """A compiler for this actor and these limits."""
        return Reader(self.policy, self.limits.default_page, self.limits.max_page)

    async def records(self, found: Records, selection: Selection) -> Any:
        """Records by id as a selection asks for them: JSON ready to be spliced in, or None.

        Asked for at the same time at one place of the document, as by the items of a list, they are read at once.
        """
        place = (found.record, *map(id, selection.nodes))
        batch = self.waiting.get(place)
        if batch is None:
            batch = self.waiting[place] = ({}, asyncio.ensure_future(self._read_batch(place, selection)))
        ids, reading = batch
        ids.update(dict.fromkeys(found.ids))
        by_id = await reading
        data = [by_id[str(i)] for i in found.ids if str(i) in by_id]
        if found.single:
            return orjson.Fragment(orjson.dumps(data[0])) if data else None
        return orjson.Fragment(orjson.dumps(data))

    async def _read_batch(self, place: tuple[Any, ...], selection: Selection) -> dict[str, Any]:
        """The records asked for at a place until now, by id."""
        await asyncio.sleep(0)
        ids, _ = self.waiting.pop(place)
        record = self.composition.catalog[place[0]]
        compile_ = lambda r: r.many(record, selection, (selection.key,), constant(list(ids)))  # noqa: E731
        data = orjson.loads(await self.read(self.reader().read([(selection.key, compile_)])))[selection.key]
        return {row.pop(IDENTITY): row for row in data}


async def fill(plan: Read, data: bytes, context: RequestContext) -> bytes:
    """Replace the values that computed fields require by what they compute, one batch per place."""
    root = orjson.loads(data)
    for slot in plan.slots:
        *way, last = slot.path
        holders = [h for h in _walk([root], way) if h.get(last) is not None]
        if not holders:
            continue
        values = await slot.computed.resolve(context, [h[last] for h in holders])
        if len(values) != len(holders):
            raise ValueError(f"{slot.computed.name} computed {len(values)} values for {len(holders)} records")
        for holder, value in zip(holders, values, strict=True):
            holder[last] = value
    return orjson.dumps(root)


def _walk(places: list[Any], way: list[str]) -> list[dict[str, Any]]:
    for key in way:
        places = _flat([p.get(key) for p in places])
    return places


def _flat(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for v in values:
        if isinstance(v, list):
            found.extend(_flat(v))
        elif v is not None:
            found.append(v)
    return found


async def run(
    composition: Composition,
    context: RequestContext,
    fetch: Fetch,
    query: str,
    variables: dict[str, Any] | None = None,
    operation_name: str | None = None,
    mutate: Any = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    stale: Fetch | None = None,
) -> Answer:
    """Run one operation and return the finished response body.

    `fetch` runs one statement that returns one JSON value; `mutate` is what does mutations (None: reads only).
    `limits` are the same for every call in a process. `stale` is asked instead of `fetch` for queries of nothing but
    records, for whoever tolerates answers that are a little behind.
    """
    prepared = composition.document(query, limits)
    if prepared.errors:
        return refused(prepared.errors)
    operation = prepared.operation(operation_name)
    if isinstance(operation, GraphQLError):
        return refused([operation])
    coerced = operation.coerce(variables or {})
    if isinstance(coerced, list):
        for e in coerced:
            e.extensions = {"code": "BAD_USER_INPUT", **(e.extensions or {})}
        return refused(coerced)
    cost = operation.measure.cost(coerced, limits)
    if cost > limits.cost:
        excess = f"The operation's cost is {cost}, over the limit of {limits.cost}: ask for fewer rows or fields."
        return refused([GraphQLError(excess, extensions={"code": "LIMIT_EXCEEDED", "cost": cost})])
    policy = composition.policy(context.actor.grants)
    document = Document(composition.schema, prepared.fragments, coerced)
    extensions = b'{"cost":{"requested":%d,"limit":%d}}' % (cost, limits.cost)
    running = Running(
        composition,
        context,
        policy,
        fetch,
        document,
        coerced,
        limits,
        variables or {},
        extensions,
        mutate=mutate,
        stale=stale,
    )
    try:
        if operation.kind == "query":
            answer = await _query(running, operation)
        else:
            answer = await _through_executor(running, operation)
    except Unauthenticated as error:
        answer = refused([graphql_error(error)])
    except ClientError as error:
        answer = Answer(_errors_body([graphql_error(error)], data=True), codes=(error.code,))
    except DATABASE_REFUSES as error:
        known = translate(error)
        answer = Answer(_errors_body([graphql_error(known)], data=True), codes=(known.code,))
    answer.kind, answer.operation, answer.statements = operation.kind, operation.name, running.statements
    answer.cost = cost
    return answer


async def _query(running: Running, operation: Operation) -> Answer:
    key = (running.policy.grants.fingerprint, operation.shape(running.variables))
    plan = operation.plan(key)
    PLANS.add("hit" if plan else "miss")
    if plan is None:
        schema = running.composition.schema
        assert schema.query_type is not None
        selections = running.document.collect(schema.query_type, operation.node.selection_set)
        roots = [(s.key, root_of(running.policy.catalog, s)) for s in selections]
        if any(compile_ is None for _, compile_ in roots):
            return await _mixed(running, operation, [(k, c) for k, c in roots if c is not None])
        _demand_signed_in(running.context)
        with tracing.span("plan"):
            plan = running.reader().read([(k, c) for k, c in roots if c is not None])
        operation.keep(key, plan)
    else:
        _demand_signed_in(running.context)
    return Answer(b'{"data":%b,"extensions":%b}' % (await running.read(plan, running.stale), running.extensions))


async def _mixed(running: Running, operation: Operation, roots: list[tuple[str, Any]]) -> Answer:
    """A query with computed root fields or introspection: its reads in one statement, the rest by the executor."""
    if roots:
        _demand_signed_in(running.context)
        data = orjson.loads(await running.read(running.reader().read(roots)))
        running.ready = {k: None if v is None else orjson.Fragment(orjson.dumps(v)) for k, v in data.items()}
    return await _through_executor(running, operation)


def _demand_signed_in(context: RequestContext) -> None:
    if context.actor.user_id is None and not context.actor.grants.unlimited:
        raise Unauthenticated("sign in first")


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
            _demand_signed_in(running.context)
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


async def _through_executor(running: Running, operation: Operation) -> Answer:
    document = operation.prepared.document
    assert document is not None
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
    return Answer(orjson.dumps(body), codes=tuple(_code(e) for e in errors))


def _member(source: Any, info: GraphQLResolveInfo[Any], **_arguments: Any) -> Any:
    return source.get(info.field_name) if isinstance(source, dict) else getattr(source, info.field_name)


def _code(error: GraphQLError) -> str:
    return str((error.extensions or {}).get("code", "INTERNAL_SERVER_ERROR"))


def translate(error: Exception) -> ClientError:
    """A database's complaint about values or time, as the caller's fault it is."""
    if isinstance(error, asyncpg.QueryCanceledError):
        return TookTooLong("this took too long: ask for less at once")
    if isinstance(error, asyncpg.ProgramLimitExceededError):
        return LimitExceeded("the query asks for too much at once")
    return BadInput("a value does not fit its type")


def graphql_error(error: Exception, located: GraphQLError | None = None, request_id: str = "") -> GraphQLError:
    """An error as clients may see it: a client's fault in full, anything else masked and logged."""
    if isinstance(error, DATABASE_REFUSES):
        error = translate(error)
    if isinstance(error, GraphQLError):
        return error
    if isinstance(error, ClientError):
        message, extensions = error.message, {"code": error.code}
        if isinstance(error, PluginFailed):
            extensions |= error.params
    else:
        log.error("graphql.error", exc_info=error, error=type(error).__name__, request_id=request_id)
        message, extensions = "Internal server error.", {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id}
    return GraphQLError(
        message,
        nodes=located.nodes if located else None,
        path=located.path if located else None,
        extensions=extensions,
    )


def _errors_body(errors: Sequence[GraphQLError], *, data: bool) -> bytes:
    body: dict[str, Any] = {"errors": [e.formatted for e in errors]}
    if data:
        body["data"] = None
    return orjson.dumps(body)


def refused(errors: Sequence[GraphQLError]) -> Answer:
    """The answer where nothing ran."""
    codes = tuple(_code(e) for e in errors)
    return Answer(_errors_body(errors, data=False), request_error=True, codes=codes, kind="")


__all__ = ["Answer", "Fetch", "Running", "graphql_error", "plain", "refused", "run"]
