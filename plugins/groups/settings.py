"""What a workspace can set."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Settings(BaseModel, extra="forbid", frozen=True):
    """The settings of the groups plugin."""

    max_groups_per_customer: int = Field(
        200, ge=1, le=10_000, description="How many groups one customer can be in at most."
    )
