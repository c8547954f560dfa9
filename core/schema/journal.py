"""The journal: change sets, and what they changed in each record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from core import tables
from core.context import ActorKind, RequestContext
from core.grants import Access
from core.records import Computed, EnumType, Field, Kind, RecordType, ToMany, ToOne, Write
from core.schema.audit import ID

ACTOR_KIND = EnumType(
    "ActorKind",
    "What kind of being acted.",
    {
        ActorKind.USER.value: "A user.",
        ActorKind.API_KEY.value: "A program, with an API key of a user's.",
        ActorKind.SYSTEM.value: "The system itself.",
    },
)

#: What led to a change set, as the journal and events name it.
SOURCE = EnumType(
    "ChangeSource",
    "What made a change.",
    {
        "MUTATION": "A mutation.",
        "IMPORT": "An import from a file.",
        "RULE": "A rule, such as a tier's or a pool's.",
        "JOB": "Work in the background.",
        "COMMAND": "A command on the server.",
        "UNDO": "The undoing of another change set.",
    },
)

ACTION = EnumType(
    "ChangeAction",
    "What became of a record.",
    {
        "CREATE": "It was created.",
        "UPDATE": "It was changed.",
        "DELETE": "It was deleted.",
        "RESTORE": "It was restored.",
    },
)

CHANGE_SET = RecordType(
    "ChangeSet",
    "changeSets",
    tables.ChangeSetRow,
    "The journal: everything that was written, one change set per mutation, import, rule or job.",
    (
        ID,
        Field(
            "at",
            Kind.DATETIME,
            "When it was made.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Lúc", "en": "At"},
        ),
        Field(
            "actorKind",
            Kind.ENUM,
            "What kind of being made it.",
            enum=ACTOR_KIND,
            required=True,
            write=Write.NEVER,
            labels={"vi": "Loại tác nhân", "en": "Kind of actor"},
        ),
        Field(
            "source",
            Kind.ENUM,
            "What it was made by.",
            enum=SOURCE,
            required=True,
            write=Write.NEVER,
            labels={"vi": "Nguồn thay đổi", "en": "Source"},
        ),
        Field(
            "operation",
            Kind.TEXT,
            "Name of the mutation, the rule or the kind of job.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Thao tác", "en": "Operation"},
        ),
        Field(
            "reason",
            Kind.TEXT,
            "Why it was made, in words; empty where nobody said.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Lý do", "en": "Reason"},
        ),
        Field(
            "counts",
            Kind.JSON,
            "How many records it created, updated, deleted and restored.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Số lượng", "en": "Counts"},
        ),
    ),
    (
        ToOne(
            "actor",
            "User",
            "Who made it.",
            write=Write.NEVER,
            labels={"vi": "Người thực hiện", "en": "Actor"},
        ),
        ToOne(
            "undoes",
            "ChangeSet",
            "The change set that it undid.",
            column="undoes",
            write=Write.NEVER,
            labels={"vi": "Hoàn tác cho", "en": "Undoes"},
        ),
        ToOne(
            "undoneBy",
            "ChangeSet",
            "The change set that undid it.",
            column="undone_by",
            write=Write.NEVER,
            labels={"vi": "Bị hoàn tác bởi", "en": "Undone by"},
        ),
        ToMany("changes", "Change", "change_set_id", "What it changed, record by record."),
    ),
    owner="actor_id",
    actions=("read",),
    soft_delete=False,
    versioned=False,
    journaled=False,
    default_order=(("at", True),),
    labels={"vi": "Lần thay đổi", "en": "Change set"},
)


def _shown(image: str) -> Callable[[RequestContext, Sequence[dict[str, Any]]], Awaitable[list[Any]]]:
    """Resolves a journaled image without the fields that are hidden from the actor."""

    async def resolve(context: RequestContext, rows: Sequence[dict[str, Any]]) -> list[Any]:
        access = context.actor.grants.access
        return [
            row[image] and {name: v for name, v in row[image].items() if access(row["recordType"], name) >= Access.READ}
            for row in rows
        ]

    return resolve


def _of_change_set(column: str) -> Callable[[str], str]:
    """Whoever may read a change may read when, how and by whom it was made, with no grant on the journal."""
    return lambda alias: f"select s.{column} from change_set s where s.id = {alias}.change_set_id"


CHANGE = RecordType(
    "Change",
    "changes",
    tables.Change,
    "What change sets changed, record by record.",
    (
        Field(
            "id",
            Kind.INT,
            "Its number in the journal; later changes have greater ones.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Số thứ tự", "en": "Number"},
        ),
        Field(
            "recordType",
            Kind.TEXT,
            "Name of the record's type, such as `Customer`.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Loại dữ liệu", "en": "Record type"},
        ),
        Field(
            "recordId",
            Kind.ID,
            "Id of the record.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Mã bản ghi", "en": "Record id"},
        ),
        Field(
            "action",
            Kind.ENUM,
            "What became of the record.",
            enum=ACTION,
            required=True,
            write=Write.NEVER,
            labels={"vi": "Hành động", "en": "Action"},
        ),
        Field(
            "version",
            Kind.INT,
            "The record's version after the change.",
            write=Write.NEVER,
            labels={"vi": "Phiên bản", "en": "Version"},
        ),
        Field(
            "at",
            Kind.DATETIME,
            "When it was changed.",
            sql=_of_change_set("at"),
            labels={"vi": "Lúc", "en": "At"},
        ),
        Field(
            "actorId",
            Kind.ID,
            "Id of the user who changed it.",
            sql=_of_change_set("actor_id"),
            labels={"vi": "Mã người thực hiện", "en": "Actor's id"},
        ),
        Field(
            "source",
            Kind.ENUM,
            "What it was changed by.",
            enum=SOURCE,
            sql=_of_change_set("source"),
            labels={"vi": "Nguồn thay đổi", "en": "Source"},
        ),
        Field(
            "reason",
            Kind.TEXT,
            "Why it was changed, in words.",
            sql=_of_change_set("reason"),
            labels={"vi": "Lý do", "en": "Reason"},
        ),
        Field(
            "imageBefore",
            Kind.JSON,
            "The changed fields before, all of them.",
            column="before",
            exposed=False,
        ),
        Field("imageAfter", Kind.JSON, "The changed fields after, all of them.", column="after", exposed=False),
    ),
    (
        ToOne(
            "changeSet",
            "ChangeSet",
            "The change set it is part of.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Lần thay đổi", "en": "Change set"},
        ),
    ),
    computed=(
        Computed(
            "before",
            Kind.JSON,
            "The changed fields before, by name, as far as they are not hidden from you.",
            ("recordType", "imageBefore"),
            _shown("imageBefore"),
        ),
        Computed(
            "after",
            Kind.JSON,
            "The changed fields after, by name, as far as they are not hidden from you.",
            ("recordType", "imageAfter"),
            _shown("imageAfter"),
        ),
    ),
    actions=(),
    exposed=False,
    follows=True,
    about=("recordType", "recordId"),
    soft_delete=False,
    versioned=False,
    journaled=False,
    default_order=(("id", True),),
    labels={"vi": "Thay đổi", "en": "Change"},
)
