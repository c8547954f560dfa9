"""GraphQL over WebSocket: the protocol graphql-transport-ws, with the same limits and rules as over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from graphql import GraphQLError

from core.context import Actor, RequestContext, Workspace
from core.errors import CrmError, Unauthenticated
from core.events.subscription import Subscription, TooSlow
from core.http.cors import Cors
from core.http.exchange import new_request_id
from core.http.hosts import Hosts, host_of
from core.http.parameters import from_object, load
from core.http.refusal import Refusal
from core.http.runner import Runner, refusal_of
from core.http.services import Services
from core.http.spoken import spoken
from core.messages import language
from core.schema.answer import graphql_error, refused

PROTOCOL = "graphql-transport-ws"
INIT_SECONDS = 10.0
#: Seconds after which a ping keeps a silent socket open, and in which the client has to have taken it.
ALIVE_SECONDS = 15.0
#: Seconds that a client has to take the reason why its socket is closed.
CLOSE_SECONDS = 5.0

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NO_PROTOCOL = 4400, 4401, 4403, 4406
INIT_TIMEOUT, DUPLICATE_ID, SECOND_INIT, TOO_LARGE = 4408, 4409, 4429, 1009
#: Of the register of codes: a fault of ours, and what may be tried again later, as when there are too many sockets.
FAULT, TRY_AGAIN = 1011, 1013
#: Our own: events come faster than the client takes them. It may come back and go on from its last cursor.
TOO_SLOW = 4508


class _Closing(Exception):
    """The socket has to be closed, with a code and a reason of the protocol."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Sockets:
    """Accepts WebSockets for the GraphQL endpoints of an application."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._runner = Runner(services)
        self._hosts = Hosts(services.settings.allowed_hosts)
        self._cors = Cors(services.settings.cors_origins)
        self._open = 0

    async def __call__(self, scope: Any, receive: Any, send: Any, slug: str | None = None) -> None:
        """Serve one socket from its handshake to its end."""
        await receive()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = host_of(headers.get(b"host", b""))
        served = host in self._hosts or self._services.directory.bound(host) is not None
        workspace = await self._services.directory.find(slug, host) if served and self._same_site(headers) else None
        if workspace is None:
            await send({"type": "websocket.close", "code": FORBIDDEN})
            return
        if PROTOCOL not in scope.get("subprotocols", ()):
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": NO_PROTOCOL, "reason": "Subprotocol not acceptable"})
            return
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL})
        if self._open >= self._services.settings.max_sockets:
            await send({"type": "websocket.close", "code": TRY_AGAIN, "reason": "Too many sockets: try again later"})
            return
        self._open += 1
        try:
            await Socket(self._services, self._runner, workspace, scope, headers, send).serve(receive)
        finally:
            self._open -= 1

    def _same_site(self, headers: dict[bytes, bytes]) -> bool:
        """Whether the page that opens the socket may: browsers ask no preflight for sockets."""
        origin = headers.get(b"origin")
        if origin is None or self._cors.headers(origin):
            return True
        return urlsplit(origin.decode("latin-1")).netloc.lower() == headers.get(b"host", b"").decode("latin-1").lower()


class Socket:
    """One open socket: who is at its other end, and the operations it has running."""

    def __init__(
        self,
        services: Services,
        runner: Runner,
        workspace: Workspace,
        scope: Any,
        headers: dict[bytes, bytes],
        send: Any,
    ) -> None:
        self._services = services
        self._runner = runner
        self._workspace = workspace
        self._client = scope["client"][0] if scope.get("client") else ""
        self._languages = headers.get(b"accept-language", b"")
        self._traceparent = headers.get(b"traceparent", b"").decode("latin-1")
        self._authorization = headers.get(b"authorization", b"").decode("latin-1")
        self._send = send
        self._token = ""
        self._actor: Actor | None = None
        self._running: dict[str, asyncio.Task[None]] = {}

    async def serve(self, receive: Any) -> None:
        """Answer messages until either side ends it, or the client takes nothing any more."""
        hearing, alive = asyncio.create_task(self._hear(receive)), asyncio.create_task(self._keep_alive())
        try:
            await asyncio.wait((hearing, alive), return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                hearing.result()
        except _Closing as closing:
            await self._close(closing.code, closing.reason)
        except Exception as error:  # noqa: BLE001 - the last line of defence: masked and logged
            refusal = refusal_of(error, new_request_id(), self._workspace.slug)
            await self._close(TRY_AGAIN if refusal.status == 503 else FAULT, refusal.message)
        finally:
            for task in (hearing, alive, *self._running.values()):
                task.cancel()

    async def _hear(self, receive: Any) -> None:
        while True:
            try:
                async with asyncio.timeout(self._patience()):
                    message = await receive()
            except TimeoutError:
                if self._actor is None:
                    raise _Closing(INIT_TIMEOUT, "Init timeout") from None
                raise _Closing(FORBIDDEN, "Token expired") from None
            if message["type"] == "websocket.disconnect":
                return
            await self._heard(self._read(message))

    async def _keep_alive(self) -> None:
        """Keep a silent socket open; returns where the client has stalled and takes nothing any more."""
        with contextlib.suppress(TimeoutError):
            while True:
                await asyncio.sleep(ALIVE_SECONDS)
                if self._actor is not None:
                    async with asyncio.timeout(ALIVE_SECONDS):
                        await self._say({"type": "ping"})

    def _patience(self) -> float | None:
        """Seconds until the socket ends by itself: without a greeting, or when its token expires."""
        if self._actor is None:
            return INIT_SECONDS
        if self._actor.expires_at is None:
            return None
        return max(0.0, (self._actor.expires_at - datetime.now(UTC)).total_seconds())

    def _read(self, message: Any) -> dict[str, Any]:
        text = message.get("text")
        if text is None:
            raise _Closing(BAD_REQUEST, "Only text messages are understood")
        if len(text) > self._services.settings.max_body_bytes:
            raise _Closing(TOO_LARGE, "Message too large")
        try:
            found = load(text.encode(), "message")
        except (Refusal, UnicodeEncodeError):
            raise _Closing(BAD_REQUEST, "Invalid message") from None
        if not isinstance(found, dict) or not isinstance(found.get("type"), str):
            raise _Closing(BAD_REQUEST, "Invalid message")
        return found

    async def _heard(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "connection_init":
                await self._init(message.get("payload"))
            case "ping":
                await self._say({"type": "pong"})
            case "pong":
                pass
            case "subscribe":
                await self._subscribe(message)
            case "complete":
                if (task := self._running.pop(str(message.get("id")), None)) is not None:
                    task.cancel()
            case _:
                raise _Closing(BAD_REQUEST, "Unknown message type")

    async def _init(self, payload: Any) -> None:
        if self._actor is not None:
            raise _Closing(SECOND_INIT, "Too many initialisation requests")
        given = payload if isinstance(payload, dict) else {}
        authorization = given.get("authorization") or given.get("Authorization") or self._authorization
        scheme, _, token = authorization.partition(" ") if isinstance(authorization, str) else ("", "", "")
        self._token = token.strip() if scheme.lower() == "bearer" else ""
        self._actor = await self._authenticate()
        await self._say({"type": "connection_ack"})

    async def _authenticate(self) -> Actor:
        try:
            return await self._services.authenticator.actor(self._workspace, self._token)
        except Unauthenticated as error:
            raise _Closing(FORBIDDEN, error.message[:100]) from None

    async def _subscribe(self, message: dict[str, Any]) -> None:
        if self._actor is None:
            raise _Closing(UNAUTHORIZED, "Unauthorized")
        id_ = message.get("id")
        if not isinstance(id_, str) or not 1 <= len(id_) <= 200 or not isinstance(message.get("payload"), dict):
            raise _Closing(BAD_REQUEST, "Invalid message")
        if id_ in self._running:
            raise _Closing(DUPLICATE_ID, f"Subscriber for {id_} already exists")
        # The token may have been revoked since the last operation.
        self._actor = await self._authenticate()
        most = self._services.settings.max_operations_per_socket
        if len(self._running) >= most:
            refusal = Refusal(429, "LIMIT_EXCEEDED", f"A socket may run {most} operations at once.")
            await self._fail(id_, spoken(refusal.body, self._languages))
            return
        task = asyncio.create_task(self._operate(id_, message["payload"], self._actor))
        self._running[id_] = task

    async def _operate(self, id_: str, payload: dict[str, Any], actor: Actor) -> None:
        began, request_id = time.perf_counter(), new_request_id()
        kind, name, statements = "", "", 0
        codes: tuple[str, ...] = ()
        try:
            bucket = self._services.allowance.take(actor, self._client)
            context = RequestContext(
                self._workspace,
                actor,
                request_id,
                language(self._languages.decode("latin-1"), actor.locale),
                client=self._client,
                extra={**self._services.at_hand, "traceparent": self._traceparent},
            )
            answer = await self._runner.run(context, from_object(payload), renew=self._renew)
            if isinstance(answer, Subscription):
                await self._stream(id_, answer)
                return
            self._services.allowance.charge(bucket, answer.cost)
            kind, name, codes, statements = answer.kind, answer.operation, answer.codes, answer.statements
            body, request_error = answer.body, answer.request_error
        except Exception as error:  # noqa: BLE001 - the last line of defence: masked and logged
            refusal = refusal_of(error, request_id, self._workspace.slug)
            codes, body, request_error = (refusal.code,), refusal.body, True
        if codes:
            body = spoken(body, self._languages)
        # From here on the id may be used again.
        if self._running.get(id_) is asyncio.current_task():
            del self._running[id_]
        if request_error:
            await self._fail(id_, body)
        else:
            await self._say({"id": id_, "type": "next", "payload": orjson.Fragment(body)})
            await self._say({"id": id_, "type": "complete"})
        self._services.answered.note(
            request_id,
            self._workspace,
            actor,
            kind=kind,
            operation=name,
            status=0,
            codes=codes,
            statements=statements,
            seconds=time.perf_counter() - began,
        )

    async def _renew(self) -> Actor:
        return await self._services.authenticator.actor(self._workspace, self._token)

    async def _stream(self, id_: str, subscription: Subscription) -> None:
        """Pass a subscription's events on as fast as the client takes them, until it ends."""
        try:
            async for body in subscription:
                await self._say({"id": id_, "type": "next", "payload": orjson.Fragment(body)})
            await self._say({"id": id_, "type": "complete"})
        except Unauthenticated as error:
            await self._close(FORBIDDEN, error.message[:100])
        except TooSlow:
            await self._close(TOO_SLOW, "Too slow")
        except (CrmError, GraphQLError) as error:
            await self._fail(id_, spoken(refused([graphql_error(error)]).body, self._languages))
        finally:
            subscription.close()
            if self._running.get(id_) is asyncio.current_task():
                del self._running[id_]

    async def _fail(self, id_: str, body: bytes) -> None:
        await self._say({"id": id_, "type": "error", "payload": orjson.loads(body)["errors"]})

    async def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(RuntimeError, OSError):  # the client has gone; its disconnect is on the way
            await self._send({"type": "websocket.send", "text": orjson.dumps(message).decode()})

    async def _close(self, code: int, reason: str) -> None:
        with contextlib.suppress(RuntimeError, OSError):  # and TimeoutError, which is one of them
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
