"""What a workspace can set."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Disclosure(StrEnum):
    """What whoever may not read the other customer learns of it."""

    EXISTENCE = "existence"
    OWNER = "owner"
    NAME_AND_OWNER = "name_and_owner"


class Settings(BaseModel, extra="forbid", frozen=True):
    """The settings of the dedupe plugin."""

    disclose: Disclosure = Field(
        Disclosure.NAME_AND_OWNER,
        description="What is told of a duplicate that the user may not read: `existence` (that there is one), `owner` "
        "(whose it is) or `name_and_owner`. Its id and code are never told.",
    )
    match_deleted: bool = Field(False, description="Whether deleted customers and contacts count as duplicates.")
    junk_values: tuple[Word, ...] = Field(
        (),
        max_length=1000,
        description="Values that never match anything, besides those known anyway (`-`, `khong co`, `0000000000`); "
        "case and accents do not matter.",
    )
    min_length: int = Field(2, ge=1, le=50, description="Letters and digits that a text needs to match anything.")
    min_digits: int = Field(7, ge=1, le=15, description="Digits that a phone, fax or tax code needs to match anything.")
    legal_forms: tuple[Word, ...] = Field(
        (), max_length=200, description="Words at the ends of names that do not count, besides those known anyway."
    )
    candidate_threshold: float = Field(
        0.5, ge=0.01, le=1, description="The score from which two customers are shown as candidates."
    )
    candidate_limit: int = Field(
        5000, ge=2, le=20_000, description="How many customers can be compared with each other in one question."
    )
