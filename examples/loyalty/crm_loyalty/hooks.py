"""The plugin's hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core import Batch, ChangeSet, Extension, Fault, JobType, Mutation, RecordType, hookimpl

from crm_loyalty import commands
from crm_loyalty.jobs import JOBS
from crm_loyalty.records import CUSTOMER, LOYALTY_ENTRY
from crm_loyalty.rules import ERROR_CODES, check_balances
from crm_loyalty.settings import Settings


@hookimpl
def record_types() -> Sequence[RecordType]:
    """The ledger."""
    return (LOYALTY_ENTRY,)


@hookimpl
def extensions() -> Sequence[Extension]:
    """The points of a customer, shown and as a filter."""
    return (CUSTOMER,)


@hookimpl
def abilities() -> Mapping[str, str]:
    """Who may award and redeem."""
    return commands.ABILITIES


@hookimpl
def error_codes() -> Mapping[str, str]:
    """That there are too few points."""
    return ERROR_CODES


@hookimpl
def mutations(settings: Settings) -> Sequence[Mutation]:
    """Award and redeem."""
    return commands.mutations(settings)


@hookimpl
def jobs() -> Sequence[JobType]:
    """Points expire at night."""
    return JOBS


@hookimpl
async def check(batch: Batch, changes: ChangeSet, settings: Settings) -> Sequence[Fault]:
    """Nobody has fewer points than none."""
    return await check_balances(batch, changes, settings) if batch.record.name == "LoyaltyEntry" else ()
