"""Declarations of what can be asked and done besides reading records: mutations and computed queries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from core.errors import UserError

if TYPE_CHECKING:
    from core.arguments import Argument as Given
    from core.changes import ChangeSet
    from core.context import RequestContext
    from core.hooks import Hooks
    from core.policy import Policy


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of an operation or a member of its input: name, GraphQL type, description and default."""

    name: str
    type: str
    description: str
    default: Any = ...


@dataclass(frozen=True, slots=True)
class InputType:
    """A plain input type used by arguments of operations."""

    name: str
    description: str
    members: tuple[Argument, ...]
    plugin: str = "core"


@dataclass(frozen=True, slots=True)
class Member:
    """A field of a payload or of an answer: name, GraphQL type and description.

    `deprecated` says in a sentence what clients should use instead, here and in queries and mutations.
    """

    name: str
    type: str
    description: str
    deprecated: str = ""


@dataclass(frozen=True, slots=True)
class Records:
    """Records in an answer, at any depth, to be read as the client asks: one, or a list in the order of the ids.

    Those that stand at one place of a list's items are read together, in one statement.
    """

    record: str
    ids: Sequence[UUID]
    single: bool = False


@dataclass(frozen=True, slots=True)
class Payload:
    """What a mutation answers: its members by name (plain JSON values or `Records`) and the caller's faults.

    `warnings` are what he should know although nothing was refused for it.
    """

    members: Mapping[str, Any] = field(default_factory=dict)
    errors: Sequence[UserError] = ()
    warnings: Sequence[UserError] = ()


@dataclass(frozen=True, slots=True)
class Prelude:
    """A mutation that is about to be done, while no connection is held for it.

    `begin` opens a transaction of its own: `async with prelude.begin() as connection`.
    """

    input: Mapping[str, Any]
    context: RequestContext
    policy: Policy
    begin: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One mutation being done: what was asked, by whom, and the change set all its writes go into.

    `input` holds the coerced arguments by GraphQL name (enums as their names,
    ids as text); `given` finds the
    argument that a dotted path leads to, for conditions (whose values may lie in the `variables`). `dry_run` is for
    knowing only: the runner rolls back. `prepared` is what the mutation's `before` returned.
    """

    name: str
    input: Mapping[str, Any]
    given: Callable[[str], Given | None]
    context: RequestContext
    policy: Policy
    changes: ChangeSet
    variables: dict[str, Any]
    dry_run: bool = False
    prepared: Any = None


@dataclass(frozen=True, slots=True)
class Mutation:
    """A mutation: noun first (`customerMerge`).

    Core adds `dryRun`, `idempotencyKey`, `userErrors`, `warnings` and `changeSet`.

    `input` are the members of its one `input` argument (none: no argument). `ability`, or the `action` on the
    `record`, is demanded before `run` is called. Only sign-in itself is open to those not `signed_in`.
    `before` is for what takes long and needs no transaction, such as hashing: it is awaited once the actor is known to
    be allowed, before the transaction is opened, so that no connection waits for it; what it writes stays. One that is
    `tokenless` is done whatever becomes of a token that comes with it, as an expired one does with signing in anew.
    `after` is called once what was done is committed, before the answer goes out; it must not fail.

    With `size`, which says how many records a call is about, it is a bulk mutation: where they are too many to wait
    for, the same is done as a job, the payload has that `job` and nothing else, and `after` is not called.
    """

    name: str
    description: str
    run: Callable[[Call], Awaitable[Payload]]
    input: tuple[Argument, ...] = ()
    payload: tuple[Member, ...] = ()
    record: str = ""
    action: str = ""
    ability: str = ""
    signed_in: bool = True
    tokenless: bool = False
    before: Callable[[Prelude], Awaitable[Any]] | None = None
    size: Callable[[Call], Awaitable[int]] | None = None
    after: Callable[[RequestContext], Awaitable[None]] | None = None
    deprecated: str = ""
    plugin: str = "core"


@dataclass(frozen=True, slots=True)
class Query:
    """A root query field answered in Python, such as an explanation. Returns JSON values or `Records`.

    `resolve` gets the coerced arguments by GraphQL name. The `ability` is demanded before, and that somebody has
    `signed_in`, unless it is open to everybody.
    """

    name: str
    description: str
    type: str
    resolve: Callable[[Ask], Awaitable[Any]]
    arguments: tuple[Argument, ...] = ()
    ability: str = ""
    deprecated: str = ""
    signed_in: bool = True
    plugin: str = "core"


@dataclass(frozen=True, slots=True)
class Ask:
    """One computed query being answered. `fetch` runs a read on the workspace's database.

    `given` finds the argument that a dotted path leads to, for conditions (whose values may lie in the `variables`).
    """

    name: str
    arguments: Mapping[str, Any]
    context: RequestContext
    policy: Policy
    fetch: Callable[..., Awaitable[Any]]
    given: Callable[[str], Given | None]
    variables: dict[str, Any]
    hooks: Hooks


@dataclass(frozen=True, slots=True)
class ObjectType:
    """A plain object type used by payloads and computed queries."""

    name: str
    description: str
    members: tuple[Member, ...]
    user_error: bool = False
    plugin: str = "core"
