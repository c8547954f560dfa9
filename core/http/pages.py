"""What is served besides GraphQL: the front page, GraphiQL, the schema, health and metrics."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from html import escape
from importlib.metadata import version
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from core.context import Workspace
from core.errors import Unauthenticated
from core.http.gauges import Gauges
from core.http.health import Health
from core.http.metrics import Sharing
from core.http.services import Services

STATIC = Path(__file__).parent.parent / "static"
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'; object-src 'none'"
)
SECURITY = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_FRONT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>headless-crm</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/page.css"></head>
<body><main><h1>headless-crm {version}</h1>
<p>Workspace <b>{workspace}</b>: one GraphQL endpoint at <code>POST {base}/graphql</code>.</p>
<ul>{links}</ul><h2>Plugins</h2><p>{plugins}</p></main></body></html>
"""


class Pages:
    """The pages of one application."""

    def __init__(self, services: Services, gauges: Gauges, sharing: Sharing) -> None:
        self._services = services
        self._health = Health(services)
        self._gauges = gauges
        self._sharing = sharing

    async def front(self, request: Request) -> Response:
        """A small page: version, workspace, plugins that are on, and where to go from here."""
        workspace = await self._services.directory.find(None, request.url.hostname or "")
        if workspace is None:
            return HTMLResponse(_page("none yet", "", [], []), headers=SECURITY)
        links = [("/schema.graphql", "Schema (SDL)"), ("/readyz", "State"), ("/metrics", "Metrics")]
        if not self._services.settings.production:
            links.insert(0, ("/graphql", "GraphiQL, with the docs of every type"))
        composition = await self._services.features.composition(workspace)
        plugins = [p.name for p in composition.hooks.plugins]
        return HTMLResponse(_page(workspace.slug, "", links, plugins), headers=SECURITY)

    async def schema(self, request: Request) -> Response:
        """The schema of a workspace in the definition language; in production for those signed in."""
        slug = request.path_params.get("slug")
        workspace = await self._services.directory.find(slug, request.url.hostname or "")
        if workspace is None:
            raise HTTPException(404, "There is no such workspace.")
        if self._services.settings.production:
            await self._demand_signed_in(request, workspace)
        sdl = (await self._services.features.composition(workspace)).sdl
        etag = f'"{hashlib.sha256(sdl.encode()).hexdigest()[:32]}"'
        headers = {"etag": etag, "cache-control": "no-cache", "x-content-type-options": "nosniff"}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return PlainTextResponse(sdl, headers=headers)

    async def alive(self, _request: Request) -> Response:
        """The process answers; nothing else is asked."""
        return JSONResponse({"status": "alive"}, headers={"cache-control": "no-store"})

    async def ready(self, request: Request) -> Response:
        """200 where requests can be served, 503 where not; the state of each part for those who may know it."""
        ready, parts = await self._health.ready()
        shown = parts if self._may_look(request) else {"status": parts["status"]}
        return JSONResponse(shown, 200 if ready else 503, {"cache-control": "no-store"})

    async def metrics(self, request: Request) -> Response:
        """What the processes of this server count, for Prometheus."""
        if not self._may_look(request):
            if self._services.settings.metrics_token is None:
                raise HTTPException(403, "Set CRM_METRICS_TOKEN to read the metrics from another machine.")
            raise HTTPException(401, "Send the token of CRM_METRICS_TOKEN.", {"www-authenticate": "Bearer"})
        text = self._sharing.text(await self._gauges.common())
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    def _may_look(self, request: Request) -> bool:
        """Whether a request may see how this server is: with the token of the settings, else from this machine."""
        token = self._services.settings.metrics_token
        if token is not None:
            given = request.headers.get("authorization", "").encode()
            return hmac.compare_digest(given, b"Bearer " + token.get_secret_value().encode())
        try:
            return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
        except ValueError:
            return False

    async def _demand_signed_in(self, request: Request, workspace: Workspace) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            actor = await self._services.authenticator.actor(
                workspace, token.strip() if scheme.lower() == "bearer" else None
            )
        except Unauthenticated as error:
            raise HTTPException(401, error.message, {"www-authenticate": "Bearer"}) from None
        if actor.user_id is None:
            raise HTTPException(401, "Sign in first.", {"www-authenticate": "Bearer"})


def _page(workspace: str, base: str, links: list[tuple[str, str]], plugins: list[str]) -> str:
    return _FRONT.format(
        version=escape(version("headless-crm")),
        workspace=escape(workspace),
        base=escape(base),
        links="".join(f'<li><a href="{escape(url)}">{escape(words)}</a></li>' for url, words in links),
        plugins=escape(", ".join(plugins)) or "none",
    )


def graphiql() -> Response:
    """The page of GraphiQL."""
    return HTMLResponse((STATIC / "graphiql" / "graphiql.html").read_bytes(), headers={**SECURITY, "vary": "accept"})
