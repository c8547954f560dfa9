"""Points that were not spent in time are taken back every night.

Whoever spends points spends those first that expire first. So of a customer's points that have expired those are left
to be taken back that were earned beyond all that was ever spent or taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core import JobContext, JobType, Target

EXPIRE = "loyalty.expire"
#: When it is done, in the workspace's time zone.
NIGHTLY = "15 3 * * *"
BATCH = 5000

_EXPIRED = """
select c.id as customer_id, x.points from customer c
join lateral (
  select coalesce(sum(points) filter (where points < 0 or expires_at <= $1), 0) as points
  from loyalty_entry where customer_id = c.id
) x on x.points > 0
where c.deleted_at is null and ($2::uuid[] is null or c.id = any($2))
order by c.id limit $3
"""


async def _expire(job: JobContext) -> Mapping[str, Any]:
    done = {"customers": 0, "points": 0}
    while True:
        async with job.change_set(counts=done, skip_failed=True) as changes:
            now = changes.context.now
            found = await changes.connection.fetch(_EXPIRED, now, None, BATCH)
            target = Target(ids=tuple(row["customer_id"] for row in found))
            # Locked, so that nobody spends meanwhile what is taken back here; then looked at again.
            customers = await changes.reached("Customer", target, "read")
            rows = await changes.connection.fetch(_EXPIRED, now, customers, BATCH)
            entries = [{"customerId": r["customer_id"], "kind": "EXPIRY", "points": -r["points"]} for r in rows]
            await changes.create("LoyaltyEntry", entries)
            done["customers"] += len(rows)
            done["points"] += sum(row["points"] for row in rows)
        if len(found) < BATCH:
            return done


JOBS = (JobType(EXPIRE, "Takes back points that were not spent in time.", _expire, schedule=NIGHTLY),)
