"""The tutorial: what it builds is examples/loyalty, and every command in it does what is said."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from tests.packaging import build_wheel, environment, project_files, run
from tests.tutorial import files, script, steps

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/plugins/tutorial.md"
EXAMPLE = ROOT / "examples/loyalty"


def test_what_it_builds_is_the_example() -> None:
    written, there = files(PAGE), project_files(EXAMPLE)
    empty = {name for name, text in there.items() if not text}
    assert written.keys() == there.keys() - empty
    for name, text in written.items():
        assert text == there[name], name
    commands = " ".join(step.text for step in steps(PAGE) if step.kind == "sh")
    assert all(re.search(rf"touch .*{re.escape(name)}", commands) for name in empty)


def test_every_block_is_a_file_or_a_command_or_an_answer() -> None:
    for step in steps(PAGE):
        assert step.file or step.kind in ("sh", "json"), step.text
    assert [step.kind for step in steps(PAGE)][-1] == "json"
    assert PAGE.read_text().count("```") == sum(4 if "```" in s.text else 2 for s in steps(PAGE))


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE.read_text()):
        assert (PAGE.parent / link).exists(), link


@pytest.mark.nightly
def test_every_command_works_in_an_empty_environment(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    for name in ("staging", "empty"):
        (tmp_path / name).mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = script(PAGE, tmp_path / "staging").replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    printed = run(program, tmp_path / "empty", environment(wheel, CRM_PORT=str(port)))
    (tmp_path / "printed.txt").write_text(printed)
    answers = [json.loads(line) for line in printed.splitlines() if line.startswith('{"data"')]
    assert answers[-1]["data"] == json.loads(list(steps(PAGE))[-1].text)["data"]
    assert re.search(r"^loyalty 0\.1\.0: no fault, \d+ rules", printed, re.MULTILINE)
    passed = [int(n) for n in re.findall(r"(\d+) passed", printed)]
    assert len(passed) == 2
    assert 2 == passed[0] < passed[1]
