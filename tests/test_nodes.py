"""Servers and workers are killed under load; nothing is lost and nothing is done twice. See tests/nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nodes.trial import Trial


@pytest.mark.nightly
async def test_a_minute_of_kills(tmp_path: Path) -> None:
    trial = Trial(tmp_path, seconds=60, every=10)
    await trial.run()
    assert trial.faults == []
    # On a busy machine it takes some ticks until one that was killed is back.
    assert trial.counts["kills"] >= 2
    assert trial.counts["jobs done"] == trial.counts["jobs asked for"] > 8
    assert trial.counts["customers changed"] > 10
