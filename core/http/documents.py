"""Persisted documents as one process reads them: kept in the workspace, so that restarts and others know them too."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core.context import Workspace
from core.database import Database
from core.documents import AUTOMATIC, PRUNED, TRUSTED_ONLY, bare
from core.schema.composition import Cache

#: Of automatically persisted documents a workspace keeps this many, the newest.
KEPT = 5_000
#: For how long a process trusts what it has read of a workspace's mode.
MODE_SECONDS = 1.0
#: How often the use of a document is noted.
NOTED_SECONDS = 3600.0


@dataclass(slots=True)
class _Mode:
    """What a workspace's settings say of documents, and when this was read; `pruned` is when some were removed."""

    read: float
    trusted_only: bool = False
    pruned: Any = None


class Documents:
    """The documents clients may name instead of sending them.

    Those a team published carry the ids of its manifest; automatically persisted ones their hash.
    """

    def __init__(self, database: Database, cached: int = 1_000) -> None:
        self._database = database
        self._texts: Cache[str] = Cache(cached)
        self._modes: dict[UUID, _Mode] = {}
        self._noted: Cache[float] = Cache(cached)

    async def published(self, workspace: Workspace, id_: str) -> str | None:
        """The document with an id of a manifest; with or without the prefix `sha256:`."""
        key = bare(id_)
        found = await self._read(workspace, key) if key and not key.startswith(AUTOMATIC) else None
        if found is not None:
            await self._note(workspace, key)
        return found

    async def automatic(self, workspace: Workspace, hash_: str) -> str | None:
        """The document with a SHA-256, whether a client or a team left it here."""
        return await self._read(workspace, AUTOMATIC + hash_) or await self.published(workspace, hash_)

    async def keep(self, workspace: Workspace, hash_: str, text: str) -> None:
        """Keep a document that a client sent with its hash; the oldest over `KEPT` go."""
        key = AUTOMATIC + hash_
        if self._texts.get((workspace.id, key)) is not None:
            return
        await self._database.pool(workspace).execute(
            "with kept as (insert into persisted_document (hash, text) values ($1, $2) on conflict do nothing) "
            "delete from persisted_document where hash in (select hash from persisted_document "
            "where starts_with(hash, $3) order by at desc offset $4)",
            key,
            text,
            AUTOMATIC,
            KEPT,
        )
        self._texts.put((workspace.id, key), text)

    async def trusted_only(self, workspace: Workspace) -> bool:
        """Whether the workspace runs published documents only; a change is seen within a second.

        Documents that were removed meanwhile are forgotten here.
        """
        known, now = self._modes.get(workspace.id), time.monotonic()
        if known is not None and now - known.read < MODE_SECONDS:
            return known.trusted_only
        rows = await self._database.pool(workspace).fetch(
            "select key, value from workspace_setting where key = any($1)", [TRUSTED_ONLY, PRUNED]
        )
        found = {row["key"]: row["value"] for row in rows}
        mode = self._modes[workspace.id] = _Mode(now, bool(found.get(TRUSTED_ONLY)), found.get(PRUNED))
        if known is not None and known.pruned != mode.pruned:
            # Of other workspaces too: it happens seldom, and reading them again costs a statement each.
            self._texts, self._noted = Cache(self._texts.size), Cache(self._noted.size)
        return mode.trusted_only

    async def _read(self, workspace: Workspace, key: str) -> str | None:
        known = self._texts.get((workspace.id, key))
        if known is None:
            known = await self._database.pool(workspace).fetchval(
                "select text from persisted_document where hash = $1", key
            )
            if known is not None:
                self._texts.put((workspace.id, key), known)
        return known

    async def _note(self, workspace: Workspace, key: str) -> None:
        """Note that a document is in use, so that it is not taken for one that can go."""
        now = time.monotonic()
        if (noted := self._noted.get((workspace.id, key))) is not None and now - noted < NOTED_SECONDS:
            return
        self._noted.put((workspace.id, key), now)
        await self._database.pool(workspace).execute(
            "update persisted_document set used_at = now() where hash = $1 "
            "and (used_at is null or used_at < now() - $2 * interval '1 second')",
            key,
            NOTED_SECONDS,
        )
