"""Real input: the Maven example against a served demo, its answers compared with the files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import Demo

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "real"


@pytest.mark.skipif(not (DATA / "maven_sales_pipeline.csv").is_file(), reason="the Maven tables are not here")
def test_the_answers_are_those_of_the_files(tmp_path: Path) -> None:
    demo = Demo(tmp_path, customers=100).serve()
    try:
        facts = json.loads(demo.file.read_text())
        command = [sys.executable, str(ROOT / "examples" / "maven.py"), facts["url"], facts["accounts"][0]["token"]]
        for _ in range(2):  # the second run finds everything loaded
            done = subprocess.run([*command, str(DATA)], capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
            assert "DIFFERENT" not in done.stdout
        assert "opportunities: 8800 of 8800" not in done.stdout
        assert "Kan-code                                            341455       341455" in done.stdout
    finally:
        demo.stop()
