"""What is looked up when `/metrics` is asked: pools, caches and plugins of a process, jobs of all workspaces."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import asyncpg

from core.context import Workspace
from core.errors import DatabaseError
from core.http.services import Services
from core.log import logger
from core.meters import Counter, Gauge, Meter
from core.pool import Connection
from core.schema.composition import Composition
from core.sql import quote

LOG = logger("crm.metrics")
#: How long what was read of the jobs is shown again.
JOBS_SECONDS = 15.0

_JOBS = (
    "select kind, status, count(*) as many, extract(epoch from now() - min(created_at))::float8 as age "
    "from {schema}.job where status in ('QUEUED', 'RUNNING') group by kind, status"
)


class Gauges:
    """Reads the gauges of one process's services."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._jobs: tuple[Gauge, Gauge] = _job_gauges()
        self._read_at = -JOBS_SECONDS

    def process(self) -> Iterator[Meter]:
        """What this process holds."""
        services = self._services
        budget = services.database.budget
        yield _one("crm_connections", "Database connections that are open.", budget.used)
        yield _one("crm_connections_limit", "Database connections that may be open.", budget.limit)
        yield _one("crm_pools", "Pools of connections, one for each workspace and process.", len(budget.pools))
        pools = Gauge("crm_pool_connections", "Connections of the pools by state.", ("state",))
        idle, opening = sum(len(p.idle) for p in budget.pools), sum(p.opening for p in budget.pools)
        pools.set(sum(p.size for p in budget.pools) - idle - opening, "in_use")
        pools.set(idle, "idle")
        pools.set(opening, "opening")
        yield pools
        yield _one("crm_pool_waiting", "Who waits for a connection.", sum(len(p.waiters) for p in budget.pools))
        yield _one("crm_listening", "Processes that hear notifications.", int(services.database.listening))
        yield _one("crm_subscriptions", "Subscriptions that are open.", services.hubs.open)
        yield from self._caches(list(services.features.compositions))
        yield from self._plugins(list(services.features.compositions))

    async def common(self) -> Iterable[Meter]:
        """What is the same for every process: the workspaces, what waits in their queues, and for how long."""
        if time.monotonic() - self._read_at >= JOBS_SECONDS:
            self._read_at = time.monotonic()
            try:
                self._jobs = await self._count_jobs()
            except (OSError, DatabaseError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                LOG.warning("jobs_not_counted", reason=type(error).__name__)
        workspaces = _one("crm_workspaces", "Workspaces of the deployment.", len(self._services.directory.all()))
        return workspaces, *self._jobs

    @staticmethod
    def _caches(compositions: list[Composition]) -> Iterator[Meter]:
        documents = [c.documents for c in compositions]
        yield _one("crm_compositions", "Feature sets that are composed.", len(compositions))
        yield _one("crm_documents_cached", "Documents ready to run.", sum(len(d) for d in documents))
        looks = Counter("crm_documents_total", "Looks for a ready document, by outcome: hit or miss.", ("outcome",))
        looks.add("hit", by=sum(d.hits for d in documents))
        looks.add("miss", by=sum(d.misses for d in documents))
        yield looks
        yield _one("crm_plans_cached", "Finished plans of queries.", sum(d.plans for d in documents))

    @staticmethod
    def _plugins(compositions: list[Composition]) -> Iterator[Meter]:
        failures = Counter("crm_plugin_failures_total", "Times that a plugin's hooks have failed.", ("plugin",))
        calls = Counter("crm_plugin_calls_total", "Calls of a plugin's hooks.", ("plugin",))
        seconds = Counter("crm_plugin_seconds_total", "Seconds spent in a plugin's hooks.", ("plugin",))
        for name, health in {name: h for c in compositions for name, h in c.hooks.health.items()}.items():
            failures.add(name, by=health.failures)
            calls.add(name, by=health.calls)
            seconds.add(name, by=round(health.seconds, 6))
        yield from (failures, calls, seconds)

    async def _count_jobs(self) -> tuple[Gauge, Gauge]:
        waiting, age = _job_gauges()
        services = self._services
        here = [w for w in services.directory.all() if w.database_url is None]
        async with services.database.admin() as connection:
            for workspace in here:
                await self._count_in(connection, workspace, waiting, age)
        return waiting, age

    @staticmethod
    async def _count_in(connection: Connection, workspace: Workspace, waiting: Gauge, age: Gauge) -> None:
        """One connection reads all schemas, in each workspace's role: a pool for each would turn others out."""
        try:
            async with connection.transaction(readonly=True):
                await connection.execute(f"set local role {quote(workspace.role)}")
                rows = await connection.fetch(_JOBS.format(schema=quote(workspace.schema)))
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.UndefinedObjectError):
            return  # not migrated yet, or just erased
        except asyncpg.InvalidParameterValueError:
            return
        for row in rows:
            waiting.add(row["many"], row["kind"], row["status"])
            if row["status"] == "QUEUED":
                age.values[()] = max(age.values.get((), 0), round(row["age"], 3))


def _job_gauges() -> tuple[Gauge, Gauge]:
    age = Gauge("crm_queue_age_seconds", "How long the job waits that has waited longest, delays included.")
    age.set(0)
    return Gauge("crm_jobs", "Jobs that wait or are done now, by kind and status.", ("kind", "status")), age


def _one(name: str, help_: str, value: float) -> Gauge:
    gauge = Gauge(name, help_)
    gauge.set(value)
    return gauge
