from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from core.engine import ENGINE

ID = "core_0001"

AUDIT = """
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    updated_by uuid,
    version integer not null default 1,
    deleted_at timestamptz
"""

TABLES = {
    "app_user": f"""
    id uuid primary key,
    login text not null,
    display_name text not null,
    email text,
    birthday date,
    locale text not null default 'vi',
    time_zone text,
    active boolean not null default true,
    password_hash text,
    failed_logins integer not null default 0,
    locked_until timestamptz,
    {AUDIT}""",
    "team": f"""
    id uuid primary key,
    name text not null,
    lead_id uuid references app_user on delete set null,
    {AUDIT}""",
    "team_member": """
    id uuid primary key,
    team_id uuid not null references team on delete cascade,
    user_id uuid not null references app_user on delete cascade,
    unique (team_id, user_id)""",
    "role": f"""
    id uuid primary key,
    name text not null,
    description text,
    abilities text[] not null default '{{}}',
    {AUDIT}""",
    "user_role": """
    id uuid primary key,
    user_id uuid not null references app_user on delete cascade,
    role_id uuid not null references role on delete cascade,
    unique (user_id, role_id)""",
    "permission_grant": """
    id uuid primary key,
    role_id uuid not null references role on delete cascade,
    record_type text not null,
    action text not null,
    scope text not null check (scope in ('NONE', 'OWN', 'TEAM', 'ALL')),
    unique (role_id, record_type, action)""",
    "field_rule": """
    id uuid primary key,
    role_id uuid not null references role on delete cascade,
    record_type text not null,
    field text not null,
    access text not null check (access in ('HIDE', 'READ', 'WRITE')),
    unique (role_id, record_type, field)""",
    "customer": f"""
    id uuid primary key,
    code text not null,
    name text not null,
    kind text not null default 'PERSON' check (kind in ('PERSON', 'ORGANISATION')),
    email text,
    phone text,
    fax text,
    tax_code text,
    registered_address text,
    office_address text,
    country text,
    province text,
    district text,
    ward text,
    website text,
    description text,
    birthday date,
    source text,
    referrer_id uuid references customer on delete set null,
    relationship text,
    level text,
    tags text[],
    custom jsonb not null default '{{}}',
    owner_id uuid references app_user on delete restrict,
    {AUDIT},
    code_fold text generated always as (public.crm_fold(code)) stored,
    name_fold text generated always as (public.crm_fold(name)) stored,
    email_fold text generated always as (public.crm_fold(email)) stored,
    phone_fold text generated always as (public.crm_fold(phone)) stored,
    tax_code_fold text generated always as (public.crm_fold(tax_code)) stored,
    search_fold text generated always as (public.crm_fold(
        code || ' ' || name || ' ' || coalesce(email, '')
        || ' ' || coalesce(phone, '') || ' ' || coalesce(tax_code, '')
    )) stored""",
    "customer_viewer": """
    id uuid primary key,
    customer_id uuid not null references customer on delete cascade,
    user_id uuid references app_user on delete cascade,
    team_id uuid references team on delete cascade,
    everyone boolean not null default false,
    can_edit boolean not null default false,
    source text not null default 'share',
    created_at timestamptz not null default now(),
    created_by uuid,
    check (num_nonnulls(user_id, team_id) + everyone::integer = 1),
    unique nulls not distinct (customer_id, user_id, team_id, source)""",
    "contact": f"""
    id uuid primary key,
    customer_id uuid not null references customer on delete restrict,
    name text not null,
    title text,
    email text,
    phones text[],
    birthday date,
    is_main boolean not null default false,
    custom jsonb not null default '{{}}',
    {AUDIT},
    name_fold text generated always as (public.crm_fold(name)) stored,
    email_fold text generated always as (public.crm_fold(email)) stored,
    search_fold text generated always as (public.crm_fold(name || ' ' || coalesce(email, ''))) stored""",
    "opportunity": f"""
    id uuid primary key,
    customer_id uuid not null references customer on delete restrict,
    name text not null,
    probability integer check (probability between 0 and 100),
    amount numeric(20, 4),
    currency text,
    stage text,
    owner_id uuid references app_user on delete restrict,
    expected_close date,
    outcome text not null default 'OPEN' check (outcome in ('OPEN', 'WON', 'LOST')),
    lost_reason text,
    closed_at timestamptz,
    custom jsonb not null default '{{}}',
    {AUDIT}""",
    # The journal outlives what it tells of, so it refers to nothing.
    "change_set": """
    id uuid primary key,
    at timestamptz not null,
    actor_id uuid,
    actor_kind text not null,
    source text not null,
    reason text not null default '',
    operation text not null default '',
    undoes uuid,
    undone_by uuid,
    counts jsonb not null default '{}'""",
    "change": """
    id bigint generated always as identity primary key,
    change_set_id uuid not null,
    record_type text not null,
    record_id uuid not null,
    action text not null,
    version integer,
    before jsonb,
    after jsonb""",
    "idempotency": """
    key text not null,
    actor_id uuid not null,
    fingerprint text not null,
    response bytea,
    at timestamptz not null,
    primary key (actor_id, key)""",
    "api_key": """
    id uuid primary key,
    user_id uuid not null references app_user on delete cascade,
    name text not null,
    hash bytea not null unique,
    allowed text[],
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz""",
    "refresh_token": """
    id uuid primary key,
    user_id uuid not null references app_user on delete cascade,
    hash bytea not null unique,
    family uuid not null,
    issued_at timestamptz not null default now(),
    expires_at timestamptz not null,
    used_at timestamptz,
    revoked_at timestamptz""",
    "login_failure": """
    address text primary key,
    failures integer not null default 0,
    locked_until timestamptz,
    at timestamptz not null""",
    "custom_field": """
    id uuid primary key,
    record_type text not null,
    name text not null,
    kind text not null,
    label text,
    description text,
    required boolean not null default false,
    is_unique boolean not null default false,
    default_value jsonb,
    choices text[],
    created_at timestamptz not null default now(),
    unique (record_type, name)""",
    "feature": """
    plugin text primary key,
    enabled boolean not null,
    settings jsonb not null default '{}',
    version text not null default '',
    at timestamptz not null default now()""",
    "job": """
    id uuid primary key,
    kind text not null,
    status text not null default 'QUEUED'
        check (status in ('QUEUED', 'RUNNING', 'DONE', 'FAILED', 'CANCELLED')),
    progress numeric,
    counts jsonb not null default '{}',
    input jsonb not null default '{}',
    result jsonb,
    error text,
    change_set_ids uuid[] not null default '{}',
    created_at timestamptz not null default now(),
    created_by uuid,
    started_at timestamptz,
    finished_at timestamptz,
    heartbeat_at timestamptz,
    cancel_requested boolean not null default false""",
    "workspace_setting": """
    key text primary key,
    value jsonb not null""",
    "persisted_document": """
    hash text primary key,
    text text not null,
    at timestamptz not null default now()""",
}

