"""The query `viewer`: who is asking, and what he may do."""

from __future__ import annotations

from typing import Any

from core.context import ActorKind
from core.grants import Access, Reach
from core.operations import Ask, Member, ObjectType, Query, Records


async def _viewer(ask: Ask) -> dict[str, Any] | None:
    actor, grants, catalog = ask.context.actor, ask.policy.grants, ask.policy.catalog
    if actor.user_id is None:
        return None
    abilities = {name for role in grants.roles for name in role.abilities}
    ruled = {pair for role in grants.roles for pair in role.fields if pair[0] in catalog}
    return {
        "id": str(actor.user_id),
        "login": actor.login,
        "user": Records("User", [actor.user_id], single=True),
        "isApiKey": actor.kind is ActorKind.API_KEY,
        "roles": [role.name for role in grants.roles],
        "abilities": sorted(name for name in abilities if grants.able(name)),
        "permissions": [
            {"record": record.name, "action": action, "scope": reach.name}
            for record in catalog
            for action in record.type.actions
            if (reach := grants.reach(record.name, action)) is not Reach.NONE
        ],
        "fieldRules": [
            {"record": record, "field": field, "access": access.name}
            for record, field in sorted(ruled)
            if (access := ask.policy.access(record, field)) is not Access.WRITE
        ],
    }


OBJECTS = (
    ObjectType(
        "Viewer",
        "Who is asking, and what he may do.",
        (
            Member("id", "ID!", "The user's id."),
            Member("login", "String!", "Name the user signs in with."),
            Member("user", "User", "The user, null where he may not read his own record."),
            Member("isApiKey", "Boolean!", "Whether an API key is acting for the user."),
            Member("roles", "[String!]!", "Names of the roles the user holds."),
            Member("abilities", "[String!]!", "What he may do beside working with records."),
            Member("permissions", "[Permission!]!", "What he may do with records, and with nothing else."),
            Member("fieldRules", "[FieldPermission!]!", "The fields he may not write; all others he may."),
        ),
    ),
    ObjectType(
        "Permission",
        "An action that is allowed, and on which records.",
        (
            Member("record", "String!", "Name of the record type."),
            Member("action", "String!", "Name of the action."),
            Member("scope", "GrantScope!", "How far it reaches."),
        ),
    ),
    ObjectType(
        "FieldPermission",
        "What is allowed with one field.",
        (
            Member("record", "String!", "Name of the record type."),
            Member("field", "String!", "Name of the field."),
            Member("access", "FieldAccess!", "What is allowed with it."),
        ),
    ),
)

QUERIES = (
    Query(
        "viewer",
        "Who is asking and what he may do; null where nobody has signed in.",
        "Viewer",
        _viewer,
        signed_in=False,
    ),
)
