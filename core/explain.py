"""The query `accessExplain`: which rules let a user in to a record, or keep him out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from core.actors import find_actor
from core.catalog import Record
from core.condition import Conditions
from core.context import Actor
from core.errors import BadInput, NotFound, Unauthenticated
from core.grants import Reach
from core.guards import USERS
from core.messages import text
from core.operations import Argument, Ask, Member, ObjectType, Query
from core.policy import Policy, Rule
from core.predicate import FALSE, TRUE, Related, constant
from core.records import Kind
from core.schema.where import uuid_or_none
from core.sql import quote


async def _explain(ask: Ask) -> dict[str, Any]:
    record, action = _asked(ask)
    actor = await _about(ask)
    policy = ask.policy
    if actor is not ask.context.actor:
        policy = Policy(policy.catalog, actor.grants, policy._narrowings)  # noqa: SLF001 - the same composition
    rules = _rules(policy, record, action)
    conditions = Conditions(policy)
    alias = conditions.alias()
    table, _ = conditions.source(policy.internal(record.name), alias)
    decided = policy.scope(record.name, action).predicate
    deleted = _is_deleted(record, alias)
    there = f"{alias}.id is not null and {'' if action == 'restore' else 'not '}({deleted})"
    columns = [f"({conditions.sql(rule.predicate, alias)}) is true" for rule in rules]
    id_ = conditions.operand(constant(uuid_or_none(ask.arguments["id"])), "uuid")
    statement = (
        f"select json_build_array({there}, ({conditions.sql(decided, alias)}) is true, {', '.join(columns)}) "
        f"from (select) one left join {table} on {alias}.id = {id_}"
    )
    context = replace(ask.context, actor=actor)
    data = await ask.fetch(statement, [source({}, context) for source in conditions.parameters.sources])
    exists, granted, *holds = orjson.loads(data)
    # To him who may not act on a record, not even its existence is told, unless he administers users.
    told = granted or ask.policy.grants.able(USERS)
    state = "is deleted" if action == "restore" else "exists and is not deleted"
    live = _shown(Rule("state", f"the record {state}", TRUE, allows=False), exists if told else None)
    shown = [_shown(rule, held if told or rule.allows else None) for rule, held in zip(rules, holds, strict=True)]
    for rule, about in zip(rules, shown, strict=True):
        if rule.name == "viewer" and about["holds"] and told:
            about["because"] = await _because(ask, policy, record, rule, actor)
    return {"allowed": exists and granted, "rules": [live, *shown]}


async def _because(ask: Ask, policy: Policy, record: Record, rule: Rule, actor: Actor) -> list[str]:
    """Who or what made the actor a viewer of the record that is asked about."""
    assert isinstance(rule.predicate, Related)
    relation, locale = rule.predicate.relation, ask.context.locale
    conditions = Conditions(policy)
    alias = conditions.alias()
    table, where = conditions.source(policy.internal(relation.target), alias)
    id_ = uuid_or_none(ask.arguments["id"])
    where += [f"{alias}.{quote(relation.column)} = {conditions.operand(constant(id_), 'uuid')}"]
    where += [conditions.sql(rule.predicate.part, alias)]
    statement = (
        f"select json_agg(json_build_array({alias}.source, team.name, u.display_name) order by {alias}.id) "
        f"from {table} left join team on team.id = {alias}.team_id left join app_user u on u.id = {alias}.created_by "
        f"where {' and '.join(where)}"
    )
    context = replace(ask.context, actor=actor)
    found = orjson.loads(await ask.fetch(statement, [source({}, context) for source in conditions.parameters.sources]))
    said = []
    names = ask.policy.grants.reach("User", "read") is not Reach.NONE
    for source, team, by in found:
        if source in record.type.viewer_sources:
            key = f"viewer_{source}_team" if team else f"viewer_{source}"
            said.append(text(key, locale, team=team, by=by if by and names else text("somebody", locale)))
    sources = {source for source, _, _ in found}
    for plugin, reasons in await ask.hooks.call("explain_viewer", record=record, record_id=id_, actor=actor, ask=ask):
        said += reasons if plugin in sources else ()
    return list(dict.fromkeys(said))


def _asked(ask: Ask) -> tuple[Record, str]:
    """The record type and the action that are meant. Raises BadInput for what there is not."""
    name, action, catalog = ask.arguments["record"], ask.arguments["action"], ask.policy.catalog
    known = {r.name: r for r in catalog.exposed() if r.fields["id"].kind is Kind.ID}
    if name not in known:
        raise BadInput(f"{name!r} is not a record type: one of {', '.join(sorted(known))} is")
    actions = known[name].type.actions
    if action not in actions:
        raise BadInput(f"{action!r} is not an action on {name}: one of {', '.join(sorted(actions))} is")
    return known[name], action


async def _about(ask: Ask) -> Actor:
    """Whose access is meant: the actor's own, or with the ability `users` somebody else's."""
    actor = ask.context.actor
    asked = ask.arguments.get("userId")
    if actor.user_id is None and not actor.grants.unlimited:
        raise Unauthenticated("sign in first")
    if asked is None or uuid_or_none(asked) == actor.user_id:
        return actor
    ask.policy.demand(USERS)
    id_ = uuid_or_none(asked)
    found = None if id_ is None else await find_actor(ask.fetch, id_)
    if found is None:
        raise NotFound("there is no such active user", id=asked)
    return found


def _rules(policy: Policy, record: Record, action: str) -> list[Rule]:
    """The rules of policy, and those it applies without naming them."""
    rules = policy.rules(record, action)
    if not any(rule.allows for rule in rules):
        rules.insert(0, Rule("role", f"no role of the user grants {action} on {record.name}", FALSE))
    if action not in ("read", "create"):
        read = policy.scope(record.name, "read").predicate
        rules.append(Rule("read", "the record may be read: nobody acts on what he cannot see", read, allows=False))
    return rules


def _is_deleted(record: Record, alias: str) -> str:
    return f"{alias}.deleted_at is not null" if record.type.soft_delete else "false"


def _shown(rule: Rule, holds: bool | None) -> dict[str, Any]:
    return {"name": rule.name, "description": rule.description, "allows": rule.allows, "holds": holds, "because": []}


OBJECTS = (
    ObjectType(
        "AccessExplanation",
        "Why a user may or may not act on a record.",
        (
            Member("allowed", "Boolean!", "Whether he may."),
            Member(
                "rules",
                "[AccessRule!]!",
                "What decided: one of those that allow must hold, and each of those that do not.",
            ),
        ),
    ),
    ObjectType(
        "AccessRule",
        "One rule that decides access.",
        (
            Member("name", "String!", "Its name, for programs: `role`, `viewer`, `plugin groups`, ..."),
            Member("description", "String!", "What it says."),
            Member("allows", "Boolean!", "True where it lets in, false where it is a condition for all."),
            Member("holds", "Boolean", "Whether it holds for this record; null where that is not disclosed."),
            Member("because", "[String!]!", "Who or what made the user a viewer, for people; empty for other rules."),
        ),
    ),
)

QUERIES = (
    Query(
        "accessExplain",
        "Why a user may or may not act on a record. About others it needs: users.",
        "AccessExplanation!",
        _explain,
        (
            Argument("record", "String!", "Name of the record type, such as `Customer`."),
            Argument("id", "ID!", "The record."),
            Argument("userId", "ID", "The user; oneself when left out."),
            Argument("action", "String!", "The action.", "read"),
        ),
    ),
)
