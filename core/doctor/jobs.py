"""Background work: who does it, how long it waits, and what of it failed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from core.context import Workspace
from core.database import Database, address
from core.doctor.finding import Finding, fail, ok, warn
from core.queue import WORKER

#: A worker asks for jobs every five seconds; one that was silent for a minute stands still.
SILENT = timedelta(minutes=1)
WAITS_WARN, WAITS_FAIL = timedelta(minutes=5), timedelta(hours=1)

#: Workers keep connections of their own under this name, and each asks the queue for jobs every few seconds.
_WORKERS = """
select count(distinct (client_addr, client_port)) as connections,
    clock_timestamp() - max(greatest(query_start, state_change, backend_start)) as silent
from pg_stat_activity where application_name = $1 and datname = current_database()
"""
_QUEUE = """
select count(*) filter (where status = 'queued' and execute_after <= now()) as waiting,
    now() - min(greatest(created, execute_after)) filter (where status = 'queued' and execute_after <= now()) as waits,
    count(*) filter (where status = 'picked') as running,
    now() - min(heartbeat) filter (where status = 'picked') as unheard
from crm.pgqueuer
"""
_FAILED = """
select count(*) as failed, max(kind) as kind from job
where status = 'FAILED' and finished_at > now() - interval '1 day'
"""


async def queues(database: Database, workspaces: Iterable[Workspace]) -> list[Finding]:
    """The queue of the deployment's database, and those of the databases that workspaces live in by themselves."""
    found = []
    for url in dict.fromkeys([None, *(w.database_url for w in workspaces)]):
        where = f" at {address(url)}" if url else ""
        async with database.admin_at(url) as connection:
            workers = await connection.fetchrow(_WORKERS, WORKER)
            queue = await connection.fetchrow(_QUEUE)
        inside = database.settings.worker_inside
        found += [_workers(f"workers{where}", workers, inside=inside), _queue(f"queue{where}", queue)]
    return found


def _workers(what: str, row: Any, *, inside: bool) -> Finding:
    if row["connections"] == 0:
        cure = "start `crm worker`" + (" or the server, which does jobs too (CRM_WORKER_INSIDE)" if inside else "")
        return warn(what, "none is connected: jobs and schedules wait", cure)
    detail = f"the last was heard {row['silent'].total_seconds():.0f} s ago"
    if row["silent"] > SILENT:
        cure = "restart the workers: something keeps their event loops busy or stopped"
        return fail(what, f"{detail}: they stand still", cure)
    return ok(what, detail)


def _queue(what: str, row: Any) -> Finding:
    detail = f"{row['waiting']} jobs wait, {row['running']} are being done"
    waits = row["waits"] or timedelta(0)
    if waits > WAITS_WARN:
        cure = "start more `crm worker`, or see what the running jobs are busy with: { jobs { nodes { kind status } } }"
        level = fail if waits > WAITS_FAIL else warn
        return level(what, f"{detail}, the first for {_minutes(waits)}", cure)
    if (row["unheard"] or timedelta(0)) > WAITS_WARN:
        cure = "start `crm worker`: it takes over the jobs of workers that died"
        return warn(what, f"{detail}, of one nothing was heard for {_minutes(row['unheard'])}", cure)
    return ok(what, detail)


async def failures(database: Database, workspace: Workspace) -> list[Finding]:
    """The jobs of a workspace that failed within a day; nothing to say where none did."""
    row = await database.pool(workspace).fetchrow(_FAILED)
    assert row is not None
    if not row["failed"]:
        return []
    cure = "read why: { jobs(where: {status: {eq: FAILED}}) { nodes { kind error } } }, and crm worker's log"
    detail = f"{row['failed']} failed within a day, of the kind {row['kind']} and perhaps others"
    return [warn(f"workspace {workspace.slug}, jobs", detail, cure)]


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} minutes"
