"""What a workspace can set."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Settings(BaseModel, extra="forbid", frozen=True):
    """The settings of the tiering plugin."""

    allow_downgrade: bool = Field(
        False, description="Whether customers go down, or out, when the rule of their automatic tier holds no more."
    )
    at_once: int = Field(
        1000,
        ge=0,
        le=5000,
        description="How many customers are looked at in the transaction of a change; for more, a job is started.",
    )
