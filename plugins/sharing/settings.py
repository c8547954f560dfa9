"""What a workspace can set."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Settings(BaseModel, extra="forbid", frozen=True):
    """The settings of the sharing plugin."""

    max_receivers: int = Field(
        100, ge=2, le=1000, description="Among how many users one transfer can be split at most."
    )
