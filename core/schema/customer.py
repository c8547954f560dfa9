"""Customers, and who may see them besides their owner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core import tables
from core.records import EnumType, Field, Kind, Personal, RecordType, ToMany, ToOne
from core.schema.audit import AUDIT, AUDITORS, CREATED_AT, CREATED_BY, ID
from core.schema.formerowner import KEPT, FormerOwner

KIND = EnumType(
    "CustomerKind",
    "What a customer is.",
    {"PERSON": "A private person.", "ORGANISATION": "A company, an authority or another organisation."},
)


#: The source of viewers who were let in by hand.
SHARED = "share"


async def next_codes(connection: Any, rows: Sequence[Any]) -> list[str]:
    """Codes for new customers, such as `KH0000001`, leaving out those that live customers were given by hand.

    They grow but may have gaps. Raises what asyncpg raises.
    """
    found: list[str] = []
    drawn = len(rows)
    while len(found) < len(rows):
        numbers = await connection.fetch(
            "select nextval('customer_code_seq') as n from generate_series(1, $1::integer)", drawn
        )
        codes = [f"KH{row['n']:07d}" for row in numbers]
        taken = await connection.fetch(
            "select code from customer where code = any($1::text[]) and deleted_at is null", codes
        )
        found += sorted(set(codes) - {row["code"] for row in taken}, key=lambda code: (len(code), code))
        # A long run of codes in use, as after an import, is passed in a few strides.
        drawn *= 2
    return found[: len(rows)]


CUSTOMER = RecordType(
    "Customer",
    "customers",
    tables.Customer,
    "The people and organisations the workspace deals with.",
    (
        ID,
        Field(
            "code",
            Kind.TEXT,
            "Code that people know the customer by, unique among live customers; made when left out.",
            required=True,
            unique=True,
            generate=next_codes,
            folded="code_fold",
            search=True,
            max_length=100,
            labels={"vi": "Mã khách hàng", "en": "Customer code"},
        ),
        Field(
            "name",
            Kind.TEXT,
            "Full name of the person or organisation.",
            required=True,
            folded="name_fold",
            search=True,
            max_length=500,
            personal=Personal.DESCRIBES,
            labels={"vi": "Tên khách hàng", "en": "Customer name"},
        ),
        Field(
            "kind",
            Kind.ENUM,
            "Whether it is a person or an organisation.",
            enum=KIND,
            required=True,
            labels={"vi": "Loại khách hàng", "en": "Kind"},
        ),
        Field(
            "email",
            Kind.TEXT,
            "Main email address.",
            folded="email_fold",
            search=True,
            max_length=320,
            personal=Personal.IDENTIFIES,
            labels={"vi": "Email", "en": "Email"},
        ),
        Field(
            "phone",
            Kind.TEXT,
            "Main phone number, as it was typed.",
            folded="phone_fold",
            search=True,
            max_length=100,
            personal=Personal.IDENTIFIES,
            labels={"vi": "Điện thoại", "en": "Phone"},
        ),
        Field(
            "fax",
            Kind.TEXT,
            "Fax number.",
            max_length=100,
            personal=Personal.IDENTIFIES,
            labels={"vi": "Fax", "en": "Fax"},
        ),
        Field(
            "taxCode",
            Kind.TEXT,
            "Tax code, of a person or an organisation.",
            folded="tax_code_fold",
            search=True,
            max_length=50,
            personal=Personal.IDENTIFIES,
            labels={"vi": "Mã số thuế", "en": "Tax code"},
        ),
        Field(
            "registeredAddress",
            Kind.TEXT,
            "Address in the register of companies, or of residence.",
            max_length=1000,
            personal=Personal.DESCRIBES,
            labels={"vi": "Địa chỉ đăng ký", "en": "Registered address"},
        ),
        Field(
            "officeAddress",
            Kind.TEXT,
            "Address where the customer is to be found.",
            max_length=1000,
            personal=Personal.DESCRIBES,
            labels={"vi": "Địa chỉ văn phòng", "en": "Office address"},
        ),
        Field("country", Kind.TEXT, "Country.", max_length=100, labels={"vi": "Quốc gia", "en": "Country"}),
        Field(
            "province",
            Kind.TEXT,
            "Province or city under the central government.",
            max_length=200,
            labels={"vi": "Tỉnh/Thành phố", "en": "Province"},
        ),
        Field("district", Kind.TEXT, "District.", max_length=200, labels={"vi": "Quận/Huyện", "en": "District"}),
        Field(
            "ward",
            Kind.TEXT,
            "Ward or commune.",
            max_length=200,
            personal=Personal.DESCRIBES,
            labels={"vi": "Phường/Xã", "en": "Ward"},
        ),
        Field(
            "website",
            Kind.TEXT,
            "Address of the website.",
            max_length=2000,
            personal=Personal.DESCRIBES,
            labels={"vi": "Website", "en": "Website"},
        ),
        Field(
            "description",
            Kind.TEXT,
            "Anything else worth knowing.",
            max_length=20_000,
            personal=Personal.DESCRIBES,
            labels={"vi": "Mô tả", "en": "Description"},
        ),
        Field(
            "birthday",
            Kind.DATE,
            "Birthday of a person, founding day of an organisation.",
            personal=Personal.DESCRIBES,
            labels={"vi": "Ngày sinh/Ngày thành lập", "en": "Birthday or founding day"},
        ),
        Field(
            "source",
            Kind.TEXT,
            "Where the customer came from, such as an advertisement or a fair.",
            max_length=200,
            labels={"vi": "Nguồn khách hàng", "en": "Source"},
        ),
        Field(
            "relationship",
            Kind.TEXT,
            "How the customer stands to the workspace, such as prospect or partner.",
            max_length=200,
            labels={"vi": "Mối quan hệ", "en": "Relationship"},
        ),
        Field(
            "level",
            Kind.TEXT,
            "How far the dealings with the customer have come.",
            max_length=200,
            labels={"vi": "Mức độ", "en": "Level"},
        ),
        Field(
            "tags",
            Kind.TEXTS,
            "Free words to find the customer by.",
            max_length=100,
            personal=Personal.DESCRIBES,
            labels={"vi": "Thẻ", "en": "Tags"},
        ),
        *AUDIT,
    ),
    (
        ToOne(
            "owner",
            "User",
            "Who looks after the customer; nobody where it is free.",
            labels={"vi": "Người phụ trách", "en": "Owner"},
        ),
        ToOne(
            "referrer",
            "Customer",
            "The customer who recommended the workspace to this one.",
            labels={"vi": "Người giới thiệu", "en": "Referrer"},
        ),
        ToMany("contacts", "Contact", "customer_id", "People to talk to at the customer."),
        ToMany("opportunities", "Opportunity", "customer_id", "Possible sales to the customer."),
        ToMany("viewers", "CustomerViewer", "customer_id", "Who sees the customer besides its owner."),
        ToMany(
            "referrals",
            "Customer",
            "referrer_id",
            "The customers that this one recommended the workspace to.",
        ),
        *AUDITORS,
    ),
    owner="owner_id",
    viewers="viewers",
    viewer_sources=(SHARED, KEPT),
    invariant=FormerOwner(),
    actions=(
        "read",
        "create",
        "update",
        "delete",
        "restore",
        "export",
        "import",
        "transfer",
        "share",
        "lookup",
    ),
    labels={"vi": "Khách hàng", "en": "Customer"},
    known_by=("code",),
)

CUSTOMER_VIEWER = RecordType(
    "CustomerViewer",
    "customerViewers",
    tables.CustomerViewer,
    "Who sees a customer besides its owner: a user, the members of a team, or everyone.",
    (
        ID,
        Field(
            "everyone",
            Kind.BOOL,
            "Whether it is everyone in the workspace; then neither user nor team is named.",
            required=True,
            default=False,
            labels={"vi": "Mọi người", "en": "Everyone"},
        ),
        Field(
            "canEdit",
            Kind.BOOL,
            "Whether they may change the customer as well as read it.",
            required=True,
            default=False,
            labels={"vi": "Được sửa", "en": "Can edit"},
        ),
        Field(
            "source",
            Kind.TEXT,
            "What let them in: `share` by hand, `transfer` as the former owner, else the name of the plugin that did.",
            required=True,
            default=SHARED,
            max_length=100,
            labels={"vi": "Nguồn chia sẻ", "en": "Source"},
        ),
        CREATED_AT,
    ),
    (
        ToOne(
            "customer",
            "Customer",
            "The customer they see.",
            required=True,
            labels={"vi": "Khách hàng", "en": "Customer"},
        ),
        ToOne("user", "User", "The user, if it is one.", labels={"vi": "Người dùng", "en": "User"}),
        ToOne("team", "Team", "The team, if it is one.", labels={"vi": "Nhóm làm việc", "en": "Team"}),
        CREATED_BY,
    ),
    actions=(),
    exposed=False,
    follows=True,
    soft_delete=False,
    versioned=False,
    labels={"vi": "Người xem khách hàng", "en": "Customer viewer"},
)
