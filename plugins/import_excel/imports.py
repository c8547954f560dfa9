"""The import that a mutation is about: named by its id, locked, and how it is refused."""

from __future__ import annotations

from typing import Any

from core import Argument, Call, Member, Refused, Target, UserError, text, uuid_or_none
from plugins.import_excel.faults import PACKAGE

ID = Argument("id", "ID!", "The import.")
IMPORT = Member("import", "Import", "The import, null where it was refused.")


async def own(call: Call) -> Any:
    """The import that `input.id` names, locked. Raises Refused where the actor has no such import."""
    import_id = uuid_or_none(call.input["id"])
    ids = [] if import_id is None else await call.changes.reached("Import", Target(ids=(import_id,)), "read")
    if not ids:
        label = call.policy.catalog["Import"].type.labels.get(call.context.locale, "Import")
        message = text("not_found", call.context.locale, record=label)
        raise Refused([UserError(("input", "id"), "NOT_FOUND", message, {"id": str(call.input["id"])})])
    row = await call.changes.connection.fetchrow("select * from import where id = $1", ids[0])
    if not row["found"]:
        raise refused(call, ("input", "id"), "NOT_NOW")
    return row


def refused(call: Call, path: tuple[str, ...], code: str, **params: Any) -> Refused:
    """Why a mutation is refused, by a code whose text the plugin's catalog has."""
    return Refused([UserError(path, code, text(code.lower(), call.context.locale, PACKAGE, **params), params)])
