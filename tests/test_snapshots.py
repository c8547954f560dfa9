"""Queries with the answer and the SQL they must have.

`UPDATE_SNAPSHOTS=1` writes both anew, to be read before a commit. The first line of each `.graphql` file is a
comment with who asks and the variables.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from core.context import Workspace
from core.database import Database
from tests.dataset import Data, load

FOLDER = Path(__file__).parent / "snapshots"
QUERIES = sorted(FOLDER.glob("*.graphql"))
#: Where a long statement is broken, so that differences can be read.
BREAKS = re.compile(r" (?=from |where |order by |group by |limit )|(?<=,) (?=\(select)")


@pytest.fixture(scope="module")
async def data(database: Database, module_workspace: Workspace) -> Data:
    return await load(database, module_workspace)


def test_there_are_snapshots() -> None:
    assert len(QUERIES) >= 12
    assert {p.stem for p in FOLDER.iterdir()} == {p.stem for p in QUERIES}


@pytest.mark.parametrize("path", QUERIES, ids=lambda p: p.stem)
async def test_snapshot(data: Data, path: Path) -> None:
    text = path.read_text(encoding="utf-8")  # noqa: ASYNC240 - nothing else waits
    actor, variables = text.split("\n", 1)[0].removeprefix("# ").split(" ", 1)
    answer = await data.answer(actor, text, json.loads(variables))
    assert answer.pop("extensions")["cost"]["requested"] > 0
    [(statement, values)] = data.statements
    found = {
        ".json": json.dumps(answer, indent=1, ensure_ascii=False) + "\n",
        ".sql": BREAKS.sub("\n", statement) + "\n" + "".join(f"-- ${i}: {v}\n" for i, v in enumerate(values, 1)),
    }
    for suffix, content in found.items():
        file = path.with_suffix(suffix)
        if os.environ.get("UPDATE_SNAPSHOTS") == "1":
            file.write_text(content, encoding="utf-8")
        assert content == file.read_text(encoding="utf-8"), file.name
