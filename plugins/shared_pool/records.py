"""Pools, the customers in them, and what customers show of them."""

from __future__ import annotations

from typing import Any

from core import AUDIT, AUDITORS, ID, EnumType, Extension, Field, Kind, RecordType, ToMany, ToOne
from plugins.shared_pool import tables
from plugins.shared_pool.filters import POOL as POOL_FILTER

OWNER_ON_ENTRY = EnumType(
    "PoolOwnerOnEntry",
    "What becomes of the owner of a customer that comes into a pool.",
    {"KEEP": "He stays its owner.", "CLEAR": "It has no owner any more."},
)


def _number(name: str, most: int, description: str, vi: str, en: str) -> Field:
    return Field(name, Kind.INT, description, minimum=1, maximum=most, labels={"vi": vi, "en": en})


POOL = RecordType(
    "Pool",
    "pools",
    tables.Pool,
    "Pools of customers that everyone, or some teams, see whoever owns them, and may claim.",
    (
        ID,
        Field(
            "name",
            Kind.TEXT,
            "Name, unique whatever its case and accents.",
            required=True,
            folded="name_fold",
            search=True,
            max_length=200,
            labels={"vi": "Tên kho khách hàng chung", "en": "Pool name"},
        ),
        Field(
            "description",
            Kind.TEXT,
            "What the pool is for.",
            max_length=2000,
            labels={"vi": "Mô tả", "en": "Description"},
        ),
        Field(
            "openToAll",
            Kind.BOOL,
            "Whether it is open to everyone in the workspace; else to the members of its teams.",
            required=True,
            default=True,
            labels={"vi": "Mở cho mọi người", "en": "Open to all"},
        ),
        Field(
            "rule",
            Kind.JSON,
            "Customers that satisfy it are moved in; without a rule and a waiting time it is filled by hand only.",
            condition="Customer",
            filterable=False,
            sortable=False,
            labels={"vi": "Điều kiện tự động", "en": "Rule"},
        ),
        _number(
            "waitingDays",
            3650,
            "How many days `waitingField` must lie back before a customer is moved in; new customers wait as long.",
            "Số ngày chờ",
            "Waiting days",
        ),
        Field(
            "waitingField",
            Kind.TEXT,
            "The date or time of customers that the waiting time is counted from, such as `updatedAt` (the default).",
            max_length=100,
            labels={"vi": "Chờ tính từ", "en": "Waiting field"},
        ),
        Field(
            "releaseOnExit",
            Kind.BOOL,
            "Whether customers that the rule moved in leave when it no longer holds, or `waitingField` has moved on.",
            required=True,
            default=False,
            labels={"vi": "Tự động đưa ra", "en": "Release on exit"},
        ),
        Field(
            "ownerOnEntry",
            Kind.ENUM,
            "What becomes of a customer's owner on entry.",
            enum=OWNER_ON_ENTRY,
            required=True,
            default="KEEP",
            labels={"vi": "Người phụ trách khi vào kho", "en": "Owner on entry"},
        ),
        _number(
            "claimsPerDay",
            100_000,
            "How many customers one user may claim from it per day, in the workspace's time zone; no limit when empty.",
            "Số lần nhận mỗi ngày",
            "Claims per day",
        ),
        _number(
            "mostHeld",
            10_000_000,
            "Who owns that many customers claims no more from it; no limit when empty.",
            "Số khách hàng tối đa được giữ",
            "Most held",
        ),
        _number(
            "coolDownDays",
            3650,
            "How many days the previous owner waits before he may claim a customer again; none when empty.",
            "Số ngày chủ cũ phải chờ",
            "Cool-down days",
        ),
        *AUDIT,
    ),
    (
        ToMany(
            "customers",
            "Customer",
            "pool_id",
            "The customers in the pool.",
            through="PoolMember",
            other="customer_id",
        ),
        ToMany("teams", "Team", "pool_id", "The teams it is open to.", through="PoolTeam", other="team_id"),
        ToMany("members", "PoolMember", "pool_id", "The customers in the pool, with since when and why."),
        ToMany("claims", "PoolClaim", "pool_id", "Who has claimed which customers from it."),
        *AUDITORS,
    ),
    actions=("read", "create", "update", "delete", "restore", "claim"),
    labels={"vi": "Kho khách hàng chung", "en": "Pool"},
    known_by=("name",),
    configuration=True,
    parts=("teams",),
)

