"""Doing something again where another transaction was quicker."""

from __future__ import annotations

import asyncpg
import pytest

from core import COLLISIONS, retried


@pytest.mark.parametrize("collision", COLLISIONS)
async def test_what_collided_is_done_again(collision: type[Exception]) -> None:
    failures = [collision("quicker"), collision("quicker")]

    async def once() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert await retried(once, pause=0) == "done"


async def test_the_last_collision_is_raised() -> None:
    tried = 0

    async def once() -> None:
        nonlocal tried
        tried += 1
        raise asyncpg.UniqueViolationError(str(tried))

    with pytest.raises(asyncpg.UniqueViolationError, match="3"):
        await retried(once, attempts=3, pause=0)


async def test_nothing_else_is_done_again() -> None:
    tried = 0

    async def once() -> None:
        nonlocal tried
        tried += 1
        raise asyncpg.NotNullViolationError

    with pytest.raises(asyncpg.NotNullViolationError):
        await retried(once)
    assert tried == 1
