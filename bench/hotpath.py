"""The hot path: where the server's processor time goes while it answers one question.

    python -m bench.hotpath [--question q1] [--customers N] [--seconds S] [--top N]

Samples the server by py-spy, which is installed for it, while wrk asks; prints the shares of packages and of functions
by their own time. Shares do not depend on how fast the machine is at the moment.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench import servers
from bench.facts import bodies, find_pages, gather
from bench.questions import BY_NAME
from bench.servers import CACHE

FRAME = re.compile(r"(?P<function>.+) \((?P<file>[^)]+?)(?::\d+)?\)$")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--question", choices=BY_NAME, default="q1")
    parser.add_argument("--customers", type=int, default=2_000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--top", type=int, default=30)
    options = parser.parse_args()
    servers.need_wrk()
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as folder:
        show(record(Path(folder), options), options.top)


def record(data: Path, options: argparse.Namespace) -> str:
    """The stacks that were sampled, one a line, with how often each was met."""
    question = BY_NAME[options.question]
    ours = servers.ours(data, options.customers)
    try:
        ours.wait()
        _, _, (facts, *_) = asyncio.run(gather(data))
        find_pages(facts, ours, min(1000, max(2, options.customers // 200)))
        asked = bodies(question, facts, "ours")
        servers.load(ours, asked, facts.authorization, 16, 2)
        stacks = data / "stacks"
        command = [str(py_spy()), "record", "--pid", str(ours.process.pid), "--duration", str(options.seconds)]
        command += ["--rate", "400", "--format", "raw", "--output", str(stacks)]
        spy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        sample = servers.load(ours, asked, facts.authorization, 16, options.seconds + 1)
        if spy.wait():
            sys.exit(f"py-spy: {spy.stderr.read() if spy.stderr else ''}")
        print(f"{question.title}: {sample.cpu_ms:.3f} processor ms a request while it was watched")
        return stacks.read_text()
    finally:
        ours.stop()


def py_spy() -> Path:
    venv = CACHE / "py-spy"
    if not (venv / "bin" / "py-spy").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "--quiet", "py-spy>=0.4"], check=True)
    return venv / "bin" / "py-spy"


def show(stacks: str, top: int) -> None:
    packages: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in stacks.splitlines():
        frames, _, number = line.rpartition(" ")
        leaf = FRAME.match(frames.rpartition(";")[2])
        if leaf is None:
            continue
        file = leaf["file"].rpartition("site-packages/")[2]
        packages[package(file)] += int(number)
        functions[f"{leaf['function']}  {file}"] += int(number)
    whole = sum(packages.values())
    for title, found, most in (("package", packages, 12), ("function, its own time", functions, top)):
        print(f"\n{title}")
        for name, number in found.most_common(most):
            print(f"  {number / whole:6.1%}  {name}")


def package(file: str) -> str:
    """The package that a file belongs to; in the core, its room."""
    parts = Path(file).parts
    if "core" in parts:
        below = parts[parts.index("core") :]
        return "/".join(below[:2]) if len(below) > 2 else f"core/{parts[-1]}"
    return parts[0] if len(parts) > 1 and parts[0] != "/" else "python"


if __name__ == "__main__":
    main()
