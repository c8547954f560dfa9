"""The demo that test modules share, for their `pytest_plugins`; no module may import it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving import Demo


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo for all tests that leave it as it is."""
    made = Demo(tmp_path_factory.mktemp("demo")).serve()
    yield made
    made.stop()
