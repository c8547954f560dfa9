"""Every error the system raises on purpose, as one tree with stable codes.

::

    CrmError                        INTERNAL_SERVER_ERROR
    ├── ConfigError                 CONFIG            a setting, file, port or folder is wrong
    ├── DatabaseError               DATABASE          the database is unreachable, too old or too new
    │   └── MigrationError          MIGRATION         a workspace could not be migrated
    ├── CompositionError            COMPOSITION       declarations contradict each other
    ├── PluginError                 PLUGIN            a plugin cannot be loaded or misbehaved
    └── ClientError                 BAD_REQUEST       the caller can read it; it is never masked
        ├── BadInput                BAD_USER_INPUT
        │   └── InvalidRule         INVALID_RULE      a stored condition does not fit the feature set
        ├── Unauthenticated         UNAUTHENTICATED
        ├── Forbidden               FORBIDDEN
        ├── NotFound                NOT_FOUND
        ├── LimitExceeded           LIMIT_EXCEEDED
        ├── TookTooLong             STATEMENT_TIMEOUT
        ├── PluginFailed            PLUGIN_FAILED     for those who may switch plugins: which one, and why
        ├── TooManyRequests         RATE_LIMITED
        ├── IdempotencyConflict     IDEMPOTENCY_CONFLICT
        └── Refused                 REFUSED           carries the user errors that go into a payload

A code is part of the API: clients compare it, messages are for people and may change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


class CrmError(Exception):
    """Base of the tree. `message` is one line for people; `params` are the facts in it, by name."""

    code: ClassVar[str] = "INTERNAL_SERVER_ERROR"

    def __init__(self, message: str, **params: Any) -> None:
        super().__init__(message)
        self.message = message
        self.params = params


class ConfigError(CrmError):
    """A setting, file, port or folder is wrong."""

    code = "CONFIG"


class DatabaseError(CrmError):
    """The database is unreachable, too old or too new."""

    code = "DATABASE"


class MigrationError(DatabaseError):
    """A workspace could not be migrated."""

    code = "MIGRATION"


class CompositionError(CrmError):
    """Declarations contradict each other."""

    code = "COMPOSITION"


class PluginError(CrmError):
    """A plugin cannot be loaded or has misbehaved."""

    code = "PLUGIN"


class ClientError(CrmError):
    """Something that the caller can read; it is never masked."""

    code = "BAD_REQUEST"


class BadInput(ClientError):
    """What was given cannot be meant."""

    code = "BAD_USER_INPUT"


class InvalidRule(BadInput):
    """A stored condition does not fit the feature set."""

    code = "INVALID_RULE"


class Unauthenticated(ClientError):
    """Nobody knows who is asking."""

    code = "UNAUTHENTICATED"


class Forbidden(ClientError):
    """The actor may not do this."""

    code = "FORBIDDEN"


class NotFound(ClientError):
    """There is no such thing, or the actor may not see it."""

    code = "NOT_FOUND"


class LimitExceeded(ClientError):
    """More was asked for than one request may have."""

    code = "LIMIT_EXCEEDED"


class TookTooLong(ClientError):
    """A statement was broken off after the time that it may run."""

    code = "STATEMENT_TIMEOUT"


class PluginFailed(ClientError):
    """For those who may switch plugins: which one failed, and why."""

    code = "PLUGIN_FAILED"

    def __init__(self, plugin: str, reason: str) -> None:
        super().__init__(f"plugin {plugin}: {reason}", plugin=plugin, reason=reason)


class TooManyRequests(ClientError):
    """The actor has used up what he may ask in this time."""

    code = "RATE_LIMITED"


class IdempotencyConflict(ClientError):
    """An idempotency key was used with another input, or is in use."""

    code = "IDEMPOTENCY_CONFLICT"


@dataclass(frozen=True, slots=True)
class UserError:
    """A fault the caller can correct; it travels in a mutation's payload, never as an exception.

    `path` leads from the mutation's arguments to the faulty value; `params` are the facts the translated
    message is made of; `kind` is the GraphQL type, `UserError` implementations of plugins name their own
    and put that type's extra fields into `fields`.
    """

    path: tuple[str | int, ...]
    code: str
    message: str
    params: dict[str, Any] = field(default_factory=dict)
    kind: str = "SimpleUserError"
    fields: dict[str, Any] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """The fault as JSON, as payloads show it."""
        return {
            "__typename": self.kind,
            "path": [str(p) for p in self.path],
            "code": self.code,
            "message": self.message,
            "params": self.params,
            **self.fields,
        }


class Refused(ClientError):
    """A change set cannot be applied as asked: rolled back, `errors` become the payload's `userErrors`."""

    code = "REFUSED"

    def __init__(self, errors: Sequence[UserError]) -> None:
        super().__init__("; ".join(e.message for e in errors[:5]) or "refused")
        self.errors = tuple(errors)
