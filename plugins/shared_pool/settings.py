"""What a workspace can set."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Settings(BaseModel, extra="forbid", frozen=True):
    """The settings of the shared_pool plugin."""

    at_once: int = Field(
        500,
        ge=1,
        le=5000,
        description="How many customers a change may concern for the rules to be followed at once; more follow by job.",
    )
    pass_schedule: str = Field(
        "7 * * * *", description="When customers whose waiting time is over are moved in, as a cron expression."
    )
    full_pass_schedule: str = Field(
        "23 2 * * *", description="When all customers are looked at again, as a cron expression."
    )
