"""Downloading a file by its signed link."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from core import clock
from core.context import Workspace
from core.errors import NotFound
from core.http.cors import Cors
from core.http.exchange import new_request_id
from core.http.refusal import Refusal
from core.http.runner import refusal_of
from core.http.services import Services
from core.log import logger
from core.schema.where import uuid_or_none

LOG = logger("crm.files")
_HEADERS = {
    "cache-control": "private, no-store",
    "content-security-policy": "default-src 'none'; sandbox",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Downloads:
    """Answers `GET /files/<workspace>/<file>?expires=…&signature=…`; the link is all that is asked for.

    403 where it is not one of ours, 410 where it or the file has expired, 404 where there is no such file.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._cors = Cors(services.settings.cors_origins)

    async def answer(self, request: Request) -> Response:
        """Answer one request, ranges too; whatever is refused is refused as JSON."""
        began, request_id = time.perf_counter(), new_request_id()
        services = self._services
        workspace: Workspace | None = None
        codes: tuple[str, ...] = ()
        try:
            workspace = await services.directory.find(str(request.path_params["slug"]))
            response = await self._found(request, workspace)
        except Exception as error:  # noqa: BLE001 - the last line of defence: masked and logged
            refusal = refusal_of(error, request_id, workspace.slug if workspace else "")
            response = Response(refusal.body, refusal.status, media_type="application/json")
            codes = (refusal.code,)
        response.headers.update(_HEADERS)
        if self._cors.on:
            origin = request.headers.get("origin")
            for name, value in self._cors.headers(origin.encode("latin-1") if origin else None):
                response.headers[name.decode()] = value.decode("latin-1")
            response.headers.add_vary_header("origin")
        services.answered.note(
            request_id,
            workspace,
            None,
            kind="download",
            operation="",
            status=response.status_code,
            codes=codes,
            statements=0 if codes else 1,
            seconds=time.perf_counter() - began,
        )
        return response

    async def _found(self, request: Request, workspace: Workspace | None) -> Response:
        services = self._services
        file_id = uuid_or_none(request.path_params["file"])
        until, signature = request.query_params.get("expires", ""), request.query_params.get("signature", "")
        # A workspace that is not there is told from others by nobody who has no link.
        if workspace is None or file_id is None or not services.files.signed(workspace, file_id, until, signature):
            raise Refusal(403, "FORBIDDEN", "This link was not made here, or has been changed.")
        now = clock.now()
        if now.timestamp() > int(until):
            raise Refusal(410, "LINK_EXPIRED", "This link has expired; ask for a new one.")
        files = services.files.of(workspace)
        async with services.database.connection(workspace) as connection:
            file = await files.find(connection, file_id)
        if file.expired(now):
            raise Refusal(410, "FILE_EXPIRED", "This file is no longer kept.")
        path = files.path(file_id)
        if not path.is_file():
            LOG.error("file_missing", workspace=workspace.slug, file=str(file_id))
            raise NotFound("there is no such file", id=str(file_id))
        return FileResponse(path, media_type=file.content_type, filename=file.name)
