"""Reads that tolerate it go to a real streaming replica; everything else, and everything when it is away, does not."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from core import embedded
from core.cluster import Cluster
from core.database import Database
from core.doctor import server
from core.meters import REPLICA_READS
from core.replica import LOOK_SECONDS, _end
from core.settings import Settings
from tests.acceptance.client import Client, opened

CREATE = "mutation($n: String!) { customerCreate(input: {name: $n, kind: PERSON}) { customer { name } } }"
NAMES = "{ customers(first: 50, orderBy: [{field: NAME}]) { nodes { name } } }"
LONG = "3600"


class Standby:
    """A streaming replica of the tests' server, made by pg_basebackup, in a folder of its own."""

    def __init__(self, folder: Path, primary: str) -> None:
        binaries = embedded._wheel_binaries()
        account = embedded._system_account() if embedded.os.geteuid() == 0 else None
        self.folder = folder
        cluster = Cluster(folder, binaries, account)
        if account:
            embedded._let_through(folder)
            shutil.chown(folder, account.pw_uid, account.pw_gid)
        host = parse_qs(urlsplit(primary).query)["host"][0]
        where = ("-h", host, "-p", "5432", "-U", "postgres")
        options = ("-D", str(folder / "postgres"), "-R", "-X", "stream", "-c", "fast")
        done = cluster._run("pg_basebackup", *where, *options)
        assert done.returncode == 0, done.stderr
        (folder / "postgres/.s.PGSQL.5432.lock").unlink()  # of the primary, whose socket lies in its data folder
        self.server = embedded.start(folder)

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server.dsn)
        await connection.execute(statement)
        await connection.close()


@pytest.fixture(scope="module")
async def standby(database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Standby]:
    made = await asyncio.to_thread(Standby, tmp_path_factory.mktemp("standby"), database.dsn)
    yield made
    made.server.stop()


@pytest.fixture(scope="module")
async def client(database: Database, settings: Settings, standby: Standby) -> AsyncIterator[Client]:
    values = {"database_url": database.dsn, "replica_url": standby.server.dsn, "data_dir": settings.data_dir}
    whole = await Database.open(Settings.load(secret="s" * 40, log_level="error", **values))
    try:
        async with opened(whole, settings) as made:
            yield made
    finally:
        await whole.close()


async def names(client: Client, staleness: str = "") -> list[str]:
    headers = {"x-max-staleness": staleness} if staleness else {}
    answer = (await client.post(NAMES, headers=headers)).json()
    assert "errors" not in answer, answer
    return [node["name"] for node in answer["data"]["customers"]["nodes"]]


async def create(client: Client, name: str, **headers: str) -> None:
    answer = (await client.post(CREATE, variables={"n": name}, headers=headers)).json()
    assert answer["data"]["customerCreate"]["customer"] == {"name": name}


def served() -> dict[str, int]:
    return {labels[0]: number for labels, number in REPLICA_READS.samples()}


