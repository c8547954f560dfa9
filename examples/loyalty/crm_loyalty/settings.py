"""What a workspace can set."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Settings(BaseModel, extra="forbid", frozen=True):
    """The settings of the loyalty plugin."""

    expire_after_days: int | None = Field(
        365, ge=1, le=36_500, description="How many days points can be spent; null for ever."
    )
    most_points: int = Field(
        10_000_000, ge=1, le=2_000_000_000, description="How many points one customer can have at most."
    )
