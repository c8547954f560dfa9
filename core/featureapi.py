"""Plugins and custom fields in GraphQL."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from core.changes import Target
from core.context import RequestContext
from core.contributions import Operations
from core.customfields import COLUMNS, CUSTOM_FIELD, RECORD
from core.customrules import ABILITY as CUSTOM_FIELDS
from core.errors import Refused, UserError
from core.messages import text
from core.operations import Argument, Ask, Call, Member, Mutation, ObjectType, Payload, Query
from core.records import EnumType
from core.schema.where import uuid_or_none
from core.switch import ABILITY

if TYPE_CHECKING:
    from core.features import Features, FeatureStatus

STATE = EnumType(
    "PluginState",
    "How a plugin stands in the workspace.",
    {
        "AVAILABLE": "It can be enabled.",
        "ENABLED": "It is on.",
        "DISABLED": "It is off, its data is kept.",
        "LEFT_OUT": "It is on, but for a reason that is given it takes no part.",
        "BROKEN": "It cannot be used, for a reason that is given.",
    },
)

PLUGIN = ObjectType(
    "Plugin",
    "A plugin as it stands in the workspace.",
    (
        Member("name", "String!", "Its name."),
        Member("version", "String!", "The installed version, or the last one where it is not installed."),
        Member("summary", "String!", "What it adds, in a line."),
        Member("enabled", "Boolean!", "Whether it is switched on."),
        Member("state", "PluginState!", "How it stands."),
        Member("reason", "String", "Why it is left out or broken."),
        Member("settings", "JSON", "The settings in force, secrets masked; null where it was never enabled."),
        Member("settingsSchema", "JSON!", "JSON Schema of its settings."),
    ),
)

_NAME = Argument("name", "String!", "The plugin.")
_PLUGIN = (Member("plugin", "Plugin", "The plugin as it stands now, null where this was refused."),)
_CUSTOM = (Member("customField", RECORD, "The custom field, null where this was refused."),)
_SOON = "This server follows at once, every other within a second."
#: The longest that an answer waits for this server to follow.
FOLLOW_SECONDS = 5.0


def operations_of(features: Features) -> Operations:
    """The queries and mutations of one process's features."""

    async def follow(context: RequestContext) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FOLLOW_SECONDS):
                await features.refresh(context.workspace)

    async def plugins(ask: Ask) -> list[dict[str, Any]]:
        return [_shown(s) for s in await features.status(ask.context.workspace)]

    async def answer(call: Call) -> Payload:
        found = await features.status_in(call.changes.connection, call.input["name"])
        return Payload({"plugin": _shown(found)})

    async def enable(call: Call) -> Payload:
        settings = call.input.get("settings")
        if settings is not None and not isinstance(settings, dict):
            message = text("plugin_settings", call.context.locale, reason="not an object")
            raise Refused([UserError(("input", "settings"), "INVALID", message, {"reason": "not an object"})])
        await features.switch.enable(call.changes.connection, call.context, call.input["name"], settings)
        return await answer(call)

    async def disable(call: Call) -> Payload:
        await features.switch.disable(call.changes.connection, call.context, call.input["name"])
        return await answer(call)

    async def purge(call: Call) -> Payload:
        if call.input["confirm"] != call.input["name"]:
            message = text("plugin_confirm", call.context.locale)
            raise Refused([UserError(("input", "confirm"), "INVALID", message)])
        await features.switch.purge(call.changes.connection, call.context, call.input["name"])
        return await answer(call)

    return Operations(
        queries=(
            Query("plugins", "The installed plugins.", "[Plugin!]!", plugins, ability=ABILITY),
            Query(
                "customFields",
                "The workspace's own fields of record types, by record type and name.",
                f"[{RECORD}!]!",
                _custom_fields,
            ),
        ),
        mutations=tuple(
            replace(mutation, after=follow)
            for mutation in (
                Mutation(
                    "pluginEnable",
                    f"Switches a plugin on, or changes the settings of one that is on. {_SOON}",
                    enable,
                    (_NAME, Argument("settings", "JSON", "All its settings; left out, it keeps those it has.")),
                    _PLUGIN,
                    ability=ABILITY,
                ),
                Mutation(
                    "pluginDisable",
                    f"Switches a plugin off; its data is kept. {_SOON}",
                    disable,
                    (_NAME,),
                    _PLUGIN,
                    ability=ABILITY,
                ),
                Mutation(
                    "pluginPurge",
                    "Drops the tables and all data of a plugin that is switched off. It cannot be undone.",
                    purge,
                    (_NAME, Argument("confirm", "String!", "The plugin's name once more.")),
                    _PLUGIN,
                    ability=ABILITY,
                ),
                *_CUSTOM_FIELD_MUTATIONS,
            )
        ),
        objects=(STATE, PLUGIN),
    )


def _shown(status: FeatureStatus) -> dict[str, Any]:
    return {
        "name": status.name,
        "version": status.version,
        "summary": status.summary,
        "enabled": status.enabled,
        "state": status.state,
        "reason": status.reason or None,
        "settings": status.settings,
        "settingsSchema": status.schema,
    }


async def _custom_fields(ask: Ask) -> Any:
    data = await ask.fetch(
        "select coalesce(json_agg(row_to_json(c) order by c.\"recordType\", c.name), '[]'::json) "
        f"from (select {COLUMNS} from custom_field) c",
        [],
    )
    return orjson.loads(data or b"[]")


async def _shown_field(call: Call, id_: UUID) -> Payload:
    row = await call.changes.connection.fetchrow(f"select {COLUMNS} from custom_field where id = $1", id_)
    return Payload({"customField": {**row, "id": str(row["id"])} if row else None})


async def _create(call: Call) -> Payload:
    (id_,) = await call.changes.create(RECORD, [call.input])
    return await _shown_field(call, id_)


async def _update(call: Call) -> Payload:
    values = {k: v for k, v in call.input.items() if k != "id"}
    (id_,) = await call.changes.update(RECORD, _target(call), values)
    return await _shown_field(call, id_)


async def _delete(call: Call) -> Payload:
    (id_,) = await call.changes.delete(RECORD, _target(call))
    return Payload({"id": str(id_)})


def _target(call: Call) -> Target:
    id_ = uuid_or_none(call.input["id"])
    if id_ is None:
        message = text("not_found", call.context.locale, record=CUSTOM_FIELD.labels.get(call.context.locale, RECORD))
        raise Refused([UserError(("input", "id"), "NOT_FOUND", message, {"id": call.input["id"]})])
    return Target(ids=(id_,), path=("input", "id"))


_CUSTOM_FIELD_MUTATIONS = (
    Mutation(
        "customFieldCreate",
        f"Adds a custom field to a record type. Records that are there take its default. {_SOON}",
        _create,
        (Argument("input", "CustomFieldCreateInput!", "The custom field."),),
        _CUSTOM,
        ability=CUSTOM_FIELDS,
    ),
    Mutation(
        "customFieldUpdate",
        f"Changes a custom field; its record type, name and kind are for good. {_SOON}",
        _update,
        (Argument("input", "CustomFieldUpdateInput!", "The changes."),),
        _CUSTOM,
        ability=CUSTOM_FIELDS,
    ),
    Mutation(
        "customFieldDelete",
        f"Removes a custom field; undoing that brings back the values of records not written since. {_SOON}",
        _delete,
        (Argument("id", "ID!", "The custom field."),),
        (Member("id", "ID", "Its id, null where this was refused."),),
        ability=CUSTOM_FIELDS,
    ),
)
