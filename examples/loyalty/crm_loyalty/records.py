"""The ledger, and what customers show of it."""

from __future__ import annotations

from core import CREATED_AT, CREATED_BY, ID, EnumType, Extension, Field, Kind, RecordType, ToMany, ToOne

from crm_loyalty import tables
from crm_loyalty.filters import LOYALTY

KIND = EnumType(
    "LoyaltyEntryKind",
    "Why points came or went.",
    {
        "AWARD": "The customer earned them.",
        "REDEMPTION": "He spent them.",
        "EXPIRY": "He did not spend them in time.",
    },
)

LOYALTY_ENTRY = RecordType(
    "LoyaltyEntry",
    "loyaltyEntries",
    tables.LoyaltyEntry,
    "Points that a customer earned, spent or lost.",
    (
        ID,
        Field(
            "kind",
            Kind.ENUM,
            "Why they came or went.",
            enum=KIND,
            required=True,
            labels={"vi": "Loại", "en": "Kind"},
        ),
        Field(
            "points",
            Kind.INT,
            "How many: more than 0 where they came, less where they went.",
            required=True,
            labels={"vi": "Số điểm", "en": "Points"},
        ),
        Field(
            "note",
            Kind.TEXT,
            "What for.",
            max_length=500,
            labels={"vi": "Ghi chú", "en": "Note"},
        ),
        Field(
            "expiresAt",
            Kind.DATETIME,
            "Until when earned points can be spent.",
            labels={"vi": "Hết hạn lúc", "en": "Expires at"},
        ),
        CREATED_AT,
    ),
    (
        ToOne(
            "customer",
            "Customer",
            "Whose they are.",
            required=True,
            labels={"vi": "Khách hàng", "en": "Customer"},
        ),
        CREATED_BY,
    ),
    actions=(),
    exposed=False,
    follows=True,
    soft_delete=False,
    versioned=False,
    labels={"vi": "Điểm tích luỹ", "en": "Loyalty entry"},
)


def _balance(customer: str) -> str:
    return f"select coalesce(sum(e.points), 0) from loyalty_entry e where e.customer_id = {customer}.id"


CUSTOMER = Extension(
    "Customer",
    fields=(
        Field(
            "loyaltyPoints",
            Kind.INT,
            "How many points the customer has.",
            sql=_balance,
            reads=("loyaltyEntries",),
            labels={"vi": "Điểm thưởng", "en": "Loyalty points"},
        ),
    ),
    relations=(ToMany("loyaltyEntries", "LoyaltyEntry", "customer_id", "Points the customer earned, spent or lost."),),
    filters=(LOYALTY,),
)
