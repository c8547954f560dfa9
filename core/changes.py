"""Change sets: the only write path. Authorise, check the batch, write set-based, journal, publish after commit.

A `ChangeSet` lives inside one database transaction that its opener commits or rolls back. Rows pass through it
in batches of `BATCH`, so that a hundred thousand of them need no more memory than one batch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import asyncpg

from core.catalog import Record
from core.checks import check_batch
from core.condition import Conditions
from core.context import RequestContext
from core.errors import Forbidden, Refused, UserError
from core.grants import SYSTEM, Access
from core.hooks import Hooks
from core.journal import store
from core.messages import text
from core.policy import Policy
from core.predicate import TRUE, constant
from core.records import Write
from core.rows import Fault, Path, Row, new_id, normalise, same
from core.sql import quote
from core.targets import BATCH, Target, locked

__all__ = ["ACCESS", "BATCH", "Batch", "ChangeSet", "Committed", "Target"]

#: What actions have done to records.
DONE = {"create": "created", "update": "updated", "delete": "deleted", "restore": "restored"}

#: Record types whose changes alter what actors may do, so that every process must forget what it knows of them.
ACCESS = frozenset({"User", "Team", "TeamMember", "Role", "UserRole", "PermissionGrant", "FieldRule"})


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one record type that one action writes: `create`, `update`, `delete` or `restore`."""

    record: Record
    action: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Committed:
    """A change set that was committed: `touched` counts rows by record type and action."""

    id: UUID
    context: RequestContext
    source: str
    operation: str
    touched: Mapping[str, Mapping[str, int]]


