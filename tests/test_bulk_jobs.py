"""Bulk mutations that are too large to wait for: done as jobs, by the same actor, once, cancelled and undone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from core import upkeep
from core.actors import find_actor
from core.context import Actor, Workspace
from core.database import Database
from core.rows import new_id
from core.schema.mutate import Mutator
from tests.jobbing import working
from tests.test_worker import ended, reach
from tests.writing import Desk, desk_at

AT_ONCE = 3
JOB = "job { id kind status } counts changeSet { id } userErrors { code path params }"
UPDATE = f"""mutation($input: CustomersBulkUpdateInput!, $dryRun: Boolean! = false, $key: String) {{
  customersBulkUpdate(input: $input, dryRun: $dryRun, idempotencyKey: $key) {{ {JOB} customers {{ id }} }} }}"""
CREATE = f"mutation($input: CustomersBulkCreateInput!) {{ customersBulkCreate(input: $input) {{ {JOB} }} }}"


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    async with desk_at(database, module_workspace) as opened:
        opened.mutator = Mutator(lambda: database.transaction(module_workspace), AT_ONCE)
        yield opened


pytestmark = pytest.mark.usefixtures("empty_queue")


def counts_of(**values: int) -> dict[str, int]:
    return {"created": 0, "updated": 0, "deleted": 0, "restored": 0} | values


async def people(desk: Desk, number: int, source: str, **values: Any) -> list[str]:
    records = [{"name": f"n{i}", "kind": "PERSON", "source": source, **values} for i in range(number)]
    for start in range(0, number, AT_ONCE):
        assert (await desk.do(CREATE, input={"records": records[start : start + AT_ONCE]}))["userErrors"] == []
    rows = await desk.rows("Customer")
    return [str(id_) for id_, row in sorted(rows.items()) if row["source"] == source]


async def done(desk: Desk, job_id: str) -> Any:
    async with working(desk.database, desk.features):
        return await ended(desk.database, desk.workspace, UUID(job_id))


async def levels(desk: Desk, source: str) -> list[str | None]:
    return sorted((r["level"] for r in (await desk.rows("Customer")).values() if r["source"] == source), key=str)


def where(source: str) -> dict[str, Any]:
    return {"where": {"and": [{"source": {"eq": source}}, {"kind": {"in": ["PERSON"]}}]}}


async def test_a_large_update_is_a_job_that_does_the_same(desk: Desk) -> None:
    await people(desk, 4, "large")
    given = {"target": where("large"), "set": {"level": "VIP", "birthday": "2000-02-29", "tags": ["a"]}}
    preview = await desk.do(UPDATE, input=given, dryRun=True)
    assert (preview["job"], preview["counts"]["updated"], len(preview["customers"])) == (None, 4, 4)
    asked = await desk.do(UPDATE, input=given, key="once")
    assert (asked["counts"], asked["changeSet"], asked["customers"], asked["userErrors"]) == ({}, None, [], [])
    assert (asked["job"]["kind"], asked["job"]["status"]) == ("core.bulk", "QUEUED")
    assert (await desk.do(UPDATE, input=given, key="once"))["job"]["id"] == asked["job"]["id"]
    assert await desk.code(UPDATE, input=given | {"set": {}}, key="once") == "IDEMPOTENCY_CONFLICT"
    assert await levels(desk, "large") == [None] * 4
    row = await done(desk, asked["job"]["id"])
    assert (row["status"], row["progress"], row["error"]) == ("DONE", 1, None)
    assert row["counts"] == counts_of(updated=4) | {"skipped": 0}
    assert row["result"] == {"counts": row["counts"], "userErrors": [], "warnings": []}
    assert await levels(desk, "large") == ["VIP"] * 4
    (set_id,) = row["change_set_ids"]
    shown = "query($id: ID!) { changeSet(id: $id) { operation source counts changes(first: 9) { totalCount } } }"
    found = await desk.do(shown, id=str(set_id))
    assert (found["operation"], found["source"], found["changes"]["totalCount"]) == (
        "customersBulkUpdate",
        "MUTATION",
        4,
    )
    # Undoing it is as large.
    undo = await desk.do(
        f"mutation($id: ID!) {{ changeSetUndo(input: {{id: $id}}) {{ job {{ id }} {JOB.partition('}')[2]} }} }}",
        id=str(set_id),
    )
    row = await done(desk, undo["job"]["id"])
    assert (row["status"], row["result"]["conflicts"], row["counts"]["updated"]) == ("DONE", 0, 4)
    assert await levels(desk, "large") == [None] * 4


async def test_what_is_small_is_done_at_once(desk: Desk) -> None:
    ids = await people(desk, AT_ONCE, "small")
    for target in (where("small"), {"ids": ids}):
        answer = await desk.do(UPDATE, input={"target": target, "set": {"level": f"L{len(target)}"}})
        assert answer["job"] is None
    assert await levels(desk, "small") == ["L1"] * AT_ONCE


async def test_records_ids_and_conditions_are_counted(desk: Desk) -> None:
    records = [{"name": f"r{i}", "kind": "PERSON", "source": "made", "birthday": "1999-12-31"} for i in range(4)]
    made = await desk.do(CREATE, input={"records": records})
    row = await done(desk, made["job"]["id"])
    assert (row["status"], row["counts"]["created"]) == ("DONE", 4)
    ids = [str(id_) for id_, r in (await desk.rows("Customer")).items() if r["source"] == "made"]
    delete = f"mutation($input: CustomersBulkDeleteInput!) {{ customersBulkDelete(input: $input) {{ {JOB} }} }}"
    row = await done(desk, (await desk.do(delete, input={"target": {"ids": ids}}))["job"]["id"])
    assert row["counts"]["deleted"] == 4
    restore = f"mutation($input: CustomersBulkRestoreInput!) {{ customersBulkRestore(input: $input) {{ {JOB} }} }}"
    row = await done(desk, (await desk.do(restore, input={"ids": ids}))["job"]["id"])
    assert row["counts"]["restored"] == 4
    owner = await desk.user("receiver")
    transfer = f"mutation($input: CustomersTransferInput!) {{ customersTransfer(input: $input) {{ {JOB} }} }}"
    given = {"target": where("made"), "ownerId": owner}
    row = await done(desk, (await desk.do(transfer, input=given))["job"]["id"])
    assert (row["status"], row["counts"]["updated"]) == ("DONE", 4)


async def test_faults_are_told_and_change_nothing_or_are_skipped(desk: Desk) -> None:
    records = [{"name": f"f{i}", "kind": "PERSON", "source": "faulty", "code": f"F{min(i, 3)}"} for i in range(5)]
    row = await done(desk, (await desk.do(CREATE, input={"records": records}))["job"]["id"])
    assert (row["status"], row["change_set_ids"], row["counts"]) == ("FAILED", [], {})
    (error,) = row["result"]["userErrors"]
    assert (error["code"], error["path"]) == ("DUPLICATE", ["input", "records", "4", "code"])
    assert error["message"] in row["error"]
    assert await levels(desk, "faulty") == []
    given = {"records": records, "errorPolicy": "SKIP_FAILED"}
    row = await done(desk, (await desk.do(CREATE, input=given))["job"]["id"])
    assert (row["status"], row["counts"]) == ("DONE", counts_of(created=4) | {"skipped": 1})
    assert [e["code"] for e in row["result"]["userErrors"]] == ["DUPLICATE"]


async def clerk(desk: Desk, login: str, reads_jobs: bool) -> Actor:
    """A user with a role of that name, in the database too, who owns nothing and may change what he owns."""
    id_ = UUID(await desk.user(login))
    pairs = [("Customer", "read"), ("Customer", "update"), *([("Job", "read")] if reads_jobs else [])]
    pool = desk.database.pool(desk.workspace)
    await pool.execute("insert into role (id, name) values ($1, $2)", id_, login)
    await pool.execute("insert into user_role (id, user_id, role_id) values ($1, $1, $1)", id_)
    grant = "insert into permission_grant (id, role_id, record_type, action, scope) values ($1, $2, $3, $4, 'OWN')"
    for pair in pairs:
        await pool.execute(grant, new_id(), id_, *pair)
    found = await find_actor(lambda text, values: pool.fetchval(text, *values), id_)
    assert found is not None
    return found


async def test_the_job_acts_as_who_asked_with_the_rights_he_has_then(desk: Desk) -> None:
    lan = await clerk(desk, "lan", reads_jobs=True)
    await people(desk, 5, "rights")
    mine = await people(desk, 4, "mine", ownerId=str(lan.user_id))
    both = {"where": {"source": {"in": ["rights", "mine"]}}}
    asked = await desk.do(UPDATE, lan, input={"target": both, "set": {"level": "A"}})
    await done(desk, asked["job"]["id"])
    assert (await levels(desk, "rights"), await levels(desk, "mine")) == ([None] * 5, ["A"] * len(mine))
    asked = await desk.do(UPDATE, lan, input={"target": both, "set": {"level": "B"}})
    await desk.database.pool(desk.workspace).execute("delete from permission_grant where action = 'update'")
    row = await done(desk, asked["job"]["id"])
    assert (row["status"], await levels(desk, "mine")) == ("FAILED", ["A"] * len(mine))


async def test_who_may_not_read_his_jobs_waits(desk: Desk) -> None:
    minh = await clerk(desk, "minh", reads_jobs=False)
    await people(desk, 4, "waits", ownerId=str(minh.user_id))
    answer = await desk.do(UPDATE, minh, input={"target": where("waits"), "set": {"level": "A"}})
    assert (answer["job"], answer["counts"]["updated"]) == (None, 4)


async def test_a_cancelled_job_changes_nothing(desk: Desk) -> None:
    ids = await people(desk, 4, "cancelled")
    asked = await desk.do(UPDATE, input={"target": where("cancelled"), "set": {"level": "A"}})
    job_id = UUID(asked["job"]["id"])
    cancel = "mutation($id: ID!) { jobCancel(input: {id: $id}) { job { status } userErrors { code } } }"
    async with desk.database.transaction(desk.workspace) as blocking:
        await blocking.execute("select from customer where id = $1 for update", UUID(ids[-1]))
        async with working(desk.database, desk.features):
            await reach(desk.database, desk.workspace, job_id, lambda row: row["status"] == "RUNNING")
            await desk.do(cancel, id=str(job_id))
            row = await ended(desk.database, desk.workspace, job_id)
    assert (row["status"], row["change_set_ids"], await levels(desk, "cancelled")) == ("CANCELLED", [], [None] * 4)


async def test_a_large_change_set_has_its_tables_looked_after(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LARGE", 6)
    pool = desk.database.pool(desk.workspace)
    jobs = "select count(*) from job where kind = 'core.upkeep'"
    before = await pool.fetchval(jobs)
    records = [{"name": f"u{i}", "kind": "PERSON", "source": "upkeep"} for i in range(7)]
    made = await desk.do(CREATE, input={"records": records})
    async with working(desk.database, desk.features):
        await ended(desk.database, desk.workspace, UUID(made["job"]["id"]))
        for _ in range(200):
            job = await pool.fetchrow("select id from job where kind = 'core.upkeep' order by created_at desc limit 1")
            if job:
                break
            await asyncio.sleep(0.05)
        row = await ended(desk.database, desk.workspace, job["id"])
    assert (row["status"], row["result"]) == ("DONE", {"tables": ["customer"]})
    assert await pool.fetchval(jobs) == before + 1
    assert await pool.fetchval("select reltuples >= 7 from pg_class where oid = 'customer'::regclass")
