"""The queries: what a file was understood to be, and what its columns can be mapped to."""

from __future__ import annotations

from typing import Any

import orjson

from core import Argument, Ask, NotFound, Query, text, uuid_or_none
from plugins.import_excel import staging, suggest
from plugins.import_excel.targets import CUSTOMER, describe, goals


async def targets(ask: Ask) -> Any:
    """What columns can be mapped to."""
    ask.policy.demand_action(CUSTOMER, "import")
    return [describe(g) for g in goals(ask.policy).values()]


async def setup(ask: Ask) -> Any:
    """A file as it was understood, read by whoever uploaded it. Raises NotFound."""
    ask.policy.demand_action(CUSTOMER, "import")
    import_id = uuid_or_none(ask.arguments["id"])
    actor = ask.context.actor
    stored = await ask.fetch(
        # crm: allow P802 whoever uploaded a file reads it until it is imported, whatever his grants
        "select json_build_object('found', found, 'mapping', "
        "(select targets from import_mapping m where m.headers = i.found ->> 'headersKey'))::text "
        "from import i where id = $1 and ($2::uuid is null or created_by = $2)",
        [import_id, None if actor.grants.unlimited else actor.user_id],
    )
    if stored is None:
        raise NotFound(text("not_found", ask.context.locale, record="Import"))
    row = orjson.loads(stored)
    if not row["found"]:
        return None
    guesses = suggest.suggest(row["found"]["columns"], goals(ask.policy), row["mapping"])
    return staging.described(row["found"], guesses, ask.policy)


QUERIES = (
    Query("importableFields", "What columns of a file can be mapped to.", "[ImportableField!]!", targets),
    Query(
        "importSetup",
        "An uploaded file as it was understood: its sheets, its columns and what they are likely meant for.",
        "ImportSetup",
        setup,
        (Argument("id", "ID!", "The import."),),
    ),
)
