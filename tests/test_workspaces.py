from __future__ import annotations

import asyncio

import asyncpg
import pytest

from core.database import Database
from core.errors import BadInput, DatabaseError, NotFound
from core.workspaces import CHANNEL, Workspaces
from tests.conftest import NewWorkspace


async def test_create_get_list_and_erase(database: Database, workspaces: Workspaces) -> None:
    made = await workspaces.create("acme", currency="EUR", country="DE", time_zone="Europe/Berlin", locale="de")
    try:
        assert made.id.version == 7
        assert (made.schema, made.role[:8]) == ("ws_acme", "ws_acme_")
        assert await workspaces.get("acme") == made
        assert made in await workspaces.list()
        await database.pool(made).execute("create table t (x int)")
    finally:
        await workspaces.erase("acme")
    with pytest.raises(NotFound, match="there is no workspace 'acme'"):
        await workspaces.get("acme")
    async with database.admin() as connection:
        assert not await connection.fetchval("select exists (select from pg_roles where rolname = $1)", made.role)
        assert await connection.fetchval("select to_regnamespace('ws_acme')") is None
    again = await workspaces.create("acme")
    assert again.role != made.role
    await workspaces.erase("acme")


async def test_another_workspace_is_out_of_reach(database: Database, new_workspace: NewWorkspace) -> None:
    mine, other = await new_workspace(migrated=False), await new_workspace(migrated=False)
    await database.pool(other).execute("create table secret (x int); insert into secret values (42)")
    pool = database.pool(mine)
    for statement in (
        f"select * from {other.schema}.secret",
        f"insert into {other.schema}.secret values (1)",
        f"drop table {other.schema}.secret",
        f"create table {other.schema}.mine (x int)",
        f"drop schema {other.schema} cascade",
        f"alter schema {other.schema} owner to current_user",
        "select * from crm.workspace",
        "update crm.workspace set role_name = 'postgres'",
        "create table public.shared (x int)",
        "create role intruder",
        f"grant {other.role} to current_user",
        "alter function public.crm_fold(text) owner to current_user",
        "select pg_read_file('/etc/hostname')",
        "copy (select 1) to program 'true'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)
    assert await database.pool(other).fetchval("select x from secret") == 42


async def test_the_role_cannot_log_in_or_do_more_than_own_its_schema(
    database: Database, new_workspace: NewWorkspace
) -> None:
    made = await new_workspace(migrated=False)
    async with database.admin() as connection:
        row = await connection.fetchrow(
            "select rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
            " from pg_roles where rolname = $1",
            made.role,
        )
        assert set(row.values()) == {False}
        owned = await connection.fetch("select nspname from pg_namespace where nspowner = $1::regrole", made.role)
    assert [row["nspname"] for row in owned] == [made.schema]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"slug": "Acme"}, "slug"),
        ({"slug": "1st"}, "slug"),
        ({"slug": ""}, "slug"),
        ({"slug": "a" * 42}, "slug"),
        ({"slug": 'a"; drop schema crm; --'}, "slug"),
        ({"slug": "acme\n"}, "slug"),
        ({"slug": "acme", "currency": "dong"}, "currency"),
        ({"slug": "acme", "country": "Vietnam"}, "country"),
        ({"slug": "acme", "locale": "tiếng Việt"}, "locale"),
        ({"slug": "acme", "time_zone": "Mars/Olympus"}, "time zone"),
    ],
)
async def test_values_that_cannot_be_are_refused(workspaces: Workspaces, values: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        await workspaces.create(**values)


async def test_the_longest_slug_works(database: Database, new_workspace: NewWorkspace) -> None:
    made = await new_workspace(slug="a" * 41, migrated=False)
    assert await database.pool(made).fetchval("select current_schema()") == made.schema


async def test_a_slug_or_host_name_in_use_is_refused(workspaces: Workspaces, new_workspace: NewWorkspace) -> None:
    made = await new_workspace(migrated=False, hostname="crm.acme.example")
    with pytest.raises(BadInput, match=f"the slug '{made.slug}' is in use"):
        await workspaces.create(made.slug)
    with pytest.raises(BadInput, match=r"the host name 'crm\.acme\.example' is in use"):
        await workspaces.create("other_host", hostname="crm.acme.example")
    assert await workspaces.by_hostname("crm.acme.example") == made
    assert await workspaces.by_hostname("elsewhere.example") is None


async def test_a_schema_that_is_not_ours_is_left_alone(database: Database, workspaces: Workspaces) -> None:
    async with database.admin() as connection:
        await connection.execute("create schema ws_squatter")
    try:
        with pytest.raises(DatabaseError, match="the schema ws_squatter exists but is not registered"):
            await workspaces.create("squatter")
        with pytest.raises(NotFound):
            await workspaces.get("squatter")
        async with database.admin() as connection:
            left = await connection.fetchval("select count(*) from pg_roles where rolname like 'ws\\_squatter%'")
        assert left == 0
    finally:
        async with database.admin() as connection:
            await connection.execute("drop schema ws_squatter")


async def test_of_two_creating_one_slug_at_once_one_succeeds(workspaces: Workspaces) -> None:
    outcomes = await asyncio.gather(*(workspaces.create("twice") for _ in range(4)), return_exceptions=True)
    try:
        assert sorted(type(o).__name__ for o in outcomes) == ["BadInput", "BadInput", "BadInput", "Workspace"]
    finally:
        await workspaces.erase("twice")


async def test_other_processes_hear_of_changes(database: Database, workspaces: Workspaces) -> None:
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    await database.listen(CHANNEL, heard.put_nowait)
    await workspaces.create("announced")
    assert await asyncio.wait_for(heard.get(), 2) == "announced"
    await workspaces.erase("announced")
    assert await asyncio.wait_for(heard.get(), 2) == "announced"


async def test_a_workspace_may_live_in_another_database(database: Database, workspaces: Workspaces) -> None:
    async with database.admin() as connection:
        await connection.execute("create database elsewhere")
    url = database.dsn.replace("/postgres?", "/elsewhere?")
    made = await workspaces.create("distant", database_url=url)
    try:
        pool = database.pool(made)
        assert await pool.fetchval("select current_database() || ' ' || current_user") == f"elsewhere {made.role}"
        assert await pool.fetchval("select crm_fold('Đà')") == "da"
        async with database.admin() as connection:
            assert await connection.fetchval("select to_regnamespace('ws_distant')") is None
        assert await workspaces.get("distant") == made
    finally:
        await workspaces.erase("distant")
        async with database.admin() as connection:
            assert not await connection.fetchval("select count(*) from pg_roles where rolname = $1", made.role)
            await connection.execute("drop database elsewhere")


async def test_a_login_without_superuser_rights_is_enough(database: Database) -> None:
    async with database.admin() as connection:
        await connection.execute("create role clerk login createrole")
        await connection.execute("create database office owner clerk")
    url = database.dsn.replace("/postgres?", "/office?").replace("//postgres@", "//clerk@")
    office = await Database.open(database.settings.model_copy(update={"database_url": _secret(url)}))
    try:
        registry = Workspaces(office)
        made, other = await registry.create("small"), await registry.create("tiny")
        await office.pool(other).execute("create table t (x int)")
        assert await office.pool(made).fetchval("select current_user") == made.role
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await office.pool(made).execute("select * from ws_tiny.t")
        await registry.erase("small")
        await registry.erase("tiny")
        assert await registry.list() == []
    finally:
        await office.close()
        async with database.admin() as connection:
            await connection.execute("drop database office")
            await connection.execute("drop role clerk")


async def test_a_login_that_may_not_create_roles_is_told_so(database: Database) -> None:
    async with database.admin() as connection:
        await connection.execute("create role guest login")
        await connection.execute("create database lobby owner guest")
    url = database.dsn.replace("/postgres?", "/lobby?").replace("//postgres@", "//guest@")
    lobby = await Database.open(database.settings.model_copy(update={"database_url": _secret(url)}))
    try:
        with pytest.raises(DatabaseError, match="may not create roles and schemas"):
            await Workspaces(lobby).create("small")
        assert await Workspaces(lobby).list() == []
    finally:
        await lobby.close()
        async with database.admin() as connection:
            await connection.execute("drop database lobby")
            await connection.execute("drop role guest")


def _secret(text: str) -> object:
    from pydantic import SecretStr

    return SecretStr(text)
