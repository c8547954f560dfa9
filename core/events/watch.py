"""A subscription to changes as one actor asks it, and the events it makes of a batch.

Subscriptions that are equal, to the actor and the variables, are one watch. Which records it sees, and saw before, its
`sight` finds out, for all watches of actors with equal grants at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import (
    SKIP,
    ArgumentNode,
    GraphQLError,
    GraphQLObjectType,
    VariableNode,
    Visitor,
    VisitorAction,
    visit,
)

from core import clock
from core.context import Actor, Workspace
from core.errors import BadInput
from core.eventcursor import EventCursor
from core.events.feed import Batch, Change
from core.events.sight import Seen, Sight
from core.schema.composition import Composition
from core.schema.document import Operation
from core.schema.measure import Limits
from core.schema.select import Document, Selection

_ACTIONS = {"CREATE": "CREATED", "UPDATE": "UPDATED", "DELETE": "DELETED", "RESTORE": "RESTORED"}


@dataclass(frozen=True)
class Asked:
    """An operation as its client asked it."""

    text: str
    operation: str | None
    variables: dict[str, Any]


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


@dataclass(frozen=True, slots=True)
class Question:
    """What a subscription asks of a composition.

    `variables` are those that decide what is told: not where to begin, which is each subscriber's own. `key` is equal
    where the same is told to the same actor.
    """

    composition: Composition
    operation: Operation
    selection: Selection
    variables: dict[str, Any]
    key: tuple[Any, ...]

    @classmethod
    def of(cls, composition: Composition, asked: Asked, limits: Limits) -> Question:
        """The question of an operation. Raises GraphQLError as `selection_of` does."""
        operation, selection = selection_of(composition, asked, limits)
        uses = _Uses(selection)
        visit(operation.document, uses)
        used = {n: v for n, v in sorted(selection.document.variables.items()) if n in uses.names}
        key = (composition, asked.text, asked.operation, orjson.dumps(used, default=str))
        return cls(composition, operation, selection, used, key)


class _Uses(Visitor):
    """The variables that a document uses, but for that of where to begin."""

    def __init__(self, selection: Selection) -> None:
        super().__init__()
        self.names: set[str] = set()
        self._begin = [a for node in selection.nodes for a in node.arguments or () if a.name.value == "since"]

    def enter_variable_definition(self, *_: Any) -> VisitorAction:
        return SKIP

    def enter_argument(self, node: ArgumentNode, *_: Any) -> VisitorAction:
        return SKIP if any(node is a for a in self._begin) else None

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        self.names.add(node.name.value)


class Watch:
    """One record type watched by one actor."""

    def __init__(self, selection: Selection, sight: Sight, actor: Actor) -> None:
        self.sight = sight
        self.record = sight.record
        self.actor = actor
        self.variables = selection.document.variables
        self._key = selection.key
        self._parts = selection.under()

    def refetch(self, batch: Batch, workspace: Workspace) -> Event:
        """The event of a batch that holds too much."""
        at = clock.now().isoformat()
        shown = {"action": "REFETCH", "at": at, "cursor": EventCursor(batch.snapshot).encode(workspace)}
        return self._event(shown, {})

    def events(self, batch: Batch, workspace: Workspace, seen: Seen) -> list[Event]:
        """What its subscribers are told of a batch, in the order of the changes."""
        changes = [c for c in batch.changes if c.record_type == self.record.name]
        rows, gone = seen.rows, seen.gone
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
                "cursor": cursor.encode(workspace),
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
        return Event(orjson.dumps({"data": {self._key: answer}}))


def _last_of_gone(changes: list[Change], rows: dict[str, Any]) -> Iterator[Change]:
    """The changes to tell of: all of records that are in sight, the last of each that is not."""
    last = {c.record_id: c for c in changes}
    for change in changes:
        if change.record_id in rows or last[change.record_id] is change:
            yield change
