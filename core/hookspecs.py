"""The hooks a plugin may implement.

A plugin marks its functions with `@hookimpl` and takes any subset of a hook's arguments. Contributing hooks are
called once per composition, without a database; they return declarations. Writing hooks are coroutines and get
whole batches inside the change set's transaction. Hooks are called in a fixed order: by plugin name, requirements
first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from uuid import UUID

    from core.catalog import Catalog, Record
    from core.changes import Batch, ChangeSet, Committed
    from core.context import Actor
    from core.jobs import JobType
    from core.operations import Ask, InputType, Mutation, ObjectType, Query
    from core.person import Person, Place
    from core.predicate import Predicate
    from core.records import EnumType, Extension, RecordType
    from core.rows import Fault

hookspec = pluggy.HookspecMarker("crm")
#: Marks a plugin's function as an implementation of the hook of that name, or of `specname`.
hookimpl = pluggy.HookimplMarker("crm")


@hookspec
def record_types(settings: Any) -> Sequence[RecordType]:  # type: ignore[empty-body]
    """Contribute record types with tables of the plugin's own.

    Fields, conditions, mutations, permissions and history follow from each, as for core's own.

    Called: once per composition.
    Return: record types.
    Error: the plugin cannot be switched on; where it is on already it is left out of the feature set, with the reason.
    Since: 0.1.
    """


@hookspec
def extensions(settings: Any) -> Sequence[Extension]:  # type: ignore[empty-body]
    """Contribute fields, relations, filters and computed fields to record types of others.

    Called: once per composition.
    Return: extensions.
    Error: as for `record_types`; a name that somebody else has taken is one, too.
    Since: 0.1.
    """


@hookspec
def object_types(settings: Any) -> Sequence[ObjectType | InputType | EnumType]:  # type: ignore[empty-body]
    """Contribute plain object and input types, kinds of user error and enums for the plugin's payloads and arguments.

    Called: once per composition.
    Return: object types, input types and enums.
    Error: as for `record_types`.
    Since: 0.1.
    """


@hookspec
def queries(settings: Any) -> Sequence[Query]:  # type: ignore[empty-body]
    """Contribute root query fields answered in Python.

    Called: once per composition.
    Return: queries.
    Error: as for `record_types`.
    Since: 0.1.
    """


@hookspec
def mutations(settings: Any) -> Sequence[Mutation]:  # type: ignore[empty-body]
    """Contribute mutations.

    Called: once per composition.
    Return: mutations.
    Error: as for `record_types`.
    Since: 0.1.
    """


@hookspec
def abilities(settings: Any) -> Mapping[str, str]:  # type: ignore[empty-body]
    """Contribute named abilities that roles can be given.

    Called: once per composition.
    Return: descriptions by name; names begin with the plugin's.
    Error: as for `record_types`.
    Since: 0.1.
    """


@hookspec
def error_codes(settings: Any) -> Mapping[str, str]:  # type: ignore[empty-body]
    """Contribute codes of user errors.

    Called: once per composition.
    Return: descriptions by code.
    Error: as for `record_types`.
    Since: 0.1.
    """


@hookspec
def jobs(settings: Any) -> Sequence[JobType]:  # type: ignore[empty-body]
    """Contribute kinds of long work that workers run.

    Called: when a composition is made, and whenever a worker looks up a job.
    Return: job types; kinds begin with the plugin's name and a dot.
    Error: as for `record_types`.
    Since: 0.1.
    """


@hookspec
def narrow(record: Record, action: str, catalog: Catalog, settings: Any) -> Predicate | None:
    """Narrow the rows of a record type on which an action may be taken.

    Asked of every record type, those of others too. Plugins can only narrow: what all roles and plugins allow is seen.

    Called: once per composition, record type and action.
    Return: a predicate that rows must satisfy besides what roles allow, or None.
    Error: as for `record_types`.
    Since: 0.1.
    """


@hookspec
async def check(batch: Batch, changes: ChangeSet, settings: Any) -> Sequence[Fault]:  # type: ignore[empty-body]
    """Check a batch before it is written.

    A check only looks; what is to be written besides belongs into `changed`.

    Called: in the change set's transaction, rows locked, after core's own checks, in batches of at most 5,000 rows.
    Return: faults, each of one row; faulty rows are refused or skipped as the caller's error policy says, those with a
    `warning` are written and reported.
    Error: refuses the whole change set: a check that cannot decide never lets a row through. A ClientError, such as
    Refused, is told to the caller as it is; anything else is counted against the plugin, but for a collision with
    another transaction, after which all is tried again, and for a statement that took too long.
    Since: 0.1.
    """


@hookspec
async def changed(batch: Batch, changes: ChangeSet, settings: Any) -> None:
    """React to a batch in the same transaction, after it was written.

    Further writes go through `changes` and are part of the same change set: undone with it, and seen by other plugins.

    Called: once per written batch, for the batches that plugins write too.
    Return: nothing.
    Error: rolls the whole change set back, with the same consequences as in `check`.
    Since: 0.1.
    """


@hookspec
async def explain_viewer(record: Record, record_id: UUID, actor: Actor, ask: Ask, settings: Any) -> Sequence[str]:  # type: ignore[empty-body]
    """Say in words through what of the plugin's an actor sees a record, for `accessExplain`.

    Called: where the actor is a viewer of the record by this plugin (`Extension.lets_in`).
    Return: one text for each reason, in the language of `ask.context`, telling nothing that the asking may not know.
    Error: fails the query; a ClientError is told to the caller as it is.
    Since: 0.1.
    """


@hookspec
async def committed(change_set: Committed, settings: Any) -> None:
    """React after a change set was committed.

    For what lies outside of the database, such as telling another system; what must not get lost belongs into a job.

    Called: once per change set, outside of any transaction, in the process that wrote it.
    Return: nothing.
    Error: is logged and counted against the plugin; nothing is undone, the other plugins are called.
    Since: 0.1.
    """


@hookspec
async def person_erased(person: Person, changes: ChangeSet, settings: Any) -> Sequence[Place]:  # type: ignore[empty-body]
    """Erase what the plugin's own tables hold of a person, beside the fields that it declares `personal`.

    Afterwards core overwrites what identifies him (`person.pattern`) wherever it is still found as text; what else is
    told of him, such as a name beside it, is for the plugin to find.

    Called: once for each erasure, in its transaction, after the person's records were overwritten and their journal
    has forgotten him; for `dryRun` too.
    Return: where something was erased: tables, numbers of rows and columns, nothing of what was in them.
    Error: refuses the erasure.
    Since: 0.1.
    """


@hookspec
async def switched_on(changes: ChangeSet, since: datetime | None, settings: Any) -> None:
    """Catch up with what happened while the plugin was off, or with new settings.

    `since` is when it was switched off; None where it is new, or was on. Records changed since have an `updatedAt` from
    then on. Long work belongs into a job.

    Called: for the one plugin that is switched on or given settings, in that transaction, after its tables and
    permissions are there.
    Return: nothing.
    Error: refuses the switching; a ClientError is told to the caller as it is.
    Since: 0.1.
    """
