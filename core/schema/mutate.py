"""Doing one mutation: one transaction around its work and its answer, at most once per idempotency key."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import asyncpg
import orjson
import structlog
from graphql import GraphQLObjectType, print_ast
from graphql.execution.values import get_argument_values

from core import meters, tracing
from core.arguments import Argument, argument_of
from core.changes import ACCESS, ChangeSet, Committed
from core.collisions import retried
from core.errors import BadInput, IdempotencyConflict, Refused, Unauthenticated, UserError
from core.messages import text
from core.operations import Call, Mutation, Payload, Prelude
from core.schema.bulk import authorise, named, size_of_job, start, terms
from core.schema.running import Fetch, Running

log = structlog.get_logger("crm.mutation")

ATTEMPTS = 4
#: Seconds to wait at most before the second attempt; twice as long before each further one.
PAUSE = 0.02
#: Seconds for which a request waits for another one with its idempotency key; most between two looks, where that is
#: another process's. It waits without a connection, or a few clients that repeat themselves would hold them all.
PATIENCE = 30.0
LONGEST_PAUSE = 0.25
NOBODY = UUID(int=0)
_STILL_RUNS = "the first request with this idempotency key still runs"
_TURNS: WeakValueDictionary[Any, asyncio.Lock] = WeakValueDictionary()

Answer = TypeVar("Answer")

#: Opens a transaction on a connection of the workspace; used as `async with begin() as connection`.
Begin = Callable[[], Any]


class _Roll(Exception):
    """Leaves the transaction by its rollback, with the answer that stands all the same."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer


class _InProgress(Exception):
    """Another request with the same idempotency key is being done."""


def _in_turn(connection: Any) -> Fetch:
    """Reads on the transaction's connection, one after the other, however many places of an answer ask at once."""
    turn = asyncio.Lock()

    async def fetch(text: str, values: Sequence[Any]) -> Any:
        async with turn:
            with tracing.statement(text):
                return await connection.fetchval(text, *values)

    return fetch


