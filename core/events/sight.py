"""Who sees what of a batch: one statement for all watchers with equal grants, and one for who saw it before.

A statement is compiled as for one actor, but what it takes from him, his id, his teams, the values in his condition, is
a column of one row per watcher, which it is joined to.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import orjson

from core.catalog import Record
from core.context import Actor, RequestContext
from core.events.feed import Batch, Change
from core.policy import Policy
from core.predicate import Operand, Predicate, all_of, any_of
from core.records import Field, Kind
from core.schema.compile import IDENTITY, Read, Reader
from core.schema.running import fill
from core.schema.select import Selection
from core.schema.where import condition
from core.sql import Parameters, Source, json_object, quote

Fetch = Callable[[str, Sequence[Any]], Awaitable[Any]]

#: What is the same for every watcher: the ids that a batch is about, or the values before it by record.
_SHARED = Operand(lambda variables, _context: variables["$shared"], "$shared")
_RELEASED = Operand(lambda variables, _context: variables["$released"], "$released")
#: Under which a row says whose it is.
_WATCHER = "$watcher"
#: The column of a searchable table that has all its searched text, folded.
SEARCH = "search_fold"
#: The most pairs of a watcher and a record that one statement looks at.
PAIRS = 20_000


class Watcher(Protocol):
    """Who watches, and the variables of what he asked."""

    actor: Actor
    variables: dict[str, Any]


@dataclass(slots=True)
class Seen:
    """What a watcher sees of a batch, by the record's id: rows, and what became of those that are gone."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)


class _Columns(Parameters):
    """Parameters that are columns of a row per watcher ($1), but for the one that all share ($2)."""

    def __init__(self) -> None:
        super().__init__()
        self.types: list[str] = []

    def add(self, source: Source, type_: str, key: Any = None) -> str:
        return f"$2::{type_}" if key == _SHARED.key else super().add(source, type_, key)

    def placeholder(self, number: int, type_: str) -> str:
        self.types.append(type_)
        return f"who.p{number}"

    @property
    def rows(self) -> str:
        """The FROM item that makes rows of the watchers."""
        columns = "".join(f", p{n} {type_}" for n, type_ in enumerate(self.types, 1))
        return f"json_to_recordset($1::json) as who(n int{columns})"

    def bind(self, watchers: Sequence[tuple[dict[str, Any], RequestContext]]) -> bytes:
        """The watchers, each given by his variables and his request, as those rows."""
        rows = [
            {"n": n, **{f"p{i}": source(variables, context) for i, source in enumerate(self.sources, 1)}}
            for n, (variables, context) in enumerate(watchers)
        ]
        return orjson.dumps(rows, default=str)


