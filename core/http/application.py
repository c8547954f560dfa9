"""The ASGI application: GraphQL straight to its endpoint, everything else through Starlette."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from core import tracing
from core.http.downloads import Downloads
from core.http.endpoint import Endpoint
from core.http.gauges import Gauges
from core.http.hosts import Hosts, host_of
from core.http.metrics import Sharing
from core.http.pages import STATIC, Pages, graphiql
from core.http.services import Services
from core.http.socket import Sockets
from core.settings import Settings

Open = Callable[[Settings], Awaitable[Services]]


class Application:
    """The application of one process. Its lifespan opens and closes what it stands on.

    `open_services` is what to open; tests give their own.
    """

    def __init__(self, settings: Settings, open_services: Open) -> None:
        self.settings = settings
        self.services: Services | None = None
        self._open = open_services
        self._hosts = Hosts(settings.allowed_hosts)
        self._endpoint: Endpoint | None = None
        self._sockets: Sockets | None = None
        self._pages = Starlette(lifespan=self._lifespan)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one ASGI scope."""
        graphql = self._endpoint if scope["type"] == "http" else self._sockets
        if graphql is not None and scope["type"] != "lifespan":
            path: str = scope["path"]
            if path in ("/graphql", "/graphql/"):
                await graphql(scope, receive, send)
                return
            if path.startswith("/w/"):
                slug, _, rest = path[3:].partition("/")
                if rest in ("graphql", "graphql/"):
                    await graphql(scope, receive, send, slug)
                    return
            if scope["type"] == "http" and not self._serves(scope, path):
                await PlainTextResponse("This host name is not served here.", 400)(scope, receive, send)
                return
        await self._pages(scope, receive, send)

    def _serves(self, scope: Any, path: str) -> bool:
        """Whether the request's host name is one of ours; probes may use any."""
        if self._hosts.any or path in ("/healthz", "/readyz"):
            return True
        host = host_of(dict(scope["headers"]).get(b"host", b""))
        return host in self._hosts or (self.services is not None and self.services.directory.bound(host) is not None)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        tracing.start(self.settings)
        services = self.services = await self._open(self.settings)
        gauges = Gauges(services)
        sharing = Sharing(services.answered.meters, self.settings.metrics_dir, gauges.process)
        try:
            sharing.start()
            self._sockets = Sockets(services)
            self._endpoint = Endpoint(services, None if self.settings.production else graphiql())
            app.router.routes[:] = _routes(Pages(services, gauges, sharing), Downloads(services))
            yield
        finally:
            self._endpoint = self._sockets = None
            await sharing.close()
            await services.close()
            self.services = None
            await asyncio.to_thread(tracing.stop)


class _Static(StaticFiles):
    """Files that browsers take for what their type says."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["x-content-type-options"] = "nosniff"
        return response


def _routes(pages: Pages, downloads: Downloads) -> list[Route | Mount]:
    return [
        Route("/", pages.front),
        Route("/schema.graphql", pages.schema),
        Route("/w/{slug}/schema.graphql", pages.schema),
        Route("/healthz", pages.alive),
        Route("/readyz", pages.ready),
        Route("/metrics", pages.metrics),
        Route("/files/{slug}/{file}", downloads.answer),
        Mount("/static", _Static(directory=STATIC)),
    ]
