"""Moving a workspace to another database while people write to it: no write is lost, nothing half-moved is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from core.backup import move as moving
from core.backup.capture import Capture
from core.backup.contents import tables
from core.backup.move import move
from core.database import Database
from core.errors import BadInput, DatabaseError
from core.eventcursor import EventCursor
from core.features import Features
from core.http.directory import Directory
from core.jobs import enqueue
from core.workspaces import Workspaces
from tests.conftest import NewWorkspace
from tests.switching import Desk
from tests.test_backup import contents, definitions, left


@pytest.fixture
async def elsewhere(database: Database) -> AsyncIterator[str]:
    """Another database, of the same server."""
    async with database.admin() as connection:
        await connection.execute("create database faraway")
    yield database.dsn.replace("/postgres?", "/faraway?")
    async with database.admin() as connection:
        await connection.execute("drop database faraway with (force)")


@pytest.fixture
async def desk(database: Database, new_workspace: NewWorkspace) -> AsyncIterator[Desk]:
    features = Features(database)
    workspace = await new_workspace()
    for plugin in ("groups", "dedupe", "sharing"):
        await features.enable(workspace, plugin)
    desk = Desk(database, features, workspace)
    await desk.do(
        'mutation { duplicateCriterionCreate(input: {fields: ["name"], effect: WARN}) { userErrors { message } } }'
    )
    for number in range(20):
        await desk.customer(f"Customer {number}")
    yield desk
    await features.close()


async def test_writers_go_on_and_lose_nothing(  # noqa: PLR0915
    database: Database, workspaces: Workspaces, desk: Desk, elsewhere: str
) -> None:
    workspace = desk.workspace
    async with database.transaction(workspace) as connection:
        job = await enqueue(connection, workspace, "dedupe.x", {}, None)
    written: list[str] = []
    refused = 0
    stop = asyncio.Event()

    async def write(number: int) -> None:
        """Create customers, rename and delete some, and remember each that was told to be there."""
        nonlocal refused
        count = 0
        while not stop.is_set():
            count += 1
            here = Desk(database, desk.features, await workspaces.get(workspace.slug))
            try:
                made = await here.customer(f"W{number} {count}")
                if count % 3 == 0:
                    await here.do(
                        "mutation($id: ID!) { customerDelete(input: {id: $id}) { userErrors { code } } }", id=made
                    )
                written.append(made)
            except (AssertionError, asyncpg.PostgresError):
                refused += 1

    writers = [asyncio.create_task(write(number)) for number in range(3)]
    await asyncio.sleep(0.5)
    moved = await move(database, desk.features.registry, workspace, elsewhere)
    await asyncio.sleep(0.5)
    stop.set()
    await asyncio.gather(*writers)
    assert moved.differ == []
    assert moved.closed < 5
    there = await workspaces.get(workspace.slug)
    assert (there.id, there.role, there.database_url) == (workspace.id, workspace.role, elsewhere)
    # Its snapshots are of the other database.
    before = EventCursor("1:1:").encode(workspace)
    with pytest.raises(BadInput, match="no cursor of this workspace"):
        EventCursor.decode(before, there)
    pool = database.pool(there)
    kept = {str(row["id"]) for row in await pool.fetch("select id from customer")}
    assert len(written) > 3
    assert set(written) <= kept
    # A customer whose answer was refused may be there or not; nobody was told that it was.
    assert await pool.fetchval("select count(*) from customer") <= 20 + len(written) + refused
    assert await pool.fetchval("select status from job where id = $1", job) == "QUEUED"
    # Keys follow from customers: had a note been missed, some would lack theirs.
    assert (
        await pool.fetchval(
            "select count(*) from customer c where not exists (select from dedupe_key k where k.customer_id = c.id)"
        )
        == 0
    )
    async with database.admin_at(elsewhere) as connection:
        queued = "select count(*) from crm.pgqueuer where starts_with(dedupe_key, $1)"
        assert await connection.fetchval(queued, workspace.role) >= 1
        assert not await connection.fetchval("select exists (select from pg_constraint where not convalidated)")
    async with database.admin() as connection:
        assert await connection.fetchval(queued, workspace.role) == 0
        assert await connection.fetchval("select to_regnamespace($1)", workspace.schema) is None
        assert await connection.fetchval("select count(*) from pg_class where relname like 'moving%'") == 0
        assert await connection.fetchval("select count(*) from pg_proc where proname like 'moving%'") == 0
    back = await move(database, desk.features.registry, there, database.dsn)
    assert back.differ == []
    home = await workspaces.get(workspace.slug)
    assert home.database_url is None
    assert await database.pool(home).fetchval("select count(*) from customer") == len(kept)


async def test_what_cannot_be_moved_stays_and_can_be_written_to(
    database: Database, workspaces: Workspaces, desk: Desk, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, registry = desk.workspace, desk.features.registry
    before, there = await contents(database, workspace), await left(database)
    shape = await definitions(database, workspace)
    with pytest.raises(BadInput, match="already"):
        await move(database, registry, workspace, database.dsn)
    with pytest.raises(BadInput, match="already"):
        await move(database, registry, workspace, database.dsn + "&application_name=x")
    with pytest.raises(DatabaseError, match="cannot reach"):
        await move(database, registry, workspace, "postgresql://nobody@127.0.0.1:1/x")

    async def break_down(*_: object) -> None:
        raise asyncpg.PostgresError("the lights went out")

    with monkeypatch.context() as patch:
        patch.setattr(Workspaces, "relocate", break_down)
        with pytest.raises(asyncpg.PostgresError, match="lights"):
            await move(database, registry, workspace, elsewhere)
    with monkeypatch.context() as patch:
        patch.setattr(moving, "TRIES", 2)
        async with database.transaction(workspace) as connection:
            await connection.execute("lock table customer in share mode")
            with pytest.raises(DatabaseError, match="are in use all the time"):
                await move(database, registry, workspace, elsewhere)
    assert (await workspaces.get(workspace.slug)).database_url is None
    assert await contents(database, workspace) == before
    assert await definitions(database, workspace) == shape
    assert await left(database) == there
    await desk.customer("one more")
    async with database.admin_at(elsewhere) as connection:
        assert await connection.fetchval("select to_regnamespace($1)", workspace.schema) is None


async def test_a_move_that_was_killed_is_repeated(
    database: Database, workspaces: Workspaces, desk: Desk, elsewhere: str
) -> None:
    capture = Capture(desk.workspace)
    async with database.admin_at(database.dsn) as connection, connection.transaction():
        await capture.begin(connection, await tables(connection, desk.workspace.schema))
        await moving._close(connection, desk.workspace, closed=True)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await desk.fetch("delete from customer")
    moved = await move(database, desk.features.registry, desk.workspace, elsewhere)
    assert moved.differ == []
    await workspaces.erase(desk.workspace.slug)
    async with database.admin() as connection:
        assert await connection.fetchval("select count(*) from pg_proc where proname like 'moving%'") == 0


async def test_servers_follow_a_move_and_keep_the_connections_of_those_who_stay(
    database: Database, workspaces: Workspaces, desk: Desk, new_workspace: NewWorkspace, elsewhere: str
) -> None:
    stays = await new_workspace(migrated=False)
    directory = Directory(database, workspaces, "default")
    await directory.open()
    pools = [database.pool(desk.workspace), database.pool(stays)]
    await move(database, desk.features.registry, desk.workspace, elsewhere)
    while (found := await directory.find(desk.workspace.slug)) is None or found.database_url != elsewhere:
        await asyncio.sleep(0.05)
    assert await database.pool(found).fetchval("select current_database()") == "faraway"
    assert await Desk(database, desk.features, found).do("{ customers { totalCount } }") == {"totalCount": 20}
    async with database.admin() as connection:
        await workspaces.relocate(stays, None)
        assert await connection.fetchval("select count(*) from crm.workspace where id = $1", stays.id) == 1
    await asyncio.sleep(0.3)
    assert await pools[1].fetchval("select 1") == 1
    with pytest.raises(DatabaseError, match="the pool is closed"):
        await pools[0].fetchval("select 1")
    await directory.close()
    await workspaces.erase(desk.workspace.slug)
