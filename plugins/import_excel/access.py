"""Who reads imports: whoever may import reads his own, from the moment the plugin is switched on."""

from __future__ import annotations

from datetime import datetime

from core import ChangeSet

_ROLES = """
select g.role_id from permission_grant g
where g.record_type = 'Customer' and g.action = 'import' and g.scope <> 'NONE'
  and not exists (select from permission_grant o
                  where o.role_id = g.role_id and o.record_type = 'Import' and o.action = 'read')
"""


async def grant(changes: ChangeSet, since: datetime | None) -> None:
    """Let the roles that may import customers read their own imports, where the plugin is new to the workspace."""
    if since is not None:
        return
    rows = [
        {"roleId": str(row["role_id"]), "recordType": "Import", "action": "read", "scope": "OWN"}
        for row in await changes.connection.fetch(_ROLES)
    ]
    if rows:
        await changes.system().create("PermissionGrant", rows)
