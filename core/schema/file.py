"""Files as records, and their uploading."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from core import tables
from core.context import RequestContext
from core.files import files_of
from core.operations import Argument, Call, Member, Mutation, Payload, Records
from core.records import Computed, Field, Kind, RecordType, Write
from core.schema.audit import CREATED_AT, CREATED_BY, ID

#: Upload files for later use.
ABILITY = "files"
PURPOSE = "core.upload"


async def _links(context: RequestContext, rows: Sequence[dict[str, Any]]) -> Sequence[str | None]:
    files = files_of(context)
    return [
        None
        if row["expiresAt"] is not None and datetime.fromisoformat(row["expiresAt"]) <= context.now
        else files.link(UUID(row["id"]), context.now)
        for row in rows
    ]


FILE = RecordType(
    "File",
    "files",
    tables.File,
    "Files: uploads that were kept, and what exports and other jobs have made. A user reads his own.",
    (
        ID,
        Field(
            "name",
            Kind.TEXT,
            "Its name, as it is offered for download.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Tên tệp", "en": "Name"},
        ),
        Field(
            "contentType",
            Kind.TEXT,
            "Its media type, as far as is known.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Kiểu nội dung", "en": "Content type"},
        ),
        Field(
            "size",
            Kind.INT,
            "Its length in bytes.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Dung lượng", "en": "Size"},
        ),
        Field(
            "sha256",
            Kind.TEXT,
            "The SHA-256 of its bytes, in hexadecimal digits.",
            required=True,
            write=Write.NEVER,
            sortable=False,
            labels={"vi": "Mã SHA-256", "en": "SHA-256"},
        ),
        Field(
            "purpose",
            Kind.TEXT,
            "What it is kept for, beginning with the name of the plugin that keeps it.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Mục đích", "en": "Purpose"},
        ),
        CREATED_AT,
        Field(
            "expiresAt",
            Kind.DATETIME,
            "When it goes; empty where it is kept for good.",
            write=Write.NEVER,
            labels={"vi": "Hết hạn lúc", "en": "Expires at"},
        ),
    ),
    (CREATED_BY,),
    computed=(
        Computed(
            "url",
            Kind.TEXT,
            "Where it can be downloaded by whoever has this address, for some minutes; null once it has expired.",
            ("id", "expiresAt"),
            _links,
        ),
    ),
    owner="created_by",
    actions=("read",),
    soft_delete=False,
    versioned=False,
    journaled=False,
    labels={"vi": "Tệp", "en": "File"},
)


async def _keep(call: Call, uploads: Sequence[Any]) -> list[UUID]:
    files = files_of(call.context)
    days = timedelta(days=files.store.settings.file_days)
    connection = call.changes.connection
    return [(await files.keep(connection, each, purpose=PURPOSE, expires_in=days)).id for each in uploads]


async def _upload(call: Call) -> Payload:
    return Payload({"file": Records("File", await _keep(call, [call.input["file"]]), single=True)})


async def _upload_many(call: Call) -> Payload:
    uploads = call.input["files"]
    return Payload(
        {"files": Records("File", await _keep(call, uploads)), "totalSize": sum(each.size for each in uploads)}
    )


MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        "fileUpload",
        "Uploads a file for later use; what nothing is made of is removed some days later.",
        _upload,
        (Argument("file", "Upload!", "The file."),),
        (Member("file", "File", "The file, null where it was refused or may not be read."),),
        ability=ABILITY,
    ),
    Mutation(
        "filesUpload",
        "Uploads several files at once for later use; what nothing is made of is removed some days later.",
        _upload_many,
        (Argument("files", "[Upload!]!", "The files."),),
        (
            Member("files", "[File!]!", "The files, in the order given."),
            Member("totalSize", "Int", "The length of all of them in bytes."),
        ),
        ability=ABILITY,
    ),
)
