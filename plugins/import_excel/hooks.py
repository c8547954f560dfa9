"""The plugin's hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from core import (
    ChangeSet,
    EnumType,
    InputType,
    JobType,
    Mutation,
    ObjectType,
    Person,
    Place,
    Query,
    RecordType,
    hookimpl,
)
from plugins.import_excel import access, erasure, mapping, uploads
from plugins.import_excel.codes import CODES
from plugins.import_excel.commands import MUTATIONS
from plugins.import_excel.downloads import mutations as downloads
from plugins.import_excel.export import FORMAT, JOB
from plugins.import_excel.pruning import pruning
from plugins.import_excel.queries import QUERIES
from plugins.import_excel.records import IMPORT, IMPORT_FAULT, MODE
from plugins.import_excel.settings import Settings
from plugins.import_excel.work import JOBS


@hookimpl
def record_types() -> Sequence[RecordType]:
    """Imports and their faults."""
    return IMPORT, IMPORT_FAULT


@hookimpl
def object_types() -> Sequence[ObjectType | InputType | EnumType]:
    """What a file was understood to be, and how it is mapped."""
    return MODE, FORMAT, *mapping.INPUTS, *uploads.OBJECTS


@hookimpl
def error_codes() -> Mapping[str, str]:
    """Codes of faults of files and mappings."""
    return CODES


@hookimpl
def queries() -> Sequence[Query]:
    """Targets and files."""
    return QUERIES


@hookimpl
def mutations(settings: Settings) -> Sequence[Mutation]:
    """Upload, map, preview, start, undo; export and template."""
    return *uploads.mutations(settings), *MUTATIONS, *downloads(settings)


@hookimpl
def jobs(settings: Settings) -> Sequence[JobType]:
    """Preview, import, undo, export, and forgetting old rows."""
    return *JOBS, JOB, pruning(settings)


@hookimpl
async def person_erased(person: Person, changes: ChangeSet) -> Sequence[Place]:
    """Blank what is staged of him, and let the workbooks go."""
    return await erasure.erase(person, changes)


@hookimpl
async def switched_on(changes: ChangeSet, since: datetime | None) -> None:
    """Whoever may import may read his imports."""
    await access.grant(changes, since)
