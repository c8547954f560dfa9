"""`duplicatesCheck`: which duplicates there would be of records that are not written yet, for forms and imports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

from core import Argument, Ask, BadInput, Forbidden, LimitExceeded, Member, ObjectType, Query, Record, uuid_or_none
from plugins.dedupe.criteria import CRITERIA, Criterion
from plugins.dedupe.duplicate import KIND, Match, Other, others
from plugins.dedupe.keys import Hit, Wanted, holders
from plugins.dedupe.rules import Key, Rules, rules_of
from plugins.dedupe.settings import Settings

MOST = 5000
NOBODY = UUID(int=0)

TYPES = (
    ObjectType(
        "DuplicateCheck",
        "What one record would be a duplicate of.",
        (
            Member("index", "Int!", "The record's place among those given, from 0."),
            Member("blocked", "Boolean!", "Whether it would be refused."),
            Member("duplicates", f"[{KIND}!]!", "What it has in common with whom."),
        ),
    ),
)


def query(settings: Settings) -> Query:
    """The query."""

    async def run(ask: Ask) -> list[dict[str, Any]]:
        return await _check(ask, settings)

    return Query(
        "duplicatesCheck",
        "Which duplicates there would be of customers with these values, one answer per record. Each is compared with "
        "the customers and contacts there are and with the records before it. Needs: create or update on Customer.",
        "[DuplicateCheck!]!",
        run,
        (
            Argument("records", "[CustomerPatch!]!", f"The values, at most {MOST} records."),
            Argument("ids", "[ID]", "The customers whose new values these are, in the same order; null for new ones."),
        ),
    )


class _Reading:
    """Runs a statement of one row as one that returns one JSON value, which is what a query may fetch."""

    def __init__(self, fetch: Any) -> None:
        self._fetch = fetch

    async def fetchrow(self, statement: str, *values: Any) -> dict[str, Any]:
        """The row, its JSON columns as bytes."""
        data = await self._fetch(f"select row_to_json(r) from ({statement}) r", values)
        return {name: orjson.dumps(value) if value is not None else None for name, value in orjson.loads(data).items()}


async def _check(ask: Ask, settings: Settings) -> list[dict[str, Any]]:
    records, ids = _asked(ask)
    record = ask.policy.catalog["Customer"]
    source = orjson.dumps(orjson.loads(await ask.fetch(f"select {CRITERIA}", [])))
    rules = rules_of(ask.context.workspace, settings, source)
    keys = [{k: c for k, c in rules.keys(record, r).items() if c.active} for r in records]
    _demand_readable(ask, record, rules, records)
    # Several new records are told apart by nothing but their place.
    selves = [id_ or UUID(int=i + 1) for i, id_ in enumerate(ids)]
    wanted: list[Wanted] = [(i, key, selves[i]) for i, some in enumerate(keys) for key in some]
    _, hits = await holders(_Reading(ask.fetch), wanted, settings)
    found = list({h.customer for h in hits.values() if not h.dismissed})
    known = await others(ask.fetch, ask.context, ask.policy, found, settings) if found else {}
    return _answers(ask, settings, record, records, keys, hits, known)


def _asked(ask: Ask) -> tuple[list[dict[str, Any]], list[UUID | None]]:
    policy = ask.policy
    if not any(policy.grants.reach("Customer", action).value for action in ("create", "update")):
        raise Forbidden("you may neither create nor update Customer", record="Customer")
    records = ask.arguments["records"]
    if len(records) > MOST:
        raise LimitExceeded(f"at most {MOST} records can be checked at once")
    given = ask.arguments.get("ids") or [None] * len(records)
    if len(given) != len(records):
        raise BadInput("`ids` must have as many entries as `records`")
    return records, [i and (uuid_or_none(i) or NOBODY) for i in given]


def _demand_readable(ask: Ask, record: Record, rules: Rules, records: list[dict[str, Any]]) -> None:
    """Raise Forbidden for values of fields that the actor may not read: the answer would tell what they hold."""
    compared = {f for c in rules.criteria for f in c.fields}
    for name in sorted({n for r in records for n in r if n in compared}):
        ask.policy.demand_readable(record, name)


def _answers(
    ask: Ask,
    settings: Settings,
    record: Record,
    records: list[dict[str, Any]],
    keys: list[dict[Key, Criterion]],
    hits: Mapping[tuple[int, Key], Hit],
    known: Mapping[UUID, Other],
) -> list[dict[str, Any]]:
    locale, first = ask.context.locale, dict[Key, int]()
    answers = []
    for i, some in enumerate(keys):
        told = []
        for key, criterion in some.items():
            hit = hits.get((i, key))
            value = criterion.shown(records[i])
            if hit and not hit.dismissed:
                match = Match(criterion, value, known.get(hit.customer, Other()), hit.contact is not None)
            elif key in first:
                match = Match(criterion, value, Other(), row=first[key])
            else:
                continue
            told.append(_shown(match, record, locale, settings, i))
        if not any(t["blocking"] for t in told):
            for key in some:
                first.setdefault(key, i)
        answers.append({"index": i, "blocked": any(t["blocking"] for t in told), "duplicates": told})
    return answers


def _shown(match: Match, record: Record, locale: str, settings: Settings, index: int) -> dict[str, Any]:
    label = match.criterion.label(record, locale)
    fields = match.fields(label, settings.disclose)
    return {
        "__typename": KIND,
        "path": ["records", str(index), match.criterion.fields[0]],
        "code": "DUPLICATE",
        "message": match.message(label, locale, settings.disclose),
        "params": {k: v for k, v in fields.items() if v is not None},
        **fields,
    }
