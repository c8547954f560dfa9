"""Published documents in GraphQL: publishing a manifest, looking at what is published, running nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from core import documents
from core.contributions import Operations
from core.errors import BadInput, Refused, UserError
from core.messages import text
from core.operations import Argument, Ask, Call, Member, Mutation, ObjectType, Payload, Query
from core.schema.measure import Limits

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from core.features import Features

ABILITY = "settings"
#: Faults of a manifest that an answer names; the rest are found once these are mended.
MOST_FAULTS = 50

DOCUMENT = ObjectType(
    "PublishedDocument",
    "A GraphQL document that clients name by its id instead of sending it.",
    (
        Member("id", "ID!", "Its id in the manifest, without `sha256:`."),
        Member("operations", "[String!]!", "The names of its operations; none where it no longer fits the schema."),
        Member("characters", "Int!", "How long it is."),
        Member("publishedAt", "DateTime!", "When it was last published."),
        Member("usedAt", "DateTime", "When it was last used, to within an hour; null where it never was."),
    ),
)


def operations_of(features: Features) -> Operations:
    """The queries and mutations on documents of one process."""

    def limits() -> Limits:
        return Limits.of(features.settings) if features.settings else Limits()

    async def published(ask: Ask) -> list[dict[str, Any]]:
        workspace = ask.context.workspace
        schema = (await features.composition(workspace)).schema
        async with features.database.connection(workspace) as connection:
            found = await documents.listed(connection, schema, limits())
        return [
            {
                "id": d.id,
                "operations": list(d.operations),
                "characters": d.characters,
                "publishedAt": d.published_at,
                "usedAt": d.used_at,
            }
            for d in found
        ]

    async def trusted_only(ask: Ask) -> bool:
        async with features.database.connection(ask.context.workspace) as connection:
            return await documents.trusted_only(connection)

    async def publish(call: Call) -> Payload:
        context = call.context
        try:
            manifest = documents.checked(call.input["manifest"])
        except BadInput as error:
            raise _refused("manifest", error) from None
        schema = (await features.composition(context.workspace)).schema
        if found := await documents.faults(schema, limits(), manifest):
            raise Refused(
                [
                    UserError(
                        ("input", "manifest", fault.id),
                        "INVALID",
                        text("document_fault", context.locale, id=fault.id, reason=fault.reason),
                        {"id": fault.id, "reason": fault.reason},
                    )
                    for fault in found[:MOST_FAULTS]
                ]
            )
        done = await _refusing("manifest", documents.publish(call.changes.connection, manifest))
        return Payload({"total": done.total, "added": done.added})

    async def prune(call: Call) -> Payload:
        days, keep = call.input["unusedDays"], call.input.get("keep") or ()
        if not 0 <= days <= 36_500:
            raise _refused("unusedDays", BadInput("0 to 36500 days"))
        removed = await documents.prune(call.changes.connection, timedelta(days=days), keep)
        return Payload({"removed": removed})

    async def trust(call: Call) -> Payload:
        await _refusing("only", documents.trust_only(call.changes.connection, call.input["only"]))
        return Payload({"only": call.input["only"]})

    return Operations(
        queries=(
            Query(
                "publishedDocuments",
                "The documents that clients may run by their ids, the latest first. Needs: settings.",
                "[PublishedDocument!]!",
                published,
                ability=ABILITY,
            ),
            Query(
                "trustedDocumentsOnly",
                "Whether the workspace runs nothing but published documents. Needs: settings.",
                "Boolean!",
                trusted_only,
                ability=ABILITY,
            ),
        ),
        mutations=(
            Mutation(
                "documentsPublish",
                "Publishes the documents of a code generator's manifest: all of them, or none where one is faulty.",
                publish,
                (
                    Argument(
                        "manifest",
                        "JSON!",
                        "Texts of documents by id. An id is the SHA-256 of its text, with or without `sha256:` before "
                        "it, its SHA-1 or MD5, or a name of one's own; those that are digests are checked.",
                    ),
                ),
                (
                    Member("total", "Int", "How many documents it has; null where it was refused."),
                    Member("added", "Int", "How many of them were not published yet; null where it was refused."),
                ),
                ability=ABILITY,
            ),
            Mutation(
                "documentsPrune",
                "Removes published documents that nobody needs any more; clients that name them are refused.",
                prune,
                (
                    Argument("unusedDays", "Int!", "Those neither published nor used for so many days go."),
                    Argument("keep", "[ID!]", "Ids of documents that stay all the same."),
                ),
                (Member("removed", "Int", "How many were removed; null where it was refused."),),
                ability=ABILITY,
            ),
            Mutation(
                "documentsTrust",
                "Makes the workspace run nothing but published documents, or any again. Followed within a second.",
                trust,
                (Argument("only", "Boolean!", "Whether to run published documents only."),),
                (Member("only", "Boolean", "How it is now; null where it was refused."),),
                ability=ABILITY,
            ),
        ),
        objects=(DOCUMENT,),
    )


async def _refusing(name: str, work: Awaitable[Any]) -> Any:
    """The result of some work, its BadInput as a fault of a member of the input."""
    try:
        return await work
    except BadInput as error:
        raise _refused(name, error) from error


def _refused(name: str, error: BadInput) -> Refused:
    return Refused([UserError(("input", name), "INVALID", error.message, error.params)])
