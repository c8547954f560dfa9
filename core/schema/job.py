"""Jobs as records, and their cancelling."""

from __future__ import annotations

from uuid import UUID

from core import tables
from core.changes import Target
from core.condition import Conditions
from core.errors import Forbidden, Refused, UserError
from core.jobs import cancel
from core.messages import text
from core.operations import Argument, Call, Member, Mutation, ObjectType, Payload, Query, Records
from core.predicate import constant
from core.records import EnumType, Field, Kind, RecordType, Write
from core.schema.audit import CREATED_AT, CREATED_BY, ID
from core.schema.mutations import one_target

#: See and cancel the jobs of others.
ABILITY = "jobs"

STATUS = EnumType(
    "JobStatus",
    "How far a job is.",
    {
        "QUEUED": "It waits for a worker, or to be tried again.",
        "RUNNING": "A worker does it.",
        "DONE": "It was done.",
        "FAILED": "It could not be done.",
        "CANCELLED": "Somebody cancelled it.",
    },
)

JOB = RecordType(
    "Job",
    "jobs",
    tables.Job,
    "Work in the background: imports, rules over all customers, schedules. A user reads what he started.",
    (
        ID,
        Field(
            "kind",
            Kind.TEXT,
            "What is done, as the plugin calls it that does it.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Loại tác vụ", "en": "Kind"},
        ),
        Field(
            "status",
            Kind.ENUM,
            "How far it is.",
            enum=STATUS,
            required=True,
            write=Write.NEVER,
            labels={"vi": "Trạng thái", "en": "Status"},
        ),
        Field(
            "progress",
            Kind.DECIMAL,
            "How much of it is done, from 0 to 1; empty where nobody knows.",
            write=Write.NEVER,
            labels={"vi": "Tiến độ", "en": "Progress"},
        ),
        Field(
            "counts",
            Kind.JSON,
            "What was counted so far, by name, such as `created`.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Số lượng", "en": "Counts"},
        ),
        Field(
            "result",
            Kind.JSON,
            "What came of it, once it is done.",
            write=Write.NEVER,
            labels={"vi": "Kết quả", "en": "Result"},
        ),
        Field(
            "error",
            Kind.TEXT,
            "Why it failed, or why it has to be tried again.",
            write=Write.NEVER,
            labels={"vi": "Lỗi", "en": "Error"},
        ),
        Field(
            "changeSetIds",
            Kind.TEXTS,
            "Ids of the change sets it has made so far, oldest first.",
            sql=lambda alias: f"{alias}.change_set_ids::text[]",
            filterable=False,
            sortable=False,
            labels={"vi": "Các lần thay đổi", "en": "Change sets"},
        ),
        CREATED_AT,
        Field(
            "startedAt",
            Kind.DATETIME,
            "When the latest attempt at it began.",
            write=Write.NEVER,
            labels={"vi": "Bắt đầu lúc", "en": "Started at"},
        ),
        Field(
            "finishedAt",
            Kind.DATETIME,
            "When it was done, failed or was cancelled.",
            write=Write.NEVER,
            labels={"vi": "Kết thúc lúc", "en": "Finished at"},
        ),
        Field(
            "canCancel",
            Kind.BOOL,
            "Whether it has not ended and nobody has cancelled it yet.",
            sql=lambda alias: f"({alias}.status in ('QUEUED', 'RUNNING') and not {alias}.cancel_requested)",
            labels={"vi": "Có thể huỷ", "en": "Can cancel"},
        ),
    ),
    (CREATED_BY,),
    owner="created_by",
    actions=("read",),
    soft_delete=False,
    versioned=False,
    journaled=False,
    labels={"vi": "Tác vụ", "en": "Job"},
)


async def _cancel(call: Call) -> Payload:
    target = one_target(call, call.policy.catalog["Job"])
    job_id, owner = await _readable(call, target)
    if owner != call.context.actor.user_id and not call.policy.grants.able(ABILITY):
        raise Forbidden(f"cancelling the jobs of others needs the ability {ABILITY!r}", ability=ABILITY)
    if not await cancel(call.changes.connection, call.context.workspace, job_id):
        message = text("job_ended", call.context.locale)
        raise Refused([UserError(target.path, "CONFLICT", message, {"id": str(job_id)})])
    return Payload({"job": Records("Job", [job_id], single=True)})


async def _readable(call: Call, target: Target) -> tuple[UUID, UUID | None]:
    """The targeted job's id and who started it. Raises Refused where the actor reads no such job."""
    conditions = Conditions(call.policy)
    alias = conditions.alias()
    table, where = conditions.source(call.policy.scope("Job", "read", deleted=None), alias)
    where.append(f"{alias}.id = any({conditions.operand(constant(list(target.ids)), 'uuid[]')})")
    row = await call.changes.connection.fetchrow(
        f"select {alias}.id, {alias}.created_by from {table} where {' and '.join(where)}",
        *[source({}, call.context) for source in conditions.parameters.sources],
    )
    if row is None:
        message = text("not_found", call.context.locale, record=JOB.labels.get(call.context.locale, JOB.name))
        raise Refused([UserError(target.path, "NOT_FOUND", message, {"id": str(call.input["id"])})])
    return row["id"], row["created_by"]


MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        "jobCancel",
        "Cancels a job that has not ended: at once while it waits, at its next step while it runs. "
        "What it has committed by then stays; its change sets can be undone.",
        _cancel,
        (Argument("id", "ID!", "The job."),),
        (Member("job", "Job", "The job, null where it could not be cancelled."),),
        "Job",
        "read",
    ),
)
QUERIES: tuple[Query, ...] = ()
OBJECTS: tuple[ObjectType, ...] = ()
