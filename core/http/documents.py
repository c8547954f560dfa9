"""Persisted documents: kept in the workspace, so that restarts and other processes know them too."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from uuid import UUID

from core.context import Workspace
from core.database import Database
from core.errors import BadInput
from core.schema.composition import Cache

#: Of automatically persisted documents a workspace keeps this many, the newest.
KEPT = 5_000
#: For how long a process trusts what it has read of a workspace's mode.
MODE_SECONDS = 1.0
_SETTING = "trusted_documents_only"
_AUTOMATIC = "apq:"


class Documents:
    """The documents clients may name instead of sending them.

    Those a team published carry the ids of its manifest; automatically persisted ones their hash.
    """

    def __init__(self, database: Database, cached: int = 1_000) -> None:
        self._database = database
        self._texts: Cache[str] = Cache(cached)
        self._modes: dict[UUID, tuple[float, bool]] = {}

    async def published(self, workspace: Workspace, id_: str) -> str | None:
        """The document with an id of a manifest; with or without the prefix `sha256:`."""
        bare = id_.removeprefix("sha256:")
        return await self._read(workspace, bare) if bare and not bare.startswith(_AUTOMATIC) else None

    async def automatic(self, workspace: Workspace, hash_: str) -> str | None:
        """The document with a SHA-256, whether a client or a team left it here."""
        return await self._read(workspace, _AUTOMATIC + hash_) or await self._read(workspace, hash_)

    async def keep(self, workspace: Workspace, hash_: str, text: str) -> None:
        """Keep a document that a client sent with its hash; the oldest over `KEPT` go."""
        key = _AUTOMATIC + hash_
        if self._texts.get((workspace.id, key)) is not None:
            return
        await self._database.pool(workspace).execute(
            "with kept as (insert into persisted_document (hash, text) values ($1, $2) on conflict do nothing) "
            "delete from persisted_document where hash in (select hash from persisted_document "
            "where starts_with(hash, $3) order by at desc offset $4)",
            key,
            text,
            _AUTOMATIC,
            KEPT,
        )
        self._texts.put((workspace.id, key), text)

    async def publish(self, workspace: Workspace, manifest: Mapping[str, str]) -> int:
        """Store the documents of a code generator's manifest (id -> text); returns how many were new.

        Raises BadInput where an id that is a SHA-256 is not that of its text.
        """
        rows = []
        for id_, text in manifest.items():
            bare = id_.removeprefix("sha256:")
            if id_.startswith("sha256:") and hashlib.sha256(text.encode()).hexdigest() != bare:
                raise BadInput(f"the document {id_} does not have that hash", document=id_)
            rows.append((bare, text))
        async with self._database.transaction(workspace) as connection:
            added = await connection.fetch(
                "insert into persisted_document (hash, text) select * from unnest($1::text[], $2::text[]) "
                "on conflict do nothing returning hash",
                [r[0] for r in rows],
                [r[1] for r in rows],
            )
        return len(added)

    async def trusted_only(self, workspace: Workspace) -> bool:
        """Whether the workspace runs published documents only; a change is seen within a second."""
        known = self._modes.get(workspace.id)
        now = time.monotonic()
        if known is not None and now - known[0] < MODE_SECONDS:
            return known[1]
        value = await self._database.pool(workspace).fetchval(
            "select value = 'true'::jsonb from workspace_setting where key = $1", _SETTING
        )
        self._modes[workspace.id] = (now, bool(value))
        return bool(value)

    async def trust_only(self, workspace: Workspace, on: bool) -> None:
        """Switch the mode in which only published documents run."""
        await self._database.pool(workspace).execute(
            "insert into workspace_setting (key, value) values ($1, $2) "
            "on conflict (key) do update set value = excluded.value",
            _SETTING,
            on,
        )
        self._modes.pop(workspace.id, None)

    async def _read(self, workspace: Workspace, key: str) -> str | None:
        known = self._texts.get((workspace.id, key))
        if known is None:
            known = await self._database.pool(workspace).fetchval(
                "select text from persisted_document where hash = $1", key
            )
            if known is not None:
                self._texts.put((workspace.id, key), known)
        return known
