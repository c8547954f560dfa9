"""The plugin's hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from core import (
    TRUE,
    Actor,
    Ask,
    Batch,
    Catalog,
    ChangeSet,
    EnumType,
    Extension,
    Fault,
    JobType,
    Linked,
    Mutation,
    ObjectType,
    Predicate,
    Query,
    Record,
    RecordType,
    hookimpl,
)
from plugins.shared_pool import claims, commands, explain
from plugins.shared_pool.checks import check_pools
from plugins.shared_pool.jobs import job_types
from plugins.shared_pool.reactions import catch_up, react
from plugins.shared_pool.records import CUSTOMER, OF_CUSTOMERS, OWNER_ON_ENTRY, RECORD_TYPES
from plugins.shared_pool.settings import Settings


@hookimpl
def record_types() -> Sequence[RecordType]:
    """Pools, who is in them, and who claimed from them."""
    return RECORD_TYPES


@hookimpl
def extensions() -> Sequence[Extension]:
    """The pools of a customer, shown and as a filter."""
    return (CUSTOMER,)


@hookimpl
def object_types() -> Sequence[ObjectType | EnumType]:
    """What payloads and explanations are made of."""
    return (OWNER_ON_ENTRY, *claims.OBJECTS, commands.MOVES, explain.EXPLAINED)


@hookimpl
def error_codes() -> Mapping[str, str]:
    """Why a claim is refused."""
    return claims.ERROR_CODES


@hookimpl
def queries() -> Sequence[Query]:
    """`poolExplain`."""
    return explain.QUERIES


@hookimpl
def mutations(settings: Settings) -> Sequence[Mutation]:
    """Filling pools by hand, claiming, following rules at once."""
    return (*commands.mutations(settings), *claims.MUTATIONS)


@hookimpl
def jobs(settings: Settings) -> Sequence[JobType]:
    """The recurring passes."""
    return job_types(settings)


@hookimpl
def narrow(record: Record, action: str, catalog: Catalog) -> Predicate | None:
    """Of who is in a pool and who claimed from it only as much is told as may be seen of the customers."""
    if record.name in OF_CUSTOMERS and action == "read":
        return Linked(catalog[record.name].to_one["customer"], TRUE)
    return None


@hookimpl
async def check(batch: Batch, changes: ChangeSet) -> Sequence[Fault]:
    """Pools have names of their own and rules that can be followed."""
    if batch.record.name == "Pool" and batch.action != "delete":
        return await check_pools(batch, changes)
    return ()


@hookimpl
async def changed(batch: Batch, changes: ChangeSet, settings: Settings) -> None:
    """Follow the rules for what was written, and let in whom pools are open to."""
    await react(batch, changes, settings)


@hookimpl
async def switched_on(changes: ChangeSet, since: datetime | None) -> None:
    """Catch up with what changed while the plugin was off."""
    await catch_up(changes, since)


@hookimpl
async def explain_viewer(record_id: UUID, actor: Actor, ask: Ask) -> Sequence[str]:
    """Through which pools somebody sees a customer."""
    return await explain.through(record_id, actor, ask)
