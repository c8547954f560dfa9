"""Core's tables in every workspace's schema, as Piccolo sees them; their history is in `piccolo_migrations`.

Columns that PostgreSQL generates (`..._fold`, text without case and accents) cannot be declared to Piccolo; a test
holds all others equal.
"""

from __future__ import annotations

from piccolo.columns import (
    JSONB,
    UUID,
    Array,
    BigInt,
    Boolean,
    Bytea,
    Date,
    Integer,
    Numeric,
    Text,
    Timestamptz,
)
from piccolo.columns.base import Column
from piccolo.table import Table


class Xid8(Column):
    """A transaction's number, which Piccolo has no column for; only PostgreSQL writes it."""

    value_type = str


class Audited(Table):
    """What every versioned record has."""

    id = UUID(primary_key=True)
    created_at = Timestamptz()
    created_by = UUID(null=True, default=None)
    updated_at = Timestamptz()
    updated_by = UUID(null=True, default=None)
    version = Integer(default=1)
    deleted_at = Timestamptz(null=True, default=None)


class User(Audited, tablename="app_user"):
    """People who sign in. What guards their passwords is never a field of the record."""

    login = Text()
    display_name = Text()
    email = Text(null=True, default=None)
    birthday = Date(null=True, default=None)
    locale = Text(default="vi")
    time_zone = Text(null=True, default=None)
    active = Boolean(default=True)
    password_hash = Text(null=True, default=None)
    failed_logins = Integer(default=0)
    locked_until = Timestamptz(null=True, default=None)


class Team(Audited, tablename="team"):
    """Teams of users."""

    name = Text()
    lead_id = UUID(null=True, default=None)


class TeamMember(Table, tablename="team_member"):
    """Who belongs to which team."""

    id = UUID(primary_key=True)
    team_id = UUID()
    user_id = UUID()


class Role(Audited, tablename="role"):
    """Roles: what their holders may do."""

    name = Text()
    description = Text(null=True, default=None)
    abilities = Array(base_column=Text(), default=[])


class UserRole(Table, tablename="user_role"):
    """Who holds which role."""

    id = UUID(primary_key=True)
    user_id = UUID()
    role_id = UUID()


class PermissionGrant(Table, tablename="permission_grant"):
    """How far a role reaches, by record type and action."""

    id = UUID(primary_key=True)
    role_id = UUID()
    record_type = Text()
    action = Text()
    scope = Text()


class FieldRule(Table, tablename="field_rule"):
    """What a role may do with single fields."""

    id = UUID(primary_key=True)
    role_id = UUID()
    record_type = Text()
    field = Text()
    access = Text()


class Customer(Audited, tablename="customer"):
    """Customers, people and organisations alike."""

    code = Text()
    name = Text()
    kind = Text(default="PERSON")
    email = Text(null=True, default=None)
    phone = Text(null=True, default=None)
    fax = Text(null=True, default=None)
    tax_code = Text(null=True, default=None)
    registered_address = Text(null=True, default=None)
    office_address = Text(null=True, default=None)
    country = Text(null=True, default=None)
    province = Text(null=True, default=None)
    district = Text(null=True, default=None)
    ward = Text(null=True, default=None)
    website = Text(null=True, default=None)
    description = Text(null=True, default=None)
    birthday = Date(null=True, default=None)
    source = Text(null=True, default=None)
    referrer_id = UUID(null=True, default=None)
    relationship = Text(null=True, default=None)
    level = Text(null=True, default=None)
    tags = Array(base_column=Text(), null=True, default=None)
    custom = JSONB(default="{}")
    owner_id = UUID(null=True, default=None)


class CustomerViewer(Table, tablename="customer_viewer"):
    """Who sees a customer besides its owner: a user, a team or everyone. `source` is what let them in."""

    id = UUID(primary_key=True)
    customer_id = UUID()
    user_id = UUID(null=True, default=None)
    team_id = UUID(null=True, default=None)
    everyone = Boolean(default=False)
    can_edit = Boolean(default=False)
    source = Text(default="share")
    created_at = Timestamptz()
    created_by = UUID(null=True, default=None)


class Contact(Audited, tablename="contact"):
    """People to talk to at a customer."""

    customer_id = UUID()
    name = Text()
    title = Text(null=True, default=None)
    email = Text(null=True, default=None)
    phones = Array(base_column=Text(), null=True, default=None)
    birthday = Date(null=True, default=None)
    is_main = Boolean(default=False)
    custom = JSONB(default="{}")


class Opportunity(Audited, tablename="opportunity"):
    """Possible sales to a customer."""

    customer_id = UUID()
    name = Text()
    probability = Integer(null=True, default=None)
    amount = Numeric(null=True, default=None)
    currency = Text(null=True, default=None)
    stage = Text(null=True, default=None)
    owner_id = UUID(null=True, default=None)
    expected_close = Date(null=True, default=None)
    closed_at = Timestamptz(null=True, default=None)
    outcome = Text(default="OPEN")
    lost_reason = Text(null=True, default=None)
    custom = JSONB(default="{}")


