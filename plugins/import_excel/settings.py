"""What a workspace can set."""

from __future__ import annotations

from pydantic import BaseModel, Field

from plugins.import_excel.reading.limits import MEGABYTE, Limits


class Settings(BaseModel, extra="forbid", frozen=True):
    """The settings of the import_excel plugin."""

    max_rows: int = Field(1_000_000, ge=1, le=1_048_576, description="How many rows a file may have at most.")
    max_megabytes: int = Field(200, ge=1, le=500, description="How large a file may be at most, in megabytes.")
    keep_days: int = Field(
        30, ge=1, le=3650, description="For how many days files of imports and exports and their rows are kept."
    )
    reader_megabytes: int = Field(
        1000, ge=200, le=8000, description="How much memory the process that reads a file may take, in megabytes."
    )

    def limits(self) -> Limits:
        """The bounds on reading one file."""
        return Limits(rows=self.max_rows, memory=self.reader_megabytes * MEGABYTE)
