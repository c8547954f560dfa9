"""Who acts, where, and in which request: frozen values handed down, never globals."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from core import clock

if TYPE_CHECKING:
    from core.grants import Grants


class ActorKind(Enum):
    """What kind of being acts."""

    USER = "USER"
    API_KEY = "API_KEY"
    SYSTEM = "SYSTEM"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a user, an API key acting for a user, or the system.

    `team_ids` are the teams he belongs to, `mate_ids` the members of those teams (himself included);
    `grants` is the union of what his roles allow. `token_id` names the session or key, for revocation.
    """

    kind: ActorKind
    grants: Grants
    user_id: UUID | None = None
    login: str = ""
    display_name: str = ""
    team_ids: tuple[UUID, ...] = ()
    mate_ids: tuple[UUID, ...] = ()
    locale: str = "vi"
    token_id: UUID | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Workspace:
    """One customer of the deployer: its PostgreSQL schema and role, and its regional defaults.

    `database_url` is None where it lives in the deployment's own database.
    """

    id: UUID
    slug: str
    schema: str
    role: str
    database_url: str | None = None
    hostname: str | None = None
    time_zone: str = "Asia/Ho_Chi_Minh"
    locale: str = "vi"
    currency: str = "VND"
    country: str = "VN"


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Everything one request knows. `now` is fixed for the whole request, so one answer has one time."""

    workspace: Workspace
    actor: Actor
    request_id: str = ""
    locale: str = "vi"
    now: datetime = field(default_factory=clock.now)
    client: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
