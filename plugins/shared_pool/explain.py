"""The query `poolExplain`: for each pool, whether a customer is in it and which parts of its rule hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from core import (
    Actor,
    Argument,
    Ask,
    Conditions,
    InvalidRule,
    Member,
    NotFound,
    ObjectType,
    Query,
    Records,
    constant,
    explain_rule,
    text,
    uuid_or_none,
)
from plugins.shared_pool.claims import PACKAGE
from plugins.shared_pool.rules import whole

# crm: allow P802 whom a pool lets in may know its name
_THROUGH = """
select json_agg(p.name order by p.name) from pool_member m join pool p on p.id = m.pool_id and p.deleted_at is null
where m.customer_id = $1 and (p.open_to_all or exists
  (select from pool_team t where t.pool_id = p.id and t.team_id = any($2::uuid[])))
"""


async def through(record_id: UUID, actor: Actor, ask: Ask) -> Sequence[str]:
    """Through which pools an actor sees a customer, in words."""
    found = orjson.loads(await ask.fetch(_THROUGH, [record_id, list(actor.team_ids)]) or b"[]")
    return [text("through_pool", ask.context.locale, PACKAGE, pool=name) for name in found]


async def _explain(ask: Ask) -> list[dict[str, Any]]:
    customer = uuid_or_none(ask.arguments["customerId"])
    if customer is None or not await _seen(ask, customer):
        raise NotFound("no such customer", id=ask.arguments["customerId"])
    return [await _one(ask, pool, customer) for pool in await _pools(ask, customer)]


async def _seen(ask: Ask, customer: UUID) -> bool:
    conditions = Conditions(ask.policy)
    table, where = conditions.source(ask.policy.scope("Customer"), "c")
    where.append(f"c.id = {conditions.operand(constant(customer), 'uuid')}")
    statement = f"select json_build_array(count(*)) from {table} where {' and '.join(where)}"
    return bool(orjson.loads(await ask.fetch(statement, conditions.bind(ask.context)))[0])


async def _pools(ask: Ask, customer: UUID) -> list[dict[str, Any]]:
    """The pools that may be read, with how the customer stands to each."""
    conditions = Conditions(ask.policy)
    table, where = conditions.source(ask.policy.scope("Pool"), "p")
    of = f"x.pool_id = p.id and x.customer_id = {conditions.operand(constant(customer), 'uuid')}"
    statement = f"""select coalesce(json_agg(json_build_object('id', p.id, 'rule', p.rule,
        'waitingDays', p.waiting_days, 'waitingField', p.waiting_field,
        'member', (select row_to_json(x) from pool_member x where {of}),
        'absent', (select x.since from pool_absence x where {of})) order by p.name_fold, p.id), '[]')
        from {table} where {" and ".join(where) or "true"}"""
    found: list[dict[str, Any]] = orjson.loads(await ask.fetch(statement, conditions.bind(ask.context)))
    return found


async def _one(ask: Ask, pool: dict[str, Any], customer: UUID) -> dict[str, Any]:
    member, asked = pool["member"] or {}, whole(pool)
    problem, parts = None, []
    if asked is not None:
        try:
            parts = await explain_rule(ask.fetch, ask.context, ask.policy, "Customer", asked, customer)
        except InvalidRule as error:
            problem = text("invalid_rule", ask.context.locale, reason=error.message)
    return {
        "pool": Records("Pool", [UUID(pool["id"])], single=True),
        "isMember": bool(member),
        "byRule": member.get("by_rule"),
        "since": _moment(member.get("since")),
        "absentSince": _moment(pool["absent"]),
        "matches": parts[0]["holds"] if parts else None,
        "conditions": parts,
        "problem": problem,
    }


def _moment(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


EXPLAINED = ObjectType(
    "PoolExplanation",
    "Why a customer is, or is not, in a pool.",
    (
        Member("pool", "Pool!", "The pool."),
        Member("isMember", "Boolean!", "Whether the customer is in it."),
        Member("byRule", "Boolean", "Whether the rule moved it in; null where it is not in the pool."),
        Member("since", "DateTime", "Since when it is in it."),
        Member(
            "absentSince",
            "DateTime",
            "Since when the rule does not move it in again, because it was claimed or taken out by hand.",
        ),
        Member(
            "matches",
            "Boolean",
            "Whether the rule, its waiting time included, holds; null without a rule and where that is not disclosed.",
        ),
        Member("conditions", "[ConditionExplanation!]!", "The parts of the rule, the whole of it first."),
        Member("problem", "String", "Why the rule is off, where it is."),
    ),
)

QUERIES = (
    Query(
        "poolExplain",
        "Why a customer is, or is not, in each of the pools that you may read.",
        "[PoolExplanation!]!",
        _explain,
        (Argument("customerId", "ID!", "The customer."),),
    ),
)
