"""Runs third-party GraphQL suites and real clients against the demo: `python -m scripts.acceptance KITS [SUITE …]`.

KITS is a folder with `run-all.sh`; it is copied, for it installs packages beside itself. The demo is started anew on a
free port with data of its own and the documents of tests/acceptance published; with `--workers` its data is then served
by so many processes behind one port. Exits with 1 where a check failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.commands.demo import DEFAULTS
from tests.serving import CRM, PATIENCE, Demo, crm, environment

PROFILE = Path(__file__).parent.parent / "tests" / "acceptance" / "profile.json"
MANIFEST = PROFILE.with_name("persisted-documents.json")


def main() -> int:
    """Run the suites; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kits", type=Path)
    parser.add_argument("suites", nargs="*", help="run these only")
    parser.add_argument("--workers", type=int, default=1, help="processes that answer")
    parser.add_argument("--customers", type=int, default=300)
    given = parser.parse_args()
    if not (given.kits / "run-all.sh").is_file():
        print(f"skipped: there are no acceptance kits at {given.kits}; say where with KITS=")
        return 0
    kits = copied(given.kits)
    with tempfile.TemporaryDirectory(prefix="crm-acceptance-") as folder, served(Path(folder), given) as demo:
        chosen = {"ONLY": " ".join(given.suites)} if given.suites else {}
        logs = kits.with_name(f"{kits.name}-logs")
        arguments = (f"http://127.0.0.1:{demo.port}/graphql", demo.account("admin")["token"], str(PROFILE))
        done = subprocess.run(
            [kits / "run-all.sh", *arguments], cwd=kits, env={**os.environ, "LOGS": str(logs), **chosen}, check=False
        )
        print(f"# processes: {given.workers}; logs: {logs}")
        return done.returncode


def copied(kits: Path) -> Path:
    """A copy that can be written to, in which what earlier runs have installed is kept."""
    copy = Path(tempfile.gettempdir()) / f"crm-acceptance-kits-{os.getuid()}"
    copy.mkdir(mode=0o700, exist_ok=True)
    if copy.stat().st_uid != os.getuid():
        sys.exit(f"{copy} belongs to somebody else")
    for file in kits.rglob("*"):
        target = copy / file.relative_to(kits)
        if file.is_file() and not {"node_modules", ".venv"} & set(file.parts):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copyfile(file, target)
            target.chmod(0o700)
    return copy


@contextmanager
def served(folder: Path, given: argparse.Namespace) -> Iterator[Demo]:
    """The demo, answering, with the documents published."""
    demo = Demo(folder, given.customers).serve()
    try:
        published = crm(folder, "documents", "publish", str(MANIFEST))
        if published.returncode:
            sys.exit(published.stderr)
        if given.workers > 1:
            demo.stop()
            demo.process = several(demo, given.workers)
        yield demo
    finally:
        if demo.process is not None and demo.process.poll() is None:
            demo.stop(signal.SIGTERM)


def several(demo: Demo, workers: int) -> subprocess.Popen[bytes]:
    """The demo's data, served by several processes."""
    settings = {
        "CRM_PORT": demo.port,
        "CRM_LOG_LEVEL": "warning",
        "CRM_CORS_ORIGINS": ",".join(DEFAULTS["cors_origins"]),
    }
    with (demo.folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [CRM, "serve", "--workers", str(workers)], cwd=demo.folder, env=environment(**settings), stderr=err
        )
    for _ in range(PATIENCE * 10):
        try:
            demo.ask("{ __typename }")
        except OSError:
            if process.poll() is not None:
                sys.exit((demo.folder / "err").read_text())
            time.sleep(0.1)
        else:
            return process
    process.terminate()
    sys.exit("the processes did not answer in time")


if __name__ == "__main__":
    sys.exit(main())
