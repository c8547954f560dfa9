"""A feature set becomes a GraphQL schema: the types that follow from its catalog, its queries and mutations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import strawberry
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    is_introspection_type,
)
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema_converter import GraphQLCoreConverter

from core.catalog import Catalog, Record
from core.operations import InputType, Mutation, ObjectType, Query
from core.operations import Member as Answer
from core.records import EnumType
from core.schema.inputs import record_inputs, shared_inputs, write_inputs
from core.schema.recordtypes import record_types
from core.schema.roots import answered, mutation_type, query_type
from core.schema.subscription import subscription_type
from core.schema.types import OWN_SCALARS, Member, Types

#: Under which name schemas keep what Strawberry made their parts from.
_MADE_FROM = GraphQLCoreConverter.DEFINITION_BACKREF


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
        record_types(types, record, catalog)
    for o in objects:
        if isinstance(o, EnumType):
            types.enum(o.name, o.description, o.values)
            continue
        if isinstance(o, InputType):
            types.declared(o, o.plugin)
            continue
        interface = "UserError" if o.user_error else ""
        inherited = _USER_ERROR if o.user_error else ()
        members = (*inherited, *map(answered, o.members))
        types.object(o.name, o.description, members, interface=interface, plugin=o.plugin)
    query = query_type(types, catalog, queries)
    mutation = mutation_type(types, mutations)
    subscription = subscription_type(types, catalog)
    # Types behind an interface are named by nothing else; all others are found from the root fields.
    implementing = [types.named[r.name] for r in catalog.exposed()] + [types.named[n] for n in _faults(objects)]
    schema = strawberry.Schema(
        query=query,
        mutation=mutation,
        subscription=subscription,
        types=implementing,
        config=StrawberryConfig(
            auto_camel_case=False,
            disable_field_suggestions=True,
            scalar_map=OWN_SCALARS,
        ),
    )
    graphql: GraphQLSchema = schema._schema  # noqa: SLF001 - what Strawberry has made
    for name in ("UserError", "Node"):
        interface_type = graphql.get_type(name)
        assert isinstance(interface_type, GraphQLInterfaceType)
        interface_type.resolve_type = lambda value, _info, _type: value["__typename"]
    _let_go(graphql)
    return graphql


class _OneOf:
    """What Strawberry's `isOneOf` asks of an input type."""

    is_one_of = True


def _let_go(schema: GraphQLSchema) -> None:
    """Let go of what Strawberry made a schema from: it takes up more memory than the schema, and is not used again.

    Values are plain JSON, no instances of Strawberry's classes: whoever runs an operation says how to resolve a field.
    """
    schema.extensions = {}
    schema._strawberry_schema = None  # type: ignore[attr-defined]  # noqa: SLF001
    for type_ in schema.type_map.values():
        if is_introspection_type(type_):
            continue
        if isinstance(type_, GraphQLEnumType):
            type_.extensions = {}
            for value in type_.values.values():
                value.extensions = {}
        elif isinstance(type_, GraphQLInputObjectType):
            one_of = type_.extensions[_MADE_FROM].is_one_of
            type_.extensions = {_MADE_FROM: _OneOf} if one_of else {}
            type_._fields = type_.fields  # until now a function that has Strawberry make them
            for member in type_.fields.values():
                member.extensions = {}
        elif isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            type_.extensions = {}
            type_._fields = type_.fields
            if isinstance(type_, GraphQLObjectType):
                type_.is_type_of = None
            for field in type_.fields.values():
                field.extensions, field.resolve = {}, None
                for argument in field.args.values():
                    argument.extensions = {}


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
