"""What a partner has: a wheel of the project, and an environment with nothing in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent


def build_wheel(folder: Path) -> Path:
    """The project as a wheel; built from a copy, so that nothing is left behind."""
    source = folder / "source"
    for name in ("core", "plugins"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    # The tools of this environment: what a wheel is built with is not what is tried here.
    run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", ".", "./source"], folder
    )
    (wheel,) = folder.glob("headless_crm-*.whl")
    return wheel


def environment(wheel: Path, **more: str) -> dict[str, str]:
    """Variables of somebody new, for whom `pip install headless-crm` finds the wheel."""
    kept = {k: v for k, v in os.environ.items() if k in ("HOME", "LANG", "PATH") or k.startswith("PIP_")}
    links = f"{wheel.parent} {kept.get('PIP_FIND_LINKS', '')}".strip()
    return {**kept, "PIP_FIND_LINKS": links, "NO_COLOR": "1", **more}


def project_files(project: Path) -> dict[str, str]:
    """The text of each file of a project, but of those that tools have left there."""
    left = re.compile(r"__pycache__|\.egg-info|_cache|\.venv|\.crm/|^build/|^dist/")
    found = {str(file.relative_to(project)): file for file in sorted(project.rglob("*")) if file.is_file()}
    return {name: file.read_text() for name, file in found.items() if not left.search(name)}


def beside(folder: Path, *projects: Path) -> dict[str, str]:
    """Variables with which this environment takes plugins for installed, from their projects' own words."""
    for project in projects:
        said = tomllib.loads((project / "pyproject.toml").read_text())["project"]
        info = folder / f"{said['name'].replace('-', '_')}-{said['version']}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {said['name']}\nVersion: {said['version']}\n")
        points = said["entry-points"]["crm.plugins"].items()
        (info / "entry_points.txt").write_text("[crm.plugins]\n" + "".join(f"{k} = {v}\n" for k, v in points))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (folder, *projects))), "NO_COLOR": "1"}


def run(command: list[str] | str, folder: Path, env: Mapping[str, str] | None = None, status: int = 0) -> str:
    """Run a command, or a script for bash, and return what it printed; fails unless it ends as expected."""
    arguments = ["bash", "-c", command] if isinstance(command, str) else command
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(arguments, cwd=folder, env=env, text=True, check=False, **output)  # type: ignore[call-overload]
    assert done.returncode == status, f"{command}\n{done.stdout[-5000:]}"
    return done.stdout
