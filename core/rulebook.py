"""The rules that a workspace's records of one type keep, ready to be asked without reading them each time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

import orjson

from core.catalog import Catalog
from core.changes import ChangeSet
from core.condition import Conditions
from core.context import Workspace
from core.errors import InvalidRule
from core.hooks import Health
from core.log import logger
from core.pool import Connection
from core.records import Field
from core.rules import Rule, compile_rule, system_policy
from core.sql import quote
from core.targets import image_sql

LOG = logger("crm.rules")

#: How many workspaces' rules are kept for one feature set.
KEPT = 1000

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A live record that may keep a rule: its values by field name, in JSON terms, and the rule.

    `rule` is None where it keeps none, or one that is off; `problem` says why it is off.
    """

    id: UUID
    values: Mapping[str, Any]
    rule: Rule | None = None
    problem: str = ""


class Rulebook(Generic[Made]):
    """What a plugin makes of the rules of its records (`Rulebook("Tier", "rule", Ladder)`), kept per workspace.

    `make` gets the catalog and every live record with its rule, in the order of their ids, and must not keep the
    catalog. It is called anew when one of the records or the feature set has changed; rules that went off or on again
    are logged then, and those that are off are shown by the server's health.
    """

    def __init__(self, record: str, field: str, make: Callable[[Catalog, Sequence[StoredRule]], Made]) -> None:
        self.record = record
        self.field = field
        self._make = make
        self._kept: WeakKeyDictionary[Catalog, OrderedDict[UUID, tuple[Any, Made]]] = WeakKeyDictionary()

    async def read(self, changes: ChangeSet) -> Made:
        """What was made of the rules as a change set's transaction sees them: one small statement when kept."""
        connection, catalog, workspace = changes.connection, changes.policy.catalog, changes.context.workspace
        record = catalog[self.record]
        # Each write adds to a version, and two writers that try the same thing do so at different times.
        statement = f"select sum(version), max(id::text), max(updated_at) from {quote(record.type.tablename)}"
        stamp = tuple(await connection.fetchrow(statement) or ())
        books = self._kept.setdefault(catalog, OrderedDict())
        found = books.get(workspace.id)
        if found is not None and found[0] == stamp:
            return found[1]
        rules = await self._load(connection, catalog)
        self._report(workspace, changes.hooks.health.setdefault(record.type.plugin, Health()), rules)
        made = self._make(catalog, rules)
        books[workspace.id] = (stamp, made)
        books.move_to_end(workspace.id)
        if len(books) > KEPT:
            books.popitem(last=False)
        return made

    async def _load(self, connection: Connection, catalog: Catalog) -> list[StoredRule]:
        policy = system_policy(catalog)
        record = catalog[self.record]
        conditions = Conditions(policy)
        table, where = conditions.source(policy.scope(self.record), "t")
        statement = f"select t.id, {image_sql(record, 't')} from {table} where {' and '.join(where)} order by t.id"
        declared = record.fields[self.field]
        return [_stored(catalog, declared, row[0], orjson.loads(row[1])) for row in await connection.fetch(statement)]

    def _report(self, workspace: Workspace, health: Health, rules: Sequence[StoredRule]) -> None:
        """Log what went off or on, and let the server's health show what is off."""
        prefix = f"{workspace.slug} {self.record} "
        before = {name for name in health.rules if name.startswith(prefix)}
        off = {f"{prefix}{r.id}": r.problem for r in rules if r.problem}
        for name, problem in off.items():
            if health.rules.get(name) != problem:
                LOG.warning("rule_off", rule=name, reason=problem)
            health.rules[name] = problem
        for name in before - off.keys():
            del health.rules[name]
            LOG.info("rule_on", rule=name)


def _stored(catalog: Catalog, declared: Field, id_: UUID, values: Mapping[str, Any]) -> StoredRule:
    stored = values.get(declared.name)
    if stored is None:
        return StoredRule(id_, values)
    try:
        return StoredRule(id_, values, compile_rule(catalog, declared.condition, stored))
    except InvalidRule as error:
        return StoredRule(id_, values, problem=error.message)
