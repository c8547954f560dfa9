from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from core.context import Workspace
from core.database import Database, address
from core.errors import DatabaseError
from core.pool import Budget, Pool
from core.settings import Settings
from tests.conftest import NewWorkspace


@pytest.fixture
async def empty(new_workspace: NewWorkspace) -> Workspace:
    return await new_workspace(migrated=False)


@pytest.fixture
async def narrow(database: Database, settings: Settings) -> AsyncIterator[Database]:
    """The same server through a process that may hold four connections, two a workspace."""
    small = settings.model_copy(update={"max_connections": 4, "pool_size": 2, "pool_timeout": 5.0})
    opened = Database(small, database.dsn, None)
    yield opened
    await opened.close()


async def backends(database: Database, workspace: Workspace) -> int:
    """How many connections the server holds for a workspace, told by what they last touched."""
    async with database.admin() as connection:
        count: int = await connection.fetchval(
            "select count(*) from pg_stat_activity where query like '%' || $1 || '%' and pid <> pg_backend_pid()",
            workspace.role,
        )
    return count


async def test_session_of_a_workspace(database: Database, empty: Workspace) -> None:
    names = ("role", "search_path", "jit", "max_parallel_workers_per_gather", "TimeZone", "statement_timeout")
    row = await database.pool(empty).fetchrow(
        "select " + ", ".join(f"current_setting('{name}') as \"{name}\"" for name in names)
    )
    assert row is not None
    assert dict(row) == {
        "role": empty.role,
        "search_path": f'"{empty.schema}", public',
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
        "TimeZone": "UTC",
        "statement_timeout": "10s",
    }


async def test_json_comes_as_bytes_and_jsonb_as_values(database: Database, empty: Workspace) -> None:
    pool = database.pool(empty)
    assert await pool.fetchval("""select '{"a":  1}'::json""") == b'{"a":  1}'
    assert await pool.fetchval("select $1::json::text", b"[1]") == "[1]"
    assert await pool.fetchval("""select '{"a":  1}'::jsonb""") == {"a": 1}
    assert await pool.fetchval("select $1::jsonb::text", {"a": [None, "x"]}) == '{"a": [null, "x"]}'
    assert await pool.fetchval("select jsonb_typeof($1)", "text") == "string"
    assert await pool.fetchval("select $1::jsonb::text", b'{"a":1}') == '{"a": 1}'


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Nguyễn Thị ĐẰNG", "nguyen thi dang"),
        ("nguye\u0302\u0303n", "nguyen"),  # the same letters, decomposed
        ("\uff21\uff22\uff23 Co\u0301\u00a0ng", "abc co ng"),
        ("đường ĐÀ LẠT ơ ư Ơ Ư", "duong da lat o u o u"),
        ("", ""),
        (None, None),
    ],
)
async def test_fold(database: Database, empty: Workspace, text: str | None, folded: str | None) -> None:
    assert await database.pool(empty).fetchval("select crm_fold($1)", text) == folded


async def test_fold_can_be_indexed_and_ignores_the_search_path(database: Database, empty: Workspace) -> None:
    async with database.transaction(empty) as connection:
        await connection.execute(
            "create table t (name text); create index on t using gin (crm_fold(name) gin_trgm_ops)"
        )
        await connection.execute("set local search_path = pg_catalog")
        assert await connection.fetchval("select public.crm_fold('Ế')") == "e"


async def test_transaction_commits_and_rolls_back(database: Database, empty: Workspace) -> None:
    pool = database.pool(empty)
    await pool.execute("create table t (x int)")
    async with database.transaction(empty) as connection:
        await connection.execute("insert into t values (1)")
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with database.transaction(empty) as connection:
            await connection.execute("insert into t values (2); select 1 / 0")
    assert [row["x"] for row in await pool.fetch("select x from t")] == [1]


async def test_transaction_settings_do_not_outlive_it(database: Database, empty: Workspace) -> None:
    async with database.transaction(empty, statement_timeout_ms=0) as connection:
        assert await connection.fetchval("show statement_timeout") == "0"
    assert database.pool(empty).size == 1
    assert await database.pool(empty).fetchval("show statement_timeout") == "10s"


async def test_statement_timeout_is_enforced(database: Database, empty: Workspace) -> None:
    with pytest.raises(asyncpg.QueryCanceledError):
        async with database.transaction(empty, statement_timeout_ms=50) as connection:
            await connection.execute("select pg_sleep(10)")
    assert await database.pool(empty).fetchval("select 1") == 1


