"""The plugin's hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from core import (
    Batch,
    ChangeSet,
    EnumType,
    Extension,
    Fault,
    JobType,
    Mutation,
    ObjectType,
    Person,
    Place,
    Query,
    RecordType,
    hookimpl,
)
from plugins.dedupe import build, candidates, clusters, dismissals, duplicate, erasure, probe
from plugins.dedupe.check import check_duplicates
from plugins.dedupe.criteria import check_criteria
from plugins.dedupe.keys import keep
from plugins.dedupe.records import ABILITY, CRITERION, CUSTOMER, DISMISSAL, EFFECT, STATUS
from plugins.dedupe.settings import Settings

KEPT = ("Customer", "Contact")


@hookimpl
def record_types() -> Sequence[RecordType]:
    """Criteria, and which customers are no duplicates."""
    return CRITERION, DISMISSAL


@hookimpl
def extensions() -> Sequence[Extension]:
    """The customers that a customer is no duplicate of."""
    return (CUSTOMER,)


@hookimpl
def object_types() -> Sequence[ObjectType | EnumType]:
    """What is told of duplicates, clusters and candidates."""
    return EFFECT, STATUS, duplicate.TYPE, *clusters.TYPES, *probe.TYPES, *candidates.TYPES


@hookimpl
def abilities() -> Mapping[str, str]:
    """Who chooses the criteria."""
    return {ABILITY: "Choose by what customers are duplicates."}


@hookimpl
def queries(settings: Settings) -> Sequence[Query]:
    """The report, the check beforehand, and the candidates."""
    return clusters.query(), probe.query(settings), candidates.query(settings)


@hookimpl
def mutations() -> Sequence[Mutation]:
    """Marking customers as no duplicates."""
    return dismissals.MUTATIONS


@hookimpl
def jobs(settings: Settings) -> Sequence[JobType]:
    """Making the keys of a whole base."""
    return (build.job(settings),)


@hookimpl
async def check(batch: Batch, changes: ChangeSet, settings: Settings) -> Sequence[Fault]:
    """Criteria can be applied; nobody becomes a duplicate."""
    if batch.action == "delete":
        return ()
    if batch.record.name == "DuplicateCriterion":
        return check_criteria(batch, changes)
    if batch.record.name in KEPT:
        return await check_duplicates(batch, changes, settings)
    return ()


@hookimpl
async def changed(batch: Batch, changes: ChangeSet, settings: Settings) -> None:
    """Keys follow what was written; a new criterion gets its own."""
    if batch.record.name in KEPT:
        await keep(batch, changes, settings)
    elif batch.record.name == "DuplicateCriterion" and batch.action != "delete":
        await build.criteria_changed(batch, changes, settings)


@hookimpl
async def person_erased(person: Person, changes: ChangeSet) -> Sequence[Place]:
    """Forget the keys."""
    return await erasure.erase(person, changes)


@hookimpl
async def switched_on(changes: ChangeSet, since: datetime | None, settings: Settings) -> None:
    """Make up for what was written meanwhile, or for other ways to normalise."""
    await build.catch_up(changes, since, settings)
