"""One operation being run: where, for whom, and how it reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from core.context import RequestContext
from core.errors import Unauthenticated
from core.operations import Records
from core.policy import Policy
from core.predicate import constant
from core.schema.compile import IDENTITY, Read, Reader
from core.schema.composition import Composition
from core.schema.measure import Limits
from core.schema.select import Document, Selection

Fetch = Callable[[str, Sequence[Any]], Awaitable[bytes | None]]


@dataclass(slots=True)
class Running:
    """One operation being run: where it runs, for whom, and what is ready already."""

    composition: Composition
    context: RequestContext
    policy: Policy
    fetch: Fetch
    document: Document
    variables: dict[str, Any]
    limits: Limits
    given: dict[str, Any] = field(default_factory=dict)
    extensions: bytes = b""
    ready: dict[str, Any] = field(default_factory=dict)
    statements: int = 0
    mutate: Any = None
    stale: Fetch | None = None
    executor: Any = None
    waiting: dict[Any, tuple[dict[UUID, None], asyncio.Future[dict[str, Any]]]] = field(default_factory=dict)

    async def read(self, plan: Read, fetch: Fetch | None = None) -> bytes:
        """Run a compiled read, by `fetch` if given, and fill in what Python computes; returns a JSON object."""
        self.statements += 1
        data = await (fetch or self.fetch)(plan.statement.text, plan.statement.bind(self.variables, self.context))
        assert data is not None
        return await fill(plan, data, self.context) if plan.slots else data

    def reader(self) -> Reader:
        """A compiler for this actor and these limits."""
        return Reader(self.policy, self.limits.default_page, self.limits.max_page)

    async def records(self, found: Records, selection: Selection) -> Any:
        """Records by id as a selection asks for them: JSON ready to be spliced in, or None.

        Asked for at the same time at one place of the document, as by the items of a list, they are read at once.
        """
        place = (found.record, *map(id, selection.nodes))
        batch = self.waiting.get(place)
        if batch is None:
            batch = self.waiting[place] = ({}, asyncio.ensure_future(self._read_batch(place, selection)))
        ids, reading = batch
        ids.update(dict.fromkeys(found.ids))
        by_id = await reading
        data = [by_id[str(i)] for i in found.ids if str(i) in by_id]
        if found.single:
            return orjson.Fragment(orjson.dumps(data[0])) if data else None
        return orjson.Fragment(orjson.dumps(data))

    async def _read_batch(self, place: tuple[Any, ...], selection: Selection) -> dict[str, Any]:
        """The records asked for at a place until now, by id."""
        await asyncio.sleep(0)
        ids, _ = self.waiting.pop(place)
        record = self.composition.catalog[place[0]]
        compile_ = lambda r: r.many(record, selection, (selection.key,), constant(list(ids)))  # noqa: E731
        data = orjson.loads(await self.read(self.reader().read([(selection.key, compile_)])))[selection.key]
        return {row.pop(IDENTITY): row for row in data}

    def demand_signed_in(self) -> None:
        """Raise Unauthenticated where nobody has signed in."""
        actor = self.context.actor
        if actor.user_id is None and not actor.grants.unlimited:
            raise Unauthenticated("sign in first")


async def fill(plan: Read, data: bytes, context: RequestContext) -> bytes:
    """Replace the values that computed fields require by what they compute, one batch per place."""
    root = orjson.loads(data)
    for slot in plan.slots:
        *way, last = slot.path
        holders = [h for h in _walk([root], way) if h.get(last) is not None]
        if not holders:
            continue
        values = await slot.computed.resolve(context, [h[last] for h in holders])
        if len(values) != len(holders):
            raise ValueError(f"{slot.computed.name} computed {len(values)} values for {len(holders)} records")
        for holder, value in zip(holders, values, strict=True):
            holder[last] = value
    return orjson.dumps(root)


def _walk(places: list[Any], way: list[str]) -> list[dict[str, Any]]:
    for key in way:
        places = _flat([p.get(key) for p in places])
    return places


def _flat(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for v in values:
        if isinstance(v, list):
            found.extend(_flat(v))
        elif v is not None:
            found.append(v)
    return found