class ChangeSetRow(Table, tablename="change_set"):
    """The journal: one row per committed change set."""

    id = UUID(primary_key=True)
    at = Timestamptz()
    actor_id = UUID(null=True, default=None)
    actor_kind = Text()
    source = Text()
    reason = Text(default="")
    operation = Text(default="")
    undoes = UUID(null=True, default=None)
    undone_by = UUID(null=True, default=None)
    counts = JSONB(default="{}")
    xid = Xid8()


class Change(Table, tablename="change"):
    """The journal: one row per changed record, with the changed fields' values by field name."""

    id = BigInt(primary_key=True)
    change_set_id = UUID()
    record_type = Text()
    record_id = UUID()
    action = Text()
    version = Integer(null=True, default=None)
    before = JSONB(null=True, default=None)
    after = JSONB(null=True, default=None)


class Idempotency(Table, tablename="idempotency"):
    """Answers of mutations by idempotency key; the primary key is (actor_id, key)."""

    key = Text(primary_key=True)
    actor_id = UUID()
    fingerprint = Text()
    response = Bytea(null=True, default=None)
    at = Timestamptz()


class ApiKey(Table, tablename="api_key"):
    """API keys, by the hash of their secret; `allowed` narrows what they may do, null does not."""

    id = UUID(primary_key=True)
    user_id = UUID()
    name = Text()
    hash = Bytea()
    allowed = Array(base_column=Text(), null=True, default=None)
    created_at = Timestamptz()
    expires_at = Timestamptz(null=True, default=None)
    revoked_at = Timestamptz(null=True, default=None)
    last_used_at = Timestamptz(null=True, default=None)


class RefreshToken(Table, tablename="refresh_token"):
    """Refresh tokens, by their hash; a `family` descends from one sign-in."""

    id = UUID(primary_key=True)
    user_id = UUID()
    hash = Bytea()
    family = UUID()
    issued_at = Timestamptz()
    expires_at = Timestamptz()
    used_at = Timestamptz(null=True, default=None)
    revoked_at = Timestamptz(null=True, default=None)


class LoginFailure(Table, tablename="login_failure"):
    """Failed sign-ins by client address; those by login are counted on the user."""

    address = Text(primary_key=True)
    failures = Integer(default=0)
    locked_until = Timestamptz(null=True, default=None)
    at = Timestamptz()


class CustomField(Table, tablename="custom_field"):
    """The workspace's own fields of record types."""

    id = UUID(primary_key=True)
    record_type = Text()
    name = Text()
    kind = Text()
    label = Text(null=True, default=None)
    description = Text(null=True, default=None)
    required = Boolean(default=False)
    is_unique = Boolean(default=False)
    default_value = JSONB(null=True, default=None)
    choices = Array(base_column=Text(), null=True, default=None)
    created_at = Timestamptz()


class Feature(Table, tablename="feature"):
    """The plugins the workspace knows, switched on or off, with their settings."""

    plugin = Text(primary_key=True)
    enabled = Boolean(default=True)
    settings = JSONB(default="{}")
    version = Text(default="")
    at = Timestamptz()


class Job(Table, tablename="job"):
    """Long work: what it is to do, how far it is, what came of it."""

    id = UUID(primary_key=True)
    kind = Text()
    status = Text(default="QUEUED")
    progress = Numeric(null=True, default=None)
    counts = JSONB(default="{}")
    input = JSONB(default="{}")
    result = JSONB(null=True, default=None)
    error = Text(null=True, default=None)
    change_set_ids = Array(base_column=UUID(), default=[])
    created_at = Timestamptz()
    created_by = UUID(null=True, default=None)
    started_at = Timestamptz(null=True, default=None)
    finished_at = Timestamptz(null=True, default=None)
    heartbeat_at = Timestamptz(null=True, default=None)
    cancel_requested = Boolean(default=False)


class File(Table, tablename="file"):
    """Files that are kept: uploads and what jobs make. The bytes lie in a folder, under the id."""

    id = UUID(primary_key=True)
    name = Text()
    content_type = Text()
    size = Integer()
    sha256 = Text()
    purpose = Text()
    created_at = Timestamptz()
    created_by = UUID(null=True, default=None)
    expires_at = Timestamptz(null=True, default=None)


class WorkspaceSetting(Table, tablename="workspace_setting"):
    """The workspace's settings, by name."""

    key = Text(primary_key=True)
    value = JSONB()


class PersistedDocument(Table, tablename="persisted_document"):
    """GraphQL documents that clients name by their hash."""

    hash = Text(primary_key=True)
    text = Text()
    at = Timestamptz()
    used_at = Timestamptz(null=True, default=None)
