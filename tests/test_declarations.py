"""Declarations, Piccolo's tables and the migrated tables say the same; the tables keep what they promise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from graphql import GraphQLSchema, validate_schema

from core.catalog import Catalog
from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.errors import CompositionError
from core.grants import ABILITIES, Access, Grants, Reach, RoleGrants
from core.migrate import migrate_workspace, purge_app
from core.operations import Argument, InputType
from core.piccolo_app import APP_CONFIG
from core.policy import Policy
from core.pool import Connection
from core.predicate import FALSE
from core.records import Extension, Field, Filter, Kind, RecordType, ToMany, ToOne
from core.rows import Row, new_id
from core.schema.compose import build_schema
from core.schema.customer import next_codes
from core.schema.declared import CORE
from core.schema.mutations import UNDO, standard_mutations
from core.schema.opportunity import customer_names
from core.seed import default_roles, seed
from tests.conftest import NewWorkspace

COLUMNS = """
    select c.relname, a.attname, a.atttypid::regtype::text, a.attnotnull, a.attgenerated = 's'
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = current_schema::regnamespace and c.relkind = 'r'
    and a.attnum > 0 and not a.attisdropped
"""
ROW = {"code": "A", "name": "Công ty Ánh Dương", "kind": "ORGANISATION"}

Columns = dict[str, dict[str, tuple[str, bool]]]


@pytest.fixture
async def connection(database: Database, module_workspace: Workspace) -> AsyncIterator[Connection]:
    """A connection whose writes are rolled back."""
    async with database.connection(module_workspace) as held:
        transaction = held.transaction()
        await transaction.start()
        yield held
        await transaction.rollback()


@pytest.fixture(scope="module")
async def columns(database: Database, module_workspace: Workspace) -> tuple[Columns, Columns]:
    """Type and not-null by table and column, of written columns and of generated ones."""
    written: Columns = {}
    generated: Columns = {}
    for table, column, type_, not_null, made in await database.pool(module_workspace).fetch(COLUMNS):
        (generated if made else written).setdefault(table, {})[column] = (type_, not_null)
    return written, generated


#: What workers keep in a job for each other.
JOB_INTERNALS = ("input", "cancel_requested", "change_set_ids", "heartbeat_at")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.build(CORE)


async def insert(connection: Connection, table: str, **values: Any) -> UUID:
    values = {"id": new_id(), **values}
    names = ", ".join(values)
    places = ", ".join(f"${i}" for i in range(1, len(values) + 1))
    id_: UUID = await connection.fetchval(
        f"insert into {table} ({names}) values ({places}) returning id", *values.values()
    )
    return id_


def stored(record_type: RecordType) -> Iterator[Field]:
    """The fields with a column of their own, foreign keys included."""
    yield from (f for f in record_type.fields if f.sql is None)
    yield from (relation.key for relation in record_type.relations if isinstance(relation, ToOne))


async def test_piccolo_knows_the_migrated_tables(connection: Connection, columns: tuple[Columns, Columns]) -> None:
    written, _ = columns
    declared: Columns = {}
    for table in APP_CONFIG.table_classes:
        if table.__subclasses__():
            continue  # only a base of others
        found = declared[table._meta.tablename] = {}
        for column in table._meta.columns:
            type_ = await connection.fetchval("select to_regtype($1)::text", column.column_type)
            found[column._meta.name] = (type_, not column._meta.null)
    assert declared == {name: part for name, part in written.items() if name != "migration"}


@pytest.mark.parametrize("record_type", CORE, ids=lambda t: t.name)
def test_fields_have_their_columns(record_type: RecordType, columns: tuple[Columns, Columns]) -> None:
    written, generated = (part.get(record_type.tablename, {}) for part in columns)
    for field in stored(record_type):
        type_, not_null = written[field.column]
        if (record_type.name, field.name) == ("Change", "id"):
            assert type_ == "bigint"  # GraphQL's Int is read from it; in SQL it may grow beyond
        else:
            assert type_ == field.type.replace("timestamptz", "timestamp with time zone"), field.name
        # What may be empty may be nulled by a client; what may not must be refused before the database does.
        listed = field.kind is Kind.TEXTS and field.default is not None
        assert not_null == (field.required or listed), field.name
        if field.folded:
            assert generated[field.folded][0] == "text"
    assert ("search_fold" in generated) == any(f.search for f in record_type.fields)
    assert {"custom"} >= written.keys() - {f.column for f in stored(record_type)} - {
        "password_hash",
        "failed_logins",
        "locked_until",
        "xid",
        *JOB_INTERNALS,
    }


@pytest.mark.parametrize("record_type", CORE, ids=lambda t: t.name)
def test_versions_and_deletion_have_their_columns(record_type: RecordType, columns: tuple[Columns, Columns]) -> None:
    names = columns[0][record_type.tablename].keys()
    assert record_type.soft_delete == ("deleted_at" in names)
    assert record_type.versioned == ({"version", "updated_at", "updated_by"} <= names)
    if record_type.owner:
        assert record_type.owner in names


async def test_every_list_of_related_records_has_an_index(connection: Connection, catalog: Catalog) -> None:
    rows = await connection.fetch(
        "select i.indrelid::regclass::text, a.attname from pg_index i "
        "join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0] "
        # Of partial indexes only those that leave out what no list shows.
        r"where coalesce(pg_get_expr(i.indpred, i.indrelid), '(x IS NULL)') ~ '^\(\w+ IS (NOT )?NULL\)$'"
    )
    indexed = {(table, column) for table, column in rows}
    wanted = {
        (catalog[relation.through or relation.target].type.tablename, relation.column)
        for record in catalog
        for relation in record.to_many.values()
    }
    assert wanted - indexed == set()
    assert len(wanted) > 10


def test_declarations_are_described_in_two_languages() -> None:
    for record_type in CORE:
        parts = [record_type, *record_type.fields, *record_type.relations, *record_type.computed]
        for part in parts:
            text = part.description
            assert text[0].isupper(), (record_type.name, part.name)
            assert text.endswith("."), (record_type.name, part.name)
            if not isinstance(part, ToMany) and getattr(part, "exposed", True) and hasattr(part, "labels"):
                assert set(part.labels) == {"vi", "en"}, (record_type.name, part.name)


def test_filters_that_declare_equal_inputs_share_them() -> None:
    def build(*inputs: InputType) -> GraphQLSchema:
        names = ("Customer", "Contact")
        filters = (Filter("mood", "A mood.", given, lambda _given, _catalog: FALSE) for given in inputs)
        extensions = [("test", Extension(name, filters=(f,))) for name, f in zip(names, filters, strict=False)]
        return build_schema(Catalog.build(CORE, extensions), (), (UNDO,), (), {"REQUIRED": "Something is missing."})

    mood = InputType("MoodFilter", "A mood.", (Argument("atLeast", "IntFilter", "This."),))
    schema = build(mood, replace(mood))
    found = schema.type_map["MoodFilter"]
    assert schema.type_map["CustomerWhere"].fields["mood"].type is found
    assert schema.type_map["ContactWhere"].fields["mood"].type is found
    assert str(found.fields["atLeast"].type) == "IntFilter"
    with pytest.raises(CompositionError, match="'MoodFilter' of test is already declared by test"):
        build(mood, replace(mood, description="Another one."))


@pytest.mark.parametrize(
    ("extension", "message"),
    [
        (
            Extension("Customer", (Field("many", Kind.INT, "Many.", sql=lambda _: "1", reads=("owner",)),)),
            "Customer.many of test requires 'owner'",
        ),
        (
            Extension("Customer", filters=(Filter("f", "F.", "IntFilter", lambda _g, _c: FALSE, requires=("no",)),)),
            "Customer.f of test requires 'no'",
        ),
    ],
)
def test_what_a_part_requires_is_there(extension: Extension, message: str) -> None:
    with pytest.raises(CompositionError, match=message):
        Catalog.build(CORE, [("test", extension)])


def test_record_types_compose(catalog: Catalog) -> None:
    mutations = [*standard_mutations(catalog), UNDO]
    schema = build_schema(catalog, [], mutations, [], {"REQUIRED": "Something is missing."})
    assert validate_schema(schema) == []
    assert schema.query_type is not None
    assert {"customers", "changeSets", "permissionGrants"} <= schema.query_type.fields.keys()
    assert not {"changes", "customerViewers", "teamMembers", "userRoles"} & schema.query_type.fields.keys()
    create = schema.type_map["CustomerCreateInput"].fields  # type: ignore[attr-defined]
    assert not {"id", "createdAt", "createdById", "version"} & create.keys()
    mutated = {m.record for m in mutations if m.record}
    assert not {"ChangeSet", "Change", "CustomerViewer", "TeamMember", "UserRole"} & mutated


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("Customer", {"name", "kind"}),
        ("Contact", {"customerId", "name"}),
        ("Opportunity", {"customerId"}),
        ("User", {"login", "displayName"}),
        ("Team", {"name"}),
        ("Role", {"name"}),
        ("PermissionGrant", {"roleId", "recordType", "action", "scope"}),
        ("FieldRule", {"roleId", "recordType", "field", "access"}),
    ],
)
def test_what_a_new_record_needs(catalog: Catalog, name: str, needed: set[str]) -> None:
    fields = catalog[name].fields.values()
    assert {f.name for f in fields if f.required and f.writable and f.default is None and not f.generate} == needed


def test_deletable_records_have_a_history(catalog: Catalog) -> None:
    with_history = {record.name for record in catalog if "history" in record.to_many}
    assert with_history == {r.name for r in catalog if r.type.exposed and r.type.soft_delete}
    for name in with_history:
        assert catalog[name].to_many["history"].route == "record_id"


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("Customer", ["role", "viewer"]),
        ("Contact", ["parent"]),
        ("Opportunity", ["parent", "owner"]),
        ("ChangeSet", ["role"]),
        ("Change", ["follows"]),
        ("CustomerViewer", ["follows"]),
        ("FieldRule", []),
    ],
)
def test_why_a_salesperson_reads(catalog: Catalog, name: str, reasons: list[str]) -> None:
    salesperson = default_roles(catalog)[2]
    policy = Policy(catalog, Grants((RoleGrants(salesperson.name, salesperson.reaches),)))
    assert [rule.name for rule in policy.rules(catalog[name], "read")] == reasons


def test_secrets_are_no_fields(catalog: Catalog) -> None:
    shown = {f.column for f in catalog["User"].fields.values()}
    assert not {"password_hash", "failed_logins", "locked_until"} & shown


async def test_text_is_folded(connection: Connection) -> None:
    await insert(connection, "customer", **ROW, email="Ánh@Ví-dụ.vn", phone="0903 123 456", tax_code="0101-A")
    row = await connection.fetchrow("select * from customer")
    assert row is not None
    assert (row["name_fold"], row["email_fold"], row["tax_code_fold"]) == (
        "cong ty anh duong",
        "anh@vi-du.vn",
        "0101-a",
    )
    assert row["search_fold"] == "a cong ty anh duong anh@vi-du.vn 0903 123 456 0101-a"
    with pytest.raises(asyncpg.GeneratedAlwaysError):
        await connection.execute("update customer set name_fold = 'x'")


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("customer", ROW),
        ("app_user", {"login": "an", "display_name": "An"}),
        ("team", {"name": "North"}),
        ("role", {"name": "Clerk"}),
    ],
)
async def test_deleted_records_block_no_value(connection: Connection, table: str, values: dict[str, str]) -> None:
    await insert(connection, table, **values, deleted_at=datetime.now(UTC))
    await insert(connection, table, **values)
    with pytest.raises(asyncpg.UniqueViolationError):
        await insert(connection, table, **values)


async def test_logins_differ_in_more_than_case(connection: Connection) -> None:
    await insert(connection, "app_user", login="an", display_name="An")
    with pytest.raises(asyncpg.UniqueViolationError):
        await insert(connection, "app_user", login="An", display_name="An")


async def test_a_customer_has_one_main_contact(connection: Connection) -> None:
    customer = await insert(connection, "customer", **ROW)
    await insert(connection, "contact", customer_id=customer, name="x", is_main=True, deleted_at=datetime.now(UTC))
    await insert(connection, "contact", customer_id=customer, name="y", is_main=True)
    await insert(connection, "contact", customer_id=customer, name="z")
    with pytest.raises(asyncpg.UniqueViolationError):
        await insert(connection, "contact", customer_id=customer, name="w", is_main=True)


async def test_a_viewer_is_let_in_once_by_each_source(connection: Connection) -> None:
    customer = await insert(connection, "customer", **ROW)
    user = await insert(connection, "app_user", login="an", display_name="An")
    await insert(connection, "customer_viewer", customer_id=customer, user_id=user)
    await insert(connection, "customer_viewer", customer_id=customer, user_id=user, source="shared_pool")
    await insert(connection, "customer_viewer", customer_id=customer, everyone=True)
    with pytest.raises(asyncpg.UniqueViolationError):
        await insert(connection, "customer_viewer", customer_id=customer, user_id=user)


@pytest.mark.parametrize("named", [{}, {"user_id": UUID(int=1), "team_id": UUID(int=2)}])
async def test_a_viewer_is_somebody_and_one(connection: Connection, named: dict[str, UUID]) -> None:
    customer = await insert(connection, "customer", **ROW)
    with pytest.raises(asyncpg.CheckViolationError):
        await insert(connection, "customer_viewer", customer_id=customer, **named)


async def test_codes_pass_over_those_in_use(connection: Connection) -> None:
    await connection.execute("select setval('customer_code_seq', 9999990)")
    await insert(connection, "customer", **(ROW | {"code": "KH9999993"}))
    await insert(connection, "customer", **(ROW | {"code": "KH9999995"}), deleted_at=datetime.now(UTC))
    rows = [Row(new_id(), None, {}) for _ in range(9)]
    codes = await next_codes(connection, rows)
    assert codes == [f"KH{n}" for n in [9999991, 9999992, *range(9999994, 10_000_001)]]


async def test_codes_pass_over_a_long_run(connection: Connection) -> None:
    await connection.execute("select setval('customer_code_seq', 1, false)")
    await connection.execute(
        "insert into customer (id, code, name, kind) "
        "select gen_random_uuid(), 'KH' || lpad(n::text, 7, '0'), 'x', 'PERSON' "
        "from generate_series(1, 300) n"
    )
    statements = []
    connection.add_query_logger(lambda record: statements.append(record.query))
    assert await next_codes(connection, [Row(new_id(), None, {})]) == ["KH0000301"]
    assert len(statements) < 20


async def test_codes_are_given_once(database: Database, module_workspace: Workspace) -> None:
    async def some() -> list[str]:
        async with database.connection(module_workspace) as held:
            return await next_codes(held, [Row(new_id(), None, {}) for _ in range(5)])

    found = [code for codes in await asyncio.gather(*(some() for _ in range(8))) for code in codes]
    assert len(set(found)) == 40


async def test_opportunities_are_named_after_their_customers(connection: Connection) -> None:
    first = await insert(connection, "customer", **ROW)
    second = await insert(connection, "customer", **(ROW | {"code": "B", "name": "Bình"}))
    ids = [str(second), None, str(first), str(UUID(int=7)), str(second)]
    rows = [Row(new_id(), None, {"customerId": id_}) for id_ in ids]
    assert await customer_names(connection, rows) == ["Bình", None, "Công ty Ánh Dương", None, "Bình"]


async def test_history_hides_what_is_hidden(catalog: Catalog, module_workspace: Workspace) -> None:
    clerk = RoleGrants("Clerk", fields={("Customer", "phone"): Access.HIDE})
    context = RequestContext(module_workspace, Actor(ActorKind.USER, Grants((clerk,))))
    computed = catalog["Change"].computed
    image = {"name": "An", "phone": "0903"}
    rows = [{"recordType": "Customer", "imageAfter": image}, {"recordType": "Contact", "imageAfter": image}]
    assert await computed["after"].resolve(context, rows) == [{"name": "An"}, image]
    nothing = [{"recordType": "Customer", "imageBefore": None}]
    assert await computed["before"].resolve(context, nothing) == [None]


def test_default_roles(catalog: Catalog) -> None:
    admin, manager, salesperson, reader = default_roles(catalog)
    actions = {(r.name, a) for r in catalog if not r.type.follows for a in r.type.actions}
    assert admin.reaches == dict.fromkeys(actions, Reach.ALL)
    assert set(admin.abilities) == set(ABILITIES)
    assert [role.abilities for role in (manager, salesperson, reader)] == [("files",), ("files",), ()]
    assert manager.reaches["Customer", "transfer"] is manager.reaches["Contact", "update"] is Reach.TEAM
    assert manager.reaches["ChangeSet", "read"] is Reach.ALL
    assert ("Customer", "export") not in salesperson.reaches
    beyond_his_own = {key for key, reach in salesperson.reaches.items() if reach > Reach.OWN}
    assert beyond_his_own == {("User", "read"), ("Team", "read"), ("Customer", "lookup")}
    assert {action for _, action in reader.reaches} == {"read"}
    for role in (manager, salesperson, reader):
        assert not {"Role", "PermissionGrant", "FieldRule"} & {record for record, _ in role.reaches}
        assert role.reaches.keys() <= actions


async def test_seed_writes_the_roles(connection: Connection, catalog: Catalog) -> None:
    await seed(connection, catalog)
    rows = await connection.fetch(
        "select r.name, g.record_type, g.action, g.scope from role r join permission_grant g on g.role_id = r.id"
    )
    assert {tuple(row) for row in rows} == {
        (role.name, *key, reach.name) for role in default_roles(catalog) for key, reach in role.reaches.items()
    }
    abilities = dict(await connection.fetch("select name, abilities from role"))
    assert abilities == {role.name: list(role.abilities) for role in default_roles(catalog)}


async def test_migration_can_be_taken_back(database: Database, new_workspace: NewWorkspace) -> None:
    workspace = await new_workspace()
    pool = database.pool(workspace)
    left = "select relname from pg_class where relnamespace = current_schema::regnamespace and relkind in ('r', 'S')"
    before = await pool.fetch(left)
    await purge_app(database, workspace, APP_CONFIG)
    assert {row["relname"] for row in await pool.fetch(left)} == {"migration", "migration_id_seq"}
    await migrate_workspace(database, workspace, [APP_CONFIG])
    assert sorted(map(tuple, await pool.fetch(left))) == sorted(map(tuple, before))
