"""Users, teams and roles, and what roles allow."""

from __future__ import annotations

from core import tables
from core.records import EnumType, Field, Kind, Personal, RecordType, ToMany, ToOne, Write
from core.schema.audit import AUDIT, AUDITORS, ID
from core.schema.delegation import NoMightierUser, NoMoreThanOneself, NoWiderSight

SCOPE = EnumType(
    "GrantScope",
    "How far a permission reaches.",
    {
        "NONE": "To no record.",
        "OWN": "To the records the user owns.",
        "TEAM": "To the records that members of the user's teams own.",
        "ALL": "To all records.",
    },
)

ACCESS = EnumType(
    "FieldAccess",
    "What a role may do with a field; without a rule it may read and write it.",
    {"HIDE": "Not even see it.", "READ": "See it.", "WRITE": "See and change it."},
)

USER = RecordType(
    "User",
    "users",
    tables.User,
    "The people who sign in to the workspace.",
    (
        ID,
        Field(
            "login",
            Kind.TEXT,
            "Name to sign in with, unique among live users whatever its case.",
            required=True,
            unique=True,
            max_length=100,
            personal=Personal.IDENTIFIES,
            labels={"vi": "Tên đăng nhập", "en": "Login"},
        ),
        Field(
            "displayName",
            Kind.TEXT,
            "Name as others see it.",
            required=True,
            max_length=200,
            personal=Personal.DESCRIBES,
            labels={"vi": "Tên hiển thị", "en": "Display name"},
        ),
        Field(
            "email",
            Kind.TEXT,
            "Email address.",
            max_length=320,
            personal=Personal.IDENTIFIES,
            labels={"vi": "Email", "en": "Email"},
        ),
        Field(
            "birthday",
            Kind.DATE,
            "Birthday.",
            personal=Personal.DESCRIBES,
            labels={"vi": "Ngày sinh", "en": "Birthday"},
        ),
        Field(
            "locale",
            Kind.TEXT,
            "Language of messages, such as `vi` or `en`.",
            required=True,
            default="vi",
            max_length=20,
            labels={"vi": "Ngôn ngữ", "en": "Locale"},
        ),
        Field(
            "timeZone",
            Kind.TEXT,
            "Time zone by its IANA name; the workspace's where it is empty.",
            max_length=100,
            labels={"vi": "Múi giờ", "en": "Time zone"},
        ),
        Field(
            "active",
            Kind.BOOL,
            "Whether the user may sign in.",
            required=True,
            default=True,
            labels={"vi": "Đang hoạt động", "en": "Active"},
        ),
        *AUDIT,
    ),
    (
        ToMany(
            "teams",
            "Team",
            "user_id",
            "The teams the user belongs to.",
            through="TeamMember",
            other="team_id",
        ),
        ToMany("roles", "Role", "user_id", "The roles the user holds.", through="UserRole", other="role_id"),
        ToMany("customers", "Customer", "owner_id", "The customers the user looks after."),
        ToMany("opportunities", "Opportunity", "owner_id", "The opportunities the user pursues."),
        *AUDITORS,
    ),
    invariant=NoMightierUser(),
    labels={"vi": "Người dùng", "en": "User"},
    known_by=("login",),
    ability="users",
)

TEAM = RecordType(
    "Team",
    "teams",
    tables.Team,
    "Teams of users; roles can reach the records of one's teams.",
    (
        ID,
        Field(
            "name",
            Kind.TEXT,
            "Name, unique among live teams.",
            required=True,
            unique=True,
            max_length=200,
            labels={"vi": "Tên nhóm", "en": "Team name"},
        ),
        *AUDIT,
    ),
    (
        ToOne("lead", "User", "Who leads the team.", labels={"vi": "Trưởng nhóm", "en": "Lead"}),
        ToMany("members", "User", "team_id", "Who belongs to the team.", through="TeamMember", other="user_id"),
        *AUDITORS,
    ),
    invariant=NoWiderSight(),
    labels={"vi": "Nhóm làm việc", "en": "Team"},
    known_by=("name",),
)

TEAM_MEMBER = RecordType(
    "TeamMember",
    "teamMembers",
    tables.TeamMember,
    "That a user belongs to a team.",
    (ID,),
    (
        ToOne("team", "Team", "The team.", required=True, labels={"vi": "Nhóm làm việc", "en": "Team"}),
        ToOne("user", "User", "The member.", required=True, labels={"vi": "Thành viên", "en": "Member"}),
    ),
    actions=(),
    exposed=False,
    follows=True,
    soft_delete=False,
    versioned=False,
    default_order=(("id", False),),
    invariant=NoWiderSight(),
    labels={"vi": "Thành viên nhóm", "en": "Team member"},
)

