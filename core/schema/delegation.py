"""The rule that nobody gives anybody, himself included, more than he may do himself; administrators may give all.

It holds for roles and what they are made of, before a change as well as after it, so that nobody takes from the
mightier either; for users and the roles they are given; and for teams, by which one sees what their members own.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from core.actors import find_actor, find_roles
from core.errors import Forbidden
from core.grants import Grants, Reach
from core.records import Invariant
from core.rows import Row

if TYPE_CHECKING:
    from core.changes import Batch, ChangeSet

_HELD = "select distinct role_id from user_role where user_id = any($1)"


class NoMoreThanOneself(Invariant):
    """Keeps it where roles change, or with `role`, the field that names a role, their permissions and their holders."""

    def __init__(self, role: str = "") -> None:
        self._role = role

    async def prepare(self, changes: ChangeSet, batch: Batch) -> Sequence[Row]:
        """Ask what the roles allowed before."""
        await _demand(changes, self._roles(batch))
        return batch.rows

    async def settle(self, changes: ChangeSet, batch: Batch) -> None:
        """Ask what the roles allow now."""
        await _demand(changes, self._roles(batch))

    def _roles(self, batch: Batch) -> set[Any]:
        return {(r.after or r.before or {})[self._role] if self._role else r.id for r in batch.rows}


class NoMightierUser(Invariant):
    """Keeps it where users change: whether they may sign in, and as whom, is for those who may do no less."""

    async def prepare(self, changes: ChangeSet, batch: Batch) -> Sequence[Row]:
        """Ask what the roles of other users allow."""
        others = [r.id for r in batch.rows if r.before is not None and r.id != changes.context.actor.user_id]
        if others and not changes.policy.grants.administers:
            held = await changes.connection.fetch(_HELD, others)
            await _demand(changes, {row["role_id"] for row in held})
        return batch.rows


class NoWiderSight(Invariant):
    """Keeps it where teams change: whoever reaches what his teams' members own gets no more mates by it."""

    async def settle(self, changes: ChangeSet, _batch: Batch) -> None:
        """Compare the actor's mates with those he came with."""
        actor, grants = changes.context.actor, changes.policy.grants
        by_team = any(reach is Reach.TEAM for role in grants.roles for reach in role.reaches.values())
        if actor.user_id is None or grants.administers or not by_team:
            return
        now = await find_actor(_fetch(changes), actor.user_id)
        if now is not None and set(now.mate_ids) - set(actor.mate_ids):
            raise Forbidden("you would see the records of more people by that")


async def _demand(changes: ChangeSet, roles: AbstractSet[Any]) -> None:
    """Raise Forbidden where one of some roles allows what the actor may not do."""
    mine = changes.policy.grants
    if mine.administers or not roles:
        return
    for role in await find_roles(_fetch(changes), roles):
        if not mine.cover(Grants((role,))):
            raise Forbidden(f"the role {role.name!r} allows more than you may do")


def _fetch(changes: ChangeSet) -> Any:
    return lambda sql, values: changes.connection.fetchval(sql, *values)
