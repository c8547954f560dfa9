"""How often the process looks for garbage among its objects."""

from __future__ import annotations

import gc

#: New objects before the young, and young collections before the older are looked through. A batch of rows makes a
#: hundred thousand objects without a cycle among them: by Python's own numbers it spends a third of its time looking.
THRESHOLDS = (50_000, 20, 20)


def relax() -> None:
    """Look for garbage seldom: most objects here live either as long as a batch or as the process."""
    gc.set_threshold(*THRESHOLDS)