ROLE = RecordType(
    "Role",
    "roles",
    tables.Role,
    "Roles; of all that a user's roles allow, the most generous counts.",
    (
        ID,
        Field(
            "name",
            Kind.TEXT,
            "Name, unique among live roles.",
            required=True,
            unique=True,
            max_length=200,
            labels={"vi": "Tên vai trò", "en": "Role name"},
        ),
        Field(
            "description",
            Kind.TEXT,
            "What it is for.",
            max_length=2000,
            labels={"vi": "Mô tả", "en": "Description"},
        ),
        Field(
            "abilities",
            Kind.TEXTS,
            "What its holders may do beside working with records, such as `settings` or `undo`.",
            default=[],
            max_length=100,
            labels={"vi": "Quyền chung", "en": "Abilities"},
        ),
        *AUDIT,
    ),
    (
        ToMany("users", "User", "role_id", "Who holds the role.", through="UserRole", other="user_id"),
        ToMany("grants", "PermissionGrant", "role_id", "How far the role reaches, by record type and action."),
        ToMany("fieldRules", "FieldRule", "role_id", "What the role may do with single fields."),
        *AUDITORS,
    ),
    invariant=NoMoreThanOneself(),
    labels={"vi": "Vai trò", "en": "Role"},
    known_by=("name",),
    configuration=True,
    parts=("grants", "fieldRules"),
    ability="roles",
)

USER_ROLE = RecordType(
    "UserRole",
    "userRoles",
    tables.UserRole,
    "That a user holds a role.",
    (ID,),
    (
        ToOne("user", "User", "The holder.", required=True, labels={"vi": "Người dùng", "en": "User"}),
        ToOne("role", "Role", "The role.", required=True, labels={"vi": "Vai trò", "en": "Role"}),
    ),
    actions=(),
    exposed=False,
    follows=True,
    soft_delete=False,
    versioned=False,
    default_order=(("id", False),),
    invariant=NoMoreThanOneself("roleId"),
    labels={"vi": "Vai trò của người dùng", "en": "User's role"},
)

_OF_ROLE = ToOne(
    "role",
    "Role",
    "The role it is part of, for good.",
    required=True,
    write=Write.CREATE,
    labels={"vi": "Vai trò", "en": "Role"},
)

_RECORD_TYPE = Field(
    "recordType",
    Kind.TEXT,
    "Name of the record type, such as `Customer`.",
    required=True,
    write=Write.CREATE,
    max_length=100,
    labels={"vi": "Loại dữ liệu", "en": "Record type"},
)

PERMISSION_GRANT = RecordType(
    "PermissionGrant",
    "permissionGrants",
    tables.PermissionGrant,
    "How far roles reach, by record type and action; a grant is withdrawn by the scope NONE.",
    (
        ID,
        _RECORD_TYPE,
        Field(
            "action",
            Kind.TEXT,
            "Name of the action, such as `read`.",
            required=True,
            write=Write.CREATE,
            max_length=100,
            labels={"vi": "Hành động", "en": "Action"},
        ),
        Field(
            "scope",
            Kind.ENUM,
            "How far the permission reaches.",
            enum=SCOPE,
            required=True,
            labels={"vi": "Phạm vi", "en": "Scope"},
        ),
    ),
    (_OF_ROLE,),
    parent="role",
    actions=("read", "create", "update", "delete"),
    soft_delete=False,
    versioned=False,
    default_order=(("recordType", False), ("action", False)),
    invariant=NoMoreThanOneself("roleId"),
    labels={"vi": "Quyền", "en": "Permission"},
    known_by=("recordType", "action"),
    ability="roles",
)

FIELD_RULE = RecordType(
    "FieldRule",
    "fieldRules",
    tables.FieldRule,
    "What roles may do with single fields; a rule is withdrawn by the access WRITE.",
    (
        ID,
        _RECORD_TYPE,
        Field(
            "field",
            Kind.TEXT,
            "Name of the field, such as `phone`.",
            required=True,
            write=Write.CREATE,
            max_length=100,
            labels={"vi": "Trường", "en": "Field"},
        ),
        Field(
            "access",
            Kind.ENUM,
            "What the role may do with the field.",
            enum=ACCESS,
            required=True,
            labels={"vi": "Quyền trên trường", "en": "Access"},
        ),
    ),
    (_OF_ROLE,),
    parent="role",
    actions=("read", "create", "update", "delete"),
    soft_delete=False,
    versioned=False,
    default_order=(("recordType", False), ("field", False)),
    invariant=NoMoreThanOneself("roleId"),
    labels={"vi": "Quy tắc trường", "en": "Field rule"},
    known_by=("recordType", "field"),
    ability="roles",
)
