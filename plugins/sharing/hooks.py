"""The plugin's hooks."""

from __future__ import annotations

from collections.abc import Sequence

from core import Batch, ChangeSet, EnumType, Extension, Mutation, ObjectType, RecordType, hookimpl
from plugins.sharing.commands import SHARE, split_mutation
from plugins.sharing.ledger import record
from plugins.sharing.records import ACTION, CUSTOMER, SHARING_ACT, SHARING_ACT_CUSTOMER
from plugins.sharing.settings import Settings


@hookimpl
def record_types() -> Sequence[RecordType]:
    """The ledger."""
    return SHARING_ACT, SHARING_ACT_CUSTOMER


@hookimpl
def extensions() -> Sequence[Extension]:
    """A customer's part of the ledger."""
    return (CUSTOMER,)


@hookimpl
def object_types() -> Sequence[ObjectType | EnumType]:
    """What acts there are, and a receiver's share."""
    return ACTION, SHARE


@hookimpl
def mutations(settings: Settings) -> Sequence[Mutation]:
    """The split transfer."""
    return (split_mutation(settings),)


@hookimpl
async def changed(batch: Batch, changes: ChangeSet) -> None:
    """Write the ledger, whoever gave or shared."""
    if batch.record.name == "CustomerViewer" or (batch.record.name == "Customer" and batch.action == "update"):
        await record(batch, changes)
