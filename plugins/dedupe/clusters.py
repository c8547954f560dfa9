"""`duplicateClusters`: who is there twice already, by a criterion, within a condition, page by page."""

from __future__ import annotations

from itertools import combinations
from typing import Any
from uuid import UUID

import orjson

from core import (
    TRUE,
    Argument,
    Ask,
    BadInput,
    Conditions,
    Member,
    NotFound,
    ObjectType,
    Query,
    Records,
    uuid_or_none,
    where_condition,
)
from plugins.dedupe.page import cursor, members, page, place

MOST_CLUSTERS = 200
#: Members of one cluster that are shown.
MOST_MEMBERS = 50

TYPES = (
    ObjectType(
        "DuplicateCluster",
        "Customers that are the same by a criterion.",
        (
            Member("key", "String!", "What they have in common, as it is compared."),
            Member("count", "Int!", "How many there are, with those that you may not read."),
            Member("hidden", "Int!", "How many of them you may not read."),
            Member("members", "[Customer!]!", f"Those that you may read, oldest first, at most {MOST_MEMBERS}."),
            Member("cursor", "String!", "Its place, for `after`."),
        ),
    ),
    ObjectType(
        "DuplicateClusters",
        "A page of clusters, in the order of their keys.",
        members("DuplicateCluster", "The clusters."),
    ),
)


def query() -> Query:
    """The query."""
    return Query(
        "duplicateClusters",
        "The customers that are there more than once by a criterion, contacts included where it looks at them. Pairs "
        "that were dismissed and deleted customers do not count. Needs: read on Customer.",
        "DuplicateClusters!",
        _clusters,
        (
            Argument("criterionId", "ID!", "By what."),
            Argument("where", "CustomerWhere", "Only among customers that satisfy this."),
            Argument("first", "Int", f"How many clusters; 50 when left out, at most {MOST_CLUSTERS}."),
            Argument("after", "String", "Only those after this cursor."),
        ),
    )


async def _clusters(ask: Ask) -> dict[str, Any]:
    ask.policy.demand_action("Customer", "read")
    set_id = await _criterion(ask)
    first = ask.arguments.get("first")
    first = 50 if first is None else first
    if not 0 <= first <= MOST_CLUSTERS:
        raise BadInput(f"a page has between 0 and {MOST_CLUSTERS} clusters")
    conditions = Conditions(ask.policy)
    statement = _statement(ask, conditions, set_id, first)
    found = orjson.loads(await ask.fetch(statement, conditions.bind(ask.context, ask.variables)))
    nodes = [node for cluster in found[:first] if (node := _shown(cluster))]
    end = cursor([found[:first][-1]["key"]]) if found[:first] else None
    return page(nodes, ask.arguments.get("after"), more=len(found) > first, end=end)


async def _criterion(ask: Ask) -> int:
    """The keys of the criterion that is asked for. Raises NotFound, and Forbidden where it uses a hidden field."""
    conditions = Conditions(ask.policy)
    table, where = conditions.source(ask.policy.scope("DuplicateCriterion"), "c")
    where.append(f"c.id = {conditions.known(uuid_or_none(ask.arguments['criterionId']), 'uuid')}")
    statement = (
        f"select json_build_object('set', c.set_id, 'fields', c.fields) from {table} where {' and '.join(where)}"
    )
    data = await ask.fetch(statement, conditions.bind(ask.context))
    if data is None:
        raise NotFound("there is no such criterion", id=ask.arguments["criterionId"])
    found = orjson.loads(data)
    customer = ask.policy.catalog["Customer"]
    for name in found["fields"]:
        ask.policy.demand_readable(customer, name)
    set_id: int = found["set"]
    return set_id


def _statement(ask: Ask, conditions: Conditions, set_id: int, first: int) -> str:
    """Clusters with all their members, each readable or not, and the dismissed pairs among them."""
    customer = ask.policy.catalog["Customer"]
    scope = ask.policy.scope("Customer")
    where = ask.given("where")
    among = where_condition(where, customer, ask.policy) if where is not None else TRUE
    set_ = conditions.known(set_id, "integer")
    after = ""
    if ask.arguments.get("after") is not None:
        after = f" and k.key > {conditions.known(place(ask.arguments['after'], 1)[0], 'text')}"
    table, live = conditions.source(scope, "c")
    readable = " and ".join(live)
    seen = conditions.sql(among, "c")
    narrowed = scope.predicate != TRUE or among != TRUE
    # Whoever reads everything and asks for everything is answered from the keys alone.
    mine = f" and exists (select from {table} where c.id = k.customer_id and {readable} and {seen})" if narrowed else ""
    if narrowed:
        # One that may be read, and another that may be read, too, or is hidden.
        keys = f"""select k.key from dedupe_key k where k.set_id = {set_} and k.live{after}{mine} and exists (
            select from dedupe_key o where o.set_id = k.set_id and o.key = k.key and o.live
              and o.customer_id <> k.customer_id) group by k.key"""
    else:
        keys = f"""select k.key from dedupe_key k where k.set_id = {set_} and k.live{after}
            group by k.key having count(*) > 1"""
    return f"""
        with dismissed as materialized (
          select a.key, count(distinct (d.customer_id, d.other_id)) as pairs from dedupe_dismissal d
          join dedupe_key a on a.customer_id = d.customer_id and a.set_id = {set_} and a.live
          join dedupe_key b on b.customer_id = d.other_id and b.set_id = {set_} and b.live and b.key = a.key
          group by a.key)
        select coalesce(json_agg(x order by x.key), '[]'::json) from (
          select g.key, d.pairs is not null as marked, m.ids, m.readable, (
            select json_agg(json_build_array(p.customer_id, p.other_id)) from dedupe_dismissal p
            where d.pairs is not null and p.customer_id = any(m.ids) and p.other_id = any(m.ids)) as pairs
          from ({keys} order by k.key) g
          left join dismissed d on d.key = g.key
          cross join lateral (
            select array_agg(distinct k.customer_id order by k.customer_id) as ids,
              array_agg(distinct c.id order by c.id) filter (where c.id is not null and {seen}) as readable,
              count(distinct k.customer_id) as n
            from dedupe_key k left join {table} on c.id = k.customer_id and {readable}
            where k.set_id = {set_} and k.key = g.key and k.live
              and (c.id is null or {seen})) m
          where m.n > 1 and m.readable is not null and coalesce(d.pairs, 0) < m.n * (m.n - 1)
          order by g.key limit {first + 1}) x"""


def _shown(cluster: dict[str, Any]) -> dict[str, Any] | None:
    """A cluster without members that are duplicates of nobody in it; None where the actor sees nobody left."""
    ids, readable = cluster["ids"], cluster["readable"]
    if cluster["pairs"]:
        apart = {tuple(pair) for pair in cluster["pairs"]}
        left = {id_ for pair in combinations(ids, 2) if pair not in apart for id_ in pair}
        ids, readable = [i for i in ids if i in left], [i for i in readable if i in left]
    if not readable:
        return None
    return {
        "key": cluster["key"],
        "count": len(ids),
        "hidden": len(ids) - len(readable),
        "members": Records("Customer", [UUID(i) for i in readable[:MOST_MEMBERS]]),
        "cursor": cursor([cluster["key"]]),
    }
