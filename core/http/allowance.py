"""How much an actor may ask for in a while, counted over all processes without a statement a request.

Each actor has a bucket of requests, and one of cost, that fills at a constant rate up to what he may ask for in the
window. A process counts in a view of its own and tells the others through `crm.allowance` whenever it has given out a
slice, a fiftieth of the bucket: in the background, so that nobody waits. What the buckets hold may thereby fall below
nothing, by a slice for each process that serves the actor at that moment; it is a debt that he waits for, so that
over a longer time nobody gets more than he may.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

import asyncpg

from core.context import Actor, ActorKind
from core.database import Database
from core.errors import DatabaseError, TooManyRequests
from core.http.refusal import Headers
from core.log import logger
from core.meters import RATE_LIMITED
from core.settings import Settings
from core.throttle import network

LOG = logger("crm.allowance")

#: What part of a bucket a process gives out before it tells the others.
SLICES = 50
#: Actors whose buckets a process knows; of more, those who have asked for nothing longest are forgotten.
KNOWN = 20_000
#: After so many reports, buckets that are full again are swept out.
SWEEP = 200

_REPORT = """
insert into crm.allowance as a (key, requests, cost, at)
values ($1, $2::float8 - $4::float8, $3::float8 - $5::float8, clock_timestamp())
on conflict (key) do update set
    requests = greatest(least($2, a.requests + $2 / $6
        * greatest(0, extract(epoch from clock_timestamp() - a.at)::float8)) - $4, -$2),
    cost = greatest(least($3, a.cost + $3 / $6
        * greatest(0, extract(epoch from clock_timestamp() - a.at)::float8)) - $5, -$3),
    at = clock_timestamp()
