"""GraphQL over HTTP: one operation a request, by POST or GET, as plain ASGI.

Nothing stands in front of it: what other applications leave to middleware is done here once, in order.
"""

from __future__ import annotations

import hashlib
import time
from functools import partial
from typing import Any

from starlette.types import ASGIApp

from core.auth import ANONYMOUS
from core.context import RequestContext, Workspace
from core.errors import TooManyRequests, Unauthenticated
from core.events.subscription import Subscription
from core.http.body import Disconnected, read_body
from core.http.compress import SMALLEST, gzip, wants_gzip
from core.http.cors import Cors
from core.http.events import STREAM, events, stream
from core.http.exchange import Exchange
from core.http.hosts import Hosts, host_of
from core.http.multipart import MULTIPART, read_form
from core.http.parameters import Parameters, from_json, from_query_string
from core.http.refusal import CHALLENGE, INVALID, Headers, Refusal, bad_request, not_allowed
from core.http.runner import Runner, refusal_of
from core.http.services import Services
from core.http.spoken import spoken
from core.messages import language
from core.schema.answer import Answer

METHODS = "GET, POST"


def matches(condition: bytes, etag: bytes) -> bool:
    """Whether an If-None-Match header names an entity tag, be it as a weak one."""
    return any(part.strip() in (b"*", etag, b"W/" + etag) for part in condition.split(b","))


