"""A server killed in the middle of a bulk change set: all or nothing, nothing locked, the database healthy."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Demo

ROWS = 6000
CREATE = "mutation($r: [CustomerCreateInput!]!) { customersBulkCreate(input: {records: $r}) { counts } }"
TOUCH = (
    'mutation { customersBulkUpdate(input: {target: {where: {}}, set: {level: "%s"}}) { counts userErrors { code } } }'
)


def ask(demo: Demo, query: str, **variables: Any) -> dict[str, Any]:
    facts = json.loads(demo.file.read_text())
    headers = {"content-type": "application/json", "authorization": f"Bearer {facts['accounts'][0]['token']}"}
    body = json.dumps({"query": query, "variables": variables}).encode()
    with urllib.request.urlopen(urllib.request.Request(facts["url"], body, headers), timeout=60) as response:
        return json.load(response)


def count(demo: Demo) -> int:
    return ask(demo, "{ customers { totalCount } }")["data"]["customers"]["totalCount"]


@pytest.mark.parametrize("times", [2, pytest.param(10, marks=pytest.mark.nightly)])
def test_a_killed_server_leaves_all_or_nothing(tmp_path: Path, times: int) -> None:
    chance = random.Random(times)
    rows = [{"name": f"Khách {i}", "kind": "PERSON"} for i in range(ROWS)]
    demo = Demo(tmp_path, customers=100).serve()
    try:
        before = count(demo)
        for turn in range(times):

            def create() -> None:
                try:
                    ask(demo, CREATE, r=rows)
                except (OSError, http.client.HTTPException):
                    return  # the server is gone, as it should be

            sender = threading.Thread(target=create)
            sender.start()
            time.sleep(chance.uniform(0.1, 1.5))
            assert demo.process is not None
            demo.process.kill()
            demo.process.wait()
            sender.join()
            demo.serve()
            after = count(demo)
            assert after in (before, before + ROWS), f"{after - before} of {ROWS} records were left"
            before = after
            # Every row can be written at once: no lock was left behind.
            changed = ask(demo, TOUCH % turn)["data"]["customersBulkUpdate"]
            assert changed == {"counts": changed["counts"], "userErrors": []}
            assert changed["counts"]["updated"] == after
    finally:
        demo.stop()