async def test_connection_left_in_a_transaction_is_thrown_away(database: Database, empty: Workspace) -> None:
    pool = database.pool(empty)
    async with database.connection(empty) as connection:
        await connection.execute("begin")
        await connection.execute("create table t (x int)")
    assert await pool.fetchval("select to_regclass('t')") is None
    assert connection.is_closed()


async def test_cancelled_statement_is_stopped_on_the_server(database: Database, empty: Workspace) -> None:
    pool = database.pool(empty)
    task = asyncio.create_task(pool.execute(f"select pg_sleep(30) /* {empty.role} */"))
    while not await backends(database, empty):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadline = time.monotonic() + 5
    while await backends(database, empty):
        assert time.monotonic() < deadline, "the statement still runs"
        await asyncio.sleep(0.01)
    assert await pool.fetchval("select 1") == 1


async def test_release_sends_nothing(database: Database, empty: Workspace) -> None:
    pool = database.pool(empty)
    connection = await pool.acquire()
    sent: list[str] = []
    connection.add_query_logger(lambda record: sent.append(record.query))
    pool.release(connection)
    assert await pool.acquire() is connection
    pool.release(connection)
    await pool.fetchval("select 7")
    await asyncio.sleep(0)
    assert sent == ["select 7"]


async def test_pool_waits_at_its_limit_and_serves_in_order(narrow: Database, empty: Workspace) -> None:
    pool = narrow.pool(empty)
    first, second = await pool.acquire(), await pool.acquire()
    order: list[int] = []

    async def use(number: int) -> None:
        async with pool.connection():
            order.append(number)

    tasks = []
    for number in range(5):
        tasks.append(asyncio.create_task(use(number)))
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert order == []
    assert pool.size == 2
    pool.release(first)
    pool.release(second)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]
    assert pool.size == 2


async def test_waiting_ends_with_a_clear_error(database: Database, settings: Settings, empty: Workspace) -> None:
    tight = settings.model_copy(update={"pool_size": 1, "pool_timeout": 0.5})
    opened = Database(tight, database.dsn, None)
    try:
        async with opened.connection(empty):
            with pytest.raises(DatabaseError, match=r"no database connection became free within 0\.5 seconds"):
                await opened.pool(empty).acquire()
        assert await opened.pool(empty).fetchval("select 1") == 1
    finally:
        await opened.close()


async def test_one_process_serves_more_workspaces_than_it_may_hold_connections(
    narrow: Database, new_workspace: NewWorkspace
) -> None:
    many = [await new_workspace(migrated=False) for _ in range(12)]
    peak = 0

    async def use(workspace: Workspace, times: int) -> None:
        nonlocal peak
        for _ in range(times):
            assert await narrow.pool(workspace).fetchval("select current_user") == workspace.role
            peak = max(peak, narrow.budget.used)

    for workspace in many:
        await use(workspace, 1)
    assert peak == 4
    # All at once, one of them far busier than the rest: nobody starves.
    await asyncio.gather(*(use(w, 5) for w in many), *(use(many[0], 100) for _ in range(6)))
    assert peak == 4
    assert narrow.budget.used == sum(narrow.pool(w).size for w in many) <= 4


async def test_busy_pool_yields_to_a_starving_one(narrow: Database, new_workspace: NewWorkspace) -> None:
    busy, other, late = [await new_workspace(migrated=False) for _ in range(3)]
    stop = False

    async def hammer(workspace: Workspace) -> None:
        while not stop:
            await narrow.pool(workspace).fetchval("select 1")

    tasks = [asyncio.create_task(hammer(w)) for w in (busy, busy, busy, other, other, other)]
    await asyncio.sleep(0.1)
    assert narrow.budget.used == 4
    assert await narrow.pool(late).fetchval("select 1") == 1
    stop = True
    await asyncio.gather(*tasks)


async def test_the_longest_idle_connection_makes_room(narrow: Database, new_workspace: NewWorkspace) -> None:
    five = [await new_workspace(migrated=False) for _ in range(5)]
    for workspace in five[:4]:
        await narrow.pool(workspace).fetchval("select 1")
    await narrow.pool(five[0]).fetchval("select 1")
    await narrow.pool(five[4]).fetchval("select 1")
    assert [narrow.pool(w).size for w in five] == [1, 0, 1, 1, 1]


async def test_pool_recovers_when_its_connections_are_killed(database: Database, empty: Workspace) -> None:
    pool = database.pool(empty)
    pid = await pool.fetchval("select pg_backend_pid()")
    async with database.admin() as connection:
        await connection.execute("select pg_terminate_backend($1)", pid)
    await asyncio.sleep(0.05)
    assert await pool.fetchval("select pg_backend_pid()") != pid
    assert pool.size == 1


