"""The trial: load on all processes, kills, and then the count of everything against the database."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from core.apikeys import issue_api_key
from core.commands.console import Deployment, deployment
from core.commands.setup import set_up
from core.eventcursor import EventCursor
from core.pool import Pool
from core.settings import Settings
from tests.nodes.callers import JOB_RECORDS, SLUG, Caller, Fleet
from tests.nodes.processes import Process
from tests.nodes.receivers import Receiver
from tests.serving import environment, free_port

SECRET = "s" * 40
#: A job whose worker was killed is taken over after 30 seconds; the one that takes it over may be killed, too.
JOBS_SECONDS = 180
EVENTS_SECONDS = 30
_SEEN = """
select distinct c.record_id::text as id, c.change_set_id::text as change_set
from change c join change_set cs on cs.id = c.change_set_id
where c.record_type = 'Customer' and pg_visible_in_snapshot(cs.xid, $1::text::pg_snapshot)
"""


@dataclass
class Trial:
    """One run; afterwards `counts` say what was done and `faults` what does not hold."""

    folder: Path
    seconds: float
    every: float
    writers: int = 5
    receivers: int = 4
    seed: int = 1
    counts: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    async def run(self) -> None:
        settings = Settings.load(data_dir=self.folder / "data", secret=SECRET, log_level="error")
        async with deployment(settings) as opened:
            token = await workspace(opened)
            await self._try(opened, token)

    async def _try(self, opened: Deployment, token: str) -> None:
        async with self._processes(opened) as processes:
            fleet = Fleet([p for p in processes if p.port], token)
            since = (await fleet.ask("{ eventsCursor }"))["eventsCursor"]
            receivers = [Receiver(fleet, since, socket=bool(n % 2)) for n in range(self.receivers)]
            following = [asyncio.create_task(r.follow()) for r in receivers]
            callers = [Caller(n, fleet) for n in range(self.writers)]
            stop = asyncio.Event()
            work = [asyncio.create_task(c.write(stop, 0.1)) for c in callers[1:]]
            work.append(asyncio.create_task(callers[0].start_jobs(stop, 3.0)))
            kills = await self._kill(processes, opened.database.pool(await opened.workspaces.get(SLUG)))
            stop.set()
            await asyncio.gather(*work)
            await self._judge_jobs(opened, callers[0])
            await self._judge_writes(opened, callers[1:])
            await self._judge_events(opened, receivers)
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
            await fleet.close()
        self.faults += fleet.faults
        self.counts = {
            "seconds": self.seconds,
            "kills": sum(kills.values()),
            **{f"kills of {name}": number for name, number in sorted(kills.items())},
            **fleet.counts,
            "slowest answer, kills included, s": round(fleet.slowest, 2),
            "slowest return of a killed process, s": round(
                max(back - dead for p in processes for dead, back in p.gaps), 1
            ),
            "subscriptions resumed": sum(r.resumed for r in receivers),
            **self.counts,
            "faults": len(self.faults),
        }

    async def _kill(self, processes: list[Process], pool: Pool) -> Counter[str]:
        """Kill a process at every tick, in rounds of random order; workers when both are in the middle of jobs.

        One that is not back yet from its last death is passed over, and so is a server while no other one is there.
        """
        dice, began, kills = random.Random(self.seed), time.monotonic(), Counter[str]()
        order: list[Process] = []
        servers = [p for p in processes if p.port]
        returning: list[asyncio.Task[None]] = []
        for tick in range(1, int(self.seconds / self.every) + 1):
            await asyncio.sleep(began + tick * self.every - time.monotonic())
            order = order or dice.sample(processes, len(processes))
            there = [p for p in order if not p.returning and not (p.port and any(s.returning for s in servers))]
            if not there:
                continue
            victim = there[-1]
            order.remove(victim)
            kills[victim.name] += 1
            if not victim.port:
                await _busy(pool)
            returning.append(asyncio.create_task(victim.kill()))
        await asyncio.gather(*returning)
        return kills

    async def _judge_jobs(self, opened: Deployment, caller: Caller) -> None:
        """Every job that was answered to be started has ended, and has done its work once."""
        pool = opened.database.pool(await opened.workspaces.get(SLUG))
        began = time.monotonic()
        while left := await pool.fetchval("select count(*) from job where status in ('QUEUED', 'RUNNING')"):
            if time.monotonic() - began > JOBS_SECONDS:
                self.faults.append(f"{left} jobs have not ended {JOBS_SECONDS} s after the load")
                break
            await asyncio.sleep(0.5)
        rows = await pool.fetch(
            "select id::text, status, error, cardinality(change_set_ids) as sets from job where kind = 'core.bulk'"
        )
        found = {row["id"]: row for row in rows}
        made = {
            row["source"]: row["count"]
            for row in await pool.fetch(
                "select source, count(*) from customer where source like 'job %' group by source"
            )
        }
        for key, id_ in caller.jobs.items():
            row = found.get(id_)
            if row is None or row["status"] != "DONE" or row["sets"] != 1:
                self.faults.append(f"{key}: {dict(row) if row else 'there is no such job'}")
            if made.get(key) != JOB_RECORDS:
                self.faults.append(f"{key} has made {made.get(key)} customers instead of {JOB_RECORDS}")
        if len(found) != len(caller.jobs) or made.keys() != caller.jobs.keys():
            self.faults.append(
                f"{len(caller.jobs)} jobs were answered, there are {len(found)}, {len(made)} with effect"
            )
        retaken = await pool.fetchval("select count(*) from job where extract(epoch from started_at - created_at) > 25")
        self.counts |= {"jobs done": len(found), "jobs taken over": retaken}
        self.counts["seconds until the last job had ended"] = round(time.monotonic() - began, 1)

    async def _judge_writes(self, opened: Deployment, callers: list[Caller]) -> None:
        """Every mutation that was answered is there, once, and nothing else is."""
        pool = opened.database.pool(await opened.workspaces.get(SLUG))
        rows = await pool.fetch(
            "select source, count(*), min(id::text) as id, min(level) as level, min(version) as version"
            " from customer where source not like 'job %' group by source"
        )
        found = {row["source"]: row for row in rows}
        answered = {key: customer for c in callers for key, customer in c.created.items()}
        changed = {key for c in callers for key in c.changed}
        for key, customer in answered.items():
            row = found.get(key)
            if row is None or row["count"] != 1 or row["id"] != customer["id"]:
                self.faults.append(f"the customer {key} was answered and is {dict(row) if row else 'not there'}")
            elif key in changed and (row["level"], row["version"]) != ("seen", 2):
                self.faults.append(f"the change of {key} was answered: {dict(row)}")
        if extra := found.keys() - answered.keys():
            self.faults.append(f"customers that nobody was told of: {sorted(extra)[:5]}")
        self.counts |= {"customers created": len(answered), "customers changed": len(changed)}

    async def _judge_events(self, opened: Deployment, receivers: list[Receiver]) -> None:
        """Every subscriber was told of each change in the journal once, or to fetch anew what includes it."""
        workspace = await opened.workspaces.get(SLUG)
        pool = opened.database.pool(workspace)
        journal = {
            (row["id"], row["change_set"])
            for row in await pool.fetch(
                "select distinct record_id::text as id, change_set_id::text as change_set from change"
                " where record_type = 'Customer'"
            )
        }
        end = time.monotonic() + EVENTS_SECONDS
        while any(journal - r.got.keys() for r in receivers) and time.monotonic() < end:
            await asyncio.sleep(0.2)
        for n, receiver in enumerate(receivers):
            fetched: set[tuple[str, str]] = set()
            for cursor in receiver.refetched:
                seen = EventCursor.decode(cursor, workspace).seen
                fetched |= {(row["id"], row["change_set"]) for row in await pool.fetch(_SEEN, seen)}
            lost, twice = (
                journal - receiver.got.keys() - fetched,
                [key for key, times in receiver.got.items() if times > 1],
            )
            extra = receiver.got.keys() - journal
            if lost or twice or extra:
                self.faults.append(
                    f"subscriber {n} ({'socket' if receiver.socket else 'stream'}): {len(lost)} events lost,"
                    f" {len(twice)} told twice, {len(extra)} of nothing"
                )
        self.counts |= {"changes in the journal": len(journal), "events": sum(r.got.total() for r in receivers)}
        self.counts["told to fetch again"] = sum(len(r.refetched) for r in receivers)

    @asynccontextmanager
    async def _processes(self, opened: Deployment) -> AsyncIterator[list[Process]]:
        env = environment(
            CRM_DATABASE_URL=opened.database.dsn,
            CRM_DATA_DIR=self.folder / "node",
            CRM_FILES_DIR=self.folder / "files",
            CRM_SECRET=SECRET,
            CRM_WORKER_INSIDE=False,
            CRM_BULK_JOB_RECORDS=JOB_RECORDS // 2,
            CRM_LOG_LEVEL="info",
        )
        ports = {"server 1": free_port(), "server 2": free_port(), "worker 1": 0, "worker 2": 0}
        processes = [Process(name, self.folder / f"{name}.log", env, port) for name, port in ports.items()]
        try:
            await asyncio.gather(*(p.start() for p in processes))
            yield processes
        finally:
            for process in processes:
                process.stop()
            self.faults += [f for p in processes for f in _complaints(p)]


async def _busy(pool: Pool) -> None:
    """Wait until more jobs run than one worker takes at once."""
    for _ in range(200):
        if await pool.fetchval("select count(*) > 2 from job where status = 'RUNNING'"):
            return
        await asyncio.sleep(0.02)


def _complaints(process: Process) -> list[str]:
    """What a process has logged as an error."""
    lines = [orjson.loads(line) for line in process.log.read_bytes().splitlines() if line.startswith(b"{")]
    return [f"{process.name} logged {str(line)[:300]}" for line in lines if line.get("level") in ("error", "critical")]


async def workspace(opened: Deployment) -> str:
    """A workspace with some plugins and one user; returns his key."""
    workspace = await opened.workspaces.create(SLUG)
    await set_up(opened, workspace)
    for name in ("groups", "dedupe", "tiering"):
        await opened.features.enable(workspace, name)
    async with opened.database.transaction(workspace) as c:
        user = await c.fetchval(
            "insert into app_user (id, login, display_name) values (gen_random_uuid(), 'a', 'A') returning id"
        )
        await c.execute(
            "insert into user_role (id, user_id, role_id)"
            " select gen_random_uuid(), $1, id from role where name = 'Admin'",
            user,
        )
        return await issue_api_key(c, user, "nodes")
