"""Published documents of a workspace: what may be in a manifest, how it gets into the database and out again.

Documents that clients left by themselves (automatic persisted queries) are in the same table under keys that begin
with `apq:`; nothing here sees them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from graphql import GraphQLSchema

from core.errors import BadInput
from core.pool import Connection
from core.schema.document import prepare
from core.schema.measure import Limits

#: What the keys of automatically persisted documents begin with.
AUTOMATIC = "apq:"
#: Whether a workspace runs nothing but published documents, and when some were last removed, by key of its settings.
TRUSTED_ONLY, PRUNED = "trusted_documents_only", "documents_pruned"
#: Most published documents of a workspace, and most bytes of a manifest's file.
MOST, LARGEST = 20_000, 50_000_000
LONGEST_ID = 200
#: The digests that manifests name documents by: of graphql-codegen, of Relay, and of both when asked for the best.
_DIGESTS = {64: "sha256", 40: "sha1", 32: "md5"}
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a document of a manifest cannot be published."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Published:
    """How many documents a manifest had, and how many of them were new."""

    total: int
    added: int


@dataclass(frozen=True, slots=True)
class Listed:
    """One published document: its id, the names of its operations, its length, when it was published and last used.

    `used_at` is to within an hour, None where it was never used.
    """

    id: str
    operations: tuple[str, ...]
    characters: int
    published_at: datetime
    used_at: datetime | None


def bare(id_: str) -> str:
    """The id under which a document is kept: `sha256:` may stand before it or not."""
    return id_.removeprefix("sha256:")


def read_manifest(data: bytes) -> dict[str, str]:
    """The documents of a manifest's file by id.

    It is a JSON object of ids and texts, as graphql-codegen and Relay write it, or Apollo's format with
    `operations`. Raises BadInput for anything else.
    """
    if len(data) > LARGEST:
        raise BadInput(f"the manifest is larger than {LARGEST} bytes")
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"the manifest is not JSON: {error}") from None
    if isinstance(found, dict) and found.get("format") == "apollo-persisted-query-manifest":
        operations = found.get("operations")
        if not isinstance(operations, list) or not all(isinstance(o, dict) for o in operations):
            raise BadInput("the manifest's operations are not a list of objects")
        found = {str(o.get("id")): o.get("body") for o in operations}
    return checked(found)


def checked(manifest: Any) -> dict[str, str]:
    """A manifest that is an object of texts. Raises BadInput."""
    if not isinstance(manifest, dict) or not all(isinstance(text, str) for text in manifest.values()):
        raise BadInput("the manifest is not an object of ids and texts of documents")
    return manifest


async def faults(schema: GraphQLSchema, limits: Limits, manifest: Mapping[str, str]) -> list[Fault]:
    """What is wrong with the documents of a manifest, one fault each; computed in a thread."""
    return await asyncio.to_thread(
        lambda: [f for id_, text in manifest.items() if (f := _fault(schema, limits, id_, text))]
    )


def _fault(schema: GraphQLSchema, limits: Limits, id_: str, text: str) -> Fault | None:
    key = bare(id_)
    if not key or len(id_) > LONGEST_ID or not (id_.isascii() and id_.isprintable()) or " " in id_ or ":" in key:
        return Fault(id_[:LONGEST_ID], f"an id is 1 to {LONGEST_ID} visible characters without colons")
    digest = _DIGESTS.get(len(key)) if set(key) <= _HEX else None
    if key != id_ and digest != "sha256":
        return Fault(id_, "sha256: stands before 64 hexadecimal digits")
    if digest and hashlib.new(digest, text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest() != key:
        return Fault(id_, f"it is not the {digest} of its document")
    if "\0" in text:
        return Fault(id_, "the document holds NUL")
    prepared = prepare(schema, text, limits)
    if prepared.errors:
        error = prepared.errors[0]
        place = f"line {error.locations[0].line}, column {error.locations[0].column}: " if error.locations else ""
        return Fault(id_, place + error.message)
    return None if prepared.operations else Fault(id_, "the document has no operation")


async def publish(connection: Connection, manifest: Mapping[str, str]) -> Published:
    """Keep the documents of a manifest without `faults`; those that are there already count as published anew.

    Raises BadInput where an id names another document already, or the workspace would have more than `MOST`.
    """
    rows = {bare(id_): text for id_, text in manifest.items()}
    ids, texts = list(rows), list(rows.values())
    other = await connection.fetchval(
        "select d.hash from unnest($1::text[], $2::text[]) m (id, text) join persisted_document d on d.hash = m.id "
        "where d.text <> m.text order by 1 limit 1",
        ids,
        texts,
    )
    if other is not None:
        raise BadInput(f"the id {other} names another document already: an id is for one text only", id=other)
    added = await connection.fetchval(
        "with kept as (insert into persisted_document as d (hash, text) select * from unnest($1::text[], $2::text[]) "
        "on conflict (hash) do update set at = now() returning xmax = 0 as added) "
        "select count(*) filter (where added) from kept",
        ids,
        texts,
    )
    if added and await connection.fetchval(f"select count(*) > $2 from ({_PUBLISHED}) d", AUTOMATIC, MOST):
        raise BadInput(f"a workspace has {MOST} published documents at most: prune those out of use")
    return Published(len(rows), added)


_PUBLISHED = "select hash, text, at, used_at from persisted_document where not starts_with(hash, $1)"


async def listed(connection: Connection, schema: GraphQLSchema, limits: Limits) -> list[Listed]:
    """The published documents, the latest first."""
    rows = await connection.fetch(f"{_PUBLISHED} order by at desc, hash", AUTOMATIC)
    names = await asyncio.to_thread(lambda: [_operations(schema, limits, row["text"]) for row in rows])
    return [
        Listed(row["hash"], name, len(row["text"]), row["at"], row["used_at"])
        for row, name in zip(rows, names, strict=True)
    ]


def _operations(schema: GraphQLSchema, limits: Limits, text: str) -> tuple[str, ...]:
    return tuple(sorted(prepare(schema, text, limits).operations))


async def prune(connection: Connection, age: timedelta, keep: Sequence[str] = ()) -> int:
    """Remove published documents that were neither published nor used for so long, but for those to keep by id.

    Returns how many. Every process forgets them within a second.
    """
    removed = await connection.fetch(
        "delete from persisted_document where not starts_with(hash, $1) and hash <> all($3::text[]) "
        "and greatest(at, used_at) < now() - $2::interval returning hash",
        AUTOMATIC,
        age,
        [bare(id_) for id_ in keep],
    )
    if removed:
        await _set(connection, PRUNED, str(await connection.fetchval("select clock_timestamp()::text")))
    return len(removed)


async def trust_only(connection: Connection, on: bool) -> None:
    """Run nothing but published documents in the workspace, or any again; every process follows within a second.

    Raises BadInput where it would leave clients nothing to run.
    """
    if on and not await connection.fetchval(f"select exists ({_PUBLISHED})", AUTOMATIC):
        raise BadInput("no document is published yet: publish a manifest first")
    await _set(connection, TRUSTED_ONLY, on)


async def trusted_only(connection: Connection) -> bool:
    """Whether the workspace runs nothing but published documents."""
    return bool(await connection.fetchval("select value from workspace_setting where key = $1", TRUSTED_ONLY))


async def _set(connection: Connection, key: str, value: Any) -> None:
    await connection.execute(
        "insert into workspace_setting (key, value) values ($1, $2) on conflict (key) do update "
        "set value = excluded.value",
        key,
        value,
    )