_OF_POOL = ToOne("pool", "Pool", "The pool.", required=True, labels={"vi": "Kho", "en": "Pool"})
_CUSTOMER = ToOne("customer", "Customer", "The customer.", required=True, labels={"vi": "Khách hàng", "en": "Customer"})


def _link(name: str, plural: str, table: Any, description: str, *parts: Field | ToOne, vi: str, en: str) -> RecordType:
    """A record type that is read by whoever reaches it from a pool or a customer."""
    return RecordType(
        name,
        plural,
        table,
        description,
        (ID, *(p for p in parts if isinstance(p, Field))),
        tuple(p for p in parts if isinstance(p, ToOne)),
        actions=(),
        exposed=False,
        follows=True,
        soft_delete=False,
        versioned=False,
        default_order=(("id", True),),
        labels={"vi": vi, "en": en},
    )


def _moment(name: str, description: str, vi: str, en: str) -> Field:
    return Field(name, Kind.DATETIME, description, required=True, labels={"vi": vi, "en": en})


POOL_TEAM = _link(
    "PoolTeam",
    "poolTeams",
    tables.PoolTeam,
    "That a pool is open to a team.",
    _OF_POOL,
    ToOne("team", "Team", "The team.", required=True, labels={"vi": "Nhóm làm việc", "en": "Team"}),
    vi="Nhóm của kho",
    en="Pool team",
)

POOL_MEMBER = _link(
    "PoolMember",
    "poolMembers",
    tables.PoolMember,
    "That a customer is in a pool.",
    _moment("since", "Since when it is in the pool.", "Từ lúc", "Since"),
    Field(
        "byRule",
        Kind.BOOL,
        "Whether the pool's rule moved it in, rather than somebody by hand.",
        required=True,
        default=False,
        labels={"vi": "Theo điều kiện", "en": "By rule"},
    ),
    _OF_POOL,
    _CUSTOMER,
    vi="Khách hàng chung",
    en="Pool member",
)

POOL_ABSENCE = _link(
    "PoolAbsence",
    "poolAbsences",
    tables.PoolAbsence,
    "That a pool's rule does not move a customer in again for now: it was claimed, or taken out by hand.",
    _moment("since", "Since when.", "Từ lúc", "Since"),
    _OF_POOL,
    _CUSTOMER,
    vi="Khách hàng tạm không vào kho",
    en="Pool absence",
)

POOL_CLAIM = _link(
    "PoolClaim",
    "poolClaims",
    tables.PoolClaim,
    "That a user has claimed a customer from a pool.",
    _moment("at", "When he claimed it.", "Lúc nhận", "At"),
    _OF_POOL,
    _CUSTOMER,
    ToOne("user", "User", "Who claimed it.", required=True, labels={"vi": "Người nhận", "en": "User"}),
    vi="Lượt nhận khách hàng",
    en="Claim",
)

CUSTOMER = Extension(
    "Customer",
    relations=(
        ToMany(
            "pools",
            "Pool",
            "customer_id",
            "The pools the customer is in.",
            through="PoolMember",
            other="pool_id",
            filterable=False,
        ),
    ),
    filters=(POOL_FILTER,),
    lets_in=True,
)

RECORD_TYPES = (POOL, POOL_TEAM, POOL_MEMBER, POOL_ABSENCE, POOL_CLAIM)

#: The links that belong to a customer as much as to a pool.
OF_CUSTOMERS = frozenset({POOL_MEMBER.name, POOL_ABSENCE.name, POOL_CLAIM.name})
