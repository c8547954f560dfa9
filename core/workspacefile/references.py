"""How records are named in files: by the fields that people know them by, never by ids.

A name is the one value, such as a login, or a table of the values where there are several: `{ family = "Region", name =
"North" }`. A record that is not there any more, or was never, keeps its id: `{ id = "…" }`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from graphql import GraphQLInputObjectType, GraphQLList, get_named_type, get_nullable_type

from core.catalog import Catalog, Record
from core.condition import column_sql
from core.errors import BadInput
from core.pool import Connection
from core.records import Field
from core.schema.where import uuid_or_none
from core.sql import quote

#: Turns an id of a record of the named type into its name, or the other way round; the path leads to it.
Change = Callable[[str, Any, str], Awaitable[Any]]

#: The operators of an id field, and whether they take several.
_OPERATORS = {"eq": False, "ne": False, "in": True, "notIn": True}


def key_of(record: Record, name: Any) -> tuple[Any, ...]:
    """The values that a name stands for, in the order of `known_by`. Raises BadInput where it is not a name."""
    known_by = record.type.known_by
    if len(known_by) == 1:
        if isinstance(name, str):
            return (name,)
        raise BadInput(f"a {record.name} is named by its {known_by[0]}")
    if isinstance(name, Mapping) and name and name.keys() <= set(known_by):
        return tuple(name.get(n) for n in known_by)
    raise BadInput(f"a {record.name} is named by a table of {' and '.join(known_by)}")


def _fields(record: Record) -> list[Field]:
    return [record.fields[name] for name in record.type.known_by]


def name_of(record: Record, values: Mapping[str, Any]) -> Any:
    """The name of a record with such values."""
    known_by = record.type.known_by
    if len(known_by) == 1:
        return values[known_by[0]]
    return {n: values[n] for n in known_by if values.get(n) is not None}


def shown(name: Any) -> str:
    """A name for people: `North`, or `Region / North`."""
    if isinstance(name, Mapping):
        return " / ".join(map(shown, name.values()))
    return ", ".join(map(str, name)) if isinstance(name, list | tuple) else str(name)


class References:
    """Ids and names of the records that one transaction sees."""

    def __init__(self, connection: Connection, catalog: Catalog) -> None:
        self._connection = connection
        self.catalog = catalog
        self._names: dict[tuple[str, str], Any] = {}

    async def name(self, type_: str, id_: Any, _path: str = "") -> Any:
        """The name of a live record; the id itself, as a table, where there is none."""
        if (type_, str(id_)) not in self._names:
            self._names[type_, str(id_)] = await self._name(self.catalog[type_], id_)
        return self._names[type_, str(id_)]

    async def live(self, type_: str, id_: Any) -> bool:
        """Whether there is a live record with an id."""
        name = await self.name(type_, id_)
        return not (isinstance(name, Mapping) and name.keys() == {"id"})

    async def id(self, type_: str, name: Any, path: str) -> str:
        """The id of the live record that has a name, or of any that is given by its id.

        Raises BadInput with the path where there is none, or where several have the name.
        """
        record = self.catalog[type_]
        if not record.type.known_by:
            raise BadInput(f"{path}: a {type_} has no name that a file could use")
        table = quote(record.type.tablename)
        if isinstance(name, Mapping) and name.keys() == {"id"}:
            id_ = uuid_or_none(name["id"])
            if id_ is None or not await self._connection.fetchval(f"select true from {table} where id = $1", id_):
                raise BadInput(f"{path}: there is no {type_} with the id {name['id']!r}")
            return str(id_)
        try:
            key = key_of(record, name)
        except BadInput as error:
            raise BadInput(f"{path}: {error.message}") from None
        where = " and ".join(
            f"{column_sql(f, 't')} is not distinct from ${i}::{f.type}" for i, f in enumerate(_fields(record), 1)
        )
        live = " and t.deleted_at is null" if record.type.soft_delete else ""
        rows = await self._connection.fetch(f"select t.id from {table} t where {where}{live} limit 2", *key)
        if len(rows) != 1:
            what = "is no" if not rows else "is more than one"
            raise BadInput(f"{path}: there {what} {type_} {shown(name)!r}")
        return str(rows[0][0])

    async def _name(self, record: Record, id_: Any) -> Any:
        found = uuid_or_none(id_)
        if found is not None and record.type.known_by:
            columns = ", ".join(f'{column_sql(f, "t")} as "{f.name}"' for f in _fields(record))
            live = " and t.deleted_at is null" if record.type.soft_delete else ""
            statement = f"select {columns} from {quote(record.type.tablename)} t where t.id = $1{live}"
            if row := await self._connection.fetchrow(statement, found):
                return name_of(record, row)
        return {"id": str(id_)}

    async def condition(self, given: Any, record: Record, change: Change, path: str) -> Any:
        """A condition on a record type with all ids in it changed. What does not fit the feature set stays as it is."""
        if not isinstance(given, Mapping):
            return given
        found: dict[str, Any] = {}
        for key, value in given.items():
            here = f"{path}.{key}"
            if key in ("and", "or") and isinstance(value, list):
                found[key] = [await self.condition(v, record, change, f"{here}.{i}") for i, v in enumerate(value)]
            elif key in ("and", "or", "not"):
                found[key] = await self.condition(value, record, change, here)
            elif key in record.filters:
                refers = record.filters[key].refers
                found[key] = await _within(value, self._input(record, key), refers, change, here) if refers else value
            elif key in record.to_one:
                found[key] = await self.condition(value, self.catalog[record.to_one[key].target], change, here)
            elif key in record.to_many and isinstance(value, Mapping):
                target = self.catalog[record.to_many[key].target]
                found[key] = {
                    k: v if k == "count" else await self.condition(v, target, change, f"{here}.{k}")
                    for k, v in value.items()
                }
            elif key in record.fields and isinstance(value, Mapping):
                found[key] = await self._operators(value, record, record.fields[key], change, here)
            else:
                found[key] = value
        return found

    async def _operators(self, value: Any, record: Record, declared: Field, change: Change, path: str) -> Any:
        refers = declared.refers or (record.name if declared.name == "id" else "")
        if not refers or not self.catalog[refers].type.known_by:
            return value
        return {k: await _each(v, refers, change, f"{path}.{k}") if k in _OPERATORS else v for k, v in value.items()}

    def _input(self, record: Record, key: str) -> Any:
        where: Any = self.catalog.schema.get_type(f"{record.name}Where") if self.catalog.schema else None
        return where.fields[key].type


async def _within(value: Any, type_: Any, refers: str, change: Change, path: str) -> Any:
    """The argument of a filter with all ids in it changed."""
    nullable: Any = get_nullable_type(type_)
    if isinstance(nullable, GraphQLInputObjectType) and isinstance(value, Mapping):
        return {
            k: await _within(v, nullable.fields[k].type, refers, change, f"{path}.{k}") if k in nullable.fields else v
            for k, v in value.items()
        }
    if isinstance(nullable, GraphQLList) and isinstance(value, list):
        return [await _within(v, nullable.of_type, refers, change, f"{path}.{i}") for i, v in enumerate(value)]
    return await _each(value, refers, change, path) if get_named_type(type_).name == "ID" else value


async def _each(value: Any, refers: str, change: Change, path: str) -> Any:
    if isinstance(value, list):
        return [await change(refers, v, f"{path}.{i}") for i, v in enumerate(value)]
    return value if value is None else await change(refers, value, path)
