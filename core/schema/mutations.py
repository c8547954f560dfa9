"""The mutations every record type has, from its declaration: create, update, delete, restore, singly and in bulk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from core.catalog import Catalog, Record
from core.errors import BadInput
from core.operations import Argument, Call, Member, Mutation, Payload, Records
from core.rows import Path
from core.schema.where import condition, uuid_or_none
from core.targets import Target, not_found, number_of
from core.undo import undo

BULK_LIMIT = 100_000

COUNTS = Member("counts", "JSON!", "How many records were created, updated, deleted, restored and skipped.")
ERROR_POLICY = Argument(
    "errorPolicy", "ErrorPolicy", "What happens when some records fail; nothing is changed by default."
)


def bulk_size(record: str, *actions: str) -> Callable[[Call], Awaitable[int]]:
    """The `size` of a bulk mutation: how many records its input lists, or its target's condition finds for actions."""

    async def size(call: Call) -> int:
        listed = call.input.get("records", call.input.get("ids"))
        if listed is None:
            listed = call.input["target"].get("ids")
        if listed is not None:
            return len(listed)
        target = bulk_target(call, call.policy.catalog[record])
        return await number_of(call.changes, call.policy.catalog[record], target, actions)

    return size


def standard_mutations(catalog: Catalog) -> Iterator[Mutation]:
    """The mutations that follow from the record types of a catalog."""
    for record in catalog.exposed():
        t = record.type
        one = Member(t.singular, record.name, f"The {t.singular}, null where it was refused.")
        if "create" in t.actions:
            yield Mutation(
                f"{t.singular}Create",
                f"Creates a {t.singular}.",
                _create(record),
                (Argument("input", f"{record.name}CreateInput!", "The record."),),
                (one,),
                record.name,
                "create",
            )
            yield Mutation(
                f"{t.plural}BulkCreate",
                f"Creates many {t.plural} in one change set.",
                _bulk_create(record),
                (Argument("records", f"[{record.name}CreateInput!]!", "The records."), ERROR_POLICY),
                (
                    COUNTS,
                    Member(
                        t.plural, f"[{record.name}!]!", "The records, in the order given, without those that failed."
                    ),
                ),
                record.name,
                "create",
                size=bulk_size(record.name, "create"),
            )
        if "update" in t.actions and any(f.writable for f in record.exposed_fields()):
            yield Mutation(
                f"{t.singular}Update",
                f"Changes a {t.singular}.",
                _update(record),
                (Argument("input", f"{record.name}UpdateInput!", "The changes."),),
                (one,),
                record.name,
                "update",
            )
            yield Mutation(
                f"{t.plural}BulkUpdate",
                f"Changes many {t.plural} in one change set.",
                _bulk(record, "update"),
                (
                    Argument("target", f"{record.name}Target!", "Which."),
                    Argument("set", f"{record.name}Patch!", "The changes."),
                    ERROR_POLICY,
                ),
                (COUNTS, _some(record)),
                record.name,
                "update",
                size=bulk_size(record.name, "update"),
            )
        for action in ("delete", "restore"):
            if action in t.actions and t.soft_delete:
                yield from _ending(record, action, one)


def _ending(record: Record, action: str, one: Member) -> Iterator[Mutation]:
    t = record.type
    verb = action.capitalize()
    version = (Argument("expectedVersion", "Int", "Refuse where the record has another version by now."),)
    yield Mutation(
        f"{t.singular}{verb}",
        f"{verb}s a {t.singular}." if action == "restore" else f"Deletes a {t.singular}; it can be restored.",
        _act(record, action),
        (Argument("id", "ID!", "The record."), *(version if action == "delete" and t.versioned else ())),
        (one, Member("id", "ID", "Its id, null where it was refused.")),
        record.name,
        action,
    )
    target = (
        Argument("target", f"{record.name}Target!", "Which.")
        if action == "delete"
        else Argument("ids", "[ID!]!", "Which deleted records.")
    )
    yield Mutation(
        f"{t.plural}Bulk{verb}",
        f"{verb}s many {t.plural} in one change set.",
        _bulk(record, action),
        (target, ERROR_POLICY),
        (COUNTS,),
        record.name,
        action,
        size=bulk_size(record.name, action),
    )


def _some(record: Record) -> Member:
    return Member(record.type.plural, f"[{record.name}!]!", "The first 200 of the records.")


def _one(record: Record, ids: list[UUID]) -> Payload:
    return Payload({record.type.singular: Records(record.name, ids, single=True)})


