"""The one place that decides which rows and fields an actor may reach, and can say why.

A record type's rows are allowed by rules (a role's reach, being a viewer, owning a child) and narrowed by
others (plugins may only narrow a record type they do not own). The compiler puts nothing after FROM but a
`Scope`, and only this module makes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from core.catalog import Catalog, Record
from core.errors import Forbidden
from core.grants import Access, Grants, Reach
from core.predicate import (
    FALSE,
    TRUE,
    Always,
    Compare,
    Linked,
    Predicate,
    Related,
    all_of,
    alternatives,
    any_of,
    constant,
    from_context,
)
from core.records import Field, Kind, ToOne

ACTOR = from_context("actor", lambda c: c.actor.user_id)
TEAMS = from_context("teams", lambda c: c.actor.team_ids)
MATES = from_context("mates", lambda c: c.actor.mate_ids)

#: What every viewer may do, as far as a role of his lets him do it at all; one who may edit may update, too.
LOOKING = ("read", "export")

#: Into most scopes that one is parted into.
MOST_PARTS = 4

_MADE_HERE = object()


@dataclass(frozen=True, slots=True)
class Scope:
    """The licence to read a table: a record type and the predicate its rows must satisfy.

    `deleted` is False for live rows, True for deleted ones, None for both.
    """

    record: Record
    predicate: Predicate
    deleted: bool | None
    _licence: object

    def __post_init__(self) -> None:
        if self._licence is not _MADE_HERE:
            raise Forbidden("only policy makes scopes")


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason for or against: `allows` rules are alternatives, the others must all hold."""

    name: str
    description: str
    predicate: Predicate
    allows: bool = True


#: Predicates by which plugins narrow rows: (record type, action) -> (plugin, predicate).
Narrowings = Mapping[tuple[str, str], Sequence[tuple[str, Predicate]]]


