"""Collisions with other transactions: what PostgreSQL raises, and doing something again after one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

#: What PostgreSQL raises where another transaction was quicker: whoever is rolled back may try again.
COLLISIONS = (
    asyncpg.UniqueViolationError,
    asyncpg.ExclusionViolationError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
ATTEMPTS = 8
#: Seconds to wait at most before the second attempt; twice as long before each further one.
PAUSE = 0.05

Result = TypeVar("Result")


async def retried(once: Callable[[], Awaitable[Result]], *, attempts: int = ATTEMPTS, pause: float = PAUSE) -> Result:
    """Do something that is rolled back as a whole where it fails, and again where another transaction was quicker.

    It is tried `attempts` times, after `pause` seconds at most the second time and twice as many each further one.
    Raises what the last attempt collides with.
    """
    for attempt in range(attempts - 1):
        try:
            return await once()
        except COLLISIONS:
            await asyncio.sleep(random.uniform(0, pause * 2**attempt))  # noqa: S311 - no secret
    return await once()
