"""The server is killed in the middle of a bulk change set: after its restart all of it is there, or nothing."""

from __future__ import annotations

import random
import signal
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import serving
from tests.serving import Demo
from tests.test_bulk import CREATE, THERE, people

ROWS = 8_000
AWAY = (urllib.error.URLError, HTTPException, OSError)

JOURNAL = """query($source: String!) {
  changeSets(where: {operation: {eq: "customersBulkCreate"}}, first: 200) {
    totalCount nodes { counts changesAggregate { count } } }
  customersAggregate(where: {source: {eq: $source}}) { count } }"""
WRITE = """mutation { customerCreate(input: {name: "after", kind: PERSON}) { userErrors { code } changeSet { id } } }"""
EVERY = """mutation($level: String!) {
  customersBulkUpdate(input: {target: {where: {source: {eq: "base"}}}, set: {level: $level}}) {
    counts userErrors { code } } }"""
LEVELS = """{ customersAggregate(where: {source: {eq: "base"}}, groupBy: [{field: LEVEL}]) {
  groups { key { level } count } } }"""


def nobodies(number: int, source: str) -> list[dict[str, Any]]:
    """People whom no criterion of the demo takes for each other."""
    return [p | {"email": None, "phone": None} for p in people(number, source)]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Demo]:
    plain: Callable[..., dict[str, str]] = serving.environment
    monkeypatch.setattr(
        serving, "environment", lambda **v: plain(**v, CRM_MAX_BODY_BYTES=50_000_000, CRM_BULK_JOB_RECORDS=200_000)
    )
    demo = Demo(tmp_path, customers=5).serve()
    yield demo
    if demo.process is not None and demo.process.poll() is None:
        demo.stop()


def kill(server: Demo, *, database: bool) -> None:
    """Kill -9 the server, and with it its database, or else leave that to itself."""
    assert server.process is not None
    server.process.send_signal(signal.SIGKILL)
    for pid in serving.servers(server.folder) if database else ():
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()
    server.process.wait(30)


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run something that may lose its server; what it answered, if it did."""
    answers: list[Any] = []

    def run() -> None:
        with suppress(AWAY):
            answers.append(work())

    thread = threading.Thread(target=run)
    thread.start()
    return thread, answers


def demand_healthy(server: Demo) -> None:
    """Nothing is locked, what is there can be written, and the database finds no fault with itself."""
    written = server.ask(WRITE)["data"]["customerCreate"]
    assert written["userErrors"] == []
    done = server.ask(EVERY, {"level": str(time.monotonic())})["data"]["customersBulkUpdate"]
    assert (done["counts"]["updated"], done["userErrors"]) == (500, [])
    assert len(serving.servers(server.folder)) >= 1


def survive(server: Demo, number: int, dice: random.Random, latest: float) -> None:
    """Kill the server so many times, each time somewhere in a change set."""
    made = server.ask(CREATE, {"records": nobodies(500, "base")})["data"]["done"]
    assert made["changeSet"]["counts"]["created"] == 500
    started = time.monotonic()
    assert server.ask(CREATE, {"records": nobodies(ROWS, "timed")})["data"]["done"]["userErrors"] == []
    length = time.monotonic() - started
    sets, outcomes = 2, []
    for i in range(number):
        source, level = f"killed {i}", f"level {i}"
        creating, answers = in_background(lambda s=source: server.ask(CREATE, {"records": nobodies(ROWS, s)}))
        updating, _ = in_background(lambda v=level: server.ask(EVERY, {"level": v}))
        time.sleep(dice.uniform(0.1, latest) * length)
        kill(server, database=bool(i % 2))
        creating.join(60)
        updating.join(60)
        server.serve()
        found = server.ask(JOURNAL, {"source": source})["data"]
        there = found["customersAggregate"]["count"]
        assert there in (0, ROWS)
        if answers:
            assert there == ROWS, "what was answered is there"
        sets += there == ROWS
        assert found["changeSets"]["totalCount"] == sets
        assert {n["changesAggregate"]["count"] for n in found["changeSets"]["nodes"]} <= {500, ROWS}
        levels = server.ask(LEVELS)["data"]["customersAggregate"]["groups"]
        assert [g["count"] for g in levels] == [500], "all of them have the one level or the other"
        demand_healthy(server)
        outcomes.append(there)
    assert server.ask(THERE, {"source": "timed"})["data"]["customersAggregate"]["count"] == ROWS
    assert 0 in outcomes, "it was killed in the middle at least once"


def test_killed_twice_in_the_middle(server: Demo) -> None:
    survive(server, 2, random.Random(5), 0.7)


@pytest.mark.nightly
def test_killed_ten_times_at_random(server: Demo) -> None:
    survive(server, 10, random.Random(), 1.1)
