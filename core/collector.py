"""How often the process looks for garbage among its objects."""

from __future__ import annotations

import gc

#: New objects before the young, and young collections before the older are looked through. A batch of rows makes more
#: than a hundred thousand objects without a cycle among them: by Python's own numbers it spends a third of its time
#: looking, and a sixth where it is looked through twice.
THRESHOLDS = (150_000, 20, 20)


def relax() -> None:
    """Look for garbage seldom: most objects here live either as long as a batch or as the process."""
    gc.set_threshold(*THRESHOLDS)