class Mutator:
    """Does the mutations of one operation; bulk ones of more than `at_once` records as jobs, unless that is None."""

    def __init__(self, begin: Begin, at_once: int | None = None) -> None:
        self.begin = begin
        self.at_once = at_once

    async def run(self, executor: Any, running: Running, parent: GraphQLObjectType, details: Any, path: Any) -> Any:
        """Do one root field of a mutation and return its payload as JSON; errors end up in the result's `errors`."""
        node = details[0].node
        definition = parent.fields[node.name.value]
        info = executor.build_resolve_info(definition, [d.node for d in details], parent, path)
        try:
            given = named(get_argument_values(definition, node, executor.variable_values))
            mutation = running.composition.mutations[node.name.value]
            self._authorise(running, mutation)
            prepared, began = None, time.monotonic()
            if mutation.before is not None:
                values = given.get("input") or {}
                prepared = await mutation.before(Prelude(values, running.context, running.policy, self.begin))

            async def once() -> Any:
                with tracing.span("change set", crm__mutation=mutation.name):
                    return await self._once(
                        executor, running, mutation, definition, details, info, path, given, prepared
                    )

            async with _turn(running, given.get("idempotencyKey")):
                done = await repeated(once)
        except asyncpg.IntegrityConstraintViolationError as error:
            return await self._refuse(executor, running, error, definition, details, info, path)
        except Exception as error:  # noqa: BLE001 - the executor tells the caller's faults from ours
            executor.handle_field_error(error, definition.type, details, path)
            return None
        else:
            meters.MUTATIONS.observe(time.monotonic() - began)
            return done

    async def _refuse(
        self, executor: Any, running: Running, error: Any, definition: Any, details: Any, info: Any, path: Any
    ) -> Any:
        """The payload where a constraint of the database, rather than a check, stood in the way."""
        duplicate = isinstance(error, asyncpg.UniqueViolationError)
        params = {"constraint": error.constraint_name or error.column_name or ""}
        message = text("constraint_unique" if duplicate else "constraint", running.context.locale, **params)
        refused = UserError(("input",), "DUPLICATE" if duplicate else "INVALID", message, params)
        value = _payload(definition.type, Payload({}, [refused]), None)
        completed = executor.complete_value(definition.type, details, info, path, value, None)
        return await completed if executor.is_awaitable(completed) else completed

    @staticmethod
    def _authorise(running: Running, mutation: Mutation) -> None:
        actor = running.context.actor
        if mutation.signed_in and actor.user_id is None and not actor.grants.unlimited:
            raise Unauthenticated("sign in first")
        authorise(running.policy, mutation)

    async def _once(
        self,
        executor: Any,
        running: Running,
        mutation: Mutation,
        definition: Any,
        details: Any,
        info: Any,
        path: Any,
        given: dict[str, Any],
        prepared: Any,
    ) -> Any:
        dry_run = bool(given.get("dryRun"))
        key = given.get("idempotencyKey")
        committed: Committed | None = None
        try:
            async with self.begin() as connection:
                outer = running.fetch
                running.fetch = _in_turn(connection)
                try:
                    if key is not None:
                        stored = await _claim(connection, running, key, details)
                        if stored is not None:
                            return orjson.Fragment(stored)
                    changes = self._change_set(connection, running, mutation, given)
                    try:
                        payload = await self._work(running, mutation, changes, details, given, dry_run, prepared)
                        refused = bool(payload.errors) and not changes.skip_failed
                    except Refused as error:
                        payload, refused = Payload({}, error.errors, changes.warnings), True
                    committed = None if refused else await changes.finish()
                    written = {"id": str(changes.id), "counts": changes.counts} if committed else None
                    value = _payload(definition.type, payload, written)
                    answer = await self._answer(executor, value, definition, details, info, path)
                    if dry_run or refused:
                        raise _Roll(answer)
                    if key is not None:
                        await _keep(connection, running, key, answer)
                finally:
                    running.fetch = outer
        except _Roll as rolled:
            return orjson.Fragment(rolled.answer)
        if committed is not None:
            meters.committed(committed.source, committed.touched.values())
            if ACCESS & committed.touched.keys() and (auth := running.context.extra.get("auth")):
                # Other processes hear of it by NOTIFY; this one does not wait for that.
                auth.forget(running.context.workspace.slug)
            await running.composition.hooks.announce("committed", change_set=committed)
        if mutation.after is not None:
            await mutation.after(running.context)
        return orjson.Fragment(answer)

    @staticmethod
    def _change_set(connection: Any, running: Running, mutation: Mutation, given: dict[str, Any]) -> ChangeSet:
        source, skip_failed = terms(mutation.name, given.get("input") or {})
        return ChangeSet(
            connection,
            running.context,
            running.policy,
            running.composition.hooks,
            source=source,
            operation=mutation.name,
            skip_failed=skip_failed,
        )

    async def _work(
        self,
        running: Running,
        mutation: Mutation,
        changes: ChangeSet,
        details: Any,
        given: dict[str, Any],
        dry_run: bool,
        prepared: Any,
    ) -> Payload:
        def find(way: str) -> Argument | None:
            first, *rest = way.split(".")
            found = _arguments(running, details).get(first)
            for name in rest:
                found = found.get(name) if found else None
            return found

        values = given.get("input") or {}
        context, policy = running.context, running.policy
        call = Call(mutation.name, values, find, context, policy, changes, running.variables, dry_run, prepared)
        if self.at_once is not None and not dry_run and (size := await size_of_job(mutation, call, self.at_once)):
            return await start(call, size)
        payload = await mutation.run(call)
        errors, warnings = (*payload.errors, *changes.errors), (*payload.warnings, *changes.warnings)
        return Payload(payload.members, errors, warnings)

    async def _answer(
        self,
        executor: Any,
        value: dict[str, Any],
        definition: Any,
        details: Any,
        info: Any,
        path: Any,
    ) -> bytes:
        """The payload as the client asks for it, finished while the transaction is still open."""
        before = len(executor.collected_errors.errors)
        completed = executor.complete_value(definition.type, details, info, path, value, None)
        if executor.is_awaitable(completed):
            completed = await completed
        if len(executor.collected_errors.errors) > before:
            raise _Roll(orjson.dumps(completed))
        return orjson.dumps(completed)


