"""`duplicateCandidates`: customers that are alike though not the same, with a score and the evidence for it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import orjson

from core import (
    Argument,
    Ask,
    BadInput,
    Conditions,
    LimitExceeded,
    Member,
    ObjectType,
    Query,
    Records,
    quote,
    uuid_or_none,
    where_condition,
)
from plugins.dedupe import blocking
from plugins.dedupe.likeness import COMPARED, Evidence, Profile, compare, profile
from plugins.dedupe.normalise import Normaliser, digits, words
from plugins.dedupe.page import cursor, members, page, place
from plugins.dedupe.settings import Settings

MOST = 200
#: How many customers with a like name are compared with one customer.
NEAREST = 300

TYPES = (
    ObjectType(
        "DuplicateEvidence",
        "What one field says for or against two customers being one.",
        (
            Member("field", "String!", "The field."),
            Member("left", "String!", "Its value in the one."),
            Member("right", "String!", "Its value in the other."),
            Member("similarity", "Float!", "How similar they are, from 0 to 1."),
            Member("weight", "Float!", "What that is worth in bits; negative where it speaks against."),
        ),
    ),
    ObjectType(
        "DuplicateCandidate",
        "Two customers that may be one.",
        (
            Member("left", "Customer!", "The one; it is the one asked for, or else the older."),
            Member("right", "Customer!", "The other."),
            Member("score", "Float!", "How likely they are one, from 0 to 1."),
            Member("evidence", "[DuplicateEvidence!]!", "Why, the strongest first."),
            Member("cursor", "String!", "Its place, for `after`."),
        ),
    ),
    ObjectType(
        "DuplicateCandidates",
        "A page of candidates, the most likely first.",
        members("DuplicateCandidate", "The candidates."),
    ),
)

Pair = tuple[float, Profile, Profile, list[Evidence]]


def query(settings: Settings) -> Query:
    """The query."""

    async def run(ask: Ask) -> dict[str, Any]:
        return await _candidates(ask, settings)

    return Query(
        "duplicateCandidates",
        "Customers that may be one, of those you may read, the most likely first; compared by name, email, phone, tax "
        f"code, birthday and addresses. At most {settings.candidate_limit} customers are compared with each other. "
        "Needs: read on Customer.",
        "DuplicateCandidates!",
        run,
        (
            Argument("customerId", "ID", "Only candidates for this customer, among all."),
            Argument("where", "CustomerWhere", "Candidates among the customers that satisfy this."),
            Argument("threshold", "Float", f"The least score; {settings.candidate_threshold} when left out."),
            Argument("first", "Int", f"How many; 50 when left out, at most {MOST}."),
            Argument("after", "String", "Only those after this cursor."),
        ),
    )


async def _candidates(ask: Ask, settings: Settings) -> dict[str, Any]:
    ask.policy.demand_action("Customer", "read")
    given = ask.arguments
    first = 50 if given.get("first") is None else given["first"]
    threshold = settings.candidate_threshold if given.get("threshold") is None else given["threshold"]
    if not 0 <= first <= MOST:
        raise BadInput(f"between 0 and {MOST} candidates can be asked for")
    if not 0 <= threshold <= 1:
        raise BadInput("a threshold is between 0 and 1")
    if (given.get("customerId") is None) == (ask.given("where") is None):
        raise BadInput("give either `customerId` or `where`")
    normaliser = Normaliser.of(settings, ask.context.workspace.country)
    if given.get("customerId") is not None:
        compared = await _with_one(ask, normaliser, uuid_or_none(given["customerId"]))
        pairs = await asyncio.to_thread(_scored, compared, threshold)
    else:
        pairs = await _among(ask, normaliser, settings.candidate_limit, threshold)
    apart = await _dismissed(ask, [p.id for _, *pair, _ in pairs for p in pair])
    after = None if given.get("after") is None else _place(given["after"])
    found = [
        (score, one, other, evidence)
        for score, one, other, evidence in pairs
        if (after is None or (-score, one.id, other.id) > after) and frozenset((one.id, other.id)) not in apart
    ]
    nodes = [_shown(pair) for pair in found[:first]]
    return page(nodes, given.get("after"), more=len(found) > first)


Place = tuple[float, str, str]


def _scored(pairs: Iterable[tuple[Profile, Profile]], threshold: float) -> list[Pair]:
    """The pairs that reach a score, best first."""
    found = []
    for one, other in pairs:
        if compared := compare(one, other, threshold):
            found.append((compared[0], one, other, compared[1]))
    return sorted(found, key=lambda p: (-p[0], p[1].id, p[2].id))


def _place(given: str) -> Place:
    """The place of a cursor. Raises BadInput for text that is none."""
    score, one, other = place(given, 3)
    return float(score), str(one), str(other)


def _shown(pair: Pair) -> dict[str, Any]:
    score, one, other, evidence = pair
    return {
        "left": Records("Customer", [UUID(one.id)], single=True),
        "right": Records("Customer", [UUID(other.id)], single=True),
        "score": score,
        "cursor": cursor([-score, one.id, other.id]),
        "evidence": [
            {"field": e.field, "left": e.left, "right": e.right, "similarity": e.similarity, "weight": e.weight}
            for e in evidence
        ],
    }


#: The pairs that were found last, by what they were found in: the next page need not compare everybody anew.
_FOUND: OrderedDict[bytes, list[Pair]] = OrderedDict()
_MOST_FOUND = 8


async def _among(ask: Ask, normaliser: Normaliser, limit: int, threshold: float) -> list[Pair]:
    """The pairs that reach a score among the customers that satisfy the condition, best first."""
    conditions = Conditions(ask.policy)
    where = ask.given("where")
    assert where is not None
    among = conditions.sql(where_condition(where, ask.policy.catalog["Customer"], ask.policy), "c")
    data = await _values(ask, conditions, f"{among} order by c.id limit {limit + 1}")
    # All that the scores follow from: whoever reads the same of the same customers finds the same.
    key = hashlib.blake2b(data + repr((normaliser.fingerprint, limit, threshold)).encode()).digest()
    if (known := _FOUND.get(key)) is not None:
        _FOUND.move_to_end(key)
        return known
    found = _FOUND[key] = await asyncio.to_thread(_compared, data, normaliser, limit, threshold)
    if len(_FOUND) > _MOST_FOUND:
        _FOUND.popitem(last=False)
    return found


def _compared(data: bytes, normaliser: Normaliser, limit: int, threshold: float) -> list[Pair]:
    profiles = _read(data, normaliser)
    if len(profiles) > limit:
        raise LimitExceeded(f"more than {limit} customers satisfy the condition: narrow it")
    return _scored(((profiles[i], profiles[j]) for i, j in sorted(blocking.pairs(profiles))), threshold)


async def _with_one(ask: Ask, normaliser: Normaliser, id_: UUID | None) -> list[tuple[Profile, Profile]]:
    """One customer with those that are worth comparing with it."""
    conditions = Conditions(ask.policy)
    found = await _profiles(ask, conditions, normaliser, f"c.id = {conditions.known(id_, 'uuid')}")
    if not found:
        return []
    one, conditions = found[0], Conditions(ask.policy)
    blocks = [f"select c.id from customer c where {part}" for part in _blocks(conditions, one)]
    if not blocks:
        return []
    near = " union ".join(f"({block})" for block in blocks)
    rest = await _profiles(
        ask, conditions, normaliser, f"c.id in ({near}) and c.id <> {conditions.known(UUID(one.id), 'uuid')}"
    )
    return [(one, other) for other in rest]


def _blocks(conditions: Conditions, one: Profile) -> list[str]:
    """Conditions that find customers like one, each by an index but for the birthday."""
    found = []
    live = "c.deleted_at is null"
    if "name" in one.meant:
        name = conditions.known(one.shown["name"], "text")
        fold = f"public.crm_fold({name})"
        near = f"order by similarity(c.name_fold, {fold}) desc limit {NEAREST}"
        found.append(f"c.name_fold % {fold} and {live} {near}")
    if (phone := one.meant.get("phone")) and len(digits(phone)) > 6:
        tail = "%".join(digits(phone)[-7:])
        found.append(f"c.phone_fold like {conditions.known(f'%{tail}', 'text')} and {live} limit {NEAREST}")
    if email := one.meant.get("email"):
        local = conditions.known(email.partition("@")[0].replace("\\", "").replace("%", "").replace("_", r"\_"), "text")
        found.append(f"c.email_fold like {local} || '@%' and {live} limit {NEAREST}")
    if "birthday" in one.meant:
        found.append(f"c.birthday = {conditions.known(one.meant['birthday'], 'text')}::date and {live} limit {NEAREST}")
    if "taxCode" in one.meant:
        code = conditions.known(words(one.shown["taxCode"]).replace(" ", "%"), "text")
        found.append(f"c.tax_code_fold like {code} and {live} limit {NEAREST}")
    return found


async def _profiles(ask: Ask, conditions: Conditions, normaliser: Normaliser, condition: str) -> list[Profile]:
    """The customers that satisfy a condition on `c`, in the order of their ids, as far as the actor reads them."""
    return await asyncio.to_thread(_read, await _values(ask, conditions, condition), normaliser)


async def _values(ask: Ask, conditions: Conditions, condition: str) -> bytes:
    """What is compared of the customers that satisfy a condition on `c`: their ids and values, as JSON."""
    record = ask.policy.catalog["Customer"]
    table, where = conditions.source(ask.policy.scope("Customer"), "c")
    columns = [
        f"'{name}', c.{quote(record.fields[name].column)}" for name in COMPARED if ask.policy.readable(record, name)
    ]
    values, matching = f"json_build_object({', '.join(columns)})", " and ".join([*where, condition])
    rows = f"select c.id, {values} as v from {table} where {matching}"
    statement = f"select coalesce(json_agg(json_build_array(r.id, r.v) order by r.id), '[]'::json) from ({rows}) r"
    data: bytes = await ask.fetch(statement, conditions.bind(ask.context, ask.variables))
    return data


def _read(data: bytes, normaliser: Normaliser) -> list[Profile]:
    return [profile(id_, values, normaliser) for id_, values in orjson.loads(data)]


async def _dismissed(ask: Ask, ids: Sequence[str]) -> set[frozenset[str]]:
    """The dismissed pairs among customers."""
    statement = """select coalesce(json_agg(json_build_array(customer_id, other_id)), '[]'::json) from dedupe_dismissal
        where customer_id = any($1::uuid[]) and other_id = any($1::uuid[])"""
    found = orjson.loads(await ask.fetch(statement, [[UUID(i) for i in dict.fromkeys(ids)]]))
    return {frozenset(pair) for pair in found}
