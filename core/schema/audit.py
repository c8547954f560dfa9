"""What record types have in common: id, versions, who and when, history."""

from __future__ import annotations

from core.records import Field, Kind, ToMany, ToOne, Write

#: The id of a record, which every record type has.
ID = Field(
    "id",
    Kind.ID,
    "Its id, a UUID.",
    required=True,
    write=Write.NEVER,
    labels={"vi": "Mã định danh", "en": "Id"},
)

#: When a record was created, for record types that are not versioned but say so.
CREATED_AT = Field(
    "createdAt",
    Kind.DATETIME,
    "When it was created.",
    required=True,
    write=Write.NEVER,
    labels={"vi": "Ngày tạo", "en": "Created at"},
)

#: Who created a record, for record types that are not versioned but say so.
CREATED_BY = ToOne(
    "createdBy",
    "User",
    "Who created it; nobody where the system did.",
    column="created_by",
    write=Write.NEVER,
    labels={"vi": "Người tạo", "en": "Created by"},
)

#: Fields of every versioned record type.
AUDIT: tuple[Field, ...] = (
    CREATED_AT,
    Field(
        "updatedAt",
        Kind.DATETIME,
        "When it was last changed.",
        required=True,
        write=Write.NEVER,
        labels={"vi": "Ngày cập nhật", "en": "Updated at"},
    ),
    Field(
        "version",
        Kind.INT,
        "How often it was written; it grows with each change.",
        required=True,
        write=Write.NEVER,
        labels={"vi": "Phiên bản", "en": "Version"},
    ),
    Field(
        "deletedAt",
        Kind.DATETIME,
        "When it was deleted; empty for live records.",
        write=Write.NEVER,
        labels={"vi": "Ngày xoá", "en": "Deleted at"},
    ),
)

#: Relations of every versioned record type.
AUDITORS: tuple[ToOne | ToMany, ...] = (
    CREATED_BY,
    ToOne(
        "updatedBy",
        "User",
        "Who changed it last; nobody where the system did.",
        column="updated_by",
        write=Write.NEVER,
        labels={"vi": "Người cập nhật", "en": "Updated by"},
    ),
    ToMany("history", "Change", "record_id", "What was changed in it, newest first."),
)