class Endpoint:
    """Answers GraphQL requests; call it with the slug from the path, None for the default workspace.

    `page` is shown to browsers that come without an operation.
    """

    def __init__(self, services: Services, page: ASGIApp | None = None) -> None:
        settings = services.settings
        self._services = services
        self._runner = Runner(services)
        self._page = page
        self._hosts = Hosts(settings.allowed_hosts)
        self._cors = Cors(settings.cors_origins)
        self._limit = settings.max_body_bytes
        self._cache = b"private, no-cache" if settings.keep_answers else b"private, no-store"

    async def __call__(self, scope: Any, receive: Any, send: Any, slug: str | None = None) -> None:
        """Answer one request."""
        exchange = Exchange(scope)
        if self._page is not None and exchange.method == "GET" and exchange.accept.html and not exchange.asks:
            await self._page(scope, receive, send)
            return
        extra: Headers = ()
        try:
            answer = await self._answer(exchange, receive, slug)
            if isinstance(answer, Subscription):
                await self._stream(exchange, answer, receive, send)
                return
            status, body, extra = answer
        except Disconnected:
            return
        except Exception as error:  # noqa: BLE001 - the last line of defence: masked and logged
            slug = exchange.workspace.slug if exchange.workspace else ""
            refusal = refusal_of(error, exchange.request_id, slug)
            status, extra = refusal.status, refusal.headers
            body = spoken(refusal.body, exchange.headers.get(b"accept-language"))
            exchange.codes = (refusal.code,)
        await self._send(exchange, send, status, body, extra)
        self._record(exchange, status)

    async def _answer(
        self, exchange: Exchange, receive: Any, slug: str | None
    ) -> tuple[int, bytes, Headers] | Subscription:
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
        answer = await self._run(exchange, workspace, receive)
        if isinstance(answer, Subscription):
            return answer
        status = self._status(exchange, answer)
        if status == 200 and not exchange.accept.media:
            return 200, events(answer.body), STREAM
        return status, answer.body, CHALLENGE if status == 401 else ()

    def _check(self, exchange: Exchange) -> None:
        """Turn away by method, media types and origin whatever can be turned away before anything is read."""
        if exchange.method not in ("POST", "GET"):
            raise not_allowed("Use POST, or GET for queries.", METHODS)
        if not exchange.accept.media and not exchange.accept.stream:
            raise Refusal(406, "NOT_ACCEPTABLE", "Accept application/graphql-response+json or application/json.")
        if exchange.method == "GET" or exchange.content_type == MULTIPART:
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

    async def _run(self, exchange: Exchange, workspace: Workspace, receive: Any) -> Answer | Subscription:
        """Run the operation of a request. Nothing of it is read before its actor is known to have any left."""
        services = self._services
        language_header = exchange.headers.get(b"accept-language")
        address = exchange.scope.get("client")
        client = address[0] if address else ""
        refused: Unauthenticated | None = None
        try:
            actor = exchange.actor = await services.authenticator.actor(workspace, exchange.token)
        except Unauthenticated as error:
            actor, refused = ANONYMOUS, error
        try:
            bucket = services.allowance.take(actor, client)
        except TooManyRequests:
            exchange.allowed = services.allowance.standing(actor, client)
            raise
        context = RequestContext(
            workspace,
            actor,
            exchange.request_id,
            language(language_header.decode("latin-1"), actor.locale) if language_header else actor.locale,
            client=client,
            extra=self._extra(exchange),
        )
        try:
            if exchange.content_type == MULTIPART and exchange.method == "POST":
                if actor.user_id is None:
                    raise refused or Unauthenticated("sign in before you upload")
                async with read_form(receive, exchange.headers, services.files) as parameters:
                    answer = await self._runner.run(context, parameters)
            else:
                parameters = await self._parameters(exchange, receive)
                queries_only = exchange.method == "GET"
                streams = exchange.accept.stream
                renew = partial(services.authenticator.actor, workspace, exchange.token) if streams else None
                answer = await self._runner.run(
                    context,
                    parameters,
                    queries_only=queries_only,
                    refused=refused,
                    renew=renew,
                    staleness=exchange.staleness,
                )
            if isinstance(answer, Subscription):
                exchange.kind, exchange.operation = "subscription", parameters.operation or ""
                return answer
            services.allowance.charge(bucket, answer.cost)
        finally:
            exchange.allowed = services.allowance.headers(bucket)
        exchange.kind, exchange.operation = answer.kind, answer.operation
        exchange.codes, exchange.statements = answer.codes, answer.statements
        if answer.codes:
            answer.body = spoken(answer.body, language_header)
        return answer

    def _extra(self, exchange: Exchange) -> dict[str, Any]:
        found = self._services.at_hand
        traceparent = exchange.headers.get(b"traceparent")
        return found if traceparent is None else {**found, "traceparent": traceparent.decode("latin-1")}

    @staticmethod
    def _status(exchange: Exchange, answer: Answer) -> int:
        if not answer.request_error:
            return 200
        if "UNAUTHENTICATED" in answer.codes:
            return 401
        if exchange.accept.legacy and exchange.accept.media:
            return 200
        return 400 if "GRAPHQL_PARSE_FAILED" in answer.codes else INVALID

    async def _stream(self, exchange: Exchange, subscription: Subscription, receive: Any, send: Any) -> None:
        """Pass a subscription's events on as server-sent events, until it ends or the client goes."""
        extra = (*STREAM, *exchange.allowed)
        if self._cors.on:
            extra = (*extra, *self._cors.headers(exchange.headers.get(b"origin")))
        start = {"type": "http.response.start", "status": 200, "headers": exchange.answer_headers(None, extra)}
        try:
            await send(start)
            await stream(subscription, receive, send, exchange.actor.expires_at if exchange.actor else None)
        finally:
            subscription.close()
            self._record(exchange, 200)

    async def _send(self, exchange: Exchange, send: Any, status: int, body: bytes, extra: Headers) -> None:
        headers, streamed = exchange.headers, extra is STREAM
        extra = (*extra, *exchange.allowed)
        if self._cors.on and exchange.method != "OPTIONS":
            extra = (*extra, *self._cors.headers(headers.get(b"origin")))
        encoding: Headers = ()
        if len(body) > SMALLEST and not streamed and wants_gzip(headers.get(b"accept-encoding", b"")):
            body, encoding = await gzip(body), ((b"content-encoding", b"gzip"),)
        cache = b"no-store"
        if exchange.method == "GET" and status == 200:
            cache = self._cache
            etag = b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode()
            extra = (*extra, (b"etag", etag))
            if matches(headers.get(b"if-none-match", b""), etag):
                status, body, encoding = 304, b"", ()
        start = {"type": "http.response.start", "status": status}
        await send({**start, "headers": exchange.answer_headers(len(body), (*extra, *encoding), cache)})
        await send({"type": "http.response.body", "body": body})

    def _record(self, exchange: Exchange, status: int) -> None:
        self._services.answered.note(
            exchange.request_id,
            exchange.workspace,
            exchange.actor,
            kind=exchange.kind,
            operation=exchange.operation,
            status=status,
            codes=exchange.codes,
            statements=exchange.statements,
            seconds=time.perf_counter() - exchange.started,
        )
