"""From the parameters of a request to the answer of its operation, whatever transport brought it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
from graphql import FieldNode, GraphQLError

from core import tracing
from core.context import RequestContext
from core.errors import ClientError, DatabaseError, Unauthenticated
from core.events.subscription import Renew, Subscription
from core.events.watch import Asked
from core.http.parameters import Parameters
from core.http.refusal import INVALID, Refusal, bad_request, not_allowed
from core.http.services import Services
from core.log import REQUEST, logger
from core.meters import STATEMENTS
from core.schema.answer import Answer
from core.schema.answer import refused as graphql_refused
from core.schema.composition import Composition
from core.schema.document import Operation
from core.schema.execute import run
from core.schema.mutate import Mutator
from core.schema.running import Fetch

LOG = logger("crm.http")

#: The database is away or going away; what asked may ask again.
_AWAY = (
    DatabaseError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    OSError,
)


class Runner:
    """Runs operations on the services of an application."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(
        self,
        context: RequestContext,
        parameters: Parameters,
        *,
        queries_only: bool = False,
        refused: Unauthenticated | None = None,
        renew: Renew | None = None,
        staleness: float | None = None,
    ) -> Answer | Subscription:
        """Run one operation, or begin a subscription. Raises Refusal where it may not be run at all.

        `staleness` is how many seconds a query's answer may be behind; None reads from the primary.
        `renew` looks up the actor anew, for as long as a subscription lasts; None where none can be answered.
        `refused` is why the token that came with it is not good: raised unless the operation has no use for one.
        """
        logged = REQUEST.set((context.request_id, context.workspace.slug))
        run = self._in_span if tracing.on() else self._run
        try:
            return await run(context, parameters, queries_only, refused, renew, staleness)
        finally:
            REQUEST.reset(logged)

    async def _in_span(self, context: RequestContext, parameters: Parameters, *how: Any) -> Answer | Subscription:
        slug = context.workspace.slug
        with tracing.request(context.extra.get("traceparent", ""), crm__workspace=slug) as span:
            try:
                answer = await self._run(context, parameters, *how)
            except (Refusal, ClientError) as error:
                tracing.tell(span, codes=(error.code,))
                raise
            if isinstance(answer, Answer):
                tracing.tell(span, answer.kind, answer.operation, answer.codes)
            else:
                tracing.tell(span, "subscription", parameters.operation or "")
            return answer

    async def _run(
        self,
        context: RequestContext,
        parameters: Parameters,
        queries_only: bool,
        refused: Unauthenticated | None,
        renew: Renew | None,
        staleness: float | None,
    ) -> Answer | Subscription:
        services, workspace = self._services, context.workspace
        composition = await services.features.composition(workspace)
        query = parameters.query
        trusted_only = await services.documents.trusted_only(workspace)
        if trusted_only or parameters.hash or parameters.document_id:
            query = await self._document(context, composition, parameters, trusted_only)
        if refused is not None and not _needs_no_token(
            composition, composition.document(query, services.limits).operation(parameters.operation)
        ):
            raise refused
        if queries_only:
            operation = composition.document(query, services.limits).operation(parameters.operation)
            if isinstance(operation, Operation) and operation.kind != "query":
                raise not_allowed("Only queries may use GET.", "POST")
        if "subscription" in query:
            operation = composition.document(query, services.limits).operation(parameters.operation)
            if isinstance(operation, Operation) and operation.kind == "subscription":
                return await self._subscribe(context, Asked(query, parameters.operation, parameters.variables), renew)
        pool = services.database.pool(workspace)

        async def fetch(text: str, values: Sequence[Any]) -> bytes | None:
            began = time.perf_counter()
            found: bytes | None = await pool.fetchval(text, *values)
            STATEMENTS.observe(time.perf_counter() - began)
            return found

        read = _traced(fetch) if tracing.on() else fetch
        stale, replica = None, services.database.replica
        if replica is not None and staleness is not None:
            stale = replica.reading(workspace, staleness, read)
        at_once = services.database.settings.bulk_job_records
        mutator = Mutator(lambda: services.database.transaction(workspace), at_once)
        return await run(
            composition,
            context,
            read,
            query,
            parameters.variables,
            parameters.operation,
            mutator,
            services.limits,
            stale,
        )

    async def _subscribe(self, context: RequestContext, asked: Asked, renew: Renew | None) -> Answer | Subscription:
        if renew is None:
            raise Refusal(406, "NOT_ACCEPTABLE", "Subscriptions need Accept: text/event-stream, or a WebSocket.")
        if context.actor.user_id is None:
            raise Unauthenticated("sign in first")
        subscription = Subscription(context, asked, renew)
        try:
            await self._services.hubs.subscribe(subscription)
        except GraphQLError as error:
            return graphql_refused([error])
        return subscription

    async def _document(
        self, context: RequestContext, composition: Composition, parameters: Parameters, trusted_only: bool
    ) -> str:
        """The text of a document that is named, or that only runs where it is published."""
        documents, workspace = self._services.documents, context.workspace
        query, hash_ = parameters.query, parameters.hash
        if parameters.document_id:
            found = await documents.published(workspace, parameters.document_id)
            if found is None and not trusted_only:
                found = await documents.automatic(workspace, parameters.document_id.removeprefix("sha256:"))
            if found is None:
                raise Refusal(404, "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
            return found
        if query and hash_ and hashlib.sha256(query.encode()).hexdigest() != hash_:
            raise bad_request("provided sha does not match query")
        if trusted_only:
            found = await documents.published(workspace, hash_ or hashlib.sha256(query.encode()).hexdigest())
            if found is None:
                raise Refusal(INVALID, "PERSISTED_QUERY_ONLY", "Only published documents run here.")
            return found
        if query:
            sound = not composition.document(query, self._services.limits).errors
            if sound and context.actor.user_id is not None:
                await documents.keep(workspace, hash_, query)
            return query
        found = await documents.automatic(workspace, hash_)
        if found is None:
            # Apollo's clients look for this message, and for the status 200.
            raise Refusal(200, "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
        return found


def _traced(fetch: Fetch) -> Fetch:
    async def traced(text: str, values: Sequence[Any]) -> bytes | None:
        with tracing.statement(text):
            return await fetch(text, values)

    return traced


def _needs_no_token(composition: Composition, operation: Operation | GraphQLError) -> bool:
    """Whether all that an operation does is what one does without a token, such as signing in."""
    if not isinstance(operation, Operation) or operation.kind != "mutation":
        return False
    tokenless = {name for name, mutation in composition.mutations.items() if mutation.tokenless} | {"__typename"}
    return all(isinstance(s, FieldNode) and s.name.value in tokenless for s in operation.node.selection_set.selections)


def refusal_of(error: Exception, request_id: str, workspace: str = "") -> Refusal:
    """What a client is told of an exception: the cause of what should not have happened goes to the log only."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ClientError):
        return Refusal.of(error)
    if isinstance(error, RecursionError):
        return Refusal(INVALID, "BAD_USER_INPUT", "The request is nested too deeply.")
    LOG.error("request_failed", exc_info=error, request_id=request_id, workspace=workspace)
    if isinstance(error, _AWAY):
        again = ((b"retry-after", b"1"),)
        message = "The service is not available at the moment."
        return Refusal(503, "SERVICE_UNAVAILABLE", message, again, requestId=request_id)
    return Refusal(500, "INTERNAL_SERVER_ERROR", "Internal server error.", requestId=request_id)
