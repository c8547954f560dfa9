"""A subscription to changes as one actor asks it, compiled: what it shows of records, and who could see them before.

Watches that are equal, to the actor's rights and the variables, are one watch: it runs one statement for all that a
batch holds, and a second one where records may have gone out of sight.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson
from graphql import GraphQLError, GraphQLObjectType

from core.context import Actor, RequestContext
from core.errors import BadInput
from core.eventcursor import EventCursor
from core.events.feed import Batch, Change
from core.policy import Policy
from core.predicate import Operand, Predicate, all_of, any_of
from core.records import Field, Kind, Record
from core.schema.compile import IDENTITY, Read, Reader
from core.schema.composition import Composition
from core.schema.document import Operation
from core.schema.execute import fill
from core.schema.measure import Limits
from core.schema.select import Document, Selection
from core.schema.where import condition
from core.sql import Statement, json_object, quote

Fetch = Callable[[str, Sequence[Any]], Awaitable[Any]]

_IDS = Operand(lambda variables, _context: variables["$ids"], "$ids")
_BEFORE = Operand(lambda variables, _context: variables["$before"], "$before")
_RELEASED = Operand(lambda variables, _context: variables["$released"], "$released")
#: The column of a searchable table that has all its searched text, folded.
SEARCH = "search_fold"
_ACTIONS = {"CREATE": "CREATED", "UPDATE": "UPDATED", "DELETE": "DELETED", "RESTORE": "RESTORED"}


@dataclass(frozen=True)
class Asked:
    """An operation as its client asked it."""

    text: str
    operation: str | None
    variables: dict[str, Any]

    @property
    def key(self) -> bytes:
        """Equal for operations that ask the same."""
        return orjson.dumps([self.text, self.operation, self.variables], option=orjson.OPT_SORT_KEYS, default=str)


@dataclass(frozen=True, slots=True)
class Event:
    """One event, finished: the body of a GraphQL response."""

    body: bytes


def selection_of(composition: Composition, asked: Asked, limits: Limits) -> tuple[Operation, Selection]:
    """The operation and its one root field. Raises GraphQLError, the first of several, where it cannot be run."""
    prepared = composition.document(asked.text, limits)
    operation = prepared.errors[0] if prepared.errors else prepared.operation(asked.operation)
    if isinstance(operation, GraphQLError):
        raise operation
    coerced = operation.coerce(asked.variables)
    if isinstance(coerced, list):
        coerced[0].extensions = {"code": "BAD_USER_INPUT", **(coerced[0].extensions or {})}
        raise coerced[0]
    cost = operation.measure.cost(coerced, limits)
    if cost > limits.cost:
        excess = f"The operation's cost is {cost}, over the limit of {limits.cost}: ask for fewer rows or fields."
        raise GraphQLError(excess, extensions={"code": "LIMIT_EXCEEDED", "cost": cost})
    root = composition.schema.subscription_type
    assert isinstance(root, GraphQLObjectType)
    document = Document(composition.schema, prepared.fragments, coerced)
    selections = document.collect(root, operation.node.selection_set)
    if len(selections) != 1:
        raise BadInput("a subscription asks for exactly one root field")
    return operation, selections[0]


class Watch:
    """One record type watched by one actor."""

    def __init__(self, composition: Composition, actor: Actor, selection: Selection, record: Record) -> None:
        self.record = record
        self.selection = selection
        self.composition = composition
        self._variables = selection.document.variables
        self._parts = selection.under()
        self._actor = actor
        policy = composition.policy(actor.grants)
        policy.demand_action(record.name, "read")
        where = selection.argument("where")
        self._where = condition(where, record, policy) if where is not None and not where.is_null else None
        self._read = self._reading(policy)
        self._former = self._remembering(policy)

    async def events(self, batch: Batch, context: RequestContext, fetch: Fetch) -> list[Event]:
        """What its subscribers are told of a batch, in the order of the changes."""
        if self.record.name in batch.flooded:
            at = datetime.now(UTC).isoformat()
            shown = {"action": "REFETCH", "at": at, "cursor": EventCursor(batch.snapshot).encode(context.workspace)}
            return [self._event(shown, {})]
        changes = [c for c in batch.changes if c.record_type == self.record.name]
        if not changes:
            return []
        context = replace(context, now=datetime.now(UTC))
        rows = await self._now(changes, context, fetch)
        gone = await self._before([c for c in changes if c.record_id not in rows], context, fetch)
        told = [c for c in _last_of_gone(changes, rows) if c.record_id in rows or c.record_id in gone]
        found = []
        for change in told:
            cursor = EventCursor(batch.snapshot)
            if change is not told[-1]:
                cursor = EventCursor(batch.since.seen, batch.snapshot, change.last)
            row = rows.get(change.record_id)
            shown = {
                "action": _ACTIONS[change.action] if row is not None else gone[change.record_id],
                "id": change.record_id,
                "changeSetId": change.change_set,
                "at": change.at,
                "cursor": cursor.encode(context.workspace),
            }
            found.append(self._event(shown, row or {}))
        return found

    def _event(self, shown: dict[str, Any], row: dict[str, Any]) -> Event:
        answer: dict[str, Any] = {}
        for part in self._parts:
            if part.name == self.record.type.singular:
                answer[part.key] = row.get(part.key)
            elif part.name == "__typename":
                answer[part.key] = part.parent.name
            else:
                answer[part.key] = shown.get(part.name)
        return Event(orjson.dumps({"data": {self.selection.key: answer}}))

    async def _now(self, changes: list[Change], context: RequestContext, fetch: Fetch) -> dict[str, dict[str, Any]]:
        """The records that may be seen and match now, by id, as the subscription shows them."""
        variables = {**self._variables, "$ids": list({c.record_id for c in changes})}
        data = await fetch(self._read.statement.text, self._read.statement.bind(variables, context))
        if self._read.slots:
            data = await fill(self._read, data, context)
        return {row[IDENTITY]: row for row in orjson.loads(data)["rows"]}

    async def _before(self, changes: list[Change], context: RequestContext, fetch: Fetch) -> dict[str, str]:
        """The records that could be seen and matched before and do not now: what became of them, by id."""
        changes = [c for c in changes if c.action in ("UPDATE", "DELETE")]
        if not changes:
            return {}
        olds: dict[str, dict[str, Any]] = {}
        for change in reversed(changes):
            olds[change.record_id] = {**olds.get(change.record_id, {}), **self._columns(change)}
        released = [c.record_id for c in changes if any(map(self._let_in, c.released))]
        before = orjson.dumps([{"id": id_, "old": old} for id_, old in olds.items()])
        variables = {**self._variables, "$before": before, "$released": released}
        rows = await fetch(self._former.text, self._former.bind(variables, context))
        return {row["id"]: "DELETED" if row["deleted"] else "LEFT" for row in orjson.loads(rows)}

    def _let_in(self, link: dict[str, Any]) -> bool:
        """Whether a link that was ended was one by which this actor could read the record."""
        teams = {str(t) for t in self._actor.team_ids}
        me = str(self._actor.user_id)
        return bool(link.get("everyone")) or link.get("userId") == me or link.get("teamId") in teams

    def _columns(self, change: Change) -> dict[str, Any]:
        """The values before a change by column."""
        found: dict[str, Any] = {}
        for name, value in change.before.items():
            declared = self.record.fields.get(name)
            if declared is None or declared.sql is not None:
                continue
            if declared.custom:
                found.setdefault("custom", {})[declared.custom] = value
            else:
                found[declared.column] = value
        return found

    def _reading(self, policy: Policy) -> Read:
        reader, parts = Reader(policy), [p for p in self._parts if p.name == self.record.type.singular]

        def rows(r: Reader) -> str:
            alias = r.alias()
            table, conditions = r.source(policy.scope(self.record.name), alias)
            conditions.insert(0, f"{alias}.id = any({r.operand(_IDS, 'uuid[]')})")
            if self._where is not None:
                conditions.append(r.sql(self._where, alias))
            columns = [(IDENTITY, f"{alias}.id")]
            columns += [(p.key, json_object(r.columns(self.record, alias, p.under(), ("rows", p.key)))) for p in parts]
            found = f"select {json_object(columns)} as j from {table} where {' and '.join(conditions)}"
            return f"(select coalesce(json_agg(x.j), '[]'::json) from ({found}) x)"

        return reader.read([("rows", rows)])

    def _remembering(self, policy: Policy) -> Statement:
        """Which of some records the actor could read, and the condition held for, as they were before."""
        reader = Reader(policy)
        alias, inner = reader.alias(), reader.alias()
        allowed: list[Predicate] = []
        limits: list[Predicate] = []
        for rule in policy.rules(self.record, "read"):
            (allowed if rule.allows else limits).append(rule.predicate)
        released = f"{alias}.id = any({reader.operand(_RELEASED, 'uuid[]')})"
        seen = f"({reader.sql(any_of(*allowed), alias)} or {released}) and {reader.sql(all_of(*limits), alias)}"
        matched = "true" if self._where is None else reader.sql(self._where, alias)
        old = ", ".join(_old_columns(self.record, inner))
        before = f"json_to_recordset({reader.operand(_BEFORE, 'json')}) as o(id uuid, old jsonb)"
        former = f"(select {old} from {quote(self.record.type.tablename)} {inner} join {before} on o.id = {inner}.id)"
        deleted = f"{alias}.deleted_at is not null" if self.record.type.soft_delete else "false"
        rows = f"select {alias}.id, {deleted} as deleted from {former} {alias} where {seen} and {matched}"
        return Statement(f"select coalesce(json_agg(x), '[]'::json) from ({rows}) x", tuple(reader.parameters.sources))


def _last_of_gone(changes: list[Change], rows: dict[str, Any]) -> Iterator[Change]:
    """The changes to tell of: all of records that are in sight, the last of each that is not."""
    last = {c.record_id: c for c in changes}
    for change in changes:
        if change.record_id in rows or last[change.record_id] is change:
            yield change


def _old_columns(record: Record, alias: str) -> Iterator[str]:
    """The columns of a table as they were before: `o.old` has those that were changed."""
    stored = record.by_column()
    for column, declared in stored.items():
        yield f"{_old(declared, alias)} as {quote(column)}"
    folded = {f.folded: f"public.crm_fold({_old(f, alias)})" for f in stored.values() if f.folded}
    searched = [folded[f.folded] for f in stored.values() if f.search and f.folded]
    if searched and SEARCH not in folded:
        folded[SEARCH] = f"concat_ws(' ', {', '.join(searched)})"
    for column, value in folded.items():
        yield f"{value} as {quote(column)}"
    if any(f.custom for f in record.fields.values()):
        yield f"{alias}.custom || coalesce(o.old->'custom', '{{}}') as custom"
    if record.type.soft_delete and "deleted_at" not in stored:
        yield f"{alias}.deleted_at"


def _old(declared: Field, alias: str) -> str:
    column = f"{alias}.{quote(declared.column)}"
    key = "'" + declared.column.replace("'", "''") + "'"
    if declared.kind is Kind.TEXTS:
        value = f"(select array_agg(e) from jsonb_array_elements_text(o.old->{key}) e)"
    elif declared.kind is Kind.JSON:
        value = f"o.old->{key}"
    else:
        value = f"(o.old->>{key})::{declared.type}"
    return f"case when o.old ? {key} then {value} else {column} end"
