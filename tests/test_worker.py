from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from core import files
from core.context import Actor, ActorKind, Workspace
from core.database import Database
from core.files import FileStore
from core.grants import Grants
from core.jobs import cancel, enqueue
from core.rows import new_id
from core.schedule import Clock, last_due, next_due, occasion_id
from core.workspaces import Workspaces
from tests.conftest import NewWorkspace
from tests.jobbing import RUN, Composed, working


@pytest.fixture(scope="module")
def features() -> Composed:
    return Composed()


@pytest.fixture(autouse=True)
def _nothing_run() -> None:
    RUN.clear()


pytestmark = pytest.mark.usefixtures("empty_queue")


async def order(
    database: Database, workspace: Workspace, kind: str, created_by: Actor | None = None, **values: Any
) -> UUID:
    async with database.transaction(workspace) as connection:
        return await enqueue(connection, workspace, kind, values, created_by)


async def reach(
    database: Database, workspace: Workspace, job_id: UUID, there: Callable[[Any], bool], seconds: float = 20
) -> Any:
    """The job's row, as soon as it is as it should become."""
    row = None
    for _ in range(int(seconds / 0.05)):
        row = await database.pool(workspace).fetchrow("select * from job where id = $1", job_id)
        if there(row):
            return row
        await asyncio.sleep(0.05)
    raise AssertionError(f"the job did not get there: {dict(row) if row else None}")


async def ended(database: Database, workspace: Workspace, job_id: UUID) -> Any:
    return await reach(database, workspace, job_id, lambda row: row["finished_at"] is not None)


async def queued(database: Database) -> int:
    async with database.admin() as connection:
        return await connection.fetchval("select count(*) from crm.pgqueuer")


async def user(
    database: Database, workspace: Workspace, *, active: bool = True, abilities: tuple[str, ...] = ()
) -> Actor:
    user_id, role_id = new_id(), new_id()
    pool = database.pool(workspace)
    await pool.execute(
        "insert into app_user (id, login, display_name, active) values ($1, $2, 'U', $3)", user_id, "lan", active
    )
    await pool.execute("insert into role (id, name, abilities) values ($1, 'R', $2)", role_id, list(abilities))
    await pool.execute("insert into user_role (id, user_id, role_id) values ($1, $2, $3)", new_id(), user_id, role_id)
    return Actor(ActorKind.USER, Grants(), user_id)


async def test_a_job_reads_a_file_and_makes_one_with_its_change_set(
    database: Database, workspace: Workspace, features: Composed
) -> None:
    actor = await user(database, workspace)
    own = FileStore(database.settings).of(workspace, actor)
    async with own.draft("a.txt", "text/plain") as draft, database.transaction(workspace) as tx:
        draft.path.write_text("abc")
        given = await own.keep(tx, await draft.finished(), purpose="testing.source")
    async with working(database, features):
        done, failed = [
            await ended(
                database,
                workspace,
                await order(database, workspace, "testing.report", actor, file=str(given.id), fails=fails),
            )
            for fails in (False, True)
        ]
    assert (done["status"], failed["status"]) == ("DONE", "FAILED")
    async with database.connection(workspace) as connection:
        made = await own.find(connection, UUID(done["result"]["file"]))
        assert (made.name, made.size, made.purpose, made.created_by) == (
            *("báo cáo.txt", 3, "testing.report"),
            actor.user_id,
        )
        assert own.path(made.id).read_text() == "cba"
        assert await connection.fetchval("select count(*) from file") == 2
    assert list((database.settings.files / "drafts").iterdir()) == []


