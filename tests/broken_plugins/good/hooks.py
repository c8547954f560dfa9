"""A plugin that works, with every hook."""

from pydantic import BaseModel, SecretStr

from core import (
    Argument,
    Compare,
    Extension,
    Fault,
    Field,
    JobType,
    Kind,
    Member,
    Mutation,
    ObjectType,
    Payload,
    Query,
    constant,
    hookimpl,
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
    return [Extension("Customer", fields=(shout,))]


@hookimpl
def object_types():
    return [ObjectType("GoodGreeting", "A greeting.", (Member("text", "String!", "The words."),))]


@hookimpl
def queries(settings):
    async def resolve(ask):
        return {"text": settings.greeting}

    return [Query("goodGreeting", "Greets.", "GoodGreeting!", resolve)]


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
    return [
        Fault(row, "GOOD_REFUSED", "refused", "name")
        for row in batch.rows
        if row.after and row.after["name"] == settings.refused
    ]


@hookimpl
async def changed(batch, changes, settings):
    if batch.record.name == "Customer":
        SEEN.append(("changed", len(batch.rows)))


@hookimpl
async def committed(change_set, settings):
    SEEN.append(("committed", change_set.operation))
    if settings.refused == "late":
        raise RuntimeError("too late to matter")
