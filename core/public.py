"""The public names of `core` and where they live; `core` itself loads this when the first of them is used."""

from core.arguments import Argument as GivenArgument
from core.catalog import Catalog, Record
from core.changes import Batch, ChangeSet, Committed, Target
from core.collisions import COLLISIONS, retried
from core.condition import Conditions, column_sql
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.customfields import parse_choice
from core.deprecations import Deprecated
from core.engine import ENGINE
from core.errors import (
    BadInput,
    ClientError,
    CompositionError,
    ConfigError,
    CrmError,
    DatabaseError,
    Forbidden,
    InvalidRule,
    LimitExceeded,
    NotFound,
    PluginError,
    Refused,
    UserError,
)
from core.files import Draft, Files, FileStore, StoredFile, Upload, files_of
from core.footprint import Footprint
from core.hookspecs import hookimpl
from core.jobs import JobContext, JobType, enqueue
from core.log import logger
from core.messages import LANGUAGES, text
from core.operations import (
    Argument,
    Ask,
    Call,
    InputType,
    Member,
    Mutation,
    ObjectType,
    Payload,
    Query,
    Records,
)
from core.person import Person, Place
from core.policy import Policy
from core.pool import Connection
from core.predicate import (
    FALSE,
    TRUE,
    Always,
    And,
    Compare,
    Linked,
    LinkedAny,
    Not,
    Operand,
    Or,
    Predicate,
    Related,
    RelatedAll,
    RelatedCount,
    Within,
    all_of,
    any_of,
    constant,
    from_context,
)
from core.records import (
    Computed,
    EnumType,
    Extension,
    Field,
    Filter,
    Kind,
    Personal,
    RecordType,
    ToMany,
    ToOne,
    Write,
)
from core.rows import Fault, Row, check_value, new_id, plain_json
from core.rulebook import Rulebook, StoredRule
from core.ruleexplain import explain_rule
from core.rules import Rule, RuleSet, compile_rule, stored_condition, system_policy
from core.schema.audit import AUDIT, AUDITORS, CREATED_AT, CREATED_BY, ID
from core.schema.journal import SOURCE as CHANGE_SOURCE
from core.schema.mutations import bulk_size, bulk_target, one_target
from core.schema.transfer import give
from core.schema.where import condition as where_condition
from core.schema.where import field_condition, uuid_or_none
from core.sql import Statement, quote
from core.targets import image_sql
from core.terminal import Terminal
from core.terminal import terminal as open_terminal
from core.turned import turning
from core.undo import undo as undo_change_set

__all__ = [
    "AUDIT",
    "AUDITORS",
    "CHANGE_SOURCE",
    "COLLISIONS",
    "CREATED_AT",
    "CREATED_BY",
    "ENGINE",
    "FALSE",
    "ID",
    "LANGUAGES",
    "TRUE",
    "Actor",
    "ActorKind",
    "Always",
    "And",
    "Argument",
    "Ask",
    "BadInput",
    "Batch",
    "Call",
    "Catalog",
    "ChangeSet",
    "ClientError",
    "Committed",
    "Compare",
    "CompositionError",
    "Computed",
    "Conditions",
    "ConfigError",
    "Connection",
    "CrmError",
    "DatabaseError",
    "Deprecated",
    "Draft",
    "EnumType",
    "Extension",
    "Fault",
    "Field",
    "FileStore",
    "Files",
    "Filter",
    "Footprint",
    "Forbidden",
    "GivenArgument",
    "InputType",
    "InvalidRule",
    "JobContext",
    "JobType",
    "Kind",
    "LimitExceeded",
    "Linked",
    "LinkedAny",
    "Member",
    "Mutation",
    "Not",
    "NotFound",
    "ObjectType",
    "Operand",
    "Or",
    "Payload",
    "Person",
    "Personal",
    "Place",
    "PluginError",
    "Policy",
    "Predicate",
    "Query",
    "Record",
    "RecordType",
    "Records",
    "Refused",
    "Related",
    "RelatedAll",
    "RelatedCount",
    "RequestContext",
    "Row",
    "Rule",
    "RuleSet",
    "Rulebook",
    "Statement",
    "StoredFile",
    "StoredRule",
    "Target",
    "Terminal",
    "ToMany",
    "ToOne",
    "Upload",
    "UserError",
    "Within",
    "Workspace",
    "Write",
    "all_of",
    "any_of",
    "bulk_size",
    "bulk_target",
    "check_value",
    "column_sql",
    "compile_rule",
    "constant",
    "enqueue",
    "explain_rule",
    "field_condition",
    "files_of",
    "from_context",
    "give",
    "hookimpl",
    "image_sql",
    "logger",
    "new_id",
    "one_target",
    "open_terminal",
    "parse_choice",
    "plain_json",
    "quote",
    "retried",
    "stored_condition",
    "system_policy",
    "text",
    "turning",
    "undo_change_set",
    "uuid_or_none",
    "where_condition",
]
