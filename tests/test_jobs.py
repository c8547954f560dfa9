from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from core.context import Actor, ActorKind, RequestContext, Workspace
from core.database import Database
from core.errors import CompositionError
from core.grants import NOBODY, Grants, Reach, RoleGrants
from core.hooks import Enabled, Hooks
from core.hookspecs import hookimpl
from core.jobs import CHANNEL, Ending, JobContext, JobType, cancel, enqueue, enqueue_once, job_types
from core.rows import new_id
from core.schema.execute import run
from core.schema.mutate import Mutator
from tests.conftest import NewWorkspace
from tests.jobbing import JOBS, PLUGIN, Composed, note, system

pytestmark = pytest.mark.usefixtures("empty_queue")


async def queue(database: Database) -> list[dict[str, Any]]:
    async with database.admin() as connection:
        rows = await connection.fetch("select payload, execute_after - now() as wait from crm.pgqueuer order by id")
    return [{**orjson.loads(row["payload"]), "wait": row["wait"]} for row in rows]


async def start(database: Database, workspace: Workspace, created_by: Actor | None = None) -> UUID:
    async with database.transaction(workspace) as connection:
        return await enqueue(connection, workspace, "testing.note", {"word": "x"}, created_by)


async def attempt(database: Database, workspace: Workspace, job_id: UUID) -> JobContext:
    """Begin an attempt as a worker does."""
    started_at = await database.pool(workspace).fetchval(
        "update job set status = 'RUNNING', started_at = clock_timestamp() where id = $1 returning started_at", job_id
    )
    one, context = Composed().one, system(workspace)
    policy = one.policy(context.actor.grants)
    job = JobContext(job_id, JOBS[0], context, policy, one.hooks, one, {}, database, started_at)
    job.task = asyncio.current_task()
    return job


async def test_a_job_is_there_with_its_transaction_or_not_at_all(database: Database, workspace: Workspace) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.transaction(workspace) as connection:
            await enqueue(connection, workspace, "testing.note", {}, None)
            raise ZeroDivisionError
    assert await database.pool(workspace).fetchval("select count(*) from job") == 0
    assert await queue(database) == []
    job_id = await start(database, workspace)
    row = await database.pool(workspace).fetchrow("select kind, status, input, created_by, cancel_requested from job")
    assert tuple(row) == ("testing.note", "QUEUED", {"word": "x"}, None, False)
    (queued,) = await queue(database)
    assert (queued["role"], queued["job"], queued["allowed"]) == (workspace.role, str(job_id), None)


async def test_a_job_can_wait(database: Database, workspace: Workspace) -> None:
    async with database.transaction(workspace) as connection:
        await enqueue(connection, workspace, "testing.note", {}, None, delay=timedelta(hours=2))
    (queued,) = await queue(database)
    assert timedelta(minutes=119) < queued["wait"] <= timedelta(hours=2)


async def test_an_api_key_s_limits_go_with_its_job(database: Database, workspace: Workspace) -> None:
    key = Actor(ActorKind.API_KEY, Grants(allowed=frozenset({("Customer", "read")})), new_id())
    await start(database, workspace, key)
    (queued,) = await queue(database)
    assert queued["allowed"] == [["Customer", "read"]]


async def test_nobody_starts_no_job(database: Database, workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="started by a user or by the system"):
        await start(database, workspace, Actor(ActorKind.USER, NOBODY))
    assert await queue(database) == []


async def test_workspaces_only_put_into_the_queue_and_only_as_themselves(
    database: Database, workspace: Workspace
) -> None:
    pool = database.pool(workspace)
    for statement in (
        "select * from crm.pgqueuer",
        "select * from crm.pgqueuer_log",
        "select * from crm.pgqueuer_schedules",
        "insert into crm.pgqueuer (priority, entrypoint, status) values (0, 'job', 'queued')",
        "update crm.pgqueuer set priority = 9",
        "delete from crm.pgqueuer",
        "create table crm.mine (x int)",
        "alter function crm.enqueue(uuid, interval, jsonb) owner to current_user",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)
    async with database.admin() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only a workspace enqueues jobs"):
            await connection.execute("select crm.enqueue($1, '0', null)", new_id())


async def test_an_occasion_is_enqueued_once(database: Database, workspace: Workspace) -> None:
    job_id = new_id()

    async def once() -> bool:
        async with database.transaction(workspace) as connection:
            return await enqueue_once(connection, workspace, "testing.note", job_id)

    assert sorted(await asyncio.gather(*[once() for _ in range(8)])) == [False] * 7 + [True]
    assert len(await queue(database)) == 1


async def test_a_waiting_job_is_cancelled_at_once_and_an_ended_one_never(
    database: Database, workspace: Workspace
) -> None:
    job_id = await start(database, workspace)
    async with database.transaction(workspace) as connection:
        assert await cancel(connection, workspace, job_id)
    row = await database.pool(workspace).fetchrow("select status, finished_at is not null from job")
    assert tuple(row) == ("CANCELLED", True)
    async with database.transaction(workspace) as connection:
        assert not await cancel(connection, workspace, job_id)
        assert not await cancel(connection, workspace, new_id())


