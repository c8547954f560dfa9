"""The example on real input: what it asks the API is what its own count over the files says, and it tells if not."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import Demo

ROOT = Path(__file__).parent.parent
FOLDER = ROOT.parent / "shared" / "data" / "real"

pytestmark = pytest.mark.skipif(
    not (FOLDER / "maven_sales_pipeline.csv").is_file(), reason="the Maven tables are not here (../shared/data/real)"
)

COUNTS = """{ users { totalCount } teams { totalCount } customers { totalCount } opportunities { totalCount }
  changeSets { totalCount } }"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("maven"), customers=5).serve()
    yield demo
    demo.stop()


def maven(demo: Demo, role: str = "admin") -> subprocess.CompletedProcess[str]:
    url, token = f"http://127.0.0.1:{demo.port}/graphql", demo.account(role)["token"]
    command = [sys.executable, ROOT / "examples" / "maven.py", url, token, FOLDER]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_every_figure_agrees(served: Demo) -> None:
    done = maven(served)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("85 accounts, 35 agents, 8800 deals\n")
    assert done.stdout.endswith("All figures agree.\n")
    # Counted once more, in another way than the script does.
    with (FOLDER / "maven_sales_pipeline.csv").open(newline="") as file:
        won = [row for row in csv.DictReader(file) if row["deal_stage"] == "Won"]
    by_script = [line.split() for line in done.stdout.splitlines()]
    agents = [
        line[-2].split("/")
        for line in by_script
        if len(line) > 2 and line[-1].count("/") == 2 and line[-1][0].isdigit()
    ]
    assert len(agents) == 35
    assert sum(int(n) for n, _, _ in agents) == len(won)
    assert sum(int(n) for counts in agents for n in counts) == 8800
    teams = done.stdout.split("won by manager's team")[1].split("largest")[0].splitlines()[1:]
    assert sum(int(line.split()[-2]) for line in teams if line) == sum(int(row["close_value"]) for row in won)


def test_a_second_run_changes_nothing(served: Demo) -> None:
    before = served.ask(COUNTS)["data"]
    done = maven(served)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "created" not in done.stdout
    assert served.ask(COUNTS)["data"] == before


def test_a_difference_is_told(served: Demo) -> None:
    where = """{ opportunities(where: {outcome: {eq: WON}, owner: {login: {eq: "maven-moses-frase"}}}, first: 1)
      { nodes { id } } }"""
    (one,) = served.ask(where)["data"]["opportunities"]["nodes"]
    update = """mutation($id: ID!) { opportunityUpdate(input: {id: $id, outcome: LOST}) { changeSet { id } } }"""
    changed = served.ask(update, one)["data"]["opportunityUpdate"]["changeSet"]
    done = maven(served)
    assert done.returncode == 1
    assert "128/67/65      129/66/65  <- differs" in done.stdout
    undo = "mutation($id: ID!) { changeSetUndo(input: {id: $id}) { conflicts } }"
    assert served.ask(undo, changed)["data"]["changeSetUndo"]["conflicts"] == 0


def test_what_cannot_be_done_is_one_line(served: Demo, tmp_path: Path) -> None:
    done = maven(served, "readonly")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "maven.py", "http://127.0.0.1:9/", "x", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, f"{tmp_path}/maven_accounts.csv is missing\n")
