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
#: Seconds by which sums of times may be wrong; in which nothing comes back that anybody would miss.
TOLERANCE = 1e-7
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


class Quota:
    """So much of one thing in `seconds`, 0 is no limit; `name` is what it is called in the headers."""

    __slots__ = ("name", "quantity", "seconds", "slice", "step")

    def __init__(self, name: str, quantity: int, seconds: int) -> None:
        self.name = name.encode()
        self.quantity = quantity
        self.seconds = seconds
        #: Seconds in which one comes back.
        self.step = seconds / quantity if quantity else 0.0
        #: What is given out before the others are told.
        self.slice = quantity / SLICES if quantity else math.inf


class Level:
    """What is left of a quota, as this process sees it, and what has been spent that the others do not know yet.

    Kept is the moment at which all of it is there again: what comes back meanwhile need not be added (the generic cell
    rate algorithm).
    """

    __slots__ = ("full", "quota", "spent")

    def __init__(self, quota: Quota, now: float) -> None:
        self.quota = quota
        self.full = now
        self.spent = 0

    def wait(self, now: float) -> float:
        """Seconds until there is one; not more than 0 where there is one now."""
        return self.full + self.quota.step - now - self.quota.seconds - TOLERANCE

    def take(self, amount: int, now: float) -> bool:
        """Take some out, be it more than there is; says whether the others should be told."""
        if self.full <= now:
            # Of what was spent before, nothing is missing anywhere any more.
            self.full, self.spent = now, 0
        self.full += amount * self.quota.step
        self.spent += amount
        return self.spent >= self.quota.slice

    def put(self, left: float, now: float) -> None:
        """Let there be so many."""
        self.full = now + (self.quota.quantity - left) * self.quota.step

    def header(self, now: float) -> bytes:
        """What is left, as the header RateLimit says it: `r` now, all of it again in `t` seconds."""
        quota, until = self.quota, max(0.0, self.full - now)
        left = max(0.0, quota.quantity - (until - TOLERANCE) / quota.step)
        return b'"%b";r=%d;t=%d' % (quota.name, left, math.ceil(until))


class Policy:
    """What one actor may ask for in `seconds`: so many `requests`, and so much `cost`; 0 is no limit."""

    def __init__(self, requests: int, cost: int, seconds: int) -> None:
        self.requests = Quota("requests", requests, seconds)
        self.cost = Quota("cost", cost, seconds)
        quotas = [q for q in (self.requests, self.cost) if q.quantity]
        #: The policy, where it limits anything, as the header RateLimit-Policy says it.
        self.header = b", ".join(b'"%b";q=%d;w=%d' % (q.name, q.quantity, q.seconds) for q in quotas)


class Bucket:
    """The levels of one actor; `key` is what the others know them by."""

    __slots__ = ("cost", "key", "limited", "policy", "reporting", "requests")

    def __init__(self, key: UUID | str, policy: Policy, now: float) -> None:
        self.key = key
        self.policy = policy
        self.requests = Level(policy.requests, now)
        self.cost = Level(policy.cost, now)
        self.limited = [level for level in (self.requests, self.cost) if level.quota.quantity]
        self.reporting = False

    def wait(self, now: float) -> int:
        """Whole seconds until one more request may be made; not more than 0 where one may be made now."""
        return math.ceil(max(self.requests.wait(now), self.cost.wait(now)))

    def header(self, now: float) -> bytes:
        """What is left of each, as the header RateLimit says it."""
        return b", ".join([level.header(now) for level in self.limited])


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
        for bucket in self._buckets.values():
            self._tell(bucket)
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
            bucket = self._buckets[key] = Bucket(key, policy, now)
            if len(self._buckets) > KNOWN:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            if (wait := bucket.wait(now)) > 0:
                self._tell(bucket)
                RATE_LIMITED.add("address" if policy is self._of_address else "actor")
                raise TooManyRequests(f"Too many requests: try again in {wait} seconds.", retry_after=wait)
        if bucket.requests.take(1, now):
            self._tell(bucket)
        return bucket

    def charge(self, bucket: Bucket | None, cost: int) -> None:
        """Take the cost of an operation that was let in out of its actor's bucket; it may leave less than nothing."""
        if bucket is not None and bucket.cost.take(cost, time.monotonic()):
            self._tell(bucket)

    def headers(self, bucket: Bucket | None) -> Headers:
        """The headers of an answer: what may be asked for, and what is left of it."""
        if bucket is None:
            return ()
        return ((b"ratelimit-policy", bucket.policy.header), (b"ratelimit", bucket.header(time.monotonic())))

    def standing(self, actor: Actor, client: str) -> Headers:
        """The same for an actor who was turned away."""
        return self.headers(self._buckets.get(_key(actor, client)))

    def _tell(self, bucket: Bucket) -> None:
        if bucket.reporting or not (bucket.requests.spent or bucket.cost.spent):
            return
        bucket.reporting = True
        task = asyncio.get_running_loop().create_task(self._report(bucket))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _report(self, bucket: Bucket) -> None:
        policy, requests, cost = bucket.policy, bucket.requests, bucket.cost
        spent, costs = requests.spent, cost.spent
        requests.spent = cost.spent = 0
        self._reports += 1
        seconds = policy.requests.seconds
        values = (policy.requests.quantity, policy.cost.quantity, spent, costs, seconds)
        try:
            async with self._database.admin() as connection:
                row = await connection.fetchrow(_REPORT, str(bucket.key), *map(float, values))
                if self._reports % SWEEP == 0:
                    await connection.execute(
                        "delete from crm.allowance where at < now() - 2 * interval '1 second' * $1", seconds
                    )
        except (OSError, DatabaseError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # Until the database is back each process counts by itself.
            requests.spent, cost.spent = requests.spent + spent, cost.spent + costs
            LOG.warning("allowance_not_shared", reason=type(error).__name__)
        else:
            # What was given out since then is not in it.
            now = time.monotonic()
            requests.put(row["requests"] - requests.spent, now)
            cost.put(row["cost"] - cost.spent, now)
        finally:
            bucket.reporting = False


def _key(actor: Actor, client: str) -> UUID | str:
    """Whose bucket it is: an API key has its own, so that a program does not use up its user's."""
    if actor.kind is ActorKind.API_KEY and actor.token_id is not None:
        return actor.token_id
    return actor.user_id or network(client)
