"""A plugin that works, with every hook."""

from uuid import UUID

import orjson
from pydantic import BaseModel, SecretStr

from core import (
    Argument,
    BadInput,
    Compare,
    Conditions,
    Extension,
    Fault,
    Field,
    JobType,
    Kind,
    Member,
    Mutation,
    ObjectType,
    Payload,
    Place,
    Query,
    Records,
    constant,
    hookimpl,
    where_condition,
)

SEEN = []


class Settings(BaseModel, extra="forbid"):
    greeting: str = "hello"
    hidden: str = ""
    refused: str = ""
    token: SecretStr = SecretStr("")


@hookimpl
def record_types():
    return []


@hookimpl
def extensions(settings):
    shout = Field(
        "shout", Kind.TEXT, "The name in capitals.", sql=lambda alias: f"upper({alias}.name)", filterable=False
    )
    return [Extension("Customer", fields=(shout,), lets_in=True)]


@hookimpl
def object_types():
    customers = Member("customers", "[Customer!]!", "Whom.")
    return [
        ObjectType("GoodGreeting", "A greeting.", (Member("text", "String!", "The words."),)),
        ObjectType("GoodGreetings", "A greeting of some.", (Member("text", "String!", "The words."), customers)),
    ]


@hookimpl
def queries(settings):
    async def resolve(ask):
        return {"text": settings.greeting}

    async def several(ask):
        conditions = Conditions(ask.policy)
        customer = ask.policy.catalog["Customer"]
        table, where = conditions.source(ask.policy.scope("Customer"), "c")
        where.append(conditions.sql(where_condition(ask.given("where"), customer, ask.policy), "c"))
        statement = f"select json_agg(c.id) from {table} where {' and '.join(where)}"
        found = orjson.loads(await ask.fetch(statement, conditions.bind(ask.context, ask.variables)))
        ids = [UUID(i) for i in found]
        return [{"text": settings.greeting, "customers": Records("Customer", part)} for part in (ids, ids[:1], [])]

    where = Argument("where", "CustomerWhere!", "Whom.")
    return [
        Query("goodGreeting", "Greets.", "GoodGreeting!", resolve),
        Query("goodGreetings", "Greets some.", "[GoodGreetings!]!", several, (where,)),
    ]


@hookimpl
def mutations():
    async def run(call):
        return Payload({"text": call.input["text"]})

    return [
        Mutation(
            "goodEcho", "Echoes.", run, (Argument("text", "String!", "What."),), (Member("text", "String", "It."),)
        )
    ]


@hookimpl
def abilities():
    return {"good_shouting": "Shout."}


@hookimpl
def error_codes():
    return {"GOOD_REFUSED": "The name is refused."}


async def shout(job):
    return {"shouted": True}


@hookimpl
def jobs():
    return [JobType("good.shouting", "Shouts.", shout)]


@hookimpl
def narrow(record, action, settings):
    if record.name == "Customer" and action == "read" and settings.hidden:
        return Compare(record.fields["name"], "ne", constant(settings.hidden))
    return None


@hookimpl
async def check(batch, changes, settings):
    if batch.record.name != "Customer":
        return []
    if settings.refused == "*":
        raise RuntimeError("cannot decide")
    named = [(row, row.after["name"]) for row in batch.rows if row.after]
    if any(name == "Slow" for _, name in named):
        await changes.connection.execute("set local statement_timeout = 1")
        await changes.connection.execute("select pg_sleep(1)")
    faults = [Fault(row, "GOOD_REFUSED", "refused", "name") for row, name in named if name == settings.refused]
    return faults + [
        Fault(row, "GOOD_REFUSED", "warned", "name", warning=True) for row, name in named if name == "Warned"
    ]


@hookimpl
async def changed(batch, changes, settings):
    if batch.record.name == "Customer":
        SEEN.append(("changed", len(batch.rows)))


@hookimpl
async def switched_on(changes, since, settings):
    assert await changes.connection.fetchval("select enabled from feature where plugin = 'good'")
    SEEN.append(("switched_on", since))


@hookimpl
async def person_erased(person, changes, settings):
    statement = "select bool_and(name like 'erased %' and email is null) from customer where id = any($1::uuid[])"
    assert await changes.connection.fetchval(statement, list(person.ids("Customer")))
    SEEN.append(("person_erased", person.ids("Customer"), person.pattern))
    return [Place("good_things", 3, ("name",))]


@hookimpl
async def explain_viewer(record, record_id, actor, ask):
    return [f"good lets {actor.login} in to this {record.name}"]


@hookimpl
async def committed(change_set, settings):
    SEEN.append(("committed", change_set.operation))
    if settings.refused == "late":
        raise RuntimeError("too late to matter")
    if settings.refused == "late refusal":
        raise BadInput("too late to refuse")