returning requests, cost
"""


@dataclass(frozen=True)
class Policy:
    """What one actor may ask for in `seconds`: so many `requests`, and so much `cost`; 0 is no limit."""

    requests: int
    cost: int
    seconds: int

    @cached_property
    def header(self) -> bytes:
        """The policy, where it limits anything, as the header RateLimit-Policy says it."""
        found = [f'"{name}";q={quota};w={self.seconds}' for name, quota in self._quotas if quota]
        return ", ".join(found).encode()

    @property
    def _quotas(self) -> tuple[tuple[str, int], ...]:
        return ("requests", self.requests), ("cost", self.cost)


class Bucket:
    """What an actor has left, as this process sees it, and what he has spent that the others do not know yet."""

    __slots__ = ("at", "cost", "costs", "policy", "reporting", "requests", "spent")

    def __init__(self, policy: Policy, now: float) -> None:
        self.policy = policy
        self.requests = float(policy.requests)
        self.cost = float(policy.cost)
        self.at = now
        self.spent = self.costs = 0
        self.reporting = False

    def fill(self, now: float) -> None:
        """Let in what has come since the last look."""
        policy, passed = self.policy, now - self.at
        self.at = now
        if policy.requests:
            self.requests += policy.requests / policy.seconds * passed
            if self.requests >= policy.requests:
                # Of what was spent before, nothing is missing anywhere any more.
                self.requests, self.spent = float(policy.requests), 0
        if policy.cost:
            self.cost += policy.cost / policy.seconds * passed
            if self.cost >= policy.cost:
                self.cost, self.costs = float(policy.cost), 0

    @property
    def wait(self) -> int:
        """Whole seconds until one more request may be made; 0 where one may be made now."""
        policy, wait = self.policy, 0.0
        if policy.requests and self.requests < 1:
            wait = (1 - self.requests) * policy.seconds / policy.requests
        if policy.cost and self.cost < 1:
            wait = max(wait, (1 - self.cost) * policy.seconds / policy.cost)
        return math.ceil(wait)

    @property
    def owes(self) -> bool:
        """Whether a slice has been given out that the others do not know of."""
        policy = self.policy
        return self.spent * SLICES >= policy.requests > 0 or self.costs * SLICES >= policy.cost > 0

    def header(self) -> bytes:
        """What is left, as the header RateLimit says it: `r` now, all of it again in `t` seconds."""
        policy = self.policy
        left = b""
        if policy.requests:
            full = math.ceil((policy.requests - self.requests) * policy.seconds / policy.requests)
            left = b'"requests";r=%d;t=%d' % (max(0, self.requests), full)
        if policy.cost:
            full = math.ceil((policy.cost - self.cost) * policy.seconds / policy.cost)
            left += b'%b"cost";r=%d;t=%d' % (b", " if left else b"", max(0, self.cost), full)
        return left


class Allowance:
    """The buckets of the actors that one process has to do with."""

    def __init__(self, database: Database, settings: Settings) -> None:
        seconds = settings.rate_limit_seconds
        self._database = database
        self._of_actor = Policy(settings.rate_limit_requests, settings.rate_limit_cost, seconds)
        self._of_address = Policy(settings.rate_limit_anonymous, settings.rate_limit_cost, seconds)
        self._buckets: OrderedDict[UUID | str, Bucket] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reports = 0

    async def close(self) -> None:
        """Tell the others what they do not know yet."""
        for key, bucket in self._buckets.items():
            self._tell(key, bucket)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)

    def take(self, actor: Actor, client: str) -> Bucket | None:
        """Take one request out of an actor's bucket, of his address's where he has not signed in.

        Returns the bucket, None where there is no limit. Raises TooManyRequests with `retry_after` in seconds.
        """
        policy = self._of_address if actor.user_id is None else self._of_actor
        if not policy.header:
            return None
        key = _key(actor, client)
        now = time.monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(policy, now)
            if len(self._buckets) > KNOWN:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            bucket.fill(now)
            if wait := bucket.wait:
                self._tell(key, bucket)
                RATE_LIMITED.add("address" if policy is self._of_address else "actor")
                raise TooManyRequests(f"Too many requests: try again in {wait} seconds.", retry_after=wait)
        bucket.requests -= 1
        bucket.spent += 1
        if bucket.owes:
            self._tell(key, bucket)
        return bucket

    def charge(self, bucket: Bucket | None, cost: int) -> None:
        """Take the cost of an operation that was let in out of its actor's bucket; it may leave less than nothing."""
        if bucket is not None and bucket.policy.cost:
            bucket.cost -= cost
            bucket.costs += cost

    def headers(self, bucket: Bucket | None) -> Headers:
        """The headers of an answer: what may be asked for, and what is left of it."""
        if bucket is None:
            return ()
        return ((b"ratelimit-policy", bucket.policy.header), (b"ratelimit", bucket.header()))

    def standing(self, actor: Actor, client: str) -> Headers:
        """The same for an actor who was turned away."""
        return self.headers(self._buckets.get(_key(actor, client)))

    def _tell(self, key: UUID | str, bucket: Bucket) -> None:
        if bucket.reporting or not (bucket.spent or bucket.costs):
            return
        bucket.reporting = True
        task = asyncio.get_running_loop().create_task(self._report(str(key), bucket))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _report(self, key: str, bucket: Bucket) -> None:
        policy, spent, costs = bucket.policy, bucket.spent, bucket.costs
        bucket.spent = bucket.costs = 0
        self._reports += 1
        try:
            async with self._database.admin() as connection:
                row = await connection.fetchrow(
                    _REPORT, key, float(policy.requests), float(policy.cost), float(spent), float(costs),
                    float(policy.seconds),
                )  # fmt: skip
                if self._reports % SWEEP == 0:
                    await connection.execute(
                        "delete from crm.allowance where at < now() - 2 * interval '1 second' * $1", policy.seconds
                    )
        except (OSError, DatabaseError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # Until the database is back each process counts by itself.
            bucket.spent, bucket.costs = bucket.spent + spent, bucket.costs + costs
            LOG.warning("allowance_not_shared", reason=type(error).__name__)
        else:
            # What was given out since then is not in it.
            bucket.fill(time.monotonic())
            bucket.requests, bucket.cost = row["requests"] - bucket.spent, row["cost"] - bucket.costs
        finally:
            bucket.reporting = False


def _key(actor: Actor, client: str) -> UUID | str:
    """Whose bucket it is: an API key has its own, so that a program does not use up its user's."""
    if actor.kind is ActorKind.API_KEY and actor.token_id is not None:
        return actor.token_id
    return actor.user_id or network(client)