async def test_the_clock_prunes_the_files_of_every_workspace(
    database: Database,
    new_workspace: NewWorkspace,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = FileStore(database.settings)
    one, broken, other = await new_workspace(), await new_workspace(), await new_workspace()
    await database.pool(broken).execute("drop table file")
    paths = []
    for each in (one, other):
        theirs = store.of(each)
        async with theirs.draft("a", "text/plain") as draft, database.transaction(each) as tx:
            draft.path.write_text("x")
            kept = await theirs.keep(tx, await draft.finished(), purpose="test.result")
            await theirs.expire(tx, kept.id)
            paths.append(theirs.path(kept.id))
    clock = Clock(database, None, None, 1.0)  # type: ignore[arg-type]
    left = [path.with_name(str(new_id())) for path in paths]
    drafts = [store.draft() for _ in range(2)]
    for path in (*left, *drafts):
        path.write_text("x")
    await clock._prune_files(None)  # type: ignore[arg-type]
    assert [path.exists() for path in (*paths, *left)] == [False, False, True, True]
    assert broken.slug in caplog.text
    monkeypatch.setattr(files, "ORPHANED_SECONDS", -1)
    await clock._sweep_files(None)  # type: ignore[arg-type]
    assert not any(path.exists() for path in (*left, *drafts))


async def test_two_workers_do_each_job_once(
    database: Database, new_workspace: NewWorkspace, features: Composed
) -> None:
    workspaces = [await new_workspace(), await new_workspace()]
    async with working(database, features), working(database, features):
        ids = [
            (w, await order(database, w, "testing.note", word=f"{w.slug} {i}")) for i in range(10) for w in workspaces
        ]
        rows = [await ended(database, w, id_) for w, id_ in ids]
    assert sorted(RUN) == sorted(f"{w.slug} {i}" for i in range(10) for w in workspaces)
    assert {row["status"] for row in rows} == {"DONE"}
    assert [row["result"]["word"] for row in rows] == [f"{w.slug} {i}" for i in range(10) for w in workspaces]
    assert await queued(database) == 0


async def test_a_failure_is_tried_again_and_at_last_given_up(
    database: Database, workspace: Workspace, features: Composed
) -> None:
    async with working(database, features):
        healed = await order(database, workspace, "testing.flaky", failures=2)
        row = await ended(database, workspace, healed)
        assert (row["status"], row["result"], row["error"]) == ("DONE", {"attempt": 2}, None)
        assert RUN == ["attempt 0", "attempt 1", "attempt 2"]
        broken = await order(database, workspace, "testing.flaky", failures=9)
        row = await ended(database, workspace, broken)
    assert (row["status"], row["error"]) == ("FAILED", "internal error (ConnectionError)")
    assert len(RUN) == 6
    assert await queued(database) == 0


async def test_a_collision_is_one_line_in_the_log_until_it_is_given_up(
    database: Database, workspace: Workspace, features: Composed, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(database, features):
        row = await ended(
            database, workspace, await order(database, workspace, "testing.flaky", failures=1, collides=True)
        )
        assert row["status"] == "DONE"
        assert "job_collided" in caplog.text
        assert "Traceback" not in caplog.text
        row = await ended(
            database, workspace, await order(database, workspace, "testing.flaky", failures=9, collides=True)
        )
    assert (row["status"], row["error"]) == ("FAILED", "internal error (DeadlockDetectedError)")
    assert "job_failed" in caplog.text


async def test_what_the_caller_can_correct_is_said_and_not_tried_again(
    database: Database, workspace: Workspace, features: Composed
) -> None:
    async with working(database, features):
        row = await ended(database, workspace, await order(database, workspace, "testing.refused"))
        unknown = await ended(database, workspace, await order(database, workspace, "nobody.knows"))
    assert (row["status"], row["error"]) == ("FAILED", "column B holds no dates")
    assert (unknown["status"], unknown["error"]) == ("FAILED", "no plugin that is switched on does 'nobody.knows'")


async def test_an_attempt_has_a_time_limit(database: Database, workspace: Workspace, features: Composed) -> None:
    async with working(database, features):
        row = await ended(database, workspace, await order(database, workspace, "testing.brief"))
    assert (row["status"], row["error"]) == ("FAILED", "it took longer than 0.2 seconds")
    assert await database.pool(workspace).fetchval("select count(*) from customer") == 0


@pytest.mark.parametrize("kind", ["testing.sleepy", "testing.stubborn"])
async def test_a_running_job_is_cancelled(
    database: Database, workspace: Workspace, features: Composed, kind: str
) -> None:
    async with working(database, features):
        job_id = await order(database, workspace, kind)
        await reach(database, workspace, job_id, lambda row: row["counts"].get("asleep") == 1)
        async with database.transaction(workspace) as connection:
            assert await cancel(connection, workspace, job_id)
        row = await ended(database, workspace, job_id)
    assert (row["status"], row["error"]) == ("CANCELLED", None)
    assert await database.pool(workspace).fetchval("select count(*) from customer") == 0
    assert (["swallowed"] if kind == "testing.stubborn" else []) == RUN
    assert await queued(database) == 0


async def test_a_lost_notification_only_delays_a_cancel(
    database: Database, workspace: Workspace, features: Composed
) -> None:
    async with working(database, features):
        job_id = await order(database, workspace, "testing.sleepy")
        await reach(database, workspace, job_id, lambda row: row["counts"].get("asleep") == 1)
        await database.pool(workspace).execute("update job set cancel_requested = true where id = $1", job_id)
        assert (await ended(database, workspace, job_id))["status"] == "CANCELLED"


async def test_a_job_cancelled_while_it_waits_is_never_run(
    database: Database, workspace: Workspace, features: Composed
) -> None:
    job_id = await order(database, workspace, "testing.note", word="no")
    async with database.transaction(workspace) as connection:
        assert await cancel(connection, workspace, job_id)
    async with working(database, features):
        await ended(database, workspace, await order(database, workspace, "testing.note", word="yes"))
    assert RUN == ["yes"]
    assert await queued(database) == 0


async def test_a_killed_workers_job_is_done_by_another(
    database: Database, workspace: Workspace, features: Composed, project: Path
) -> None:
    job_id = await order(database, workspace, "testing.two_steps", word="Hoa")
    environment = {**os.environ, "STAND_STILL": "1", "PYTHONPATH": str(project)}
    arguments = ["-m", "tests.jobbing", str(database.settings.data_dir)]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment, cwd=project)
    try:
        row = await reach(database, workspace, job_id, lambda row: row["counts"].get("standing") == 1, seconds=40)
        assert (row["status"], len(row["change_set_ids"])) == ("RUNNING", 1)
    finally:
        process.kill()
        await process.wait()
    first = row["started_at"]
    async with working(database, features):
        row = await ended(database, workspace, job_id)
    assert row["status"] == "DONE"
    assert row["started_at"] > first
    assert row["result"] == {"changeSets": 2}
    names = await database.pool(workspace).fetch("select name from customer order by name")
    assert [name for (name,) in names] == ["Hoa 0", "Hoa 1"]
    made = await database.pool(workspace).fetch("select id from change_set order by at")
    assert [id_ for (id_,) in made] == row["change_set_ids"]


async def test_a_job_that_takes_every_worker_down_is_given_up(
    database: Database, workspace: Workspace, features: Composed
) -> None:
    job_id = await order(database, workspace, "testing.note", word="no")
    async with database.admin() as connection:
        await connection.execute(
            "insert into crm.pgqueuer_log (job_id, status, entrypoint, priority)"
            " select id, 'picked', entrypoint, 0 from crm.pgqueuer cross join generate_series(1, 6)"
        )
    async with working(database, features):
        row = await ended(database, workspace, job_id)
    assert row["status"] == "FAILED"
    assert "given up" in row["error"]
    assert RUN == []


async def test_a_stopped_worker_hands_its_job_on(database: Database, workspace: Workspace, features: Composed) -> None:
    async with working(database, features):
        job_id = await order(database, workspace, "testing.sleepy")
        await reach(database, workspace, job_id, lambda row: row["counts"].get("asleep") == 1)
        await database.pool(workspace).execute("""update job set input = '{"seconds": 0}' where id = $1""", job_id)
    row = await database.pool(workspace).fetchrow("select status, finished_at from job where id = $1", job_id)
    assert tuple(row) == ("QUEUED", None)
    assert await database.pool(workspace).fetchval("select count(*) from customer") == 0
    async with working(database, features):
        assert (await ended(database, workspace, job_id))["status"] == "DONE"
    assert await database.pool(workspace).fetchval("select count(*) from customer") == 1


async def test_a_worker_survives_the_loss_of_its_connections(
    database: Database, workspace: Workspace, features: Composed
) -> None:
    async with working(database, features):
        job_id = await order(database, workspace, "testing.sleepy")
        await reach(database, workspace, job_id, lambda row: row["counts"].get("asleep") == 1)
        await database.pool(workspace).execute("""update job set input = '{"seconds": 0}' where id = $1""", job_id)
        async with database.admin() as connection:
            killed = await connection.fetch(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'headless-crm worker'"
            )
        assert len(killed) == 2
        assert (await ended(database, workspace, job_id))["status"] == "DONE"
        again = await order(database, workspace, "testing.note", word="again")
        assert (await ended(database, workspace, again))["status"] == "DONE"
    assert await database.pool(workspace).fetchval("select count(*) from customer") == 1


async def test_a_job_acts_as_its_user_is_now(database: Database, workspace: Workspace, features: Composed) -> None:
    lan = await user(database, workspace, abilities=("testing_may",))
    key = Actor(ActorKind.API_KEY, Grants(allowed=frozenset({("Customer", "read")})), lan.user_id)
    async with working(database, features):
        row = await ended(database, workspace, await order(database, workspace, "testing.guarded", lan))
        assert (row["status"], row["result"]["actor"], row["created_by"]) == ("DONE", "lan", lan.user_id)
        row = await ended(database, workspace, await order(database, workspace, "testing.note", key))
        assert row["result"]["reach"] == [["Customer", "read"]]
        row = await ended(database, workspace, await order(database, workspace, "testing.guarded", key))
        assert (row["status"], row["error"]) == ("FAILED", "this needs the ability 'testing_may'")
        await database.pool(workspace).execute("update role set abilities = '{}'")
        row = await ended(database, workspace, await order(database, workspace, "testing.guarded", lan))
        assert (row["status"], row["error"]) == ("FAILED", "this needs the ability 'testing_may'")
        await database.pool(workspace).execute("update app_user set active = false")
        row = await ended(database, workspace, await order(database, workspace, "testing.note", lan))
        assert (row["status"], row["error"]) == ("FAILED", "the user who started it is no longer active")


async def test_a_workspace_in_another_database_has_its_own_queue(
    database: Database, session_workspace: NewWorkspace, workspaces: Workspaces, features: Composed
) -> None:
    async with database.admin() as connection:
        name = await connection.fetchval("select current_database()")
        await connection.execute("create database jobs_elsewhere template template0 encoding 'UTF8'")
    url = database.dsn.replace(f"@/{name}?", "@/jobs_elsewhere?", 1)
    assert url != database.dsn
    made = await session_workspace(database_url=url)
    try:
        async with working(database, features):
            row = await ended(database, made, await order(database, made, "testing.note", word="far"))
        assert (row["status"], RUN) == ("DONE", ["far"])
        assert await queued(database) == 0
    finally:
        await workspaces.erase(made.slug)
        async with database.admin() as connection:
            await connection.execute("drop database jobs_elsewhere with (force)")


async def test_the_jobs_of_an_erased_workspace_are_dropped(
    database: Database,
    session_workspace: NewWorkspace,
    workspaces: Workspaces,
    workspace: Workspace,
    features: Composed,
) -> None:
    gone = await session_workspace()
    await order(database, gone, "testing.note", word="gone")
    await workspaces.erase(gone.slug)
    async with working(database, features):
        await ended(database, workspace, await order(database, workspace, "testing.note", word="here"))
    assert RUN == ["here"]
    assert await queued(database) == 0


async def test_a_due_time_is_enqueued_once_by_two_workers(
    database: Database, new_workspace: NewWorkspace, features: Composed
) -> None:
    places = [await new_workspace(time_zone="Asia/Ho_Chi_Minh"), await new_workspace(time_zone="America/New_York")]
    async with database.admin() as connection, working(database, features), working(database, features):
        for _ in range(4):
            await asyncio.sleep(0.5)
            await connection.execute(
                "update crm.pgqueuer_schedules set next_run = now() - interval '1 second' where status = 'queued'"
            )
        for workspace in places:
            due = last_due("0 2 * * *", workspace.time_zone, datetime.now(UTC))
            await ended(database, workspace, occasion_id(workspace, "testing.nightly", due))
        runs = await connection.fetch("select entrypoint, last_run, next_run from crm.pgqueuer_schedules")
    for workspace in places:
        jobs = await database.pool(workspace).fetch("select kind, status, created_by from job")
        assert [tuple(job) for job in jobs] == [("testing.nightly", "DONE", None)]
        (found,) = [run for run in runs if run["entrypoint"].startswith(workspace.role)]
        assert found["last_run"] is not None
    # The workers also look after the workspaces of other tests.
    slugs = sorted(workspace.slug for workspace in places)
    assert sorted(slug for slug in RUN if slug in slugs) == slugs


async def test_a_due_time_that_could_not_be_enqueued_comes_back(
    database: Database, new_workspace: NewWorkspace, features: Composed
) -> None:
    workspace = await new_workspace(migrated=False)
    of_it = ("from crm.pgqueuer_schedules where entrypoint like $1", f"{workspace.role} %")
    async with database.admin() as connection, working(database, features):
        for _ in range(100):
            await asyncio.sleep(0.1)
            await connection.execute(
                "update crm.pgqueuer_schedules set next_run = now() where last_run is null and status = 'queued'"
            )
            if await connection.fetchval(f"select last_run is not null {of_it[0]}", of_it[1]):
                break
        wait = await connection.fetchval(f"select next_run - last_run {of_it[0]}", of_it[1])
    assert timedelta(seconds=55) < wait <= timedelta(seconds=60)


async def test_nothing_is_due_when_a_schedule_is_new(
    database: Database, workspace: Workspace, features: Composed
) -> None:
    async with working(database, features):
        await asyncio.sleep(1.0)
        async with database.admin() as connection:
            next_run = await connection.fetchval(
                "select next_run from crm.pgqueuer_schedules where entrypoint like $1", f"{workspace.role} %"
            )
    assert await database.pool(workspace).fetchval("select count(*) from job") == 0
    assert abs(next_run - next_due("0 2 * * *", workspace.time_zone, datetime.now(UTC))) <= timedelta(seconds=1)


@pytest.mark.parametrize(
    ("zone", "now", "last", "next_"),
    [
        ("Asia/Ho_Chi_Minh", "2026-03-10T12:00", "2026-03-10T02:00", "2026-03-11T02:00"),
        ("Asia/Ho_Chi_Minh", "2026-03-10T01:59", "2026-03-09T02:00", "2026-03-10T02:00"),
        ("Europe/Berlin", "2026-10-26T12:00", "2026-10-26T02:00", "2026-10-27T02:00"),
        ("Europe/Berlin", "2026-03-28T12:00", "2026-03-28T02:00", "2026-03-29T03:00"),
    ],
)
def test_due_times_are_of_the_workspace_s_zone(zone: str, now: str, last: str, next_: str) -> None:
    local = ZoneInfo(zone)
    at, before, after = (datetime.fromisoformat(t).replace(tzinfo=local) for t in (now, last, next_))
    assert last_due("0 2 * * *", zone, at.astimezone(UTC)) == before
    assert next_due("0 2 * * *", zone, at.astimezone(UTC)) == after


async def test_an_occasion_s_id_is_a_uuid_of_its_time(workspace: Workspace) -> None:
    due = datetime(2026, 3, 10, 2, tzinfo=UTC)
    made = occasion_id(workspace, "a.b", due)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == int(due.timestamp() * 1000)
    assert made == occasion_id(workspace, "a.b", due)
    assert len({made, occasion_id(workspace, "a.c", due), occasion_id(workspace, "a.b", due + timedelta(days=1))}) == 3