@dataclass
class ChangeSet:
    """One batch of writes inside one transaction.

    With `skip_failed` faulty rows are left out (`failed`) and reported in `errors`; else the first batch with faults
    raises Refused and the opener rolls back. Plugins write through the same object that they are given in hooks.
    `guarded` is whether record types' own invariants are kept here. `warnings` are what the caller should know of rows
    that were written. `written` is awaited after each batch. `memory` is for plugins: what a check found out and a
    later hook of the same change set needs.
    """

    connection: asyncpg.Connection
    context: RequestContext
    policy: Policy
    hooks: Hooks
    source: str = "MUTATION"
    operation: str = ""
    reason: str = ""
    skip_failed: bool = False
    undoes: UUID | None = None
    guarded: bool = True
    written: Callable[[], Awaitable[None]] | None = None
    id: UUID = field(default_factory=new_id)
    errors: list[UserError] = field(default_factory=list)
    warnings: list[UserError] = field(default_factory=list)
    failed: set[Any] = field(default_factory=set)
    touched: dict[str, dict[str, int]] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many records were created, updated, deleted and restored."""
        return {done: sum(n.get(action, 0) for n in self.touched.values()) for action, done in DONE.items()}

    def system(self) -> ChangeSet:
        """The same change set as the system writes to it, bound neither by policy nor by record types' invariants."""
        return replace(self, policy=Policy(self.policy.catalog, SYSTEM), guarded=False)

    def skip(self, errors: Mapping[Any, UserError]) -> None:
        """Leave records out, given by what names them. Raises Refused where none may be left out."""
        if not errors:
            return
        if not self.skip_failed:
            raise Refused(list(errors.values()))
        self.failed |= errors.keys()
        self.errors += errors.values()

    async def create(
        self, name: str, rows: Iterable[Mapping[str, Any]], path: Callable[[int], Path] = lambda _: ("input",)
    ) -> list[UUID]:
        """Create records from values by field name; returns their ids, in order, without those that were skipped.

        Raises Refused for faults of the caller, Forbidden where he may not create such records.
        """
        record = self.policy.catalog[name]
        if not record.type.follows:
            self.policy.demand_action(name, "create")
        created: list[UUID] = []
        batch: list[tuple[Path, Mapping[str, Any]]] = []
        for i, values in enumerate(rows):
            batch.append((path(i), values))
            if len(batch) == BATCH:
                created += await self._create(record, batch)
                batch = []
        if batch:
            created += await self._create(record, batch)
        return created

    async def update(
        self,
        name: str,
        target: Target,
        values: Mapping[str, Any] | Callable[[Row], Mapping[str, Any]],
        expected_version: int | None = None,
        actions: Sequence[str] = ("update",),
    ) -> list[UUID]:
        """Set fields of the targeted records, the same for all or by row; returns their ids, without those skipped.

        Values that are equal already are no change: such a record keeps its version and is not journaled. The actor
        must be allowed all `actions`; whoever gives an owner away must be allowed to transfer, and says so in them
        where the values differ by row.
        """
        record = self.policy.catalog[name]
        uniform = values if isinstance(values, Mapping) else None
        if uniform is not None:
            self._demand_writable(record, uniform)
            if self._owner_field(record) in uniform and "transfer" in record.type.actions:
                actions = (*actions, "transfer")
        found: list[UUID] = []
        # The same values fit, or do not, for every row alike; faults are told row by row.
        once = None if uniform is None else normalise(record, uniform, Row(new_id(), None, None), self.context.locale)
        settled = once[0] if once is not None and not once[1] else None
        async for rows in locked(self, record, target, actions):
            faults: list[Fault] = []
            changed: list[Row] = []
            for row in rows:
                if expected_version is not None and row.version != expected_version:
                    faults.append(self._stale(record, row, expected_version))
                    continue
                if settled is not None:
                    self._apply(record, row, settled)
                else:
                    wanted = uniform if uniform is not None else values(row)  # type: ignore[operator]
                    if uniform is None:
                        self._demand_writable(record, wanted, actions=actions)
                    new, problems = normalise(record, wanted, row, self.context.locale)
                    faults += problems
                    self._apply(record, row, new)
                if row.changed:
                    changed.append(row)
            await self._write(record, "update", changed, faults)
            found += [row.id for row in rows if row.id not in self.failed]  # type: ignore[misc]
        return found

    async def delete(self, name: str, target: Target, expected_version: int | None = None) -> list[UUID]:
        """Delete the targeted records (softly, where the type keeps deleted rows); returns their ids."""
        return await self._act(name, "delete", target, expected_version)

    async def restore(self, name: str, target: Target) -> list[UUID]:
        """Restore deleted records; returns their ids."""
        return await self._act(name, "restore", target, None)

    async def reached(self, name: str, target: Target, *actions: str, shared: bool = False) -> list[UUID]:
        """The ids of the targeted records, locked, on which the actor may take all of some actions.

        With `shared` nobody changes them meanwhile, but others may hold on to them as well.
        """
        record = self.policy.catalog[name]
        found = locked(self, record, target, actions, shared=shared)
        return [row.id async for rows in found for row in rows]  # type: ignore[misc]

    async def recreate(self, name: str, images: Iterable[tuple[UUID, dict[str, Any]]]) -> None:
        """Put back rows that were really removed, as they were: undo's way of restoring links."""
        record = self.policy.catalog[name]
        rows = [Row(id_, None, image, frozenset(image)) for id_, image in images]
        await self._write(record, "create", rows, [])

    async def finish(self) -> Committed | None:
        """Write the change set's own row, last thing before the commit; None where nothing changed."""
        if not self.touched:
            return None
        actor = self.context.actor
        await self.connection.execute(
            "insert into change_set (id, at, actor_id, actor_kind, source, reason, operation, undoes, counts) "
            "values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            self.id,
            self.context.now,
            actor.user_id,
            actor.kind.value,
            self.source,
            self.reason,
            self.operation,
            self.undoes,
            self.counts,
        )
        workspace = self.context.workspace.slug
        await self.connection.execute("select pg_notify('crm_changes', $1)", f"{workspace} {self.id}")
        if ACCESS & self.touched.keys():
            await self.connection.execute("select pg_notify('crm_access', $1)", workspace)
        return Committed(self.id, self.context, self.source, self.operation, self.touched)

    async def _create(self, record: Record, batch: list[tuple[Path, Mapping[str, Any]]]) -> list[UUID]:
        rows: list[Row] = []
        faults: list[Fault] = []
        defaults, blank = self._blank(record)
        demanded: set[tuple[str, ...]] = set()
        for path, values in batch:
            if (names := tuple(values)) not in demanded:
                # An id is chosen by whoever has to know it before the record is there; no input of a client's has one.
                self._demand_writable(record, (n for n in names if n != "id"), creating=True)
                demanded.add(names)
            row = Row(values.get("id") or new_id(), None, {}, path=path)
            given = {**blank, **values}
            given.pop("id", None)
            for name, default in defaults.items():
                if given[name] is None:
                    given[name] = default
            new, problems = normalise(record, given, row, self.context.locale)
            faults += [p for p in problems if not (p.code == "REQUIRED" and record.fields[p.field].generate)]
            row.after = new
            row.changed = frozenset([k for k, v in new.items() if v is not None])
            rows.append(row)
        await self._generate(record, rows)
        written = await self._write(record, "create", rows, faults)
        return [r.id for r in written]  # type: ignore[misc]

    def _blank(self, record: Record) -> tuple[dict[str, Any], dict[str, Any]]:
        """Defaults by field name; and what a new record has before any value is given.

        That are required fields as nulls, so that the check finds those that were left out, the defaults, and the actor
        as the owner.
        """
        fields = record.fields.values()
        defaults = {f.name: f.default for f in fields if f.default is not None and f.generate is None}
        blank = {f.name: None for f in fields if f.required and f.writable} | defaults
        owner = self._owner_field(record)
        if owner and record.fields[owner].writable and not self.policy.grants.unlimited:
            blank[owner] = self.context.actor.user_id
        return defaults, blank

    async def _generate(self, record: Record, rows: list[Row]) -> None:
        """Let declarations make the values that were left out, such as customer codes."""
        for declared in record.fields.values():
            if declared.generate is None:
                continue
            missing = [r for r in rows if r.after is not None and r.after.get(declared.name) is None]
            if missing:
                # A unique value must differ from those given by hand in the same batch, too.
                taken = {r.after.get(declared.name) for r in rows if r.after} if declared.unique else set()
                values = [v for v in await declared.generate(self.connection, missing) if v not in taken]
                while len(values) < len(missing):
                    more = await declared.generate(self.connection, missing[len(values) :])
                    values += [v for v in more if v not in taken]
                for row, value in zip(missing, values, strict=True):
                    assert row.after is not None
                    row.after[declared.name] = value
                    row.changed |= {declared.name}

    async def _act(self, name: str, action: str, target: Target, expected: int | None) -> list[UUID]:
        record = self.policy.catalog[name]
        found: list[UUID] = []
        async for rows in locked(self, record, target, (action,), deleted=action == "restore"):
            faults = []
            for row in rows:
                if expected is not None and row.version != expected:
                    faults.append(self._stale(record, row, expected))
                row.after = dict(row.before or {}) if record.type.soft_delete else None
            written = await self._write(record, action, rows, faults)
            found += [r.id for r in written]  # type: ignore[misc]
        return found

    def _stale(self, record: Record, row: Row, expected: int) -> Fault:
        """That a record has another version by now; it says what is in it, as far as the actor may read that."""
        shown = {
            f.name: (row.before or {}).get(f.name)
            for f in record.exposed_fields()
            if f.sql is None and self.policy.readable(record, f.name)
        }
        params: dict[str, Any] = {"expected": expected, "actual": row.version}
        message = text("stale", self.context.locale, **params)
        return Fault(row, "STALE", message, "expectedVersion", {**params, "current": shown})

    def _demand_writable(
        self, record: Record, values: Iterable[str], *, creating: bool = False, actions: Sequence[str] | None = None
    ) -> None:
        """Raise Forbidden for a field that the actor may not write; an owner, with `actions`, only by a transfer."""
        for name in values:
            declared = record.fields.get(name)
            if declared is None:
                raise Forbidden(f"{record.name} has no field {name!r}")
            if self.policy.grants.unlimited:
                continue
            if actions is not None and name == self._owner_field(record) and "transfer" in record.type.actions:
                if "transfer" in actions:
                    continue
                raise Forbidden(f"you may not transfer this {record.name}")
            # What could be written once can be put back.
            computed = declared.write is Write.NEVER or (declared.write is Write.CREATE and not creating)
            if (computed and not self.undoes) or self.policy.access(record.name, name) is not Access.WRITE:
                raise Forbidden(f"you may not write {record.name}.{name}")

    @staticmethod
    def _owner_field(record: Record) -> str:
        column = record.type.owner
        return next((f.name for f in record.fields.values() if column and f.column == column), "")

    def _apply(self, record: Record, row: Row, new: Mapping[str, Any]) -> None:
        before = row.before or {}
        changed = {k for k, v in new.items() if not same(record.fields[k], before.get(k), v)}
        row.after = {**before, **{k: new[k] for k in changed}}
        row.changed = frozenset(changed)

    async def _write(self, record: Record, action: str, rows: list[Row], faults: list[Fault]) -> list[Row]:
        """Check and write a batch; returns the rows that were written."""
        rows = self._sound(rows, faults)
        batch = Batch(record, action, rows)
        more = await check_batch(self.connection, self.context, self.policy, batch)
        if self.hooks.implements("check"):
            for _, found in await self.hooks.call("check", batch=batch, changes=self):
                more += found
        faults += [f for f in more if not f.warning]
        rows = self._sound(rows, faults)
        bad = {f.row.id for f in faults}
        self.warnings += [f.user_error() for f in more if f.warning and f.row.id not in bad]
        if faults and not self.skip_failed:
            raise Refused([f.user_error() for f in faults])
        self.failed |= {f.row.id for f in faults}
        self.errors += [f.user_error() for f in faults]
        invariant = record.type.invariant if self.guarded else None
        if invariant is not None and rows:
            rows = list(await invariant.prepare(self, Batch(record, action, rows)))
        if not rows:
            return []
        await store(self, record, action, rows)
        totals = self.touched.setdefault(record.name, {})
        totals[action] = totals.get(action, 0) + len(rows)
        if action == "create" and not self.policy.grants.unlimited:
            await self._demand_created(record, rows)
        written = Batch(record, action, rows)
        if invariant is not None:
            await invariant.settle(self, written)
        if self.hooks.implements("changed"):
            await self.hooks.call("changed", batch=written, changes=self)
        if self.written is not None:
            await self.written()
        return rows

    @staticmethod
    def _sound(rows: list[Row], faults: Sequence[Fault]) -> list[Row]:
        bad = {id(f.row) for f in faults}
        return [r for r in rows if id(r) not in bad] if bad else rows

    async def _demand_created(self, record: Record, rows: list[Row]) -> None:
        """New rows must lie where the actor may create: not for others, not below what he cannot read."""
        conditions = Conditions(self.policy)
        alias = conditions.alias()
        scope = self.policy.scope(record.name, "create", deleted=None, reached="system" if record.type.follows else "")
        if scope.predicate == TRUE:
            return
        ids = conditions.operand(constant([r.id for r in rows]), "uuid[]")
        statement = (
            f"select count(*) from {quote(record.type.tablename)} {alias} where {alias}.id = any({ids}) "
            f"and {conditions.sql(scope.predicate, alias)} is not true"
        )
        values = [s({}, self.context) for s in conditions.parameters.sources]
        if await self.connection.fetchval(statement, *values):
            raise Forbidden(f"you may not create such {record.type.plural}")