class Sight:
    """What watchers with equal grants, who ask the same but for the values in it, see of records of one type.

    Raises Forbidden where they may not read the type, or not what their condition is about.
    """

    def __init__(self, policy: Policy, selection: Selection, record: Record) -> None:
        policy.demand_action(record.name, "read")
        self.record = record
        where = selection.argument("where")
        self._where = condition(where, record, policy) if where is not None and not where.is_null else None
        self._parts = [p for p in selection.under() if p.name == record.type.singular]
        self._now, self._former = _Columns(), _Columns()
        self._read = self._reading(policy)
        self._remember = self._remembering(policy)

    async def of(self, watchers: Sequence[Watcher], batch: Batch, context: RequestContext, fetch: Fetch) -> list[Seen]:
        """What each watcher sees of a batch; `context` says where and when."""
        changes = [c for c in batch.changes if c.record_type == self.record.name]
        seen = [Seen() for _ in watchers]
        # What Python computes may depend on who asks.
        most = 1 if self._read.slots else max(1, PAIRS // max(1, len(changes)))
        for i in range(0, len(watchers) if changes else 0, most):
            some = [(w, replace(context, actor=w.actor, locale=w.actor.locale)) for w in watchers[i : i + most]]
            await self._see(some, changes, seen[i : i + most], fetch)
        return seen

    async def _see(
        self, watchers: Sequence[tuple[Watcher, RequestContext]], changes: list[Change], seen: list[Seen], fetch: Fetch
    ) -> None:
        who = self._now.bind([(w.variables, c) for w, c in watchers])
        data = await fetch(self._read.statement.text, (who, list({c.record_id for c in changes})))
        if self._read.slots:
            data = await fill(self._read, data, watchers[0][1])
        for row in orjson.loads(data)["rows"]:
            seen[row[_WATCHER]].rows[row[IDENTITY]] = row
        ends = [c for c in changes if self._may_hide(c)]
        blind = [n for n, s in enumerate(seen) if any(c.record_id not in s.rows for c in ends)]
        if not blind:
            return
        olds: dict[str, dict[str, Any]] = {}
        for change in reversed(ends):
            olds[change.record_id] = {**olds.get(change.record_id, {}), **self._columns(change)}
        given = []
        for watcher, context in (watchers[n] for n in blind):
            lost = [c.record_id for c in ends if any(_let_in(watcher.actor, link) for link in c.released)]
            given.append(({**watcher.variables, "$released": lost}, context))
        before = orjson.dumps([{"id": id_, "old": old} for id_, old in olds.items()])
        for n, id_, deleted in orjson.loads(await fetch(self._remember, (self._former.bind(given), before))):
            found = seen[blind[n]]
            if id_ not in found.rows:
                found.gone[id_] = "DELETED" if deleted else "LEFT"

    def _may_hide(self, change: Change) -> bool:
        """Whether a record may have gone out of somebody's sight by a change: most touch nothing that decides it."""
        if change.action != "UPDATE" or change.released:
            return change.action in ("UPDATE", "DELETE")
        return self._decisive is None or any(
            not self._decisive.isdisjoint(_derived(f)) for n in change.before if (f := self.record.fields.get(n))
        )

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
        reader = Reader(policy)
        reader.parameters = self._now

        def rows(r: Reader) -> str:
            alias = r.alias()
            table, conditions = r.source(policy.scope(self.record.name), alias)
            conditions.insert(0, f"{alias}.id = any({r.operand(_SHARED, 'uuid[]')})")
            if self._where is not None:
                conditions.append(r.sql(self._where, alias))
            columns = [(IDENTITY, f"{alias}.id"), (_WATCHER, "who.n")]
            for part in self._parts:
                columns.append((part.key, r.object(self.record, alias, part.under(), ("rows", part.key))))
            found = f"select {json_object(columns)} as j from {table} where {' and '.join(conditions)}"
            found = f"{self._now.rows} cross join lateral ({found}) x"
            return f"(select coalesce(json_agg(x.j), '[]'::json) from {found})"

        return reader.read([("rows", rows)])

    def _remembering(self, policy: Policy) -> str:
        """Which of some records a watcher could read, and his condition held for, as they were before."""
        reader = Reader(policy)
        reader.parameters = self._former
        alias, inner = reader.alias(), reader.alias()
        allowed: list[Predicate] = []
        limits: list[Predicate] = []
        for rule in policy.rules(self.record, "read"):
            (allowed if rule.allows else limits).append(rule.predicate)
        released = f"{alias}.id = any({reader.operand(_RELEASED, 'uuid[]')})"
        seen = f"({reader.sql(any_of(*allowed), alias)} or {released}) and {reader.sql(all_of(*limits), alias)}"
        matched = "true" if self._where is None else reader.sql(self._where, alias)
        self._decisive = _read_columns(f"{seen} {matched}", alias)
        old = ", ".join(_old_columns(self.record, inner))
        before = f"json_to_recordset({reader.operand(_SHARED, 'json')}) as o(id uuid, old jsonb)"
        former = f"(select {old} from {quote(self.record.type.tablename)} {inner} join {before} on o.id = {inner}.id)"
        deleted = f"{alias}.deleted_at is not null" if self.record.type.soft_delete else "false"
        found = f"select {alias}.id, {deleted} as deleted from {former} {alias} where {seen} and {matched}"
        found = f"{self._former.rows} cross join lateral ({found}) x"
        return f"select coalesce(json_agg(json_build_array(who.n, x.id, x.deleted)), '[]'::json) from {found}"


def _read_columns(sql: str, alias: str) -> frozenset[str] | None:
    """The columns of a table that SQL reads; None where it takes whole rows."""
    found = re.findall(rf'\b{alias}\b(?:\.(?:"([^"]+)"|(\w+)))?', sql)
    names = [quoted or plain for quoted, plain in found]
    return frozenset(names) if all(names) else None


def _derived(declared: Field) -> set[str]:
    """The columns whose values follow from a field's."""
    if declared.custom:
        return {"custom"}
    return {declared.column, declared.folded or declared.column, *([SEARCH] if declared.search else ())}


def _let_in(actor: Actor, link: dict[str, Any]) -> bool:
    """Whether a link that was ended was one by which an actor could read the record."""
    teams = {str(t) for t in actor.team_ids}
    return bool(link.get("everyone")) or link.get("userId") == str(actor.user_id) or link.get("teamId") in teams


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
