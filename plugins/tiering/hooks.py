"""The plugin's hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core import (
    Batch,
    ChangeSet,
    EnumType,
    Extension,
    Fault,
    JobType,
    Mutation,
    ObjectType,
    Query,
    RecordType,
    hookimpl,
)
from plugins.tiering import commands, explanation
from plugins.tiering.evaluation import pass_of, react, start_pass
from plugins.tiering.records import CUSTOMER, TIER, TIER_MEMBER
from plugins.tiering.rules import check_tiers
from plugins.tiering.settings import Settings


@hookimpl
def record_types() -> Sequence[RecordType]:
    """Tiers and who has them."""
    return TIER, TIER_MEMBER


@hookimpl
def extensions() -> Sequence[Extension]:
    """The tier of a customer."""
    return (CUSTOMER,)


@hookimpl
def object_types() -> Sequence[ObjectType | EnumType]:
    """What an evaluation and an explanation answer."""
    return (commands.TIER_MOVE, *explanation.OBJECTS)


@hookimpl
def queries() -> Sequence[Query]:
    """Why a customer has his tier."""
    return explanation.QUERIES


@hookimpl
def mutations(settings: Settings) -> Sequence[Mutation]:
    """Give a tier by hand, let it go, look at the rules."""
    return commands.mutations(settings)


@hookimpl
def abilities() -> Mapping[str, str]:
    """Who may give tiers, and who may have the rules looked at."""
    return commands.ABILITIES


@hookimpl
def jobs(settings: Settings) -> Sequence[JobType]:
    """The pass over all customers."""
    return (pass_of(settings),)


@hookimpl
async def check(batch: Batch, changes: ChangeSet) -> Sequence[Fault]:
    """An automatic tier has a rule, and no rule is about tiers."""
    return check_tiers(batch, changes) if batch.record.name == "Tier" and batch.action != "delete" else ()


@hookimpl
async def changed(batch: Batch, changes: ChangeSet, settings: Settings) -> None:
    """Move the customers whom a change concerns."""
    await react(batch, changes, settings)


@hookimpl
async def switched_on(changes: ChangeSet) -> None:
    """Move those who came to satisfy a rule meanwhile, or whom new settings move."""
    await start_pass(changes)
