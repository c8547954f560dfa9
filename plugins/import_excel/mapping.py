"""A mapping as a client gives it: checked, completed by what is suggested, and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core import Argument, Call, InputType, Target, uuid_or_none
from plugins.import_excel import plan as plans
from plugins.import_excel import staging
from plugins.import_excel.imports import refused
from plugins.import_excel.targets import CUSTOMER, GROUP

COLUMN = "ImportColumnInput"

INPUTS = (
    InputType(
        "ImportNewFieldInput",
        "A custom field of customers that an import adds on the way; it needs the ability `custom_fields`.",
        (
            Argument("name", "String!", "Its name in GraphQL, such as `shoeSize`."),
            Argument("label", "String", "Its name for people."),
            Argument("kind", "CustomFieldKind!", "What it holds."),
            Argument("choices", "[String!]", "The choices, for kinds that have any."),
        ),
    ),
    InputType(
        COLUMN,
        "Where a column of the file goes.",
        (
            Argument("column", "Int!", "The column's place in the file, counted from 0."),
            Argument("target", "String", "What it is mapped to, such as `taxCode`; null for nothing."),
            Argument("newField", "ImportNewFieldInput", "A custom field to be added, and what it is then mapped to."),
            Argument("checkDuplicates", "Boolean", "Whether rows that share a value with another are duplicates."),
            Argument("required", "Boolean", "Whether a blank cell is a fault."),
            Argument("emptyClears", "Boolean", "Whether a blank cell clears the field; it is left alone by default."),
        ),
    ),
)

ARGUMENTS = (
    Argument("columns", f"[{COLUMN}!]", "Which column goes where; as suggested where left out."),
    Argument("mode", "ImportMode", "What becomes of rows whose customer exists; CREATE_ONLY by default."),
    Argument("key", "String", "The target by which OVERWRITE finds customers; `code` by default."),
    Argument("tags", "[String!]", "Tags for all imported customers, beside those they have."),
    Argument("groupIds", "[ID!]", "Groups for all imported customers, beside those they are in."),
    Argument(
        "ownerIds",
        "[ID!]",
        "Users among whom rows whose cell names nobody are split evenly, the remainder to the last.",
    ),
    Argument("mine", "Boolean", "Make the actor the owner of all rows, whatever the file says."),
)


async def keep(call: Call, row: Mapping[str, Any]) -> None:
    """Check the mapping that was given and keep it. Raises Refused."""
    stored, new = await _given(call, row)
    known = stored | {"columns": [c for c in stored["columns"] if c.get("target") not in new]}
    plan = plans.read(known, row["found"], call.policy, call.context.locale)
    await _check_links(call, plan)
    connection = call.changes.connection
    chosen = {c["column"]: c.get("target") for c in stored["columns"]}
    await staging.remember(connection, row["found"]["columns"], chosen)
    await connection.execute(
        "update import set plan = $2, preview = null, fingerprint = $3 where id = $1",
        row["id"],
        stored,
        plans.fingerprint(row["file_hash"], row["sheet"], stored),
    )


async def _given(call: Call, row: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The mapping as it was given; without columns, the suggested one. Returns the fields added on the way, too."""
    given = {k: v for k, v in call.input.items() if k not in ("id", "again")}
    if given.get("columns") is None:
        guesses = await staging.guessed(call.changes.connection, row["found"], call.policy)
        given["columns"] = [{"column": g.column, "target": g.goal} for g in guesses.values()]
    new = await _new_fields(call, given["columns"])
    return {
        "mode": given.get("mode") or "CREATE_ONLY",
        "key": given.get("key") or "code",
        "columns": [{k: v for k, v in c.items() if k != "newField"} for c in given["columns"]],
        "tags": list(given.get("tags") or ()),
        "groupIds": list(given.get("groupIds") or ()),
        "ownerIds": list(given.get("ownerIds") or ()),
        "mine": bool(given.get("mine")),
    }, set(new)


async def _new_fields(call: Call, columns: list[dict[str, Any]]) -> list[str]:
    """Add the custom fields that columns ask for, in this change set; returns their names."""
    names = []
    for i, column in enumerate(columns):
        if (wanted := column.get("newField")) is not None:
            given = {k: v for k, v in wanted.items() if v is not None}
            await call.changes.create(
                "CustomField", [{"recordType": CUSTOMER, **given}], _at("input", "columns", i, "newField")
            )
            column["target"] = wanted["name"]
            names.append(wanted["name"])
    return names


def _at(*path: str | int) -> Callable[[int], tuple[str | int, ...]]:
    return lambda _: path


async def _check_links(call: Call, plan: plans.Plan) -> None:
    """Raise Refused for groups and owners that are not there, before a job trips over them row by row."""
    for name, ids, path in (("User", plan.owners, "ownerIds"), (GROUP, plan.groups, "groupIds")):
        if not ids:
            continue
        found = [uuid_or_none(i) for i in ids]
        known = [i for i in found if i is not None]
        target = Target(ids=tuple(known), path=("input", path))
        there = await call.changes.reached(name, target, "read", shared=True)
        if len(there) < len(set(ids)):
            raise refused(call, ("input", path), "NO_SUCH_ID")