async def test_progress_is_kept_merged_and_announced(database: Database, workspace: Workspace) -> None:
    job_id = await start(database, workspace)
    heard: list[str | None] = []
    await database.listen(CHANNEL, heard.append)
    job = await attempt(database, workspace, job_id)
    await asyncio.sleep(0.2)  # what was told of its beginning has come by then
    heard.clear()
    await job.progress(0.25, {"read": 10})
    await job.progress(counts={"failed": 1})
    row = await database.pool(workspace).fetchrow("select progress, counts, heartbeat_at from job")
    assert (float(row["progress"]), row["counts"]) == (0.25, {"read": 10, "failed": 1})
    assert row["heartbeat_at"] > job.started_at
    assert job.counts == {"read": 10, "failed": 1}
    for _ in range(100):
        if len(heard) == 2:
            break
        await asyncio.sleep(0.02)
    assert heard == [f"{workspace.slug} {job_id}"] * 2
    with pytest.raises(ValueError, match="from 0 to 1"):
        await job.progress(1.5)


async def test_a_change_set_is_saved_with_what_it_counts(database: Database, workspace: Workspace) -> None:
    job = await attempt(database, workspace, await start(database, workspace))
    counts: dict[str, int] = {}
    async with job.change_set("half", source="IMPORT", reason="why", fraction=0.5, counts=counts) as changes:
        await changes.create("Customer", [{"kind": "PERSON", "name": "Hoa"}])
        counts["done"] = 1
    with pytest.raises(ZeroDivisionError):
        async with job.change_set(fraction=0.9, counts={"done": 2}) as changes:
            await changes.create("Customer", [{"kind": "PERSON", "name": "Mai"}])
            raise ZeroDivisionError
    async with job.change_set():
        pass
    row = await database.pool(workspace).fetchrow("select progress, counts, change_set_ids from job")
    assert (float(row["progress"]), row["counts"]) == (0.5, {"done": 1})
    written = await database.pool(workspace).fetch("select id, source, operation, reason, actor_kind from change_set")
    assert [tuple(w)[1:] for w in written] == [("IMPORT", "half", "why", "SYSTEM")]
    assert row["change_set_ids"] == job.change_sets == [written[0]["id"]]


async def test_an_attempt_that_was_taken_over_writes_nothing(database: Database, workspace: Workspace) -> None:
    job_id = await start(database, workspace)
    old = await attempt(database, workspace, job_id)
    new = await attempt(database, workspace, job_id)
    with pytest.raises(asyncio.CancelledError):
        async with old.change_set() as changes:
            await changes.create("Customer", [{"kind": "PERSON", "name": "twice"}])
    assert old.ending is Ending.LOST
    asyncio.current_task().uncancel()
    with pytest.raises(asyncio.CancelledError):
        await old.progress(0.5)
    asyncio.current_task().uncancel()
    async with new.change_set() as changes:
        await changes.create("Customer", [{"kind": "PERSON", "name": "once"}])
    names = await database.pool(workspace).fetch("select name from customer")
    assert [name for (name,) in names] == ["once"]


async def test_a_cancelled_attempt_writes_nothing(database: Database, workspace: Workspace) -> None:
    job_id = await start(database, workspace)
    job = await attempt(database, workspace, job_id)
    assert not job.cancelled
    with pytest.raises(asyncio.CancelledError):
        async with job.change_set() as changes:
            await changes.create("Customer", [{"kind": "PERSON", "name": "never"}])
            async with database.transaction(workspace) as connection:
                # The job's row is free: nobody has to wait for a long change set to cancel it.
                assert await asyncio.wait_for(cancel(connection, workspace, job_id), 2)
    asyncio.current_task().uncancel()
    assert job.cancelled
    assert await database.pool(workspace).fetchval("select count(*) from customer") == 0


@pytest.mark.parametrize("kind", ["note", "Testing.note", "testing.", "testing.a b", ".note"])
def test_a_kind_that_cannot_be_is_refused(kind: str) -> None:
    with pytest.raises(CompositionError, match="cannot be a kind of job"):
        JobType(kind, "", note)


@pytest.mark.parametrize("schedule", ["daily", "0 25 * * *", "* * * * * *", "@daily"])
def test_a_schedule_that_cannot_be_is_refused(schedule: str) -> None:
    with pytest.raises(CompositionError, match="not a cron expression of five fields"):
        JobType("testing.note", "", note, schedule=schedule)


def test_kinds_are_named_after_their_plugin_and_declared_once() -> None:
    assert list(job_types(Hooks([PLUGIN]))) == [job_type.kind for job_type in JOBS]
    with pytest.raises(CompositionError, match=r"'testing.note' of zebra must begin with 'zebra'"):
        job_types(Hooks([Enabled("zebra", PLUGIN.module)]))
    twice = hookimpl(specname="jobs")(lambda: [JOBS[0], JOBS[0]])
    with pytest.raises(CompositionError, match=r"testing declares the job 'testing.note' twice"):
        job_types(Hooks([Enabled("testing", SimpleNamespace(twice=twice))]))


