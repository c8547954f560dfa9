"""Bulk mutations that are too large to wait for: the same mutation, done as a job by the same actor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from graphql import GraphQLObjectType, Undefined
from graphql.utilities import coerce_input_value

from core.arguments import Argument, given
from core.errors import BadInput, NotFound, Refused
from core.grants import Reach
from core.jobs import JobContext, JobType, enqueue
from core.operations import Call, Mutation, Payload, Records
from core.policy import Policy
from core.schema.executor import plain

KIND = "core.bulk"
#: Most user errors that a job keeps in its result.
TOLD = 200
#: How far a job is at most while its change set is not committed.
NEARLY = 0.99


def authorise(policy: Policy, mutation: Mutation) -> None:
    """Raise Forbidden unless the actor may do a mutation at all."""
    if mutation.ability:
        policy.demand(mutation.ability)
    if mutation.record:
        policy.demand_action(mutation.record, mutation.action)


def terms(name: str, values: Mapping[str, Any]) -> tuple[str, bool]:
    """The source of a mutation's change set, and whether what fails is left out of it."""
    source = "UNDO" if name == "changeSetUndo" else "MUTATION"
    return source, source == "UNDO" or values.get("errorPolicy") == "SKIP_FAILED"


def named(value: Any) -> Any:
    """A coerced value with enum members as their names; changed in place, for a bulk mutation's input is large."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            value[key] = named(part)
        return value
    return plain(value)


async def size_of_job(mutation: Mutation, call: Call, at_once: int) -> int:
    """How many records a bulk mutation is about, where it is to be done as a job; else 0.

    Whoever may not read his own jobs could not learn what came of it, so that he waits.
    """
    if mutation.size is None or call.policy.grants.reach("Job", "read") is Reach.NONE:
        return 0
    size = await mutation.size(call)
    return size if size > at_once else 0


async def start(call: Call, size: int) -> Payload:
    """Enqueue a bulk mutation in its own transaction; the payload has the job."""
    values = orjson.loads(orjson.dumps(call.input, default=str))
    order = {"mutation": call.name, "input": values, "size": size}
    id_ = await enqueue(call.changes.connection, call.context.workspace, KIND, order, call.context.actor)
    return Payload({"job": Records("Job", [id_], single=True)})


async def _run(job: JobContext) -> Mapping[str, Any]:
    """Do the mutation that a job stands for, in one change set. Raises what the mutation would raise."""
    if job.change_sets:
        return {}  # an earlier attempt committed it and was lost before it could say so
    name, size = job.input["mutation"], job.input["size"]
    mutation = job.composition.mutations.get(name)
    if mutation is None:
        raise NotFound(f"there is no mutation {name} any more")
    authorise(job.policy, mutation)
    root = job.composition.schema.mutation_type
    assert root is not None
    values, find = _input(root, job)
    source, skip_failed = terms(name, values)
    counts: dict[str, Any] = {}
    async with job.change_set(name, source=source, skip_failed=skip_failed, fraction=1, counts=counts) as changes:

        async def written() -> None:
            done = sum(sum(by_action.values()) for by_action in changes.touched.values())
            await job.progress(min(NEARLY, done / max(size, 1)))

        changes.written = written
        call = Call(name, values, find, job.context, job.policy, changes, {"input": values})
        payload = await mutation.run(call)
        errors = [*payload.errors, *changes.errors]
        if errors and not skip_failed:
            raise Refused(errors)
        counts |= {**changes.counts, "skipped": len(changes.failed)}
    members = {k: v for k, v in payload.members.items() if not isinstance(v, Records)}
    warnings = [*payload.warnings, *changes.warnings]
    return {
        **members,
        "userErrors": [e.shown() for e in errors[:TOLD]],
        "warnings": [e.shown() for e in warnings[:TOLD]],
    }


def _input(root: GraphQLObjectType, job: JobContext) -> tuple[dict[str, Any], Any]:
    """The input that the job keeps as the mutation takes it, and what finds its parts."""
    type_ = root.fields[job.input["mutation"]].args["input"].type
    coerced: Any = coerce_input_value(job.input["input"], type_)
    if coerced is Undefined:
        raise BadInput(f"the input of {job.input['mutation']} does not fit any more: the schema has changed")
    # Before names take the place of enum members.
    whole = given(coerced, type_, ("input",))

    def find(way: str) -> Argument | None:
        first, *rest = way.split(".")
        found: Argument | None = whole if first == "input" else None
        for part in rest:
            found = found.get(part) if found else None
        return found

    values: dict[str, Any] = named(coerced)
    return values, find


BULK = JobType(KIND, "Does a bulk mutation that is too large to wait for.", _run)
