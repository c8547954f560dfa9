"""Tiers, who has them, and what customers show of them."""

from __future__ import annotations

from collections.abc import Callable

from core import AUDIT, AUDITORS, ID, EnumType, Extension, Field, Kind, RecordType, ToMany, ToOne
from plugins.tiering import tables

SOURCE = EnumType(
    "TierSource", "How a customer came to a tier.", {"HAND": "Somebody set it.", "RULE": "Its rule took him in."}
)

TIER = RecordType(
    "Tier",
    "tiers",
    tables.Tier,
    "Tiers that customers rise through.",
    (
        ID,
        Field(
            "name",
            Kind.TEXT,
            "Its name, such as `Vàng`.",
            required=True,
            unique=True,
            folded="name_fold",
            search=True,
            max_length=200,
            labels={"vi": "Tên hạng", "en": "Tier name"},
        ),
        Field(
            "rank",
            Kind.INT,
            "Its place among the tiers; a higher rank is a higher tier.",
            required=True,
            unique=True,
            minimum=0,
            maximum=1_000_000,
            labels={"vi": "Thứ bậc", "en": "Rank"},
        ),
        Field(
            "discountPercent",
            Kind.DECIMAL,
            "The discount that its customers get, in percent.",
            minimum=0,
            maximum=100,
            labels={"vi": "Chiết khấu (%)", "en": "Discount (%)"},
        ),
        Field(
            "benefits",
            Kind.JSON,
            "What else its customers get, in any form.",
            labels={"vi": "Quyền lợi", "en": "Benefits"},
        ),
        Field(
            "description",
            Kind.TEXT,
            "Who belongs to it.",
            max_length=2000,
            labels={"vi": "Mô tả", "en": "Description"},
        ),
        Field(
            "auto",
            Kind.BOOL,
            "Whether it takes in by itself whoever satisfies its rule; else it is given by hand only.",
            required=True,
            default=False,
            labels={"vi": "Tự động", "en": "Automatic"},
        ),
        Field(
            "rule",
            Kind.JSON,
            "The condition on customers that it takes in, as a `CustomerWhere`.",
            condition="Customer",
            labels={"vi": "Điều kiện", "en": "Rule"},
        ),
        *AUDIT,
    ),
    (
        ToMany(
            "customers",
            "Customer",
            "tier_id",
            "The customers that have the tier.",
            through="TierMember",
            other="customer_id",
        ),
        *AUDITORS,
    ),
    default_order=(("rank", True),),
    labels={"vi": "Hạng khách hàng", "en": "Tier"},
    known_by=("name",),
    configuration=True,
)

TIER_MEMBER = RecordType(
    "TierMember",
    "tierMembers",
    tables.TierMember,
    "That a customer has a tier.",
    (
        ID,
        Field(
            "pinned",
            Kind.BOOL,
            "Whether no rule moves the customer.",
            required=True,
            default=False,
            labels={"vi": "Ghim hạng", "en": "Pinned"},
        ),
        Field("since", Kind.DATETIME, "When he came to it.", required=True, labels={"vi": "Từ lúc", "en": "Since"}),
        Field(
            "source",
            Kind.ENUM,
            "How he came to it.",
            enum=SOURCE,
            required=True,
            labels={"vi": "Cách xếp hạng", "en": "Source"},
        ),
    ),
    (
        ToOne("customer", "Customer", "The customer.", required=True, labels={"vi": "Khách hàng", "en": "Customer"}),
        ToOne("tier", "Tier", "The tier.", required=True, labels={"vi": "Hạng", "en": "Tier"}),
    ),
    actions=(),
    exposed=False,
    follows=True,
    soft_delete=False,
    versioned=False,
    default_order=(("id", False),),
    labels={"vi": "Xếp hạng khách hàng", "en": "Tier of a customer"},
)


def _of_member(column: str) -> Callable[[str], str]:
    """A column of the customer's membership, as long as its tier is there."""
    return lambda alias: (
        # crm: allow P802 that the tier is there is all that is told of it
        f"select m.{column} from tier_member m join tier t on t.id = m.tier_id and t.deleted_at is null "
        f"where m.customer_id = {alias}.id"
    )


CUSTOMER = Extension(
    "Customer",
    fields=(
        Field(
            "tierPinned",
            Kind.BOOL,
            "Whether no rule moves the customer from his tier; null without a tier.",
            sql=_of_member("pinned"),
            tells_of="Tier",
            labels={"vi": "Ghim hạng", "en": "Tier pinned"},
        ),
        Field(
            "tierSince",
            Kind.DATETIME,
            "When the customer came to his tier.",
            sql=_of_member("since"),
            tells_of="Tier",
            labels={"vi": "Xếp hạng từ", "en": "Tier since"},
        ),
        Field(
            "tierSource",
            Kind.ENUM,
            "How the customer came to his tier.",
            enum=SOURCE,
            sql=_of_member("source"),
            tells_of="Tier",
            labels={"vi": "Cách xếp hạng", "en": "Tier source"},
        ),
    ),
    relations=(
        ToOne(
            "tier",
            "Tier",
            "The tier the customer has.",
            column="customer_id",
            through="TierMember",
            other="tier_id",
            labels={"vi": "Hạng", "en": "Tier"},
        ),
    ),
)
