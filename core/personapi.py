"""Erasing a person in GraphQL: `personErase`, which `dryRun` shows beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from core.contributions import Operations
from core.errors import BadInput, Refused, UserError
from core.files import files_of
from core.operations import Argument, Call, InputType, Member, Mutation, ObjectType, Payload
from core.person import Place, erase

ABILITY = "erase_persons"

RECORD = InputType(
    "PersonRecordInput",
    "A record of a person, such as a customer.",
    (
        Argument("type", "String!", "Its record type, such as `Customer`, `Contact` or `User`."),
        Argument("id", "ID!", "Its id."),
    ),
)
PLACE = ObjectType(
    "ErasedPlace",
    "Where something of a person was erased, or is left. It does not say what.",
    (
        Member("table", "String!", "The table."),
        Member("rows", "Int!", "How many of its rows."),
        Member("fields", "[String!]!", "Which of its fields or columns."),
    ),
)


async def _erase(call: Call) -> Payload:
    values: Sequence[str] = call.input.get("values") or ()
    given: Sequence[Mapping[str, Any]] = call.input.get("records") or ()
    if not values and not given:
        raise _refused("say whom: by values or by records")
    records: dict[str, list[UUID]] = {}
    try:
        for record in given:
            records.setdefault(record["type"], []).append(UUID(record["id"]))
    except ValueError:
        raise _refused("an id is no UUID") from None
    try:
        done = await erase(call.changes, files_of(call.context), values, records)
    except BadInput as error:
        raise _refused(error.message) from None
    return Payload(
        {
            "records": sum(done.records.values()),
            "files": done.files,
            "erased": [_shown(place) for place in done.places],
            "left": [_shown(place) for place in done.left],
        }
    )


def _shown(place: Place) -> dict[str, Any]:
    return {"table": place.table, "rows": place.rows, "fields": list(place.fields)}


def _refused(message: str) -> Refused:
    return Refused([UserError(("input",), "INVALID", message)])


OPERATIONS = Operations(
    mutations=(
        Mutation(
            "personErase",
            "Erases what the workspace knows of a person, for good: personal fields of his records and their history, "
            "what plugins have of him, and what identifies him wherever else it is found. His records stay, without a "
            "name. It cannot be undone; `dryRun` shows beforehand where something would be erased.",
            _erase,
            (
                Argument(
                    "values",
                    "[String!]",
                    "What identifies him: email addresses, phone numbers however they are written, tax codes, a login. "
                    "All customers, contacts and users with one of them are his.",
                ),
                Argument("records", "[PersonRecordInput!]", "Records that are his, too."),
            ),
            (
                Member("records", "Int", "How many records are his; null where it was refused."),
                Member("files", "Int", "How many files that mention him expire; null where it was refused."),
                Member("erased", "[ErasedPlace!]", "Where something was erased; null where it was refused."),
                Member(
                    "left",
                    "[ErasedPlace!]",
                    "Where one of the values is left, as in records of others who share it; null where it was refused.",
                ),
            ),
            ability=ABILITY,
        ),
    ),
    objects=(RECORD, PLACE),
    # Apart from the abilities that administrators are born with: it takes a decision to give it to somebody.
    abilities={ABILITY: "Erase persons for good, in all records and their history."},
)
