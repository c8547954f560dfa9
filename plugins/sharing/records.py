"""The ledger: acts of sharing, unsharing and transferring, and the customers that each was about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core import (
    CHANGE_SOURCE,
    ID,
    Computed,
    EnumType,
    Extension,
    Field,
    Kind,
    RecordType,
    RequestContext,
    ToMany,
    ToOne,
    Write,
)
from plugins.sharing import tables

ACTION = EnumType(
    "SharingAction",
    "What was done with customers.",
    {
        "SHARE": "Others were let in to see them, or got another right to edit.",
        "UNSHARE": "Others were no longer let in.",
        "TRANSFER": "They were given to another owner.",
    },
)


async def _hidden(_context: RequestContext, rows: Sequence[dict[str, Any]]) -> list[int]:
    return [row["customerCount"] - row["customers"] for row in rows]


def _user(name: str, description: str, vi: str, en: str, column: str = "") -> ToOne:
    return ToOne(name, "User", description, column=column, write=Write.NEVER, labels={"vi": vi, "en": en})


def _fact(name: str, kind: Kind, description: str, vi: str, en: str, **more: Any) -> Field:
    return Field(name, kind, description, write=Write.NEVER, labels={"vi": vi, "en": en}, **more)


SHARING_ACT = RecordType(
    "SharingAct",
    "sharingActs",
    tables.SharingAct,
    "The ledger of customers shared, no longer shared and given to other owners: one entry per act.",
    (
        ID,
        _fact("action", Kind.ENUM, "What was done.", "Hành động", "Action", enum=ACTION, required=True),
        _fact("at", Kind.DATETIME, "When it was done.", "Ngày giờ chuyển", "At", required=True),
        _fact("source", Kind.ENUM, "What it was done by.", "Nguồn", "Source", enum=CHANGE_SOURCE, required=True),
        _fact(
            "through",
            Kind.TEXT,
            "The plugin that let the receiver in or out; empty for acts by hand and for transfers.",
            "Thông qua",
            "Through",
        ),
        _fact(
            "toEveryone",
            Kind.BOOL,
            "Whether everyone in the workspace is the receiver.",
            "Người nhận là mọi người",
            "To everyone",
            required=True,
        ),
        _fact(
            "canEdit",
            Kind.BOOL,
            "Whether the receiver of a sharing may edit as well.",
            "Được sửa",
            "Can edit",
            required=True,
        ),
        _fact(
            "keptAsViewer",
            Kind.BOOL,
            "Whether the former owner of transferred customers was kept as a viewer.",
            "Giữ quyền xem cho chủ cũ",
            "Kept as a viewer",
            required=True,
        ),
        _fact(
            "customerCount",
            Kind.INT,
            "How many customers it was about, those you may not see included.",
            "Số lượng khách hàng",
            "Number of customers",
            required=True,
        ),
    ),
    (
        _user("by", "Who did it; nobody where the system did.", "Người thực hiện", "By", "by_id"),
        _user("from", "Whose the customers were; nobody where they were free.", "Người chuyển", "From"),
        _user("toUser", "The receiver, if it is a user: the new owner or a viewer.", "Người nhận", "To user"),
        ToOne(
            "toTeam",
            "Team",
            "The receiver, if it is a team.",
            write=Write.NEVER,
            labels={"vi": "Nhóm nhận", "en": "To team"},
        ),
        ToOne(
            "changeSet",
            "ChangeSet",
            "The change set it was part of.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Lần thay đổi", "en": "Change set"},
        ),
        ToMany(
            "customers",
            "Customer",
            "act_id",
            "The customers it was about, as far as you may see them.",
            through="SharingActCustomer",
            other="customer_id",
        ),
    ),
    computed=(
        Computed(
            "hiddenCustomers",
            Kind.INT,
            "How many of the customers are not among `customers`: those you may not see, and deleted ones.",
            ("customerCount", "customers"),
            _hidden,
        ),
    ),
    owner="by_id",
    actions=("read",),
    soft_delete=False,
    versioned=False,
    journaled=False,
    default_order=(("at", True),),
    labels={"vi": "Lịch sử chia sẻ và chuyển chủ sở hữu", "en": "Sharing act"},
)

SHARING_ACT_CUSTOMER = RecordType(
    "SharingActCustomer",
    "sharingActCustomers",
    tables.SharingActCustomer,
    "That an act was about a customer.",
    (ID,),
    (
        ToOne("act", "SharingAct", "The act.", required=True, labels={"vi": "Lần chia sẻ", "en": "Act"}),
        ToOne("customer", "Customer", "The customer.", required=True, labels={"vi": "Khách hàng", "en": "Customer"}),
    ),
    actions=(),
    exposed=False,
    follows=True,
    soft_delete=False,
    versioned=False,
    journaled=False,
    default_order=(("id", False),),
    labels={"vi": "Khách hàng được chia sẻ", "en": "Customer of an act"},
)

CUSTOMER = Extension(
    "Customer",
    relations=(
        ToMany(
            "sharingActs",
            "SharingAct",
            "customer_id",
            "When the customer was shared and given to other owners.",
            through="SharingActCustomer",
            other="act_id",
        ),
    ),
)
