"""The hooks that core itself implements for every feature set."""

from __future__ import annotations

from collections.abc import Sequence

from core.changes import Batch, ChangeSet
from core.hookspecs import hookimpl
from core.jobs import JobType
from core.schema.bulk import BULK
from core.upkeep import UPKEEP, look_after


@hookimpl
def jobs() -> Sequence[JobType]:
    """The kinds of job that every workspace has."""
    return BULK, UPKEEP


@hookimpl
async def changed(batch: Batch, changes: ChangeSet) -> None:
    """See to what a large change set leaves behind."""
    await look_after(batch, changes)
