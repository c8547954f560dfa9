"""All record types of the core."""

from __future__ import annotations

from core.records import RecordType
from core.schema.contact import CONTACT
from core.schema.customer import CUSTOMER, CUSTOMER_VIEWER
from core.schema.file import FILE
from core.schema.job import JOB
from core.schema.journal import CHANGE, CHANGE_SET
from core.schema.opportunity import OPPORTUNITY
from core.schema.permission import FIELD_RULE, PERMISSION_GRANT, ROLE, TEAM, TEAM_MEMBER, USER, USER_ROLE

CORE: tuple[RecordType, ...] = (
    CUSTOMER,
    CUSTOMER_VIEWER,
    CONTACT,
    OPPORTUNITY,
    USER,
    TEAM,
    TEAM_MEMBER,
    ROLE,
    USER_ROLE,
    PERMISSION_GRANT,
    FIELD_RULE,
    CHANGE_SET,
    CHANGE,
    JOB,
    FILE,
)
