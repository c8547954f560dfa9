"""Claiming a customer: exactly one winner, within the pool's quotas and after its cool-down.

Whoever claims is locked before what he claims, so that his quotas are exact however many claims he makes at once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from core import (
    Argument,
    Call,
    Conditions,
    Member,
    Mutation,
    ObjectType,
    Payload,
    Records,
    Refused,
    Target,
    UserError,
    constant,
    text,
    uuid_or_none,
)
from plugins.shared_pool.moves import leave, stay_away, writing

PACKAGE = "plugins.shared_pool"

ERROR = "PoolClaimError"
ERROR_CODES = {
    "QUOTA_EXCEEDED": "As many customers were claimed, or are held, as a pool allows.",
    "COOL_DOWN": "The previous owner of a customer has to wait before he may claim it again.",
    "ALREADY_CLAIMED": "Somebody else was quicker to claim the customer.",
    "NOT_IN_POOL": "The customer is not in the pool.",
    "POOL_EMPTY": "There is no customer in the pool that one could claim.",
    "POOL_CLOSED": "The pool is not open to one.",
}

_LOCK_CLAIMER = "select pg_advisory_xact_lock(hashtextextended('shared_pool.claim ' || $1::text, 0))"
_LOCK_CUSTOMER = "select owner_id from customer where id = $1 and deleted_at is null for update"
_SINCE = "select since from pool_member where customer_id = $1 and pool_id = $2"
_CLAIMED = "select exists (select from pool_claim where customer_id = $1 and pool_id = $2)"
_TODAY = "select count(*) from pool_claim where pool_id = $1 and user_id = $2 and at >= $3"
_HELD = "select count(*) from customer where owner_id = $1 and deleted_at is null"
#: Who lost the customer last, and when.
_PREVIOUS = """
select (c.before->>'ownerId')::uuid as owner, s.at from change c join change_set s on s.id = c.change_set_id
where c.record_id = $1 and c.record_type = 'Customer' and c.before->>'ownerId' is not null
order by c.id desc limit 1
"""
#: The customers that have been in the pool longest, without those that others are claiming at this moment.
_NEXT = """
select c.id from pool_member m join customer c on c.id = m.customer_id and c.deleted_at is null
where m.pool_id = $1 and c.id <> all($2::uuid[]) order by m.since, m.id limit 1 for update of c skip locked
"""


async def _claim(call: Call) -> Payload:
    claim = await _Claim.of(call)
    given = call.input.get("customerId")
    customer = await (claim.next() if given is None else claim.one(uuid_or_none(given)))
    own = writing(call.changes)
    pools = [
        row["pool_id"]
        for row in await own.connection.fetch(
            "select pool_id from pool_member where customer_id = $1 order by pool_id", customer
        )
    ]
    ids = {"poolId": str(claim.pool), "customerId": str(customer), "userId": str(claim.user)}
    await own.create("PoolClaim", [{**ids, "at": call.context.now}])
    await stay_away(call.changes, pools, [customer])
    for pool in pools:
        await leave(call.changes, pool, [customer])
    await own.update("Customer", Target(ids=(customer,)), {"ownerId": claim.user})
    limit = claim.row["claims_per_day"]
    return Payload(
        {
            "customer": Records("Customer", [customer], single=True),
            "claimsLeftToday": None if limit is None else limit - claim.today - 1,
        }
    )


class _Claim:
    """Who claims from which pool; his row of claims is locked."""

    def __init__(self, call: Call, user: UUID, row: Any) -> None:
        self.call = call
        self.user = user
        self.row = row
        self.pool: UUID = row["id"]
        self.connection = call.changes.connection
        self.today = 0

    @classmethod
    async def of(cls, call: Call) -> _Claim:
        """Raises Refused where the pool is not there, not open to the claimer, or his quotas are used up."""
        user = call.context.actor.user_id
        if user is None:
            raise _refused(call, "POOL_CLOSED", "claim_user")
        conditions = Conditions(call.policy)
        table, where = conditions.source(call.policy.scope("Pool", "claim"), "p")
        where.append(f"p.id = {conditions.operand(constant(uuid_or_none(call.input['poolId'])), 'uuid')}")
        columns = "p.id, p.name, p.open_to_all, p.claims_per_day, p.most_held, p.cool_down_days"
        statement = f"select {columns} from {table} where {' and '.join(where)} for share of p"
        row = await call.changes.connection.fetchrow(statement, *conditions.bind(call.context))
        if row is None:
            raise _refused(call, "NOT_FOUND", "pool_unknown", "poolId")
        teams = list(call.context.actor.team_ids)
        member = "select exists (select from pool_team where pool_id = $1 and team_id = any($2::uuid[]))"
        if not row["open_to_all"] and not await call.changes.connection.fetchval(member, row["id"], teams):
            raise _refused(call, "POOL_CLOSED", "pool_closed", "poolId", pool=row["name"])
        found = cls(call, user, row)
        await found._demand_quota()
        return found

    async def one(self, customer: UUID | None) -> UUID:
        """The customer that is asked for, locked. Raises Refused where he may not claim it."""
        held = await self.connection.fetchrow(_LOCK_CUSTOMER, customer)
        since = await self.connection.fetchval(_SINCE, customer, self.pool)
        if customer is None or held is None or since is None:
            claimed = await self.connection.fetchval(_CLAIMED, customer, self.pool)
            if claimed:
                raise _refused(self.call, "ALREADY_CLAIMED", "already_claimed", "customerId")
            raise _refused(self.call, "NOT_IN_POOL", "not_in_pool", "customerId", pool=self.row["name"])
        until = await self._cool_down(customer, held["owner_id"], since)
        if until is not None:
            days = self.row["cool_down_days"]
            raise _refused(self.call, "COOL_DOWN", "cool_down", "customerId", until=until, days=days)
        return customer

    async def next(self) -> UUID:
        """The customer that has been in the pool longest, of those that he may claim; locked."""
        passed: list[UUID] = []
        while True:
            customer = await self.connection.fetchval(_NEXT, self.pool, passed)
            if customer is None:
                raise _refused(self.call, "POOL_EMPTY", "pool_empty", "poolId", pool=self.row["name"])
            owner = await self.connection.fetchval(_LOCK_CUSTOMER, customer)
            since = await self.connection.fetchval(_SINCE, customer, self.pool)
            # It may have left the pool since the statement began that found it.
            if since is not None and await self._cool_down(customer, owner, since) is None:
                return customer  # type: ignore[no-any-return]
            passed.append(customer)

    async def _demand_quota(self) -> None:
        await self.connection.execute(_LOCK_CLAIMER, str(self.user))
        now = self.call.context.now.astimezone(ZoneInfo(self.call.context.workspace.time_zone))
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        self.today = await self.connection.fetchval(_TODAY, self.pool, self.user, day)
        limit = self.row["claims_per_day"]
        if limit is not None and self.today >= limit:
            tomorrow = day + timedelta(days=1)
            raise _refused(self.call, "QUOTA_EXCEEDED", "quota_day", "poolId", limit=limit, until=tomorrow)
        most = self.row["most_held"]
        if most is not None and await self.connection.fetchval(_HELD, self.user) >= most:
            raise _refused(self.call, "QUOTA_EXCEEDED", "quota_held", "poolId", limit=most)

    async def _cool_down(self, customer: UUID, owner: UUID | None, since: datetime) -> datetime | None:
        """Until when he has to wait, as the customer's previous owner; None where he need not."""
        days = self.row["cool_down_days"]
        if days is None:
            return None
        lost = since if owner == self.user else None
        if owner is None:
            previous = await self.connection.fetchrow(_PREVIOUS, customer)
            lost = previous["at"] if previous and previous["owner"] == self.user else None
        until = lost and lost + timedelta(days=days)
        return until if until and until > self.call.context.now else None


