"""What is served besides GraphQL: pages, schema, health, metrics, logs."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from graphql import build_schema

from core.database import Database
from core.http import answered, gauges
from core.http.access import AccessLog
from core.http.answered import Answered
from core.http.metrics import NAMES, OTHERS, Metrics, Sharing
from core.meters import Gauge, snapshot
from core.settings import Settings
from tests.acceptance.assembly import LOGIN, PASSWORD
from tests.acceptance.client import Client, opened


@pytest.fixture(scope="module")
async def client(database: Database, settings: Settings) -> AsyncIterator[Client]:
    async with opened(database, settings) as opened_client:
        yield opened_client


async def test_the_front_page_names_the_workspace_and_the_ways_on(client: Client) -> None:
    page = await client.raw.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert client.application.settings.default_workspace in page.text
    for link in re.findall(r'(?:href|src)="(/[^"]*)"', page.text):
        assert (await client.raw.get(link, headers={"accept": "text/html"})).is_success, link


async def test_graphiql_comes_whole_from_here(client: Client) -> None:
    page = await client.raw.get("/graphql", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "<script>" not in page.text, "the policy allows no inline script"
    assets = re.findall(r'(?:href|src)="(/[^"]*)"', page.text)
    assert len(assets) == 8
    for asset in assets:
        found = await client.raw.get(asset)
        assert found.is_success, asset
        assert found.headers["x-content-type-options"] == "nosniff"
    assert re.findall(r'(?:href|src)="(?:https?:)?//', page.text) == []
    named = await client.raw.get(
        f"/w/{client.application.settings.default_workspace}/graphql", headers={"accept": "text/html"}
    )
    assert named.text == page.text


async def test_the_schema_is_published_with_an_etag(client: Client) -> None:
    first = await client.raw.get("/schema.graphql")
    schema = build_schema(first.text)
    assert schema.query_type is not None
    assert "customers" in schema.query_type.fields
    again = await client.raw.get("/schema.graphql", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    slug = client.application.settings.default_workspace
    assert (await client.raw.get(f"/w/{slug}/schema.graphql")).text == first.text
    assert (await client.raw.get("/w/nowhere/schema.graphql")).status_code == 404


async def test_health(client: Client) -> None:
    assert (await client.raw.get("/healthz")).json() == {"status": "alive"}
    ready = await client.raw.get("/readyz")
    assert ready.status_code == 200
    parts = ready.json()
    assert (parts["status"], parts["database"], parts["migrations"]["ok"]) == ("ready", {"ok": True}, True)
    assert parts["queue"] == {"queued": 0, "running": 0}


async def test_a_workspace_that_is_not_migrated_makes_the_process_not_ready(
    database: Database, settings: Settings
) -> None:
    async with opened(database, settings) as client:
        from core.workspaces import Workspaces

        workspaces = Workspaces(database)
        await workspaces.create("http_raw")
        try:
            await client.services.directory._read()
            ready = await client.raw.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["migrations"]["pending"]["http_raw"]
        finally:
            await workspaces.erase("http_raw")


async def test_metrics_count_requests_by_operation_and_status(client: Client) -> None:
    await client.post("query Counted { customers { totalCount } }")
    await client.post("{")
    text = (await client.raw.get("/metrics")).text
    assert 'crm_operations_total{operation="Counted"} 1' in text
    assert re.search(r'crm_requests_total\{kind="none",status="400"\} \d+', text)
    assert 'crm_errors_total{code="GRAPHQL_PARSE_FAILED"} 1' in text
    assert re.search(r'crm_documents_total\{outcome="miss"\} [1-9]', text)
    assert re.search(r'crm_plans_total\{outcome="miss"\} [1-9]', text)
    assert re.search(r'crm_pool_connections\{state="idle"\} [1-9]', text)
    for name in ("crm_pool_waiting 0", "crm_listening 1", "crm_queue_age_seconds", "crm_rate_limited_total"):
        assert name in text
    total = re.search(r'crm_request_seconds_count\{kind="query"\} (\d+)', text)
    last = re.search(r'crm_request_seconds_bucket\{kind="query",le="\+Inf"\} (\d+)', text)
    assert total is not None
    assert last is not None
    assert int(total[1]) == int(last[1]) >= 1
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) .+|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [\d.e+-]+', line), line


def test_metrics_do_not_grow_with_the_names_of_clients() -> None:
    metrics = Metrics()
    metrics.request("query", 200, "Stranger", (), 1, 0.001, known=False)
    assert set(metrics.operations.values) == {(OTHERS,)}
    for n in range(10 * NAMES):
        metrics.request("query", 200, f"Name{n}", (), 1, 0.001)
    assert len(metrics.operations.values) == NAMES
    assert metrics.operations.values[OTHERS,] == 1 + 10 * NAMES - (NAMES - 1)


async def test_writes_jobs_and_statements_are_counted(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "JOBS_SECONDS", 0)

    def counted(text: str, sample: str) -> float:
        found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    before = (await client.raw.get("/metrics")).text
    for name in ("Một", "Hai"):
        create = "mutation($n: String!) { customerCreate(input: {name: $n, kind: PERSON}) { changeSet { id } } }"
        made = await client.post(create, variables={"n": name})
        assert made.json()["data"]["customerCreate"]["changeSet"]
    await client.post("{ customers { totalCount } }")
    workspace = await client.services.directory.find(None)
    assert workspace is not None
    pool = client.services.database.pool(workspace)
    await pool.execute(
        "insert into job (id, kind, created_at) values (gen_random_uuid(), 'test.waits', now() - interval '90 s')"
    )
    after = (await client.raw.get("/metrics")).text
    await pool.execute("delete from job")
    for sample, more in (
        ('crm_change_sets_total{source="MUTATION"}', 2),
        ('crm_rows_written_total{action="create"}', 2),
        ("crm_mutation_seconds_count", 2),
        ('crm_jobs{kind="test.waits",status="QUEUED"}', 1),
    ):
        assert counted(after, sample) - counted(before, sample) == more, sample
    assert counted(after, "crm_statement_seconds_count") > counted(before, "crm_statement_seconds_count")
    # It is that of all workspaces: other tests' jobs may have waited longer than this one.
    longest = max(90, counted(before, "crm_queue_age_seconds"))
    assert longest <= counted(after, "crm_queue_age_seconds") < longest + 110


def test_the_processes_of_a_server_speak_for_one_another(tmp_path: Path) -> None:
    gauge = Gauge("crm_held", "Held.")
    gauge.set(2)
    one, two = Metrics(), Metrics()
    one.request("query", 200, "A", (), 1, 0.002)
    two.request("query", 200, "A", ("FORBIDDEN",), 2, 0.2)
    alive, ended = subprocess.Popen(["sleep", "60"]), subprocess.Popen(["true"])
    ended.wait()
    try:
        for process in (alive, ended):
            (tmp_path / f"{process.pid}.json").write_bytes(orjson.dumps(snapshot((*two.meters, gauge))))
        (tmp_path / "1.json").write_bytes(b"{")
        text = Sharing(lambda: one.meters, tmp_path, lambda: [gauge]).text([])
    finally:
        alive.kill()
        alive.wait()
    assert 'crm_operations_total{operation="A"} 3' in text
    assert 'crm_errors_total{code="FORBIDDEN"} 2' in text
    assert "crm_statements_total 5" in text
    assert 'crm_request_seconds_bucket{kind="query",le="0.0025"} 1' in text
    assert 'crm_request_seconds_bucket{kind="query",le="+Inf"} 3' in text
    assert "crm_held 4" in text, "what a process held that has ended is held no more"


async def test_a_process_writes_what_it_counts(database: Database, settings: Settings, tmp_path: Path) -> None:
    async with opened(database, settings, metrics_dir=str(tmp_path)) as client:
        await client.post("query Written { customers { totalCount } }")
    assert b'[["Written"],1]' in (tmp_path / f"{os.getpid()}.json").read_bytes()


async def test_how_the_server_is_is_for_this_machine_or_a_token(database: Database, settings: Settings) -> None:
    def from_afar(application: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(application, client=("203.0.113.9", 1))
        return httpx.AsyncClient(transport=transport, base_url="http://crm.example")

    async with opened(database, settings) as client, from_afar(client.application) as afar:
        assert (await client.raw.get("/metrics")).is_success
        assert (await afar.get("/metrics")).status_code == 403
        assert (await afar.get("/readyz")).json() == {"status": "ready"}
        assert (await afar.get("/healthz")).json() == {"status": "alive"}
    async with opened(database, settings, metrics_token="t0p") as client, from_afar(client.application) as afar:
        for asking in (client.raw, afar):
            assert (await asking.get("/metrics")).status_code == 401
            assert (await asking.get("/metrics", headers={"authorization": "Bearer no"})).status_code == 401
            assert (await asking.get("/readyz")).json() == {"status": "ready"}
            good = {"authorization": "Bearer t0p"}
            assert "crm_requests_total" in (await asking.get("/metrics", headers=good)).text
            assert "database" in (await asking.get("/readyz", headers=good)).json()


async def test_the_access_log_says_what_was_done_and_nothing_that_was_in_it(
    database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened(database, settings, log_level="info") as client:
        query = "query Find($s: String) { customers(search: $s) { totalCount } }"
        await client.post(query, variables={"s": "Nguyễn Bí Mật"}, headers={"x-request-id": "log-1"})
        client.services.answered.settle()
        written = capsys.readouterr().err
        token = client.token
    lines = [orjson.loads(line) for line in written.splitlines() if '"crm.access"' in line]
    (line,) = [found for found in lines if found["request_id"] == "log-1"]
    assert line["workspace"] == client.application.settings.default_workspace
    assert (line["operation"], line["kind"], line["status"], line["statements"]) == ("Find", "query", 200, 1)
    assert re.fullmatch(r"[0-9a-f-]{36}", line["actor_id"])
    assert line["ms"] > 0
    for secret in (token, PASSWORD, LOGIN, "Bí Mật"):
        assert secret not in written


def noted(requests: Answered, request_id: str) -> None:
    requests.note(
        request_id, None, None, kind="query", operation="", status=200, codes=(), statements=1, seconds=0.1
    )  # fmt: skip


async def test_what_was_answered_is_counted_and_logged_by_itself_after_a_moment(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answered, "SETTLE_SECONDS", 0.01)
    metrics = Metrics()
    requests = Answered(metrics, AccessLog(Settings.load(data_dir=settings.data_dir, log_level="info")))
    noted(requests, "soon")
    assert not metrics.requests.values
    await asyncio.sleep(0.1)
    assert "soon" in capsys.readouterr().err
    assert metrics.requests.values == {("query", "200"): 1}


async def test_many_requests_are_not_waited_with(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    requests = Answered(Metrics(), AccessLog(Settings.load(data_dir=settings.data_dir, log_level="info")))
    for n in range(answered.SETTLE_REQUESTS):
        noted(requests, f"many-{n}")
    assert capsys.readouterr().err.count("many-") == answered.SETTLE_REQUESTS


async def test_on_a_console_each_request_is_shown_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    log = AccessLog(Settings.load(data_dir=settings.data_dir, log_level="info", log_format="console"))
    monkeypatch.setattr(log, "write", lambda requests: shown.extend(r.request_id for r in requests))
    requests = Answered(Metrics(), log)
    noted(requests, "now")
    assert shown == ["now"]
