"""Two servers and two workers on one database, one of them killed (-9) again and again under load.

    python -m tests.nodes [--seconds 300] [--every 20] [--writers 5] [--receivers 4] [--seed 1]

Nothing may be lost but the answers that were on their way, no job may be done twice in effect, and every subscriber
must be told of every change once. Prints what was done, and exits with 1 where anything of that does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.nodes.trial import Trial


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--every", type=float, default=20, help="seconds between two kills")
    parser.add_argument("--writers", type=int, default=5)
    parser.add_argument("--receivers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1, help="decides in which order they are killed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crm-nodes-") as folder:
        trial = Trial(Path(folder), **vars(options))
        asyncio.run(trial.run())
    for name, value in trial.counts.items():
        print(f"{name:<50}{value:>12}")
    for fault in trial.faults[:50]:
        print(f"FAULT  {fault}")
    print("all of it holds" if not trial.faults else f"{len(trial.faults)} faults")
    return 1 if trial.faults else 0


if __name__ == "__main__":
    sys.exit(main())
