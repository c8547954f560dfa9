"""Writing a batch of rows through a change set: customers, their contacts, their groups; all of a row or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from core import COLLISIONS, ChangeSet, Row, Target, UserError, new_id, retried
from plugins.import_excel import alike, contacts, groups, matches
from plugins.import_excel.faults import RowFault, fault, told
from plugins.import_excel.lines import Line, Reader, shared
from plugins.import_excel.targets import CUSTOMER, OWNER

PATH = "rows"


@dataclass
class Outcome:
    """What became of a batch: counts by kind, and faults.

    `shared` is how many rows were given to one of the owners in turn, `kept` how many of these were sound to the end.
    """

    counts: dict[str, int]
    faults: list[RowFault]
    shared: int = 0
    kept: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        """What became of both."""
        counts = {kind: n + other.counts[kind] for kind, n in self.counts.items()}
        return Outcome(counts, self.faults + other.faults, self.shared + other.shared, self.kept + other.kept)


class Again(Exception):
    """Some rows of a batch cannot be written as a whole: the batch is done anew without them."""

    def __init__(self, faults: Sequence[RowFault]) -> None:
        super().__init__()
        self.faults = faults


@dataclass
class Writer:
    """Writes the rows of one import. `to_share` is how many rows are split among the plan's owners."""

    import_id: UUID
    reader: Reader
    to_share: int = 0
    known_bad: frozenset[int] = field(default_factory=frozenset)

    async def batch(self, changes: ChangeSet, lines: Sequence[Line], position: int) -> Outcome:
        """Write one batch; `position` is how many rows before it were given to owners.

        One that collides with what others write meanwhile is done anew in halves: the fewer rows, the sooner they are
        written, and the less likely it is that somebody is quicker. Raises what collides with a single row for good.
        """
        if len(lines) == 1:
            return await retried(lambda: self._whole(changes, lines, position))
        with suppress(*COLLISIONS):
            return await self._whole(changes, lines, position)
        half = len(lines) // 2
        first = await self.batch(changes, lines[:half], position)
        return first + await self.batch(changes, lines[half:], position + first.shared)

    async def _whole(self, changes: ChangeSet, lines: Sequence[Line], position: int) -> Outcome:
        """Write one batch in a savepoint.

        A row whose contacts or groups are refused is left out as a whole, so the rest is then done anew.
        """
        refused: dict[int, RowFault] = {}
        while True:
            before = (dict(changes.memory), {k: dict(v) for k, v in changes.touched.items()})
            try:
                async with changes.connection.transaction():
                    return await self._once(changes, self.reader.unused(lines), position, refused)
            except (Again, *COLLISIONS) as error:
                # What was rolled back never happened, for the change set's own account neither.
                changes.memory, changes.touched = before
                _drain(changes)
                if not isinstance(error, Again):
                    raise
                refused |= {f.row: f for f in error.faults}

    async def _once(
        self,
        changes: ChangeSet,
        lines: Sequence[Line],
        position: int,
        refused: Mapping[int, RowFault],
    ) -> Outcome:
        for line in lines:
            if line.row in refused:
                line.faults.append(refused[line.row])
        await self._meet(changes, lines)
        given = self._own(changes, lines, position)
        await self._referrers(changes, lines)
        new = [n for n in lines if n.id is None and not n.faults]
        for line in new:
            self.reader.complete(line)
            self._may_create(changes, line)
        new = [n for n in new if not n.faults]
        old = [n for n in lines if n.id is not None and not n.faults]
        created = await self._create(changes, new)
        seen = await self._update(changes, old)
        self._told(changes, lines)
        whole = [n for n in created + old if not n.faults]
        changed: set[UUID | None] = {i for i, row in seen.items() if row.changed}
        changed |= await contacts.write(changes, whole, {n.id for n in created})
        changed |= await groups.write(changes, whole, self.reader.plan.groups)
        if dependent := self._dependent(changes, lines):
            raise Again(dependent)
        failed = sum(any(not f.skipped for f in n.faults) for n in lines)
        skipped = sum(bool(n.faults) and all(f.skipped for f in n.faults) for n in lines)
        made = sum(not n.faults for n in created)
        updated = sum(not n.faults and n.id in changed for n in old)
        unchanged = len(lines) - failed - skipped - made - updated
        counts = {"created": made, "updated": updated, "unchanged": unchanged, "skipped": skipped, "failed": failed}
        kept = sum(not n.faults for n in given)
        return Outcome(counts, [f for n in lines for f in n.faults], len(given), kept)

    async def _meet(self, changes: ChangeSet, lines: Sequence[Line]) -> None:
        """Find the customers that rows mean."""
        plan, locale = self.reader.plan, self.reader.locale
        found = await matches.of_rows(changes, self.import_id, lines[0].row, lines[-1].row)
        codes = await self._codes(changes, lines)
        for line in lines:
            met: dict[UUID, str] = {}
            for goal, first, customer in found.get(line.row, ()):
                if first is not None:
                    column = plan.column(goal)
                    index = None if column is None else column.index
                    value = line.cell(column)
                    line.faults.append(
                        fault(locale, line.row, "TWICE_IN_FILE", index, goal, value, first=first, value=value)
                    )
                elif customer is not None:
                    met.setdefault(customer, goal)
                    if plan.overwrites and goal == plan.key:
                        line.id = customer
            if (code := line.values.get("code")) in codes:
                met = {codes[code]: "code"} | met
                if plan.overwrites and plan.key == "code":
                    line.id = codes[code]
            others = {c: g for c, g in met.items() if c != line.id}
            if others and not line.faults:
                self._exists(line, others)

    async def _codes(self, changes: ChangeSet, lines: Sequence[Line]) -> dict[str, UUID]:
        """The customers that have the codes of rows by now, others' work of this moment included."""
        given = [code for n in lines if (code := n.values.get("code"))]
        if not given:
            return {}
        rows = await changes.connection.fetch(
            "select code, id from customer where code = any($1::text[]) and deleted_at is null", given
        )
        return {r["code"]: r["id"] for r in rows}

    def _exists(self, line: Line, others: Mapping[UUID, str]) -> None:
        """A row whose customer is there already: left out where only new ones are wanted, else a fault."""
        plan = self.reader.plan
        goal = next(iter(others.values()))
        column = plan.column(goal)
        code, skipped = ("ANOTHER_HAS_IT", False) if plan.overwrites else ("EXISTS", True)
        index = None if column is None else column.index
        value = line.cell(column)
        label = column.header if column is not None else goal
        line.faults.append(
            fault(self.reader.locale, line.row, code, index, goal, value, skipped=skipped, column=label, value=value)
        )

    def _own(self, changes: ChangeSet, lines: Sequence[Line], position: int) -> list[Line]:
        """Give rows their owner: the actor, else whom the cell names, else one of those chosen, in turn of the rows.

        Returns the rows of the last kind, but for those that are known to be refused.
        """
        plan = self.reader.plan
        given: list[Line] = []
        actor = changes.context.actor.user_id
        for line in lines:
            if line.faults:
                continue
            if plan.mine and actor is not None:
                line.values["ownerId"] = str(actor)
            elif plan.owners and line.values.get("ownerId") is None:
                if line.row not in self.known_bad:
                    line.values["ownerId"] = shared(self.to_share, plan.owners, position + len(given))
                    given.append(line)
                else:
                    line.values["ownerId"] = plan.owners[-1]
        return given

    async def _referrers(self, changes: ChangeSet, lines: Sequence[Line]) -> None:
        wanted = {n.referrer for n in lines if n.referrer and not n.faults}
        if not wanted:
            return
        rows = await changes.connection.fetch(
            "select code, id from customer where code = any($1::text[]) and deleted_at is null", list(wanted)
        )
        found = {r["code"]: str(r["id"]) for r in rows}
        column = self.reader.plan.column("referrer")
        for line in lines:
            if line.referrer in found:
                line.values["referrerId"] = found[line.referrer]
            elif line.referrer and not line.faults:
                index = None if column is None else column.index
                line.faults.append(
                    fault(self.reader.locale, line.row, "NO_SUCH_REFERRER", index, "referrer", line.referrer)
                )

    def _may_create(self, changes: ChangeSet, line: Line) -> None:
        """Leave out what the actor may not create, so that it is one row's fault and not the whole import's."""
        grants, actor = changes.policy.grants, changes.context.actor
        if grants.unlimited or line.faults:
            return
        reach = grants.reach(CUSTOMER, "create").name
        owner = line.values.get("ownerId", str(actor.user_id))
        allowed = {"ALL": True, "OWN": owner == str(actor.user_id), "TEAM": owner in set(map(str, actor.mate_ids))}
        if not allowed.get(reach, False):
            code = "MAY_NOT_CREATE" if reach == "NONE" else "MAY_NOT_CREATE_FOR"
            column = self.reader.plan.column(OWNER)
            index = None if column is None else column.index
            line.faults.append(fault(self.reader.locale, line.row, code, index, OWNER, line.cell(column)))

    async def _create(self, changes: ChangeSet, lines: Sequence[Line]) -> list[Line]:
        if not lines:
            return []
        rows = []
        for line in lines:
            line.id = new_id()
            values = {**line.values, "id": line.id}
            if self.reader.plan.tags:
                values["tags"] = _united(values.get("tags"), self.reader.plan.tags)
            rows.append(values)
        done = set(await changes.create(CUSTOMER, rows, lambda i: (PATH, lines[i].row)))
        return [n for n in lines if n.id in done]

    async def _owners(self, changes: ChangeSet, lines: Sequence[Line]) -> dict[UUID, str]:
        """The owners, empty for nobody, that customers have whose rows name one."""
        ids = [n.id for n in lines if "ownerId" in n.values]
        if not ids:
            return {}
        rows = await changes.connection.fetch("select id, owner_id from customer where id = any($1::uuid[])", ids)
        return {r["id"]: str(r["owner_id"] or "") for r in rows}

    async def _update(self, changes: ChangeSet, lines: Sequence[Line]) -> dict[UUID, Row]:
        """Change customers that exist; those whose owner changes need the permission to transfer them."""
        seen: dict[UUID, Row] = {}
        by_id = {n.id: n for n in lines if n.id is not None}
        record = changes.policy.catalog[CUSTOMER]
        owners = await self._owners(changes, lines)
        moves = {i for i, owner in owners.items() if owner != (by_id[i].values["ownerId"] or "")}

        def values(row: Row) -> Mapping[str, Any]:
            line = by_id[row.id]  # type: ignore[index]
            seen[row.id] = row  # type: ignore[index]
            before = row.before or {}
            wanted = dict(line.values)
            if row.id not in moves:
                wanted.pop("ownerId", None)
            if before.get("referrerId") is not None:
                wanted.pop("referrerId", None)
            if self.reader.plan.tags:
                wanted["tags"] = _united(
                    wanted["tags"] if "tags" in wanted else before.get("tags"), self.reader.plan.tags
                )
            return alike.changed(record, before, wanted)

        for ids, actions in ((by_id.keys() - moves, ("update",)), (moves, ("update", "transfer"))):
            if ids:
                paths = {i: (PATH, by_id[i].row) for i in ids}
                await changes.update(CUSTOMER, Target(ids=tuple(ids), paths=paths), values, actions=actions)
        return seen

    def _told(self, changes: ChangeSet, lines: Sequence[Line]) -> None:
        """Turn what core and plugins refused into faults of rows."""
        by_row = {n.row: n for n in lines}
        for error in changes.errors:
            row = error.path[1] if len(error.path) > 1 and error.path[0] == PATH else None
            if isinstance(row, int) and row in by_row:
                by_row[row].faults.append(self._heard(by_row[row], error))
        _drain(changes)

    def _heard(self, line: Line, error: UserError) -> RowFault:
        name = str(error.path[2]) if len(error.path) > 2 else ""
        goal = {"ownerId": OWNER, "referrerId": "referrer"}.get(name, name)
        column = self.reader.plan.column(goal)
        index = None if column is None else column.index
        return told(self.reader.locale, line.row, error.code, error.message, index, goal, line.cell(column))

    def _dependent(self, changes: ChangeSet, lines: Sequence[Line]) -> list[RowFault]:
        """Faults of contacts and groups, which their rows share."""
        by_row = {n.row: n for n in lines}
        found = {}
        for error in changes.errors:
            row = error.path[1] if len(error.path) > 1 else None
            if isinstance(row, int) and row in by_row:
                goal = ".".join(map(str, error.path[2:]))
                column = self.reader.plan.column(goal)
                index = None if column is None else column.index
                found[row] = told(
                    self.reader.locale, row, error.code, error.message, index, goal, by_row[row].cell(column)
                )
        _drain(changes)
        return list(found.values())


def _drain(changes: ChangeSet) -> None:
    """Forget what was reported: a change set of a million rows must not keep it."""
    changes.errors.clear()
    changes.warnings.clear()
    changes.failed.clear()


def _united(one: Sequence[str] | None, more: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*(one or ()), *more]))
