"""The GraphQL API for commands: the same operations as over HTTP, in this process, without a server.

A plugin adds a command by an entry point of the group `crm.commands`, named as the command, that leads to a function
for Typer; it is imported only when it is asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.context import Actor, ActorKind, RequestContext, Workspace
from core.errors import BadInput, NotFound

if TYPE_CHECKING:
    from core.database import Database
    from core.features import Features
    from core.files import Upload

_POLL = 0.2


@dataclass(frozen=True, slots=True)
class Terminal:
    """Asks one workspace, as the system or as one of its users."""

    database: Database
    features: Features
    context: RequestContext

    async def ask(self, query: str, **variables: Any) -> Any:
        """The one root field of an operation. Raises BadInput with the messages of whatever was refused."""
        import orjson  # noqa: PLC0415

        from core.schema.execute import run  # noqa: PLC0415
        from core.schema.mutate import Mutator  # noqa: PLC0415

        workspace = self.context.workspace
        pool = self.database.pool(workspace)
        answer = await run(
            await self.features.composition(workspace),
            self.context,
            lambda text, values: pool.fetchval(text, *values),
            query,
            variables,
            mutate=Mutator(lambda: self.database.transaction(workspace)),
        )
        told = orjson.loads(answer.body)
        if "errors" in told:
            raise BadInput("; ".join(e["message"] for e in told["errors"]))
        found = next(iter(told["data"].values()))
        if isinstance(found, dict) and found.get("userErrors"):
            raise BadInput("; ".join(e["message"] for e in found["userErrors"]))
        return found

    @asynccontextmanager
    async def upload(self, path: Path) -> AsyncIterator[Upload]:
        """A file as an argument of type `Upload`, for the block."""
        from core.files import Upload, safe_name  # noqa: PLC0415

        kept = self.context.extra["files"].draft()
        try:
            await asyncio.to_thread(shutil.copyfile, path, kept)
            digest = await asyncio.to_thread(_digest, kept)
            yield Upload(safe_name(path.name), "application/octet-stream", kept.stat().st_size, digest, kept)
        finally:
            kept.unlink(missing_ok=True)

    async def finished(self, job_id: str) -> Any:
        """A job's `status`, `error`, `result` and `counts` once it has ended, done by this process if by no other."""
        from core.worker import Worker  # noqa: PLC0415

        stop = asyncio.Event()
        working = asyncio.create_task(Worker(self.database, self.features).run(stop))
        try:
            while not working.done():
                job = await self.ask("query($id: ID!) { job(id: $id) { status error result counts } }", id=job_id)
                if job is None or job["status"] not in ("QUEUED", "RUNNING"):
                    return job
                await asyncio.sleep(_POLL)
        finally:
            stop.set()
            await working
        raise BadInput("the job was broken off")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@asynccontextmanager
async def terminal(workspace: str | None = None, login: str | None = None) -> AsyncIterator[Terminal]:
    """Open the deployment for a command: a workspace by slug (the default one), as a user or as the system.

    Raises NotFound for a workspace or a user that is not there, ConfigError and DatabaseError.
    """
    from core.actors import find_actor  # noqa: PLC0415
    from core.commands.console import deployment  # noqa: PLC0415
    from core.files import FileStore  # noqa: PLC0415
    from core.grants import SYSTEM  # noqa: PLC0415

    async with deployment() as opened:
        found: Workspace = await opened.workspace(workspace)
        actor: Actor | None = Actor(ActorKind.SYSTEM, SYSTEM)
        if login is not None:
            pool = opened.database.pool(found)
            user_id = await pool.fetchval(
                "select id from app_user where lower(login) = lower($1) and active and deleted_at is null", login
            )
            actor = user_id and await find_actor(lambda text, values: pool.fetchval(text, *values), user_id)
        if actor is None:
            raise NotFound(f"there is no user {login}")
        locale = actor.locale if actor.user_id else found.locale
        extra = {"files": FileStore(opened.settings)}
        yield Terminal(opened.database, opened.features, RequestContext(found, actor, locale=locale, extra=extra))
