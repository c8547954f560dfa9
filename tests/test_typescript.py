"""The TypeScript example is generated from a server's schema, compiles, and runs against that server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import Demo, crm

EXAMPLE = Path(__file__).parent.parent / "examples/typescript"
PATIENCE = 600
TOLD = [
    "pages: 7 customers on 3 pages",
    "errors: STALE",
    "errors: REQUIRED at name",
    "errors: UNAUTHENTICATED, HTTP 401",
    "files: khách hàng.csv, 36 bytes",
    "socket: told of 3 changes over two connections, none twice",
    "stream: told of 3 changes over two connections, none twice",
]


def test_the_lock_names_no_registry() -> None:
    packages = json.loads((EXAMPLE / "package-lock.json").read_text())["packages"]
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert all("integrity" in package for name, package in packages.items() if name)
    assert "omit-lockfile-registry-resolved=true" in (EXAMPLE / ".npmrc").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("needs node and npm")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < 20:
        pytest.skip(f"needs Node 20, this is {version}")
    demo = Demo(tmp_path_factory.mktemp("typescript"), customers=20)
    try:
        yield demo.serve()
    finally:
        demo.stop()


@pytest.fixture(scope="module")
def project(server: Demo) -> Path:
    """A copy of the example with its packages and the server's schema, generated and built."""
    copy = server.folder / "typescript"
    left = shutil.ignore_patterns("node_modules", "dist", "graphql", "schema.graphql")
    shutil.copytree(EXAMPLE, copy, ignore=left)
    installed = npm(copy, "ci", "--no-audit", "--no-fund")
    if installed.returncode:
        pytest.skip(f"npm ci cannot be done here: {installed.stderr.strip()[-200:]}")
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/schema.graphql") as answer:
        (copy / "schema.graphql").write_bytes(answer.read())
    for script in ("generate", "build"):
        done = npm(copy, "run", script)
        assert done.returncode == 0, done.stdout + done.stderr
    return copy


def npm(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["npm", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def start(server: Demo, project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    url = f"http://127.0.0.1:{server.port}/graphql"
    return npm(project, "start", "--silent", ENDPOINT=url, TOKEN=server.account("admin")["token"], **environment)


@pytest.mark.nightly
def test_it_runs(server: Demo, project: Path) -> None:
    done = start(server, project)
    assert (done.stdout.splitlines(), done.stderr, done.returncode) == (TOLD, "", 0)


@pytest.mark.nightly
def test_it_runs_by_published_documents_where_nothing_else_does(server: Demo, project: Path) -> None:
    manifest = project / "src/graphql/persisted-documents.json"
    for arguments in (("publish", str(manifest)), ("trust", "--only")):
        done = crm(server.folder, "documents", *arguments)
        assert done.returncode == 0, done.stderr
    try:
        published = start(server, project, PUBLISHED="true")
        assert (published.stdout.splitlines(), published.returncode) == (TOLD, 0)
        assert "PERSISTED_QUERY_ONLY" in start(server, project).stderr
    finally:
        crm(server.folder, "documents", "trust", "--any")


@pytest.mark.nightly
def test_a_field_that_is_not_there_does_not_compile(project: Path) -> None:
    file = project / "src/customers.ts"
    text = file.read_text()
    try:
        file.write_text(text + "\nexport const wrong = (c: Customer) => c.fullName;\n")
        done = npm(project, "run", "check")
        assert done.returncode != 0
        assert "Property 'fullName' does not exist" in done.stdout
    finally:
        file.write_text(text)