INDEXES = (
    "unique index app_user_login on app_user (lower(login)) where deleted_at is null",
    "unique index team_name on team (name) where deleted_at is null",
    "index team_member_user on team_member (user_id)",
    "unique index role_name on role (name) where deleted_at is null",
    "index user_role_role on user_role (role_id)",
    "unique index customer_code on customer (code) where deleted_at is null",
    "index customer_newest on customer (created_at desc, id desc) where deleted_at is null",
    "index customer_owner on customer (owner_id, created_at desc, id desc) where deleted_at is null",
    "index customer_referrer on customer (referrer_id) where referrer_id is not null",
    "index customer_code_fold on customer using gin (code_fold gin_trgm_ops)",
    "index customer_name_fold on customer using gin (name_fold gin_trgm_ops)",
    "index customer_email_fold on customer using gin (email_fold gin_trgm_ops)",
    "index customer_phone_fold on customer using gin (phone_fold gin_trgm_ops)",
    "index customer_search on customer using gin (search_fold gin_trgm_ops)",
    "index customer_viewer_customer on customer_viewer (customer_id)",
    "index customer_viewer_user on customer_viewer (user_id)",
    "index customer_viewer_team on customer_viewer (team_id)",
    "index contact_customer on contact (customer_id)",
    "unique index contact_main on contact (customer_id) where is_main and deleted_at is null",
    "index contact_newest on contact (created_at desc, id desc) where deleted_at is null",
    "index contact_search on contact using gin (search_fold gin_trgm_ops)",
    "index opportunity_customer on opportunity (customer_id)",
    "index opportunity_owner on opportunity (owner_id)",
    "index opportunity_newest on opportunity (created_at desc, id desc) where deleted_at is null",
    "index change_set_newest on change_set (at desc, id desc)",
    "index change_set_actor on change_set (actor_id, at desc, id desc)",
    "index change_record on change (record_id, id desc)",
    "index change_change_set on change (change_set_id, id)",
    "index idempotency_at on idempotency (at)",
    "index api_key_user on api_key (user_id)",
    "index refresh_token_user on refresh_token (user_id)",
    "index refresh_token_family on refresh_token (family)",
    "index job_newest on job (created_at desc, id desc)",
    "index job_open on job (status, heartbeat_at) where status in ('QUEUED', 'RUNNING')",
)


async def create() -> None:
    for name, columns in TABLES.items():
        await ENGINE.run_ddl(f"create table {name} ({columns})")
    for index in INDEXES:
        await ENGINE.run_ddl(f"create {index}")
    await ENGINE.run_ddl("create sequence customer_code_seq")


async def drop() -> None:
    await ENGINE.run_ddl("drop sequence customer_code_seq")
    for name in reversed(TABLES):
        await ENGINE.run_ddl(f"drop table {name}")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="core", description="The core's tables")
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
