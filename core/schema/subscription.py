"""The subscriptions of a composition: the changes to each journaled record type, and the progress of a job."""

from __future__ import annotations

from typing import Any

from core.catalog import Catalog
from core.schema.types import Argument, Member, Types

ACTIONS = {
    "CREATED": "It was created.",
    "UPDATED": "It was changed, or what ties it to others was; it may have come into sight or begun to match.",
    "DELETED": "It was deleted.",
    "RESTORED": "It was restored.",
    "LEFT": "It is out of sight, or no longer matches: forget it.",
    "REFETCH": "More has changed than is told one by one: fetch again what you show.",
}


def subscription_type(types: Types, catalog: Catalog) -> Any:
    """The root type, and the types of its events."""
    types.enum("EventAction", "What became of a record.", ACTIONS)
    members = []
    for record in catalog.exposed():
        t = record.type
        if not t.journaled or t.follows:
            continue
        name = f"{record.name}Event"
        types.object(
            name,
            f"Something became of a {t.singular}.",
            [
                Member("action", "EventAction!", "What became of it."),
                Member("id", "ID", f"The id of the {t.singular}; null where you have to fetch again."),
                Member(t.singular, record.name, f"The {t.singular} as it is now; null where it is out of sight."),
                Member("changeSetId", "ID", "The change set that did it."),
                Member("at", "DateTime!", "When it was done."),
                Member("cursor", "String!", "Where to go on from after this event, as `since`."),
            ],
            plugin=t.plugin,
        )
        members.append(
            Member(
                f"{t.singular}Changed",
                f"{name}!",
                f"Changes to {t.plural} that you may see, from now on. Needs: read on {record.name}.",
                (
                    Argument("where", f"{record.name}Where", "Only records that satisfy this, or did until now."),
                    Argument("since", "String", "Begin after this cursor, with what was missed since."),
                ),
            )
        )
    members.append(
        Member(
            "jobProgress",
            "Job",
            "A job each time it moves, until it has ended; null where it may not be read.",
            (Argument("id", "ID!", "The job."),),
        )
    )
    return types.object("Subscription", "What can be watched.", members)
