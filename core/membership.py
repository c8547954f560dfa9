"""Who belongs where: the roles of a user and the members of a team, set as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from core.catalog import Record
from core.changes import Target
from core.operations import Argument, Call, Member, Mutation, Payload, Records
from core.records import ToMany
from core.schema.mutations import ids_of
from core.sql import quote


async def _set_links(call: Call, record: Record, relation: ToMany, ids: Sequence[UUID]) -> UUID:
    """Make the links of the record that `input.id` names exactly those to `ids`; returns the record's id.

    Only what differs is written, so that setting what is there already changes nothing.
    """
    link = call.policy.catalog[relation.through]
    target = Target(ids=tuple(ids_of(call, record, [call.input["id"]], ("input", "id"))), path=("input", "id"))
    (id_,) = await call.changes.reached(record.name, target, "update")
    owner, other = (
        next(f for f in link.fields.values() if f.column == column) for column in (relation.column, relation.other)
    )
    rows = await call.changes.connection.fetch(
        f"select id, {quote(relation.other)} from {quote(link.type.tablename)} "
        f"where {quote(relation.column)} = $1 for update",
        id_,
    )
    there = {row[1]: row[0] for row in rows}
    await call.changes.delete(link.name, Target(ids=tuple(i for linked, i in there.items() if linked not in ids)))
    new = [{owner.name: str(id_), other.name: str(i)} for i in dict.fromkeys(ids) if i not in there]
    await call.changes.create(link.name, new)
    return id_


async def _set_roles(call: Call) -> Payload:
    catalog = call.policy.catalog
    ids = list(ids_of(call, catalog["Role"], call.input["roleIds"], ("input", "roleIds")))
    user = await _set_links(call, catalog["User"], catalog["User"].to_many["roles"], ids)
    return Payload({"user": Records("User", [user], single=True)})


async def _set_members(call: Call) -> Payload:
    catalog = call.policy.catalog
    ids = list(ids_of(call, catalog["User"], call.input["userIds"], ("input", "userIds")))
    team = await _set_links(call, catalog["Team"], catalog["Team"].to_many["members"], ids)
    return Payload({"team": Records("Team", [team], single=True)})


MUTATIONS = (
    Mutation(
        "userRolesSet",
        "Gives a user exactly these roles. Nobody but an administrator can give, or take, more than he may do himself.",
        _set_roles,
        (Argument("id", "ID!", "The user."), Argument("roleIds", "[ID!]!", "All roles he is to have.")),
        (Member("user", "User", "The user, null where it was refused."),),
        ability="roles",
    ),
    Mutation(
        "teamMembersSet",
        "Makes a team consist of exactly these users.",
        _set_members,
        (Argument("id", "ID!", "The team."), Argument("userIds", "[ID!]!", "All users who are to belong to it.")),
        (Member("team", "Team", "The team, null where it was refused."),),
        # Whose mate one is decides what one may see.
        ability="roles",
    ),
)
