"""Giving records to another owner, and letting others see a customer.

Rule: product.md, "owner and viewers": a transfer takes the old owner's access away unless he is kept as a viewer;
editing the owner field never keeps him.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from core.catalog import Catalog, Record
from core.changes import ChangeSet, Target
from core.errors import BadInput
from core.operations import Argument, Call, Mutation, Payload
from core.rows import Row
from core.schema.formerowner import KEPT
from core.schema.mutations import COUNTS, ERROR_POLICY, bulk_size, bulk_target, counted
from core.schema.where import uuid_or_none
from core.sql import quote


def transfer_mutations(catalog: Catalog) -> Iterator[Mutation]:
    """`<plural>Transfer` of every type with owners, and the viewers of every type that has them."""
    for record in catalog.exposed():
        t = record.type
        target = Argument("target", f"{record.name}Target!", "Which.")
        if t.owner and "transfer" in t.actions:
            keep = Argument(
                "keepPreviousOwnerAsViewer", "Boolean", "Whether the previous owner may still see it; false by default."
            )
            yield Mutation(
                f"{t.plural}Transfer",
                f"Gives {t.plural} to another owner. The previous owner loses his access"
                + (" unless he is kept as a viewer." if t.viewers else "."),
                _transfer(record),
                (
                    target,
                    Argument("ownerId", "ID", "The new owner; null for nobody."),
                    *((keep,) if t.viewers else ()),
                    ERROR_POLICY,
                ),
                (COUNTS,),
                record.name,
                "transfer",
                size=bulk_size(record.name, "transfer"),
            )
        if t.viewers:
            who = (
                Argument("userIds", "[ID!]", "Users."),
                Argument("teamIds", "[ID!]", "Teams."),
            )
            edit = Argument("canEdit", "Boolean", "Whether they may edit, too; false by default.")
            yield Mutation(
                f"{t.plural}ViewersAdd",
                f"Lets users and teams see {t.plural}; those who see them already get the right given here.",
                _add(record),
                (target, *who, edit, ERROR_POLICY),
                (COUNTS,),
                record.name,
                "share",
                size=bulk_size(record.name, "share"),
            )
            yield Mutation(
                f"{t.plural}ViewersRemove",
                f"Takes from users and teams the sight of {t.plural} that they were given.",
                _remove(record),
                (target, *who, ERROR_POLICY),
                (COUNTS,),
                record.name,
                "share",
                size=bulk_size(record.name, "share"),
            )


def _transfer(record: Record) -> Any:
    async def run(call: Call) -> Payload:
        if "ownerId" not in call.input:
            raise BadInput("ownerId is needed; null means nobody")
        owner = uuid_or_none(call.input["ownerId"])
        if owner is None and call.input["ownerId"] is not None:
            raise BadInput("ownerId is not a UUID")
        keep = bool(call.input.get("keepPreviousOwnerAsViewer"))
        await give(call.changes, record, bulk_target(call, record), lambda _: owner, keep=keep)
        return counted(call)

    return run


async def give(
    changes: ChangeSet, record: Record, target: Target, owner: Callable[[UUID], UUID | None], *, keep: bool = False
) -> list[UUID]:
    """Transfer records, each to the owner that is said by its id (None is nobody); returns the ids of those given.

    With `keep` the previous owners stay viewers. The actor must be allowed to transfer each of the records.
    """
    former: dict[UUID | int, str] = {}

    def values(row: Row) -> Mapping[str, Any]:
        after = owner(row.id)  # type: ignore[arg-type]
        before = (row.before or {}).get("ownerId")
        if before and before != str(after):
            former[row.id] = before
        return {"ownerId": after}

    given = await changes.update(record.name, target, values, actions=("transfer",))
    if keep:
        kept = [(id_, "userId", former[id_]) for id_ in given if id_ in former]
        # Whoever gave a customer away no longer sees it, but may say who still does.
        await let_see(changes.system(), record, kept, source=KEPT)
    return given


def _add(record: Record) -> Any:
    async def run(call: Call) -> Payload:
        edit = bool(call.input.get("canEdit"))
        # Nobody lets others, or himself, change what he may only show.
        actions = ("share", "update") if edit else ("share",)
        ids = await call.changes.reached(record.name, bulk_target(call, record), *actions)
        pairs = [(id_, field, who) for id_ in ids for field, who in _who(call)]
        await let_see(call.changes, record, pairs, can_edit=edit)
        return counted(call)

    return run


def _remove(record: Record) -> Any:
    async def run(call: Call) -> Payload:
        ids = await call.changes.reached(record.name, bulk_target(call, record), "share")
        existing = await _existing(call.changes, record, ids)
        link = record.to_many[record.type.viewers].target
        who = set(_who(call))
        # What plugins let in stays: theirs is another reason to see it.
        own = record.type.viewer_sources
        gone = [
            id_ for (_, field, value, source), (id_, _) in existing.items() if (field, value) in who and source in own
        ]
        await call.changes.delete(link, Target(ids=tuple(gone)))
        return counted(call)

    return run


def _who(call: Call) -> list[tuple[str, str]]:
    found = []
    for field, name in (("userId", "userIds"), ("teamId", "teamIds")):
        for given in call.input.get(name) or ():
            id_ = uuid_or_none(given)
            if id_ is None:
                raise BadInput(f"{name} has an id that is not a UUID")
            found.append((field, str(id_)))
    if not found:
        raise BadInput("name at least one user or team")
    return found


Key = tuple[UUID, str, str, str]


async def let_see(
    changes: ChangeSet,
    record: Record,
    pairs: Sequence[tuple[UUID, str, str]],
    *,
    can_edit: bool = False,
    source: str = "share",
) -> None:
    """Make viewers, given as (record, `userId` or `teamId`, id); those there are get the right to edit or lose it."""
    relation = record.to_many[record.type.viewers]
    link = changes.policy.catalog[relation.target]
    parent = next(f.name for f in link.fields.values() if f.column == relation.column)
    existing = await _existing(changes, record, [id_ for id_, _, _ in pairs])
    known = {key: existing[key] for id_, field, who in pairs if (key := (id_, field, who, source)) in existing}
    stale = tuple(id_ for id_, edits in known.values() if edits is not can_edit)
    if stale:
        everything = Target(ids=stale)
        await changes.update(relation.target, everything, lambda _: {"canEdit": can_edit})
    new = [
        {parent: str(id_), field: who, "canEdit": can_edit, "source": source}
        for id_, field, who in dict.fromkeys(pairs)
        if (id_, field, who, source) not in known
    ]
    await changes.create(relation.target, new)


async def _existing(changes: ChangeSet, record: Record, ids: Sequence[UUID]) -> dict[Key, tuple[UUID, bool]]:
    """The viewers by name of records, locked: their ids and whether they may edit."""
    relation = record.to_many[record.type.viewers]
    table = quote(changes.policy.catalog[relation.target].type.tablename)
    column = quote(relation.column)
    found: dict[Key, tuple[UUID, bool]] = {}
    rows = await changes.connection.fetch(
        f"select id, {column}, user_id, team_id, source, can_edit from {table} "
        f"where {column} = any($1::uuid[]) and not everyone for update",
        list(ids),
    )
    for id_, owner, user, team, source, edits in rows:
        field, who = ("userId", user) if user else ("teamId", team)
        found[owner, field, str(who), source] = (id_, edits)
    return found