async def repeated(once: Callable[[], Awaitable[Answer]]) -> Answer:
    """Do something again where another transaction was quicker, or until another process has done it."""
    until, pause = time.monotonic() + PATIENCE, PAUSE
    while True:
        try:
            # Whoever was slower looks again, so that core's checks can say what is in the way.
            return await retried(once, attempts=ATTEMPTS, pause=PAUSE)
        except _InProgress:
            if time.monotonic() > until:
                raise IdempotencyConflict(_STILL_RUNS) from None
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - no secret
            pause = min(2 * pause, LONGEST_PAUSE)


@asynccontextmanager
async def _turn(running: Running, key: str | None) -> AsyncIterator[None]:
    """One at a time for each idempotency key in this process; whoever waits holds no connection."""
    if key is None:
        yield
        return
    context = running.context
    lock = _TURNS.setdefault((context.workspace.id, context.actor.user_id, key), asyncio.Lock())
    try:
        async with asyncio.timeout(PATIENCE):
            await lock.acquire()
    except TimeoutError:
        raise IdempotencyConflict(_STILL_RUNS) from None
    try:
        yield
    finally:
        lock.release()


def _payload(type_: Any, payload: Payload, written: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "__typename": type_.name,
        **_empty(type_),
        **payload.members,
        "userErrors": [e.shown() for e in payload.errors],
        "warnings": [e.shown() for e in payload.warnings],
        "changeSet": written,
    }


def _empty(type_: Any) -> dict[str, Any]:
    """Empty values for the lists and counts of a payload that was refused."""
    found: dict[str, Any] = {}
    for name, member in type_.fields.items():
        shown = str(member.type)
        if shown.endswith("]!"):
            found[name] = []
        elif shown == "JSON!":
            found[name] = {}
    return found


def _arguments(running: Running, details: Any) -> dict[str, Argument]:
    node = details[0].node
    schema = running.composition.schema
    assert schema.mutation_type is not None
    declared = schema.mutation_type.fields[node.name.value].args
    found = {}
    for argument in node.arguments or ():
        value = argument_of(argument.value, declared[argument.name.value].type, running.variables)
        if value is not None:
            found[argument.name.value] = value
    return found


def _fingerprint(running: Running, details: Any) -> str:
    """What a key stands for: the field as it is written, its fragments and variables, and what the actor may see."""
    asked = "".join(print_ast(d.node) for d in details) + running.policy.grants.fingerprint
    asked += "".join(print_ast(f) for f in running.document.fragments.values())
    # An upload is what its text says, not where it lies for the moment.
    option = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
    used = orjson.dumps(running.variables, option=option, default=str)
    return hashlib.sha256(asked.encode() + b"\0" + used).hexdigest()


async def _claim(connection: Any, running: Running, key: str, details: Any) -> bytes | None:
    """Claim a key; returns the stored answer where the work is done already.

    Raises _InProgress while somebody else holds it.
    """
    if not 1 <= len(key) <= 200:
        raise BadInput("an idempotency key has 1 to 200 characters")
    actor = running.context.actor.user_id or NOBODY
    print_ = _fingerprint(running, details)
    free = await connection.fetchval(
        "select pg_try_advisory_xact_lock(hashtextextended(current_schema() || '.idempotency.' || $1 || '.' || $2, 0))",
        str(actor),
        key,
    )
    if not free:
        raise _InProgress
    await connection.execute(
        "delete from idempotency where actor_id = $1 and key = $2 and at < $3::timestamptz - interval '1 day'",
        actor,
        key,
        running.context.now,
    )
    claimed = await connection.fetchval(
        "insert into idempotency (key, actor_id, fingerprint, at) values ($1, $2, $3, $4) "
        "on conflict do nothing returning true",
        key,
        actor,
        print_,
        running.context.now,
    )
    if claimed:
        return None
    row = await connection.fetchrow(
        "select fingerprint, response from idempotency where actor_id = $1 and key = $2", actor, key
    )
    if row is None or row["fingerprint"] != print_:
        raise IdempotencyConflict("this idempotency key was used with another input")
    stored: bytes = row["response"]
    return stored


async def _keep(connection: Any, running: Running, key: str, answer: bytes) -> None:
    actor = running.context.actor.user_id or NOBODY
    await connection.execute(
        "update idempotency set response = $3 where actor_id = $1 and key = $2", actor, key, answer
    )
