"""GraphQL over HTTP: one operation a request, by POST or GET, as plain ASGI.

Nothing stands in front of it: what other applications leave to middleware is done here once, in order.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp

from core.context import RequestContext
from core.errors import ClientError, DatabaseError, Unauthenticated
from core.http.body import Disconnected, read_body
from core.http.compress import SMALLEST, gzip, wants_gzip
from core.http.cors import Cors
from core.http.exchange import Exchange
from core.http.hosts import Hosts, host_of
from core.http.parameters import Parameters, from_json, from_query_string
from core.http.refusal import CHALLENGE, INVALID, Headers, Refusal, bad_request, not_allowed
from core.http.services import Services
from core.log import logger
from core.messages import language
from core.schema.composition import Composition
from core.schema.document import Operation
from core.schema.execute import Answer, run
from core.schema.mutate import Mutator

LOG = logger("crm.http")
METHODS = "GET, POST"


class Endpoint:
    """Answers GraphQL requests; call it with the slug from the path, None for the default workspace.

    `page` is shown to browsers that come without an operation.
    """

    def __init__(self, services: Services, page: ASGIApp | None = None) -> None:
        settings = services.settings
        self._services = services
        self._page = page
        self._hosts = Hosts(settings.allowed_hosts)
        self._cors = Cors(settings.cors_origins)
        self._limit = settings.max_body_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any, slug: str | None = None) -> None:
        """Answer one request."""
        exchange = Exchange(scope)
        if self._page is not None and exchange.method == "GET" and exchange.accept.html and not exchange.asks:
            await self._page(scope, receive, send)
            return
        extra: Headers = ()
        try:
            status, body, extra = await self._answer(exchange, receive, slug)
        except Disconnected:
            return
        except Exception as error:  # noqa: BLE001 - the last line of defence: masked and logged
            refusal = error if isinstance(error, Refusal) else self._fault(exchange, error)
            status, body, extra = refusal.status, refusal.body, refusal.headers
            exchange.codes = (refusal.code,)
        await self._send(exchange, send, status, body, extra)
        self._record(exchange, status)

    async def _answer(self, exchange: Exchange, receive: Any, slug: str | None) -> tuple[int, bytes, Headers]:
        services = self._services
        host = ""
        if not self._hosts.any or services.directory.has_hostnames:
            host = host_of(exchange.headers.get(b"host", b""))
            if host not in self._hosts and services.directory.bound(host) is None:
                raise bad_request("This host name is not served here.")
        if exchange.method == "OPTIONS" and self._cors.on:
            return 204, b"", self._cors.preflight(exchange.headers.get(b"origin"))
        self._check(exchange)
        workspace = exchange.workspace = await services.directory.find(slug, host)
        if workspace is None:
            raise Refusal(404, "NOT_FOUND", "There is no such workspace.")
        parameters = await self._parameters(exchange, receive)
        try:
            exchange.actor = await services.authenticator.actor(workspace, exchange.token)
        except Unauthenticated as error:
            raise Refusal(401, error.code, error.message, CHALLENGE) from None
        composition = await services.features.composition(workspace)
        query = parameters.query
        if parameters.hash or parameters.document_id or await services.documents.trusted_only(workspace):
            query = await self._document(exchange, parameters)
        if exchange.method == "GET":
            self._demand_query(composition, query, parameters.operation)
        answer = await self._run(exchange, composition, query, parameters)
        status = self._status(exchange, answer)
        return status, answer.body, CHALLENGE if status == 401 else ()

    def _check(self, exchange: Exchange) -> None:
        """Turn away by method, media types and origin whatever can be turned away before anything is read."""
        if exchange.method not in ("POST", "GET"):
            raise not_allowed("Use POST, or GET for queries.", METHODS)
        if not exchange.accept.media:
            raise Refusal(406, "NOT_ACCEPTABLE", "Accept application/graphql-response+json or application/json.")
        if exchange.method == "GET":
            if not exchange.preflighted:
                raise Refusal(400, "CSRF_PREVENTION", "Send the header graphql-require-preflight: 1.")
        elif exchange.content_type != b"application/json":
            raise Refusal(415, "UNSUPPORTED_MEDIA_TYPE", "Send Content-Type: application/json.")
        elif b"charset" in (given := exchange.headers[b"content-type"].lower()) and b"utf-8" not in given:
            raise Refusal(415, "UNSUPPORTED_MEDIA_TYPE", "Send JSON in UTF-8.")

    async def _parameters(self, exchange: Exchange, receive: Any) -> Parameters:
        if exchange.method == "GET":
            return from_query_string(exchange.scope["query_string"])
        return from_json(await read_body(receive, exchange.headers, self._limit))

    async def _document(self, exchange: Exchange, parameters: Parameters) -> str:
        """The text of a document that is named, or that only runs where it is published."""
        documents, workspace = self._services.documents, exchange.workspace
        assert workspace is not None
        trusted_only = await documents.trusted_only(workspace)
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
            if exchange.actor is not None and exchange.actor.user_id is not None:
                await documents.keep(workspace, hash_, query)
            return query
        found = await documents.automatic(workspace, hash_)
        if found is None:
            # Apollo's clients look for this message, and for the status 200.
            raise Refusal(200, "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
        return found

    def _demand_query(self, composition: Composition, query: str, name: str | None) -> None:
        operation = composition.document(query, self._services.limits).operation(name)
        if isinstance(operation, Operation) and operation.kind != "query":
            raise not_allowed("Only queries may use GET.", "POST")

    async def _run(self, exchange: Exchange, composition: Composition, query: str, parameters: Parameters) -> Answer:
        services, workspace, actor = self._services, exchange.workspace, exchange.actor
        assert workspace is not None and actor is not None  # noqa: PT018
        pool = services.database.pool(workspace)
        spoken = exchange.headers.get(b"accept-language")
        client = exchange.scope.get("client")
        context = RequestContext(
            workspace,
            actor,
            exchange.request_id,
            language(spoken.decode("latin-1"), actor.locale) if spoken else actor.locale,
            client=client[0] if client else "",
            extra={"auth": services.authenticator},
        )

        async def fetch(text: str, values: Sequence[Any]) -> bytes | None:
            found: bytes | None = await pool.fetchval(text, *values)
            return found

        mutator = Mutator(lambda: services.database.transaction(workspace))
        answer = await run(
            composition,
            context,
            fetch,
            query,
            parameters.variables,
            parameters.operation,
            mutator,
            services.limits,
        )
        exchange.kind, exchange.operation = answer.kind, answer.operation
        exchange.codes, exchange.statements = answer.codes, answer.statements
        return answer

    @staticmethod
    def _status(exchange: Exchange, answer: Answer) -> int:
        if not answer.request_error:
            return 200
        if "UNAUTHENTICATED" in answer.codes:
            return 401
        if exchange.accept.legacy:
            return 200
        return 400 if "GRAPHQL_PARSE_FAILED" in answer.codes else INVALID

    def _fault(self, exchange: Exchange, error: Exception) -> Refusal:
        """The answer to what should not have happened: the cause goes to the log, its number to the client."""
        if isinstance(error, ClientError):
            return Refusal.of(error)
        if isinstance(error, RecursionError):
            return Refusal(INVALID, "BAD_USER_INPUT", "The request is nested too deeply.")
        workspace = exchange.workspace.slug if exchange.workspace else None
        LOG.error(
            "request_failed",
            exc_info=error,
            request_id=exchange.request_id,
            workspace=workspace,
            operation=exchange.operation,
        )
        if isinstance(error, DatabaseError):
            again = ((b"retry-after", b"1"),)
            message = "The service is not available at the moment."
            return Refusal(503, "SERVICE_UNAVAILABLE", message, again, requestId=exchange.request_id)
        message = "Internal server error."
        return Refusal(500, "INTERNAL_SERVER_ERROR", message, requestId=exchange.request_id)

    async def _send(self, exchange: Exchange, send: Any, status: int, body: bytes, extra: Headers) -> None:
        headers = exchange.headers
        if exchange.method == "GET" and status == 200:
            etag = b'W/"' + hashlib.sha256(body).hexdigest()[:32].encode() + b'"'
            extra = (*extra, (b"etag", etag))
            if etag in headers.get(b"if-none-match", b""):
                status, body = 304, b""
        if self._cors.on and exchange.method != "OPTIONS":
            extra = (*extra, *self._cors.headers(headers.get(b"origin")))
        if len(body) > SMALLEST and wants_gzip(headers.get(b"accept-encoding", b"")):
            body = await gzip(body)
            extra = (*extra, (b"content-encoding", b"gzip"))
        start = {"type": "http.response.start", "status": status}
        await send({**start, "headers": exchange.answer_headers(len(body), extra)})
        await send({"type": "http.response.body", "body": body})

    def _record(self, exchange: Exchange, status: int) -> None:
        seconds = time.perf_counter() - exchange.started
        services = self._services
        services.metrics.request(
            exchange.kind, status, exchange.operation, exchange.codes, exchange.statements, seconds
        )
        if services.access.on:
            services.access.write(
                request_id=exchange.request_id,
                workspace=exchange.workspace.slug if exchange.workspace else None,
                operation=exchange.operation[:100],
                kind=exchange.kind,
                actor_id=exchange.actor.user_id if exchange.actor else None,
                status=status,
                codes=exchange.codes,
                ms=round(seconds * 1000, 2),
                statements=exchange.statements,
            )
