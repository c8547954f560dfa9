"""Groups, their members, and what customers show of them."""

from __future__ import annotations

from core import AUDIT, AUDITORS, ID, Extension, Field, Kind, RecordType, ToMany, ToOne
from plugins.groups import tables
from plugins.groups.filters import GROUPS

GROUP = RecordType(
    "Group",
    "groups",
    tables.CustomerGroup,
    "Groups that customers are put into.",
    (
        ID,
        Field(
            "name",
            Kind.TEXT,
            "Name, unique within its family whatever its case and accents.",
            required=True,
            folded="name_fold",
            search=True,
            max_length=200,
            labels={"vi": "Tên nhóm khách hàng", "en": "Group name"},
        ),
        Field(
            "family",
            Kind.TEXT,
            "What the group is one of, such as `Region`; groups without a family are a family of their own.",
            max_length=200,
            labels={"vi": "Phân loại nhóm", "en": "Family"},
        ),
        Field(
            "points",
            Kind.INT,
            "Points that a customer gets for being in the group.",
            required=True,
            default=0,
            labels={"vi": "Điểm", "en": "Points"},
        ),
        Field(
            "description",
            Kind.TEXT,
            "Who belongs into the group.",
            max_length=2000,
            labels={"vi": "Mô tả", "en": "Description"},
        ),
        *AUDIT,
    ),
    (
        ToMany(
            "customers",
            "Customer",
            "group_id",
            "The customers in the group.",
            through="GroupMember",
            other="customer_id",
        ),
        *AUDITORS,
    ),
    labels={"vi": "Nhóm khách hàng", "en": "Group"},
    known_by=("family", "name"),
    configuration=True,
)

GROUP_MEMBER = RecordType(
    "GroupMember",
    "groupMembers",
    tables.GroupMember,
    "That a customer is in a group.",
    (ID,),
    (
        ToOne("customer", "Customer", "The customer.", required=True, labels={"vi": "Khách hàng", "en": "Customer"}),
        ToOne("group", "Group", "The group.", required=True, labels={"vi": "Nhóm", "en": "Group"}),
    ),
    actions=(),
    exposed=False,
    follows=True,
    soft_delete=False,
    versioned=False,
    default_order=(("id", False),),
    labels={"vi": "Thành viên nhóm khách hàng", "en": "Group member"},
)

CUSTOMER = Extension(
    "Customer",
    relations=(
        ToMany(
            "groups",
            "Group",
            "customer_id",
            "The groups the customer is in.",
            through="GroupMember",
            other="group_id",
            filterable=False,
        ),
    ),
    filters=(GROUPS,),
)
