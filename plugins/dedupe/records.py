"""Criteria, dismissals, and what customers show of them."""

from __future__ import annotations

from core import AUDIT, AUDITORS, ID, EnumType, Extension, Field, Kind, RecordType, ToMany, ToOne
from plugins.dedupe import tables

ABILITY = "dedupe"

EFFECT = EnumType(
    "DuplicateEffect",
    "What happens to a duplicate.",
    {"BLOCK": "It is refused, with a DuplicateError.", "WARN": "It is written, and reported in `warnings`."},
)
STATUS = EnumType(
    "DuplicateCriterionStatus",
    "How far a criterion is.",
    {
        "BUILDING": "The customers there are being gone through; nothing is blocked or warned of yet.",
        "ACTIVE": "It blocks or warns.",
    },
)

CRITERION = RecordType(
    "DuplicateCriterion",
    "duplicateCriteria",
    tables.DedupeCriterion,
    "By what a customer must not be there twice: one field, or several that are all the same.",
    (
        ID,
        Field(
            "name",
            Kind.TEXT,
            "What people call it; the names of its fields where it is left out.",
            max_length=200,
            labels={"vi": "Tên tiêu chí", "en": "Criterion"},
        ),
        Field(
            "fields",
            Kind.TEXTS,
            "The fields of customers that are compared, all of them together: name, code, email, phone, fax, taxCode, "
            "officeAddress, description, birthday, or custom fields.",
            required=True,
            max_length=100,
            labels={"vi": "Trường so sánh", "en": "Fields"},
        ),
        Field(
            "exact",
            Kind.TEXTS,
            "Those of the fields that are compared as typed. The others are normalised: phone and fax to E.164, email "
            "without case, name without accents, case and legal form, taxCode by its digits, text without accents, "
            "case and punctuation.",
            max_length=100,
            labels={"vi": "So sánh chính xác", "en": "Compared exactly"},
        ),
        Field(
            "effect",
            Kind.ENUM,
            "Whether duplicates are refused or only warned of.",
            enum=EFFECT,
            required=True,
            default="BLOCK",
            labels={"vi": "Xử lý khi trùng", "en": "Effect"},
        ),
        Field(
            "inContacts",
            Kind.BOOL,
            "Whether a criterion of phone alone, or of email alone, looks for it in contacts, too.",
            required=True,
            default=True,
            labels={"vi": "Kiểm tra cả liên hệ", "en": "Contacts too"},
        ),
        Field(
            "status",
            Kind.ENUM,
            "Whether it blocks or warns already.",
            enum=STATUS,
            sql=lambda alias: f"{alias}.status",
            labels={"vi": "Trạng thái", "en": "Status"},
        ),
        Field(
            "progress",
            Kind.DECIMAL,
            "How much of the building is done, from 0 to 1.",
            sql=lambda alias: f"{alias}.progress",
            filterable=False,
            sortable=False,
            labels={"vi": "Tiến độ", "en": "Progress"},
        ),
        *AUDIT,
    ),
    AUDITORS,
    ability=ABILITY,
    known_by=("fields",),
    configuration=True,
    labels={"vi": "Tiêu chí trùng lặp", "en": "Duplicate criterion"},
)

DISMISSAL = RecordType(
    "DuplicateDismissal",
    "duplicateDismissals",
    tables.DedupeDismissal,
    "That a customer is no duplicate of another, whatever they have in common; there is one each way.",
    (ID,),
    (
        ToOne("customer", "Customer", "The customer.", required=True, labels={"vi": "Khách hàng", "en": "Customer"}),
        ToOne("other", "Customer", "The other.", required=True, labels={"vi": "Khách hàng kia", "en": "Other"}),
    ),
    actions=(),
    exposed=False,
    follows=True,
    soft_delete=False,
    versioned=False,
    default_order=(("id", False),),
    labels={"vi": "Không trùng lặp", "en": "No duplicate"},
)

CUSTOMER = Extension(
    "Customer",
    relations=(
        ToMany(
            "notDuplicates",
            "Customer",
            "customer_id",
            "The customers that somebody has marked as no duplicates of this one.",
            through="DuplicateDismissal",
            other="other_id",
            filterable=False,
        ),
    ),
)