async def until(there: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def ready(client: Client) -> None:
    """Wait until the replica is watched and there."""
    await names(client, LONG)
    replica = client.services.database.replica
    assert replica is not None
    await until(lambda: replica.behind is not None)


@pytest.mark.nightly
async def test_only_who_tolerates_it_is_answered_by_the_replica(client: Client, standby: Standby) -> None:
    await ready(client)
    await create(client, "first")
    await asyncio.sleep(3 * LOOK_SECONDS)
    assert await names(client, LONG) == ["first"]
    await standby.execute("select pg_wal_replay_pause()")
    try:
        paused = time.monotonic()
        before = served()
        await create(client, "second", **{"x-max-staleness": LONG})
        assert served() == before
        assert await names(client, LONG) == ["first"]
        assert served() == {**before, "replica": before["replica"] + 1}
        assert await names(client) == ["first", "second"]
        # Further behind than is tolerated: the primary answers.
        await asyncio.sleep(max(0.0, paused + 1.6 - time.monotonic()))
        assert await names(client, "1.5") == ["first", "second"]
        assert await names(client, "0") == ["first", "second"]
        assert await names(client, LONG) == ["first"]
    finally:
        await standby.execute("select pg_wal_replay_resume()")
    replica = client.services.database.replica
    assert replica is not None
    await until(lambda: (replica.behind or 9) < 1)
    assert await names(client, "2") == ["first", "second"]


@pytest.mark.parametrize(
    "query",
    [
        "{ eventsCursor }",
        "{ viewer { login } }",
        "{ eventsCursor customers(first: 1) { totalCount } }",
        'mutation { customerCreate(input: {name: "m", kind: PERSON}, dryRun: true) { customer { name } } }',
    ],
)
@pytest.mark.nightly
async def test_whatever_is_no_plain_read_goes_to_the_primary(client: Client, query: str) -> None:
    await ready(client)
    before = served()
    answer = (await client.post(query, headers={"x-max-staleness": LONG})).json()
    assert "errors" not in answer
    assert served() == before


@pytest.mark.nightly
async def test_the_doctor_says_how_far_it_is_behind(client: Client) -> None:
    (found,) = await server.replica(client.services.database)
    assert (found.what, found.level) == ("replica", "ok")
    assert 0 <= float(found.detail.split()[0]) < 10


@pytest.mark.nightly
async def test_a_workspace_sees_its_own_rows_only(client: Client) -> None:
    await ready(client)
    await client.workspace("replica_other")
    token = await client.sign_in("/w/replica_other/graphql")
    await asyncio.sleep(3 * LOOK_SECONDS)
    before = served()["replica"]
    headers = {"authorization": f"Bearer {token}", "x-max-staleness": LONG}
    answer = await client.raw.post("/w/replica_other/graphql", json={"query": NAMES}, headers=headers)
    assert answer.json()["data"]["customers"]["nodes"] == []
    assert served()["replica"] == before + 1
    replica = client.services.database.replica
    assert replica is not None
    mine = await client.services.directory.find(None)
    assert mine is not None
    other = await client.services.directory.find("replica_other")
    assert other is not None
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await replica._pool(mine).fetchval(f'select count(*) from "{other.schema}".customer')
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await replica._pool(mine).execute("delete from customer")


async def test_without_a_replica_the_header_changes_nothing(database: Database, settings: Settings) -> None:
    async with opened(database, settings) as client:
        await create(client, "alone")
        assert await names(client, LONG) == ["alone"]
        for wrong in ("soon", "-1", "1e9", ""):
            answer = await client.post(NAMES, headers={"x-max-staleness": wrong})
            assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_REQUEST"), wrong


@pytest.mark.nightly
async def test_while_it_is_away_the_primary_answers(client: Client, standby: Standby) -> None:
    await ready(client)
    replica = client.services.database.replica
    assert replica is not None
    await create(client, "always")
    await asyncio.sleep(3 * LOOK_SECONDS)
    asking = asyncio.create_task(_ask_on(client))
    await asyncio.sleep(0.3)
    assert await asyncio.to_thread(standby.server.stop)
    await until(lambda: replica.behind is None)
    (found,) = await server.replica(client.services.database)
    assert found.level == "warn"
    await create(client, "while it is away")
    assert "while it is away" in await names(client, LONG)
    standby.server = await asyncio.to_thread(embedded.start, standby.folder)
    returned = time.monotonic()
    await until(lambda: replica.behind is not None and replica.behind < time.monotonic() - returned)
    before = served()["replica"]
    assert "while it is away" in await names(client, LONG)
    assert served()["replica"] > before
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert asking.cancelled(), asking.exception()


async def _ask_on(client: Client) -> None:
    """Nobody notices that it goes."""
    while True:
        assert "always" in await names(client, LONG)
        await asyncio.sleep(0.01)


@pytest.mark.nightly
async def test_one_that_was_promoted_is_none_any_more(client: Client, standby: Standby) -> None:
    await ready(client)
    await standby.execute("select pg_promote()")
    replica = client.services.database.replica
    assert replica is not None
    await until(lambda: replica.behind is None)
    await create(client, "after the promotion")
    assert "after the promotion" in await names(client, LONG)


def test_the_start_of_a_page_is_the_end_of_its_last_record() -> None:
    assert [_end(8192 * 3 + more) for more in (0, 24, 40, 48, 8191)] == [
        8192 * 3 + more for more in (0, 0, 0, 48, 8191)
    ]
