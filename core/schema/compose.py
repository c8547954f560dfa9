"""A feature set becomes a GraphQL schema: the types that follow from its catalog, its queries and mutations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import strawberry
from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema
from strawberry.schema.config import StrawberryConfig

from core.catalog import Catalog, Record
from core.errors import CompositionError
from core.operations import InputType, Mutation, ObjectType, Query
from core.operations import Member as Answer
from core.records import EnumType, Field
from core.schema.aggregate import FUNCTIONS, groupable, measured
from core.schema.inputs import SCALAR_OF, record_inputs, shared_inputs, type_of, write_inputs
from core.schema.subscription import subscription_type
from core.schema.types import OWN_SCALARS, Argument, Member, Types, arguments

_PAGE = (
    Argument("first", "Int", "How many records from the start (or after a cursor); 50 when left out."),
    Argument("after", "String", "Only records after this cursor."),
    Argument("last", "Int", "How many records from the end (or before a cursor)."),
    Argument("before", "String", "Only records before this cursor."),
)


def build_schema(
    catalog: Catalog,
    queries: Iterable[Query],
    mutations: Iterable[Mutation],
    objects: Sequence[ObjectType | InputType | EnumType],
    error_codes: dict[str, str],
) -> GraphQLSchema:
    """The GraphQL schema of a feature set. Raises CompositionError naming who claims one name twice."""
    types = Types()
    shared_inputs(types)
    _shared_types(types, error_codes)
    queries, mutations = tuple(queries), tuple(mutations)
    answers = [q.type for q in queries]
    answers += [m.type for part in (*mutations, *objects) for m in _members(part)]
    shown = _shown(catalog, {name for answer in answers for name in re.findall(r"\w+", answer)})
    for record in shown:
        record_inputs(types, record, catalog)
        write_inputs(types, record)
    for record in shown:
        _record_types(types, record, catalog)
    for o in objects:
        if isinstance(o, EnumType):
            types.enum(o.name, o.description, o.values)
            continue
        if isinstance(o, InputType):
            types.declared(o, o.plugin)
            continue
        interface = "UserError" if o.user_error else ""
        inherited = _USER_ERROR if o.user_error else ()
        members = (*inherited, *map(_answered, o.members))
        types.object(o.name, o.description, members, interface=interface, plugin=o.plugin)
    query = _query(types, catalog, queries)
    mutation = _mutation(types, mutations)
    subscription = subscription_type(types, catalog)
    # Types behind an interface are named by nothing else; all others are found from the root fields.
    implementing = [types.named[r.name] for r in catalog.exposed()] + [types.named[n] for n in _faults(objects)]
    schema = strawberry.Schema(
        query=query,
        mutation=mutation,
        subscription=subscription,
        types=implementing,
        config=StrawberryConfig(
            default_resolver=_member,
            auto_camel_case=False,
            disable_field_suggestions=True,
            scalar_map=OWN_SCALARS,
        ),
    )
    graphql: GraphQLSchema = schema._schema  # noqa: SLF001 - what Strawberry has made
    for type_ in graphql.type_map.values():
        if isinstance(type_, GraphQLObjectType):
            # Values are plain JSON here, no instances of the Strawberry classes.
            type_.is_type_of = None
    for name in ("UserError", "Node"):
        interface_type = graphql.get_type(name)
        assert isinstance(interface_type, GraphQLInterfaceType)
        interface_type.resolve_type = lambda value, _info, _type: value["__typename"]
    return graphql


def _faults(objects: Sequence[ObjectType | InputType | EnumType]) -> list[str]:
    """The names of all kinds of user error."""
    return ["SimpleUserError", *(o.name for o in objects if isinstance(o, ObjectType) and o.user_error)]


def _members(part: Mutation | ObjectType | InputType | EnumType) -> Sequence[Answer]:
    if isinstance(part, Mutation):
        return part.payload
    return part.members if isinstance(part, ObjectType) else ()


def _shown(catalog: Catalog, named: set[str]) -> list[Record]:
    """The record types that clients can come to: with root fields, named in answers, and what leads on from there."""
    found: dict[str, Record] = {}
    waiting = [r for r in catalog if r.type.exposed or r.name in named]
    while waiting:
        record = waiting.pop()
        if record.name not in found:
            found[record.name] = record
            waiting += [catalog[one.target] for one in record.to_one.values()]
            waiting += [catalog[many.target] for many in record.to_many.values() if many.exposed]
    return [record for record in catalog if record.name in found]


def _member(source: Any, name: str) -> Any:
    if isinstance(source, dict):
        # Python knows the field `import` as `import_`; values go by their names in GraphQL.
        return source[name] if name in source else source.get(name.removesuffix("_"))
    return getattr(source, name)


_USER_ERROR = (
    Member("path", "[String!]!", "The way from the mutation's arguments to the faulty value."),
    Member("code", "UserErrorCode!", "What is wrong, for programs."),
    Member("message", "String!", "What is wrong, for people, in the language of the request."),
    Member("params", "JSON!", "The facts in the message, by name."),
)


def _shared_types(types: Types, error_codes: dict[str, str]) -> None:
    types.object(
        "Node", "Anything with an id that can be fetched again.", [Member("id", "ID!", "Its id.")], is_interface=True
    )
    types.object(
        "PageInfo",
        "Where a page lies in its list.",
        [
            Member("hasNextPage", "Boolean!", "Whether more records follow."),
            Member("hasPreviousPage", "Boolean!", "Whether records come before."),
            Member("startCursor", "String", "Cursor of the first record."),
            Member("endCursor", "String", "Cursor of the last record."),
        ],
    )
    types.enum("UserErrorCode", "What a caller can correct.", error_codes)
    types.object("UserError", "A fault that the caller can correct.", _USER_ERROR, is_interface=True)
    types.object("SimpleUserError", "A fault without further facts.", _USER_ERROR, interface="UserError")
    types.enum(
        "ErrorPolicy",
        "What a bulk mutation does when some records fail.",
        {"ALL_OR_NOTHING": "Change nothing.", "SKIP_FAILED": "Change the others."},
    )
    types.object(
        "ChangeSetRef",
        "The change set of a mutation; fetch it by `changeSet(id:)`.",
        [
            Member("id", "ID!", "Its id; that of a dry run is never kept."),
            Member("counts", "JSON!", "How many records were created, updated, deleted and restored."),
        ],
    )


def list_arguments(record: Record, *, paged: bool = True) -> tuple[Argument, ...]:
    """The arguments that say which records of a type, in what order, which page."""
    name = record.name
    found = [Argument("where", f"{name}Where", "Only records that satisfy this.")]
    if any(f.search for f in record.fields.values()):
        found.append(
            Argument(
                "search",
                "String",
                "Only records that contain all these words, in any order, whatever case and accents.",
            )
        )
    if paged:
        found.append(Argument("orderBy", f"[{name}OrderBy!]", "The order; newest first when left out."))
        found.extend(_PAGE)
    return tuple(found)


def _record_types(types: Types, record: Record, catalog: Catalog) -> None:
    name, t = record.name, record.type
    members = [_field_member(f, types) for f in record.exposed_fields()]
    members += [
        Member(one.name, one.target, f"{one.description} Null where it may not be read.", deprecated=one.deprecated)
        for one in record.to_one.values()
    ]
    for many in record.to_many.values():
        if many.exposed:
            target = catalog[many.target]
            members.append(
                Member(
                    many.name,
                    f"{many.target}Connection!",
                    many.description,
                    list_arguments(target),
                    many.deprecated,
                )
            )
            members.append(
                Member(
                    f"{many.name}Aggregate",
                    f"{many.target}Aggregate!",
                    f"Totals of: {many.description}",
                    (*list_arguments(target, paged=False), *_group_arguments(target)),
                    many.deprecated,
                )
            )
    members += [
        Member(c.name, SCALAR_OF[c.kind], f"{c.description} Computed.", deprecated=c.deprecated)
        for c in record.computed.values()
    ]
    uuid_id = record.fields["id"].type == "uuid"
    types.object(name, t.description, members, interface="Node" if uuid_id else "", plugin=t.plugin)
    types.object(
        f"{name}Edge",
        f"A {t.singular} at its place in a list.",
        [
            Member("cursor", "String!", "Its place, for `after` and `before`."),
            Member("node", f"{name}!", "The record."),
        ],
        plugin=t.plugin,
    )
    types.object(
        f"{name}Connection",
        f"A page of {t.plural}.",
        [
            Member("nodes", f"[{name}!]!", "The records of the page."),
            Member("edges", f"[{name}Edge!]!", "The records with their cursors."),
            Member("pageInfo", "PageInfo!", "Where the page lies."),
            Member("totalCount", "Int", "How many records the whole list has; counted only when asked for."),
        ],
        plugin=t.plugin,
    )
    _aggregate_types(types, record)


def _field_member(field: Field, types: Types) -> Member:
    hidden = "" if field.required else " Null where it is hidden from you."
    type_ = type_of(field, types) + ("!" if field.required else "")
    return Member(field.name, type_, field.description + hidden, deprecated=field.deprecated)


def _answered(member: Answer) -> Member:
    return Member(member.name, member.type, member.description, deprecated=member.deprecated)


def _group_arguments(record: Record) -> tuple[Argument, ...]:
    return (
        Argument("groupBy", f"[{record.name}GroupBy!]", "What `groups` are by."),
        Argument("orderBy", f"[{record.name}GroupOrderBy!]", "The order of `groups`."),
        Argument("first", "Int", "How many `groups`; 100 when left out, at most 1000."),
    )


def _aggregate_types(types: Types, record: Record) -> None:
    name, t = record.name, record.type
    totals = [Member("count", "Int!", "How many records.")]
    for function in FUNCTIONS:
        fields = measured(record, function)
        if fields:
            type_name = f"{name}{function.capitalize()}"
            exact = function in ("sum", "avg")
            types.object(
                type_name,
                f"The {function} of each number of {t.plural}.",
                [Member(f.name, "Decimal" if exact else type_of(f, types), f"Of: {f.description}") for f in fields],
                plugin=t.plugin,
            )
            totals.append(Member(function, f"{type_name}!", f"The {function} of each."))
    keys = [
        Member(part.name, type_of(part, types) if isinstance(part, Field) else part.target, part.description)
        for part in groupable(record).values()
    ]
    types.object(f"{name}GroupKey", f"What a group of {t.plural} has in common.", keys, plugin=t.plugin)
    key = Member("key", f"{name}GroupKey!", "What the group has in common; null where it was not grouped by that.")
    types.object(f"{name}AggregateGroup", f"Totals of a group of {t.plural}.", [key, *totals], plugin=t.plugin)
    groups = Member("groups", f"[{name}AggregateGroup!]!", "Totals per group, by `groupBy`.")
    types.object(f"{name}Aggregate", f"Totals of {t.plural}.", [*totals, groups], plugin=t.plugin)
    types.object(
        f"{name}Group",
        f"A group of {t.plural}, as on a board.",
        [
            key,
            Member("totalCount", "Int!", "How many records the group has."),
            Member("nodes", f"[{name}!]!", "The first records of the group."),
        ],
        plugin=t.plugin,
    )


def _query(types: Types, catalog: Catalog, queries: Iterable[Query]) -> Any:
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
                (*where, *_group_arguments(record), *trash),
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


def _mutation(types: Types, mutations: Iterable[Mutation]) -> Any:
    members = []
    for m in mutations:
        stem = m.name[0].upper() + m.name[1:]
        taken: list[Argument] = []
        if m.input:
            input_name = _input_name(m, arguments(m.input), types)
            taken.append(Argument("input", f"{input_name}!", "What to do."))
        payload = list(map(_answered, m.payload))
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
