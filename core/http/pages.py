"""What is served besides GraphQL: the front page, GraphiQL, the schema, health and metrics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from html import escape
from importlib.metadata import version
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from core.context import Workspace
from core.errors import Unauthenticated
from core.http.health import Health
from core.http.services import Services
from core.schema.composition import Composition

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

    def __init__(self, services: Services) -> None:
        self._services = services
        self._health = Health(services)

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

    async def ready(self, _request: Request) -> Response:
        """200 where requests can be served, 503 where not; the state of each part in either case."""
        ready, parts = await self._health.ready()
        return JSONResponse(parts, 200 if ready else 503, {"cache-control": "no-store"})

    async def metrics(self, _request: Request) -> Response:
        """The counters of this process for Prometheus."""
        workspace = await self._services.directory.find(None)
        composition = await self._services.features.composition(workspace) if workspace else None
        text = self._services.metrics.text(self._gauges(composition))
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    def _gauges(self, composition: Composition | None) -> Iterator[tuple[str, str, dict[str, str], float]]:
        budget = self._services.database.budget
        yield "crm_connections", "Database connections this process holds.", {}, budget.used
        yield "crm_connections_limit", "Database connections this process may hold.", {}, budget.limit
        yield "crm_pools", "Workspaces with open connections.", {}, len(budget.pools)
        yield "crm_workspaces", "Workspaces of the deployment.", {}, len(self._services.directory.all())
        if composition is not None:
            cached = composition.documents
            yield "crm_documents_cached", "Documents ready to run in the default workspace.", {}, len(cached)
            yield "crm_document_hits", "Requests whose document was ready.", {}, cached.hits
            yield "crm_document_misses", "Requests whose document had to be prepared.", {}, cached.misses

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
