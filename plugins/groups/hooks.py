"""The plugin's hooks."""

from __future__ import annotations

from collections.abc import Sequence

from core import Batch, ChangeSet, EnumType, Extension, Fault, Mutation, RecordType, hookimpl
from plugins.groups.commands import MUTATIONS, SCOPE
from plugins.groups.records import CUSTOMER, GROUP, GROUP_MEMBER
from plugins.groups.rules import check_members, check_names
from plugins.groups.settings import Settings


@hookimpl
def record_types() -> Sequence[RecordType]:
    """Groups and their members."""
    return GROUP, GROUP_MEMBER


@hookimpl
def extensions() -> Sequence[Extension]:
    """The groups of a customer, shown and as a filter."""
    return (CUSTOMER,)


@hookimpl
def object_types() -> Sequence[EnumType]:
    """What a move replaces."""
    return (SCOPE,)


@hookimpl
def mutations() -> Sequence[Mutation]:
    """Move, add and remove in bulk."""
    return MUTATIONS


@hookimpl
async def check(batch: Batch, changes: ChangeSet, settings: Settings) -> Sequence[Fault]:
    """Names are unique in their families; nobody is in a group twice or in too many."""
    if batch.record.name == "Group" and batch.action != "delete":
        return await check_names(batch, changes)
    if batch.record.name == "GroupMember" and batch.action == "create":
        return await check_members(batch, changes, settings)
    return ()
