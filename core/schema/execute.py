"""Running one operation: straight to one statement where every field is a read, through the executor where not."""

from __future__ import annotations

from typing import Any

import orjson
from graphql import GraphQLError

from core import tracing
from core.context import RequestContext
from core.errors import ClientError, Unauthenticated
from core.meters import PLANS
from core.schema.answer import DATABASE_REFUSES, Answer, errors_body, graphql_error, refused, translate
from core.schema.compile import root_of
from core.schema.composition import Composition
from core.schema.document import Operation
from core.schema.executor import through_executor
from core.schema.measure import Limits
from core.schema.running import Fetch, Running
from core.schema.select import Document


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
            answer = await through_executor(running, operation)
    except Unauthenticated as error:
        answer = refused([graphql_error(error)])
    except ClientError as error:
        answer = Answer(errors_body([graphql_error(error)], data=True), codes=(error.code,))
    except DATABASE_REFUSES as error:
        known = translate(error)
        answer = Answer(errors_body([graphql_error(known)], data=True), codes=(known.code,))
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
        running.demand_signed_in()
        with tracing.span("plan"):
            plan = running.reader().read([(k, c) for k, c in roots if c is not None])
        operation.keep(key, plan)
    else:
        running.demand_signed_in()
    return Answer(b'{"data":%b,"extensions":%b}' % (await running.read(plan, running.stale), running.extensions))


async def _mixed(running: Running, operation: Operation, roots: list[tuple[str, Any]]) -> Answer:
    """A query with computed root fields or introspection: its reads in one statement, the rest by the executor."""
    if roots:
        running.demand_signed_in()
        data = orjson.loads(await running.read(running.reader().read(roots)))
        running.ready = {k: None if v is None else orjson.Fragment(orjson.dumps(v)) for k, v in data.items()}
    return await through_executor(running, operation)
