"""Order and cursors: every list is ordered by a total order that ends with the id, and a cursor is a place in it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import orjson

from core.arguments import Argument
from core.catalog import Record
from core.condition import Conditions, column_sql, folded_sql
from core.errors import BadInput
from core.policy import Policy
from core.predicate import Operand
from core.records import Field, Kind, snake

#: Kinds whose values have an order.
SORTABLE = frozenset({Kind.ID, Kind.TEXT, Kind.INT, Kind.DECIMAL, Kind.BOOL, Kind.DATE, Kind.DATETIME, Kind.ENUM})


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an order: its expression, direction and where nulls go."""

    sql: str
    type: str
    descending: bool
    nullable: bool
    nulls_first: bool = False

    def reversed(self) -> Key:
        """The key of the opposite order."""
        return Key(self.sql, self.type, not self.descending, self.nullable, not self.nulls_first)

    def clause(self) -> str:
        """The key in an ORDER BY."""
        nulls = f" nulls {'first' if self.nulls_first else 'last'}" if self.nullable else ""
        return f"{self.sql}{' desc' if self.descending else ''}{nulls}"


def order_name(field: Field, relation: str = "") -> str:
    """The enum value that orders by a field: `createdAt` -> CREATED_AT, of an owner: OWNER_CREATED_AT."""
    return (f"{snake(relation)}_" if relation else "").upper() + snake(field.name).upper()


def sortable(record: Record) -> list[Field]:
    """The fields that records of a type can be ordered by."""
    return [f for f in record.exposed_fields() if f.sortable and f.kind in SORTABLE]


def keys_of(compiler: Conditions, argument: Argument | None, record: Record, alias: str, policy: Policy) -> list[Key]:
    """The keys of an `orderBy` argument, or of what the actor may read of the default order, with the id as the last.

    Raises Forbidden for a field that the actor may not read.
    """
    keys: list[Key] = []
    fields = {order_name(f): f for f in sortable(record)}
    for item in (argument.items or ()) if argument else ():
        chosen = item.get("field")
        direction, nulls = item.get("direction"), item.get("nulls")
        descending = direction is not None and direction.choice == "DESC"
        first = nulls is not None and nulls.choice == "FIRST"
        name = chosen.choice if chosen else ""
        if name in fields:
            policy.demand_readable(record, fields[name].name)
            keys.append(_key(fields[name], alias, descending, first))
        else:
            keys.append(_related_key(compiler, record, name, alias, policy, descending, first))
    descending = keys[-1].descending if keys else record.type.default_order[-1][1]
    if not keys:
        # A hidden field would be told by the order and by cursors.
        default = [(record.fields[name], down) for name, down in record.type.default_order]
        keys = [_key(field, alias, down, False) for field, down in default if policy.readable(record, field.name)]
    return [*keys, Key(f"{alias}.id", "uuid" if record.fields["id"].kind is Kind.ID else "bigint", descending, False)]


def _key(field: Field, alias: str, descending: bool, first: bool) -> Key:
    sql = folded_sql(field, alias) if field.folded else column_sql(field, alias)
    return Key(sql, field.type, descending, not field.required, first)


def _related_key(
    compiler: Conditions, record: Record, name: str, alias: str, policy: Policy, descending: bool, first: bool
) -> Key:
    for relation in record.to_one.values():
        target = policy.catalog[relation.target]
        for field in sortable(target):
            if order_name(field, relation.name) == name:
                policy.demand_readable(record, relation.key.name)
                policy.demand_readable(target, field.name)
                inner = compiler.alias()
                table, conditions = compiler.source(policy.scope(relation.target), inner)
                conditions.insert(0, f"{inner}.id = {relation.sql(alias)}")
                value = folded_sql(field, inner) if field.folded else column_sql(field, inner)
                sql = f"(select {value} from {table} where {' and '.join(conditions)})"
                return Key(sql, field.type, descending, True, first)
    raise BadInput(f"{record.name} cannot be ordered by {name}")


def cursor_sql(keys: list[Key]) -> str:
    """The cursor of a row: its order keys as text, opaque to clients."""
    texts = ", ".join(f"({k.sql})::text" for k in keys)
    return f"translate(encode(convert_to(json_build_array({texts})::text, 'UTF8'), 'base64'), E'\\n', '')"


def decode(cursor: Any, length: int) -> list[str | None]:
    """The texts in a cursor. Raises BadInput unless it is a cursor of an order with as many keys."""
    try:
        found = orjson.loads(base64.b64decode(str(cursor), validate=True))
    except (binascii.Error, ValueError):
        found = None
    if (
        not isinstance(found, list)
        or len(found) != length
        or not all(t is None or (isinstance(t, str) and "\x00" not in t) for t in found)
    ):
        raise BadInput("the cursor does not belong to this list and order")
    return found


def beyond(compiler: Conditions, keys: list[Key], cursor: Operand) -> str:
    """The condition for rows that come after a cursor in the order of the keys."""
    length = len(keys)

    def text(i: int) -> str:
        return compiler.operand(cursor.map(lambda c: decode(c, length)[i], f"key {i} of {length}"), "text")

    values = [f"{text(i)}::{k.type}" for i, k in enumerate(keys)]
    if not any(k.nullable for k in keys) and len({k.descending for k in keys}) == 1:
        sign = "<" if keys[0].descending else ">"
        return f"({', '.join(k.sql for k in keys)}) {sign} ({', '.join(values)})"
    rest = "false"
    for key, value in reversed(list(zip(keys, values, strict=True))):
        # `rest` stands in each step once: twice would double the statement with every key.
        sign = "<" if key.descending else ">"
        strict, same = f"{key.sql} {sign} {value}", f"{key.sql} = {value}"
        if key.nullable:
            same = f"{key.sql} is not distinct from {value}"
            if key.nulls_first:
                strict = f"{strict} or ({value} is null and {key.sql} is not null)"
            else:
                strict = f"({value} is not null and ({strict} or {key.sql} is null))"
        rest = f"({strict} or ({same} and {rest}))"
    return rest
