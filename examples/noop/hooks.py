"""Every hook with all its arguments. docs/plugins/hooks.md says when each is called and what it may return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from core import (
    Actor,
    Ask,
    Batch,
    Catalog,
    ChangeSet,
    Committed,
    EnumType,
    Extension,
    Fault,
    InputType,
    JobType,
    Mutation,
    ObjectType,
    Person,
    Place,
    Predicate,
    Query,
    Record,
    RecordType,
    hookimpl,
)


class Settings(BaseModel, extra="forbid"):
    """What a workspace may set; hooks get it validated as `settings`."""


# What it contributes


@hookimpl
def record_types(settings: Settings) -> Sequence[RecordType]:
    """No record types."""
    return ()


@hookimpl
def extensions(settings: Settings) -> Sequence[Extension]:
    """Nothing added to the record types of others."""
    return ()


@hookimpl
def object_types(settings: Settings) -> Sequence[ObjectType | InputType | EnumType]:
    """No types for payloads and arguments."""
    return ()


@hookimpl
def queries(settings: Settings) -> Sequence[Query]:
    """No queries."""
    return ()


@hookimpl
def mutations(settings: Settings) -> Sequence[Mutation]:
    """No mutations."""
    return ()


@hookimpl
def abilities(settings: Settings) -> Mapping[str, str]:
    """No abilities."""
    return {}


@hookimpl
def error_codes(settings: Settings) -> Mapping[str, str]:
    """No codes of user errors."""
    return {}


@hookimpl
def jobs(settings: Settings) -> Sequence[JobType]:
    """No jobs."""
    return ()


@hookimpl
def narrow(record: Record, action: str, catalog: Catalog, settings: Settings) -> Predicate | None:
    """Nothing narrowed: roles alone decide."""
    return None


# What it does


@hookimpl
async def check(batch: Batch, changes: ChangeSet, settings: Settings) -> Sequence[Fault]:
    """No faults."""
    return ()


@hookimpl
async def changed(batch: Batch, changes: ChangeSet, settings: Settings) -> None:
    """No reaction inside the transaction."""


@hookimpl
async def explain_viewer(record: Record, record_id: UUID, actor: Actor, ask: Ask, settings: Settings) -> Sequence[str]:
    """No reasons: it lets nobody in."""
    return ()


@hookimpl
async def committed(change_set: Committed, settings: Settings) -> None:
    """No reaction after the commit."""


@hookimpl
async def person_erased(person: Person, changes: ChangeSet, settings: Settings) -> Sequence[Place]:
    """Nothing erased: it has no tables."""
    return ()


@hookimpl
async def switched_on(changes: ChangeSet, since: datetime | None, settings: Settings) -> None:
    """Nothing to catch up with."""
