"""Spans of requests and jobs, and that there is nothing of them where nobody asked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import tracing
from core.database import Database
from core.errors import ConfigError
from core.settings import Settings
from tests.acceptance.client import Client, opened

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def spans(settings: Settings) -> Iterator[Any]:
    memory = pytest.importorskip(
        "opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="without the extra otel"
    )
    exporter = memory.InMemorySpanExporter()
    tracing.start(settings, exporter)
    yield exporter
    tracing.stop()


def named(exporter: Any) -> dict[str, Any]:
    return {span.name: span for span in exporter.get_finished_spans()}


async def ask(client: Client, query: str, **variables: Any) -> Any:
    return await client.post(query, variables=variables, headers={"traceparent": TRACEPARENT})


async def test_a_query_is_a_span_with_its_plan_and_statement(
    database: Database, settings: Settings, spans: Any
) -> None:
    async with opened(database, settings) as client:
        spans.clear()
        query = "query Traced($s: String) { customers(search: $s) { totalCount } }"
        await ask(client, query, s="riêng tư")
        found = named(spans)
        assert set(found) == {"query Traced", "plan", "statement"}
        root = found["query Traced"]
        assert f"{root.context.trace_id:032x}" == TRACE
        assert f"{root.parent.span_id:016x}" == PARENT
        assert root.kind.name == "SERVER"
        workspace = client.application.settings.default_workspace
        assert root.attributes == {
            "crm.workspace": workspace,
            "graphql.operation.type": "query",
            "graphql.operation.name": "Traced",
        }
        for child in ("plan", "statement"):
            assert found[child].parent.span_id == root.context.span_id
        assert found["statement"].attributes["db.query.text"].startswith("select")
        assert "riêng tư" not in str([span.to_json() for span in found.values()])
        spans.clear()
        await ask(client, query, s="khác hẳn")
        assert set(named(spans)) == {"query Traced", "statement"}, "the plan is made once"


async def test_a_mutation_has_its_change_set(database: Database, settings: Settings, spans: Any) -> None:
    async with opened(database, settings) as client:
        spans.clear()
        create = "mutation Make($n: String!) { customerCreate(input: {name: $n, kind: PERSON}) { customer { id } } }"
        await ask(client, create, n="Bí Mật")
        found = named(spans)
        assert set(found) == {"mutation Make", "change set", "statement"}
        assert found["change set"].parent.span_id == found["mutation Make"].context.span_id
        assert found["statement"].parent.span_id == found["change set"].context.span_id
        assert found["change set"].attributes == {"crm.mutation": "customerCreate"}
        assert "Bí Mật" not in str([span.to_json() for span in found.values()])


async def test_what_failed_is_told_by_its_codes(database: Database, settings: Settings, spans: Any) -> None:
    async with opened(database, settings) as client:
        spans.clear()
        await client.post("{ boom }")
        (failed,) = [s for s in spans.get_finished_spans() if s.kind.name == "SERVER"]
        assert (failed.attributes["crm.error.codes"], failed.status.status_code.name) == (
            ("INTERNAL_SERVER_ERROR",),
            "ERROR",
        )
        assert failed.events == ()
        spans.clear()
        await client.send({"documentId": "unknown"})
        (refused,) = spans.get_finished_spans()
        assert refused.attributes["crm.error.codes"] == ("PERSISTED_QUERY_NOT_FOUND",)


def test_off_imports_nothing() -> None:
    script = "import sys, core.http.application; sys.exit(any(m.startswith('opentelemetry') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_an_absent_package_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"CRM_OTLP_ENDPOINT is set.*pip install 'headless-crm\[otel\]'$"):
        tracing.start(Settings.load(data_dir=tmp_path, otlp_endpoint="http://127.0.0.1:4318"))