def _refused(call: Call, code: str, key: str, field: str = "", **params: Any) -> Refused:
    path = ("input", field) if field else ("input",)
    fields = {"limit": params.get("limit"), "until": params.get("until")}
    if until := params.get("until"):
        local = until.astimezone(ZoneInfo(call.context.workspace.time_zone))
        params["until"] = local.isoformat(timespec="minutes")
    message = text(key, call.context.locale, PACKAGE, **params)
    return Refused([UserError(path, code, message, params, ERROR, fields)])


OBJECTS = (
    ObjectType(
        ERROR,
        "Why a customer could not be claimed.",
        (
            Member("limit", "Int", "The quota that is used up, where it is that."),
            Member("until", "DateTime", "When it can be tried again, where that is known."),
        ),
        user_error=True,
    ),
)

MUTATIONS = (
    Mutation(
        "poolClaim",
        "Claims a customer from a pool for oneself: one becomes its owner and it leaves all pools.",
        _claim,
        (
            Argument("poolId", "ID!", "The pool."),
            Argument("customerId", "ID", "The customer; the one that has been in the pool longest when left out."),
        ),
        (
            Member("customer", "Customer", "The customer, null where it was refused."),
            Member("claimsLeftToday", "Int", "How many more one may claim from the pool today; null without a limit."),
        ),
        "Pool",
        "claim",
    ),
)
