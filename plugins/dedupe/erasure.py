"""Erasing a person: no key is left that his values made."""

from __future__ import annotations

from collections.abc import Sequence

from core import ChangeSet, Person, Place

_KEYS = """
delete from dedupe_key where (contact_id is null and customer_id = any($1::uuid[])) or contact_id = any($2::uuid[])
"""


async def erase(person: Person, changes: ChangeSet) -> Sequence[Place]:
    """Delete the keys of a person's customers and contacts, deleted ones too."""
    status = await changes.connection.execute(_KEYS, list(person.ids("Customer")), list(person.ids("Contact")))
    return (Place("dedupe_key", int(status.split()[-1]), ("key",)),)
