"""A workspace to write to through GraphQL, and its journal to hold against the rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import orjson

from core.catalog import Record
from core.context import Actor, Workspace
from core.database import Database
from core.features import Features
from core.grants import Access, Grants, Reach, RoleGrants
from core.plugins import PluginRegistry
from core.records import Write
from core.rows import same
from core.targets import image_sql
from tests.switching import Desk as SwitchingDesk
from tests.switching import actor

Values = dict[str, Any]
ERRORS = "userErrors { path code message params }"
SET = "changeSet { id counts }"
ACTIONS = ("read", "create", "update", "delete", "restore", "transfer", "share")


def grants(scope: Reach, *records: str, actions: tuple[str, ...] = ACTIONS) -> dict[tuple[str, str], Reach]:
    """The same reach for all actions of record types."""
    return {(record, action): scope for record in records for action in actions}


class Desk(SwitchingDesk):
    """Writes records of any type by name; payloads come back as they are."""

    def declared(self, name: str) -> Record:
        return self.features._entries[self.workspace.slug].composed.composition.catalog[name]  # type: ignore[union-attr]

    def fields(self, name: str) -> str:
        """All fields of a record that are neither computed nor links."""
        return " ".join(f.name for f in self.declared(name).exposed_fields())

    async def write(self, name: str, verb: str, given: Values, by: Actor | None = None, **arguments: Any) -> Values:
        """One mutation on one record; its payload."""
        return (await self.answer(name, verb, given, by, **arguments))["data"][f"{_singular(name)}{verb}"]

    async def answer(self, name: str, verb: str, given: Values, by: Actor | None = None, **arguments: Any) -> Values:
        """The whole response of one mutation on one record."""
        more = "".join(f", {k}: {orjson.dumps(v).decode()}" for k, v in arguments.items())
        one = _singular(name)
        shown = f"{one} {{ {self.fields(name)} }} " if verb != "Delete" else "id "
        query = (
            f"mutation($input: {name}{verb}Input!) {{ {one}{verb}(input: $input{more}) {{ {shown} {ERRORS} {SET} }} }}"
        )
        return await self.ask(query, by, input=given)

    async def bulk(self, name: str, verb: str, given: Values, by: Actor | None = None, **arguments: Any) -> Values:
        """One bulk mutation; its payload."""
        more = "".join(f", {k}: {orjson.dumps(v).decode()}" for k, v in arguments.items())
        plural = self.declared(name).type.plural
        mutation = f"{plural}{verb}"
        input_ = f"{mutation[0].upper()}{mutation[1:]}Input!"
        query = f"mutation($input: {input_}) {{ {mutation}(input: $input{more}) {{ counts {ERRORS} {SET} }} }}"
        return (await self.do(query, by, input=given)) or {}

    async def create(self, record: str, /, by: Actor | None = None, **values: Any) -> Values:
        """A new record, which must not be refused."""
        made = await self.write(record, "Create", values, by)
        assert made["userErrors"] == [], made
        return made[_singular(record)]

    async def update(self, record: str, id_: str, /, by: Actor | None = None, **values: Any) -> Values:
        done = await self.write(record, "Update", {"id": id_, **values}, by)
        assert done["userErrors"] == [], done
        return done[_singular(record)]

    async def delete(self, name: str, id_: str, by: Actor | None = None) -> str:
        """Delete a record; the id of the change set."""
        done = await self.write(name, "Delete", {"id": id_}, by)
        assert done["userErrors"] == [], done
        return done["changeSet"]["id"]

    async def get(self, name: str, id_: str, fields: str = "", by: Actor | None = None) -> Values | None:
        return await self.do(
            f"query($id: ID!) {{ {_singular(name)}(id: $id) {{ {fields or self.fields(name)} }} }}", by, id=id_
        )

    async def undo(self, id_: str, by: Actor | None = None, **arguments: Any) -> Values:
        more = "".join(f", {k}: {orjson.dumps(v).decode()}" for k, v in arguments.items())
        return await self.do(
            f"mutation($id: ID!) {{ changeSetUndo(input: {{id: $id}}{more}) {{ conflicts counts {ERRORS} {SET} }} }}",
            by,
            id=id_,
        )

    async def user(self, login: str) -> str:
        return (await self.create("User", login=login, displayName=login.title()))["id"]

    async def salesperson(
        self, login: str, scope: Reach = Reach.OWN, abilities: tuple[str, ...] = (), **hidden: str
    ) -> Actor:
        """A user who works with customers, contacts and opportunities; `hidden` are accesses by customer field."""
        id_ = UUID(await self.user(login))
        reaches = grants(scope, "Customer", "Contact", "Opportunity") | grants(Reach.ALL, "User", actions=("read",))
        fields = {("Customer", name): Access[access] for name, access in hidden.items()}
        found = actor(reaches, abilities, id_)
        role = RoleGrants("role", reaches, fields, frozenset(abilities))
        return Actor(found.kind, Grants((role,)), id_, login, mate_ids=(id_,))

    async def rows(self, name: str) -> dict[UUID, Values]:
        """All rows of a table by id as the journal would show them, deleted ones included."""
        record = self.declared(name)
        statement = f'select t.id, {image_sql(record, "t")} from "{record.type.tablename}" t'
        async with self.database.connection(self.workspace) as connection:
            return {id_: orjson.loads(image) for id_, image in await connection.fetch(statement)}

    async def journal(self) -> list[Values]:
        statement = """select c.id, c.change_set_id, s.id as of_set, s.at, c.record_type, c.record_id, c.action,
            c.version, c.before, c.after from change c left join change_set s on s.id = c.change_set_id order by c.id"""
        async with self.database.connection(self.workspace) as connection:
            return [dict(row) for row in await connection.fetch(statement)]

    async def demand_replay(self, *names: str) -> None:
        """Hold the journal, replayed from its beginning, against the rows; its entries must follow from each other."""
        replayed: dict[tuple[str, UUID], Values] = {}
        deleted: set[tuple[str, UUID]] = set()
        for entry in await self.journal():
            name, action = entry["record_type"], entry["action"]
            if name not in names:
                continue
            assert entry["of_set"] is not None, entry
            record, key = self.declared(name), (name, entry["record_id"])
            before, after = entry["before"] or {}, entry["after"] or {}
            if action == "CREATE":
                assert key not in replayed, entry
                replayed[key] = {}
            assert key in replayed, entry
            assert (key in deleted) is (action == "RESTORE"), entry
            now = replayed[key]
            if action == "DELETE" and not record.type.soft_delete:
                before = {k: v for k, v in before.items() if _kept(record, k)}
                assert _equal(record, now, before), (entry, now)
                del replayed[key]
                continue
            for field, value in before.items():
                assert same(record.fields[field], now.get(field), value), (entry, field, now.get(field))
            now |= {k: v for k, v in after.items() if _kept(record, k)}
            if record.type.versioned:
                now["version"] = now.get("version", 0) + 1
                assert entry["version"] == now["version"], entry
            {"DELETE": deleted.add, "RESTORE": deleted.discard}.get(action, lambda _: None)(key)
        for name in names:
            record, rows = self.declared(name), await self.rows(name)
            mine = {id_: values for (n, id_), values in replayed.items() if n == name}
            assert rows.keys() == mine.keys()
            for id_, row in rows.items():
                kept = {k: v for k, v in row.items() if _kept(record, k)}
                assert _equal(record, kept, mine[id_]), (name, id_, kept, mine[id_])
                if record.type.soft_delete:
                    assert (row["deletedAt"] is not None) is ((name, id_) in deleted)


def _kept(record: Record, field: str) -> bool:
    """Whether the journal tells of a field: of all but those that every write sets."""
    return field == "version" or record.fields[field].write is not Write.NEVER


def _equal(record: Record, one: Values, other: Values) -> bool:
    return all(same(record.fields[k], one.get(k), other.get(k)) for k in one.keys() | other.keys())


def _singular(name: str) -> str:
    return name[0].lower() + name[1:]


def codes(payload: Values) -> list[str]:
    """The codes of a payload's user errors, sorted."""
    return sorted(e["code"] for e in payload["userErrors"])


@asynccontextmanager
async def desk_at(database: Database, workspace: Workspace) -> AsyncIterator[Desk]:
    """A workspace with no plugins."""
    features = Features(database, registry=PluginRegistry.discover([]))
    await features.composition(workspace)
    try:
        yield Desk(database, features, workspace)
    finally:
        await features.close()