class Policy:
    """The rules of one composition for one actor's grants. Immutable and shared by equal grants."""

    def __init__(self, catalog: Catalog, grants: Grants, narrowings: Narrowings | None = None) -> None:
        self.catalog = catalog
        self.grants = grants
        self._narrowings = narrowings or {}

    def scope(
        self,
        record: str,
        action: str = "read",
        *,
        deleted: bool | None = False,
        reached: str = "",
        parent_deleted: bool = False,
    ) -> Scope:
        """The rows on which the actor may take an action.

        `reached` names the column by which the rows were reached from a parent that is itself in scope, so that
        the parent need not be checked again; by a column that is hidden from the actor no rows are reached. Whoever
        may restore a deleted parent sees it, and not therefore its children: nobody reads those of deleted ones.
        """
        found = self.catalog[record]
        link = found.by_column().get(reached)
        hidden = link is not None and not self.readable(found, link.name)
        if parent_deleted and not found.type.follows:
            reached = ""
        return Scope(found, FALSE if hidden else self._decide(found, action, reached), deleted, _MADE_HERE)

    def internal(self, record: str, *, deleted: bool | None = None) -> Scope:
        """Every row of a type, for conditions inside rules, for links and for the change path's own look-ups."""
        return Scope(self.catalog[record], TRUE, deleted, _MADE_HERE)

    def parted(self, scope: Scope) -> list[Scope]:
        """Scopes that together hold the rows of one, each for a reason of its own; only that one where they are many.

        An index finds the first rows of a reason, and none those of several that lead to other tables.
        """
        return [replace(scope, predicate=part) for part in alternatives(scope.predicate, MOST_PARTS)]

    def access(self, record: str, name: str) -> Access:
        """What the actor may do with a field. Required fields are shown with their row."""
        found = self.catalog[record]
        access = self.grants.access(record, name)
        declared = found.fields.get(name)
        if declared is None:
            return access
        if declared.tells_of and self.grants.reach(declared.tells_of, "read") is Reach.NONE:
            return Access.HIDE
        return max(access, Access.READ) if declared.required else access

    def readable(self, record: Record, name: str) -> bool:
        """Whether the actor may read a field of the rows he may read."""
        return self.access(record.name, name) >= Access.READ

    def demand_readable(self, record: Record, name: str) -> None:
        """Raise Forbidden for a filter, order or aggregate on a field the actor may not read: it would leak."""
        if not self.readable(record, name):
            raise Forbidden(f"{record.name}.{name} is hidden from you, so it cannot be used in a condition")

    def demand(self, ability: str) -> None:
        """Raise Forbidden unless the actor has a named ability."""
        if not self.grants.able(ability):
            raise Forbidden(f"this needs the ability {ability!r}", ability=ability)

    def demand_action(self, record: str, action: str) -> None:
        """Raise Forbidden unless some role grants the action on at least some rows."""
        if (ability := self.catalog[record].type.ability) and action != "read":
            self.demand(ability)
        if self.grants.reach(record, action) is Reach.NONE:
            raise Forbidden(f"you may not {action} {record}", record=record, action=action)

    def rules(self, record: Record, action: str, reached: str = "") -> list[Rule]:
        """The rules that decide an action on a record type's rows, each by name, for deciding and explaining."""
        t = record.type
        rules: list[Rule] = []
        reach = self.grants.reach(t.name, action)
        parent = record.to_one[t.parent] if t.parent else None
        if reach is Reach.NONE and not t.follows:
            return rules
        if action != "read" and t.ability and not self.grants.able(t.ability):
            return rules
        if t.follows:
            # Links and journal rows have no grants of their own: whoever reached their record reads them.
            allowed: Predicate = TRUE if reached else FALSE
            if reached and reached != "system" and record.viewer_sources:
                allowed = _counted(record)
            if reached and t.about and reached != record.fields[t.about[1]].column:
                allowed = self._about(record, *t.about)
            rules.append(Rule("follows", "belongs to a record that may be read", allowed))
        elif parent is not None:
            within = self._within_parent(record, parent, action, reach, reached)
            rules.append(Rule("parent", f"its {parent.name} may be read and a role reaches it", within))
            if t.owner:
                rules.append(Rule("owner", "its owner is the actor", Compare(_column(t.owner), "eq", ACTOR)))
        else:
            names = ", ".join(name for name, _ in self.grants.naming(t.name, action)) or "system"
            rules.append(
                Rule("role", f"{names} may {action} {reach.name.lower()}", _owned(record, reach)),
            )
            if t.viewers and reach is not Reach.ALL and action in (*LOOKING, "update"):
                rules.append(Rule("viewer", "the actor is a viewer", self._viewer(record, action)))
        for plugin, predicate in self._narrowings.get((t.name, action), ()):
            rules.append(Rule(f"plugin {plugin}", f"{plugin} narrows what may be seen", predicate, allows=False))
        return rules

    def _decide(self, record: Record, action: str, reached: str) -> Predicate:
        rules = self.rules(record, action, reached)
        allowed = any_of(*(r.predicate for r in rules if r.allows))
        decided = all_of(allowed, *(r.predicate for r in rules if not r.allows))
        if action not in ("read", "create") and not record.type.follows:
            # Nobody acts on what he cannot see.
            decided = all_of(decided, self._decide(record, "read", reached))
        return decided

    def _within_parent(self, record: Record, parent: ToOne, action: str, reach: Reach, reached: str) -> Predicate:
        """A child's rows: those of readable parents, as far as the child type's own grant reaches."""
        own_owner = bool(record.type.owner)
        limit = _owned(record, reach) if own_owner else TRUE
        if reached == parent.column and (own_owner or reach is Reach.ALL):
            return limit
        target = self.catalog[parent.target]
        if reached == parent.column and action == "read" and reach >= self.grants.reach(target.name, "read"):
            # Whatever let the parent in lets its children in, too.
            return limit
        rows = self._decide(target, "read", "")
        if not own_owner:
            rows = all_of(rows, any_of(_owned(target, reach), self._viewer(target, action)))
        return all_of(limit, Linked(parent, rows, guarded=False))

    def _about(self, record: Record, type_: str, id_: str) -> Predicate:
        """Rows that tell of records of other types: those whose record may be read."""
        parts: list[Predicate] = []
        for target in self.catalog:
            named = Compare(record.fields[type_], "eq", constant(target.name))
            if target.type.follows:
                linked = [self._decide(self.catalog[r.target], "read", "") for r in target.to_one.values()]
                parts.append(named if all(p == TRUE for p in linked) else FALSE)
                continue
            rows = self._decide(target, "read", "")
            link = ToOne(target.type.singular, target.name, "The record.", column=record.fields[id_].column)
            parts.append(named if rows == TRUE else all_of(named, Linked(link, rows, guarded=False)))
        return any_of(*parts)

    def _viewer(self, record: Record, action: str) -> Predicate:
        """Rows the actor was let into by name, by team or with everybody."""
        if not record.type.viewers:
            return FALSE
        relation = record.to_many[record.type.viewers]
        link = self.catalog[relation.target]
        named = any_of(
            Compare(link.fields["userId"], "eq", ACTOR),
            Compare(link.fields["teamId"], "in", TEAMS),
            Compare(link.fields["everyone"], "eq", constant(True)),
        )
        named = all_of(named, _counted(link))
        if action not in LOOKING:
            named = all_of(named, Compare(link.fields["canEdit"], "eq", constant(True)))
        return Related(relation, "some", named, guarded=False)


def _column(column: str) -> Field:
    return Field("owner", Kind.ID, "Owner.", column=column)


def _counted(link: Record) -> Predicate:
    """The viewers that count: those of core's own sources and of the plugins that are switched on."""
    return Compare(link.fields["source"], "in", constant(link.viewer_sources))


def _owned(record: Record, reach: Reach) -> Predicate:
    if reach is Reach.ALL:
        return TRUE
    if reach is Reach.NONE:
        return Always(False)
    if not record.type.owner:
        # A type without owners knows no "own" rows: a narrower grant than ALL reaches none of them.
        return FALSE
    owner = _column(record.type.owner)
    return Compare(owner, "eq", ACTOR) if reach is Reach.OWN else Compare(owner, "in", MATES)