def counted(call: Call, members: Mapping[str, Any] | None = None) -> Payload:
    """A payload with the change set's counts, and how many records were skipped."""
    counts = {**call.changes.counts, "skipped": len(call.changes.failed)}
    return Payload({"counts": counts, **(members or {})})


def _create(record: Record) -> Any:
    async def run(call: Call) -> Payload:
        return _one(record, await call.changes.create(record.name, [call.input]))

    return run


def _bulk_create(record: Record) -> Any:
    async def run(call: Call) -> Payload:
        rows = call.input["records"]
        if len(rows) > BULK_LIMIT:
            raise BadInput(f"at most {BULK_LIMIT} records can be created at once")
        ids = await call.changes.create(record.name, rows, lambda i: ("input", "records", i))
        return counted(call, {record.type.plural: Records(record.name, ids)})

    return run


def _update(record: Record) -> Any:
    async def run(call: Call) -> Payload:
        values = {k: v for k, v in call.input.items() if k not in ("id", "expectedVersion")}
        target = one_target(call, record)
        expected = call.input.get("expectedVersion")
        return _one(record, await call.changes.update(record.name, target, values, expected))

    return run


def _act(record: Record, action: str) -> Any:
    async def run(call: Call) -> Payload:
        target = one_target(call, record)
        if action == "restore":
            ids = await call.changes.restore(record.name, target)
            return Payload({record.type.singular: Records(record.name, ids, single=True), "id": str(ids[0])})
        ids = await call.changes.delete(record.name, target, call.input.get("expectedVersion"))
        return Payload({"id": str(ids[0])})

    return run


def _bulk(record: Record, action: str) -> Any:
    async def run(call: Call) -> Payload:
        if action == "restore":
            target = listed_target(call, record, call.input["ids"], ("input", "ids"))
            await call.changes.restore(record.name, target)
            return counted(call)
        target = bulk_target(call, record)
        if action == "delete":
            await call.changes.delete(record.name, target)
            return counted(call)
        target = replace(target, inside=("input", "set"))
        ids = await call.changes.update(record.name, target, call.input["set"])
        return counted(call, {record.type.plural: Records(record.name, ids[:200])})

    return run


def one_target(call: Call, record: Record, name: str = "id") -> Target:
    """The record that an `input.id` names; an id that cannot be one is not found."""
    path = ("input", name)
    return Target(ids=tuple(ids_of(call, record, [call.input[name]], path)), path=path, inside=("input",))


def bulk_target(call: Call, record: Record, name: str = "target") -> Target:
    """The records that an `input.target` names, by ids or by condition.

    The condition is compiled as the actor may ask it, so that it can use no field that is hidden from him.
    """
    given = call.given(f"input.{name}")
    if given is None or given.is_null:
        raise BadInput("a target is needed")
    where = given.get("where")
    if where is not None:
        return Target(predicate=condition(where, record, call.policy), variables=call.variables)
    return listed_target(call, record, call.input[name]["ids"], ("input", name, "ids"))


def listed_target(call: Call, record: Record, ids: Sequence[str], path: Path) -> Target:
    """The records that a list of ids at `path` names."""
    paths: dict[UUID, Path] = {}
    for i, given in enumerate(ids):
        for id_ in ids_of(call, record, [given], (*path, i)):
            paths.setdefault(id_, (*path, i))
    return Target(ids=tuple(paths), path=path, paths=paths)


def ids_of(call: Call, record: Record, ids: Sequence[str], path: Path) -> Iterator[UUID]:
    """Ids as they were given, as UUIDs. One that cannot be a UUID is not found: refused, or reported and left out."""
    for given in ids:
        found = uuid_or_none(given)
        if found is None:
            call.changes.skip({given: not_found(call.changes, record, given, path)})
        else:
            yield found


async def _undo(call: Call) -> Payload:
    id_ = uuid_or_none(call.input["id"])
    conflicts = await undo(call.changes, id_ or UUID(int=0))
    return Payload({"conflicts": conflicts, "counts": call.changes.counts})


async def _changes_of(call: Call) -> int:
    id_ = uuid_or_none(call.input["id"])
    found: int = await call.changes.connection.fetchval("select count(*) from change where change_set_id = $1", id_)
    return found


UNDO = Mutation(
    "changeSetUndo",
    "Undoes a change set. Records that were changed again since are conflicts: reported, and left alone.",
    _undo,
    (Argument("id", "ID!", "The change set."),),
    (
        Member("conflicts", "Int", "How many records were left alone."),
        Member("counts", "JSON", "How many were changed back."),
    ),
    ability="undo",
    size=_changes_of,
)
