"""`tierExplain`: which conditions of which tiers hold for a customer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

from core import (
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
    uuid_or_none,
)

OBJECTS = (
    ObjectType(
        "TierExplanation",
        "Why a customer has the tier he has.",
        (
            Member("customer", "Customer!", "The customer."),
            Member("tier", "Tier", "The tier he has."),
            Member("pinned", "Boolean!", "Whether no rule moves him."),
            Member("tiers", "[TierRuleExplanation!]!", "Every tier, the highest first."),
        ),
    ),
    ObjectType(
        "TierRuleExplanation",
        "What the rule of a tier says to a customer.",
        (
            Member("tier", "Tier!", "The tier."),
            Member("current", "Boolean!", "Whether he has it."),
            Member(
                "holds",
                "Boolean",
                "Whether its rule holds; null where it has none, where that is off, or tells what is hidden from you.",
            ),
            Member("problem", "String", "Why its rule is off."),
            Member("conditions", "[ConditionExplanation!]!", "The parts of its rule, the whole rule first."),
        ),
    ),
)


async def _explain(ask: Ask) -> dict[str, Any]:
    policy = ask.policy
    tiers = policy.catalog["Tier"]
    policy.demand_action("Tier", "read")
    policy.demand_readable(tiers, "rule")
    id_ = uuid_or_none(ask.arguments["customerId"]) or UUID(int=0)
    member = await _member(ask, id_)
    conditions = Conditions(policy)
    table, where = conditions.source(policy.scope("Tier"), "t")
    statement = (
        "select coalesce(json_agg(json_build_object('id', t.id, 'rule', t.rule) order by t.rank desc), '[]'::json) "
        f"from {table} where {' and '.join(where)}"
    )
    found = orjson.loads(await ask.fetch(statement, conditions.values(ask.context)))
    shown = [await _rule(ask, id_, tier, member["tier"]) for tier in found]
    current = member["tier"] if any(tier["current"] for tier in shown) else None
    return {
        "customer": Records("Customer", [id_], single=True),
        "tier": Records("Tier", [UUID(current)], single=True) if current else None,
        "pinned": member["pinned"],
        "tiers": shown,
    }


async def _member(ask: Ask, id_: UUID) -> dict[str, Any]:
    """The customer's tier and whether it is pinned. Raises NotFound where he may not be read."""
    conditions = Conditions(ask.policy)
    table, where = conditions.source(ask.policy.scope("Customer"), "c")
    where.append(f"c.id = {conditions.operand(constant(id_), 'uuid')}")
    tier, there = conditions.source(ask.policy.scope("Tier"), "t")
    statement = (
        "select json_build_object('tier', m.tier_id, 'pinned', coalesce(m.pinned, false)) "
        f"from {table} left join (tier_member m join {tier} on {' and '.join(['t.id = m.tier_id', *there])}) "
        f"on m.customer_id = c.id where {' and '.join(where)}"
    )
    found = await ask.fetch(statement, conditions.values(ask.context))
    if found is None:
        raise NotFound("no such customer", id=ask.arguments["customerId"])
    answer: dict[str, Any] = orjson.loads(found)
    return answer


async def _rule(ask: Ask, id_: UUID, tier: Mapping[str, Any], current: str | None) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    problem = None
    if tier["rule"] is not None:
        try:
            parts = await explain_rule(ask.fetch, ask.context, ask.policy, "Customer", tier["rule"], id_)
        except InvalidRule as error:
            problem = error.message
    return {
        "tier": Records("Tier", [UUID(tier["id"])], single=True),
        "current": tier["id"] == current,
        "holds": parts[0]["holds"] if parts else None,
        "problem": problem,
        "conditions": parts,
    }


QUERIES = (
    Query(
        "tierExplain",
        "Which conditions of which tiers hold for a customer.",
        "TierExplanation!",
        _explain,
        (Argument("customerId", "ID!", "The customer."),),
    ),
)
