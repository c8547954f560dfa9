"""The root types: what can be asked, and what can be done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from core.catalog import Catalog
from core.errors import CompositionError
from core.operations import Member as Answer
from core.operations import Mutation, Query
from core.schema.inputs import SCALAR_OF
from core.schema.recordtypes import group_arguments, list_arguments
from core.schema.types import Argument, Member, Types, arguments


def query_type(types: Types, catalog: Catalog, queries: Iterable[Query]) -> Any:
    """The type Query. Raises CompositionError for a name that is declared twice."""
    members = [
        Member("node", "Node", "Any record by its id.", (Argument("id", "ID!", "The id."),)),
        Member(
            "nodes",
            "[Node]!",
            "Any records by their ids, in the order given.",
            (Argument("ids", "[ID!]!", "The ids."),),
        ),
    ]
    for record in catalog.exposed():
        name, t = record.name, record.type
        by = [Argument("id", "ID", "By its id.")]
        by += [Argument(f.name, SCALAR_OF[f.kind], f"By: {f.description}") for f in record.exposed_fields() if f.unique]
        where = list_arguments(record, paged=False)
        deleted = Argument("deleted", "Boolean", "True for deleted records instead; needs the restore permission.")
        trash = (deleted,) if t.soft_delete else ()
        needs = f" Needs: read on {name}."
        members += [
            Member(
                t.singular, name, f"One {t.singular} by a unique value; null where there is none.{needs}", tuple(by)
            ),
            Member(t.plural, f"{name}Connection!", f"{t.description}{needs}", (*list_arguments(record), *trash)),
            Member(
                f"{t.plural}Aggregate",
                f"{name}Aggregate!",
                f"Totals of {t.plural}.{needs}",
                (*where, *group_arguments(record), *trash),
            ),
            Member(
                f"{t.plural}Grouped",
                f"[{name}Group!]!",
                f"The first {t.plural} of each group, as on a board.{needs}",
                (
                    Argument("by", f"{name}GroupField!", "What to group by."),
                    *where,
                    Argument("orderBy", f"[{name}OrderBy!]", "The order within a group."),
                    Argument("first", "Int", "How many records of each group; 50 when left out."),
                    *trash,
                ),
            ),
        ]
    for q in queries:
        members.append(Member(q.name, q.type, _needing(q.description, q.ability), arguments(q.arguments), q.deprecated))
    return types.object("Query", "What can be asked.", _unique(members, "Query"))


def mutation_type(types: Types, mutations: Iterable[Mutation]) -> Any:
    """The type Mutation, with its payloads. Raises CompositionError for a name that is declared twice."""
    members = []
    for m in mutations:
        stem = m.name[0].upper() + m.name[1:]
        taken: list[Argument] = []
        if m.input:
            input_name = _input_name(m, arguments(m.input), types)
            taken.append(Argument("input", f"{input_name}!", "What to do."))
        payload = list(map(answered, m.payload))
        if m.size is not None:
            payload.append(Member("job", "Job", "The job that does it, where there is too much to wait for."))
        payload += [
            Member("userErrors", "[UserError!]!", "What the caller can correct; empty where all went well."),
            Member("warnings", "[UserError!]!", "What the caller should know although nothing was refused for it."),
            Member("changeSet", "ChangeSetRef", "The change set, null where nothing changed."),
        ]
        types.object(f"{stem}Payload", f"The answer of `{m.name}`.", payload, plugin=m.plugin)
        if m.signed_in:
            taken += [
                Argument("dryRun", "Boolean!", "Do all the work, answer what would be, and change nothing.", False),
                Argument("idempotencyKey", "String", "The same key and input within a day: done once, same answer."),
            ]
        needs = m.ability or (f"{m.action} on {m.record}" if m.record else "")
        members.append(Member(m.name, f"{stem}Payload", _needing(m.description, needs), tuple(taken), m.deprecated))
    return types.object("Mutation", "What can be done.", _unique(members, "Mutation"))


def answered(member: Answer) -> Member:
    """What a declared object type or payload answers."""
    return Member(member.name, member.type, member.description, deprecated=member.deprecated)


def _input_name(mutation: Mutation, members: Sequence[Argument], types: Types) -> str:
    """The input type of a mutation: a declared one where its only member is named `input`, else one of its own."""
    if len(members) == 1 and members[0].name == "input":
        return members[0].type.removesuffix("!")
    name = mutation.name[0].upper() + mutation.name[1:] + "Input"
    types.input(name, f"What `{mutation.name}` is to do.", members, plugin=mutation.plugin)
    return name


def _needing(description: str, needs: str) -> str:
    return f"{description} Needs: {needs}." if needs else description


def _unique(members: list[Member], type_: str) -> list[Member]:
    seen: set[str] = set()
    for member in members:
        if member.name in seen:
            raise CompositionError(f"{type_}.{member.name} is declared twice")
        seen.add(member.name)
    return members