async def test_a_connection_that_has_just_been_ended_is_told_as_such(
    database: Database, empty: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = database.pool(empty)
    async with pool.connection() as first:
        pass

    async def ended(*_: object) -> None:
        # The server's last word has been read, and that it has hung up has not.
        raise asyncpg.InternalClientError("cannot switch to state 13")

    with monkeypatch.context() as patched:
        patched.setattr(asyncpg.Connection, "fetchval", ended)
        with pytest.raises(DatabaseError, match="has ended the connection"):
            await pool.fetchval("select 1")
    assert first.is_closed() or first not in pool.idle
    with pytest.raises(DatabaseError, match="has ended the connection"):
        async with pool.connection() as second:
            await ended()
    assert second is not first
    assert await pool.fetchval("select 1") == 1
    await database.budget.settle()
    assert first.is_closed()
    assert second.is_closed()


async def test_cancelled_waiter_loses_no_connection(narrow: Database, empty: Workspace) -> None:
    pool = narrow.pool(empty)
    held = [await pool.acquire(), await pool.acquire()]
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(2)]
    await asyncio.sleep(0)
    pool.release(held[0])  # hands the connection to the first waiter, which is cancelled before it can run
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert await asyncio.wait_for(waiting[1], 1) is held[0]
    pool.release(held[0])
    pool.release(held[1])
    assert len(pool.idle) == 2


async def test_failing_connect_is_told_to_each_waiter_and_frees_the_budget() -> None:
    async def refuse() -> None:
        raise DatabaseError("no server")

    budget = Budget(3)
    pool = Pool(refuse, size=2, budget=budget, timeout=5)
    results = await asyncio.gather(*(pool.acquire() for _ in range(7)), return_exceptions=True)
    assert [str(r) for r in results] == ["no server"] * 7
    assert (budget.used, pool.size, pool.opening) == (0, 0, 0)


async def test_unreachable_server_is_one_line_without_the_password(settings: Settings) -> None:
    url = "postgresql://someone:hunter2@127.0.0.1:1/nowhere"
    with pytest.raises(DatabaseError) as caught:
        await Database.open(settings.model_copy(update={"database_url": type(settings.secret)(url)}))
    assert caught.value.message.startswith("cannot reach the database 127.0.0.1:1/nowhere: ")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_another_encoding_is_refused(database: Database, settings: Settings) -> None:
    async with database.admin() as connection:
        await connection.execute("create database odd encoding 'SQL_ASCII' locale 'C' template template0")
    try:
        with pytest.raises(DatabaseError, match="encoding is SQL_ASCII, UTF8 is needed"):
            await database.prepare(database.dsn.replace("/postgres?", "/odd?"))
    finally:
        async with database.admin() as connection:
            await connection.execute("drop database odd")


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://u:p%40q@db.example:5432/crm?sslmode=require", "db.example:5432/crm"),
        ("postgresql://postgres@/postgres?host=%2Ftmp%2Fx", "/postgres"),
        ("postgres://db/crm", "db/crm"),
    ],
)
def test_address_hides_the_login(dsn: str, shown: str) -> None:
    assert address(dsn) == shown


async def test_listen_hears_notifications(database: Database) -> None:
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    await database.listen("test_channel", heard.put_nowait)
    async with database.admin() as connection:
        await connection.execute("select pg_notify('test_channel', 'hello')")
    assert await asyncio.wait_for(heard.get(), 2) == "hello"


async def test_listen_comes_back_and_tells_of_the_gap(database: Database) -> None:
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    await database.listen("gap_channel", heard.put_nowait)
    async with database.admin() as connection:
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where query like 'LISTEN%' and pid <> pg_backend_pid()"
        )
        assert await asyncio.wait_for(heard.get(), 5) is None
        await connection.execute("select pg_notify('gap_channel', 'again')")
    assert await asyncio.wait_for(heard.get(), 2) == "again"


async def test_a_failing_callback_does_not_silence_the_others(database: Database) -> None:
    heard: asyncio.Queue[str | None] = asyncio.Queue()

    def fail(_payload: str | None) -> None:
        raise RuntimeError

    await database.listen("shared_channel", fail)
    await database.listen("shared_channel", heard.put_nowait)
    async with database.admin() as connection:
        await connection.execute("select pg_notify('shared_channel', 'still')")
    assert await asyncio.wait_for(heard.get(), 2) == "still"