LIST = "{ jobs { nodes { id kind status progress counts canCancel createdBy { login } changeSetIds } totalCount } }"
CANCEL = """mutation($id: ID!) { jobCancel(input: {id: $id}) {
  job { id status canCancel } userErrors { code message path } } }"""


class Asking:
    """Asks as users with given roles would."""

    def __init__(self, database: Database, workspace: Workspace) -> None:
        self.database, self.workspace, self.one = database, workspace, Composed().one

    async def user(self, login: str, reach: Reach, *abilities: str) -> Actor:
        user_id = new_id()
        await self.database.pool(self.workspace).execute(
            "insert into app_user (id, login, display_name) values ($1, $2, $2)", user_id, login
        )
        reaches = {("Job", "read"): reach, ("User", "read"): Reach.ALL}
        role = RoleGrants("r", reaches, abilities=frozenset(abilities))
        return Actor(ActorKind.USER, Grants((role,)), user_id, login, mate_ids=(user_id,))

    async def ask(self, actor: Actor, query: str, **variables: Any) -> dict[str, Any]:
        context = RequestContext(self.workspace, actor, locale="en", now=datetime.now(UTC))
        pool = self.database.pool(self.workspace)
        answer = await run(
            self.one,
            context,
            lambda text, values: pool.fetchval(text, *values),
            query,
            variables,
            mutate=Mutator(lambda: self.database.transaction(self.workspace)),
        )
        return orjson.loads(answer.body)


@pytest.fixture
async def asking(database: Database, new_workspace: NewWorkspace) -> Asking:
    return Asking(database, await new_workspace())


async def test_jobs_are_records_of_those_who_started_them(asking: Asking, database: Database) -> None:
    lan, minh = await asking.user("lan", Reach.OWN), await asking.user("minh", Reach.OWN)
    boss = await asking.user("boss", Reach.ALL)
    nobody = await asking.user("nobody", Reach.NONE)
    job_id = await start(database, asking.workspace, lan)
    await start(database, asking.workspace)
    found = (await asking.ask(lan, LIST))["data"]["jobs"]
    assert found == {
        "totalCount": 1,
        "nodes": [
            {
                "id": str(job_id),
                "kind": "testing.note",
                "status": "QUEUED",
                "progress": None,
                "counts": {},
                "canCancel": True,
                "createdBy": {"login": "lan"},
                "changeSetIds": [],
            }
        ],
    }
    assert (await asking.ask(minh, LIST))["data"]["jobs"]["nodes"] == []
    assert (await asking.ask(nobody, LIST))["data"]["jobs"]["nodes"] == []
    assert (await asking.ask(boss, LIST))["data"]["jobs"]["totalCount"] == 2
    one = "query($id: ID!) { job(id: $id) { kind } jobs(where: {status: {eq: QUEUED}}) { totalCount } }"
    assert (await asking.ask(lan, one, id=str(job_id)))["data"] == {
        "job": {"kind": "testing.note"},
        "jobs": {"totalCount": 1},
    }
    assert (await asking.ask(minh, one, id=str(job_id)))["data"]["job"] is None


async def test_one_cancels_his_own_jobs_and_with_the_ability_those_of_others(
    asking: Asking, database: Database
) -> None:
    lan, minh = await asking.user("lan", Reach.OWN), await asking.user("minh", Reach.OWN)
    reader, boss = await asking.user("reader", Reach.ALL), await asking.user("boss", Reach.ALL, "jobs")
    mine, other = await start(database, asking.workspace, lan), await start(database, asking.workspace, lan)

    async def status(job_id: UUID) -> str:
        return await database.pool(asking.workspace).fetchval("select status from job where id = $1", job_id)

    unseen = await asking.ask(minh, CANCEL, id=str(mine))
    assert [e["code"] for e in unseen["data"]["jobCancel"]["userErrors"]] == ["NOT_FOUND"]
    forbidden = await asking.ask(reader, CANCEL, id=str(mine))
    assert forbidden["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert await status(mine) == "QUEUED"

    done = (await asking.ask(lan, CANCEL, id=str(mine)))["data"]["jobCancel"]
    assert done == {"job": {"id": str(mine), "status": "CANCELLED", "canCancel": False}, "userErrors": []}
    again = (await asking.ask(lan, CANCEL, id=str(mine)))["data"]["jobCancel"]
    assert again["userErrors"] == [
        {"code": "CONFLICT", "message": "The job has ended already", "path": ["input", "id"]}
    ]
    assert (await asking.ask(boss, CANCEL, id=str(other)))["data"]["jobCancel"]["job"]["status"] == "CANCELLED"
    assert await status(other) == "CANCELLED"


async def test_a_dry_run_cancels_nothing(asking: Asking, database: Database) -> None:
    lan = await asking.user("lan", Reach.OWN)
    job_id = await start(database, asking.workspace, lan)
    dry = CANCEL.replace("{id: $id}", "{id: $id}, dryRun: true")
    assert (await asking.ask(lan, dry, id=str(job_id)))["data"]["jobCancel"]["job"]["status"] == "CANCELLED"
    row = await database.pool(asking.workspace).fetchrow("select status, cancel_requested from job")
    assert tuple(row) == ("QUEUED", False)
