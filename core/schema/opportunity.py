"""Opportunities: possible sales to a customer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from core import tables
from core.records import EnumType, Field, Kind, RecordType, ToOne, Write
from core.schema.audit import AUDIT, AUDITORS, ID

OUTCOME = EnumType(
    "OpportunityOutcome",
    "How an opportunity ended.",
    {"OPEN": "Not decided yet.", "WON": "The customer bought.", "LOST": "The customer did not buy."},
)


async def customer_names(connection: Any, rows: Sequence[Any]) -> list[str | None]:
    """The names of the opportunities' customers; None where there is no customer, a fault of its own."""
    ids = [row.after.get("customerId") for row in rows]
    found = await connection.fetch(
        "select id, name from customer where id = any($1::uuid[])", [UUID(id_) for id_ in ids if id_]
    )
    names = {str(row["id"]): row["name"] for row in found}
    return [names.get(id_) for id_ in ids]


OPPORTUNITY = RecordType(
    "Opportunity",
    "opportunities",
    tables.Opportunity,
    "Possible sales to customers.",
    (
        ID,
        Field(
            "name",
            Kind.TEXT,
            "What it is about; the customer's name when left out.",
            required=True,
            generate=customer_names,
            folded="search_fold",
            search=True,
            max_length=500,
            labels={"vi": "Tên cơ hội", "en": "Opportunity name"},
        ),
        Field(
            "probability",
            Kind.INT,
            "How likely a sale is, in percent.",
            minimum=0,
            maximum=100,
            labels={"vi": "Xác suất (%)", "en": "Probability (%)"},
        ),
        Field(
            "amount",
            Kind.DECIMAL,
            "Expected value, in `currency`.",
            labels={"vi": "Giá trị", "en": "Amount"},
        ),
        Field(
            "currency",
            Kind.TEXT,
            "Currency of the amount, as ISO 4217 names it; the workspace's where it is empty.",
            max_length=3,
            labels={"vi": "Tiền tệ", "en": "Currency"},
        ),
        Field(
            "stage",
            Kind.TEXT,
            "Stage of the sale.",
            max_length=200,
            labels={"vi": "Giai đoạn", "en": "Stage"},
        ),
        Field(
            "expectedClose",
            Kind.DATE,
            "When a decision is expected.",
            labels={"vi": "Ngày dự kiến chốt", "en": "Expected close"},
        ),
        Field(
            "outcome",
            Kind.ENUM,
            "Whether it is open, won or lost.",
            enum=OUTCOME,
            required=True,
            default="OPEN",
            labels={"vi": "Kết quả", "en": "Outcome"},
        ),
        Field(
            "lostReason",
            Kind.TEXT,
            "Why it was lost.",
            max_length=2000,
            labels={"vi": "Lý do thất bại", "en": "Lost reason"},
        ),
        Field(
            "closedAt",
            Kind.DATETIME,
            "When it was won or lost.",
            labels={"vi": "Ngày chốt", "en": "Closed at"},
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
        ToOne(
            "owner",
            "User",
            "Who pursues it, not always the customer's owner; nobody where it is free.",
            labels={"vi": "Người phụ trách cơ hội", "en": "Opportunity owner"},
        ),
        *AUDITORS,
    ),
    parent="customer",
    owner="owner_id",
    actions=("read", "create", "update", "delete", "restore", "transfer"),
    labels={"vi": "Cơ hội", "en": "Opportunity"},
)
