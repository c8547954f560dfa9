"""Contacts: the people to talk to at a customer."""

from __future__ import annotations

from core import tables
from core.records import Field, Kind, Personal, RecordType, ToOne, Write
from core.schema.audit import AUDIT, AUDITORS, ID
from core.schema.maincontact import OneMainContact

CONTACT = RecordType(
    "Contact",
    "contacts",
    tables.Contact,
    "The people to talk to at customers.",
    (
        ID,
        Field(
            "name",
            Kind.TEXT,
            "Full name.",
            required=True,
            folded="name_fold",
            search=True,
            max_length=500,
            personal=Personal.DESCRIBES,
            labels={"vi": "Tên liên hệ", "en": "Contact name"},
        ),
        Field(
            "title",
            Kind.TEXT,
            "Position at the customer, such as director.",
            max_length=200,
            personal=Personal.DESCRIBES,
            labels={"vi": "Chức danh", "en": "Title"},
        ),
        Field(
            "email",
            Kind.TEXT,
            "Email address.",
            folded="email_fold",
            search=True,
            max_length=320,
            personal=Personal.IDENTIFIES,
            labels={"vi": "Email liên hệ", "en": "Contact email"},
        ),
        Field(
            "phones",
            Kind.TEXTS,
            "Phone numbers, as they were typed, the preferred one first.",
            max_length=100,
            personal=Personal.IDENTIFIES,
            labels={"vi": "Điện thoại liên hệ", "en": "Contact phones"},
        ),
        Field(
            "birthday",
            Kind.DATE,
            "Birthday.",
            personal=Personal.DESCRIBES,
            labels={"vi": "Ngày sinh liên hệ", "en": "Contact birthday"},
        ),
        Field(
            "isMain",
            Kind.BOOL,
            "Whether it is the customer's main contact; exactly one is, when there are any.",
            required=True,
            default=False,
            labels={"vi": "Liên hệ chính", "en": "Main contact"},
        ),
        *AUDIT,
    ),
    (
        ToOne(
            "customer",
            "Customer",
            "The customer it belongs to, for good.",
            required=True,
            write=Write.CREATE,
            labels={"vi": "Khách hàng", "en": "Customer"},
        ),
        *AUDITORS,
    ),
    parent="customer",
    invariant=OneMainContact(),
    labels={"vi": "Liên hệ", "en": "Contact"},
)
