"""Documents that are named instead of sent."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core.database import Database
from core.http import documents
from core.http.documents import Documents
from core.settings import Settings
from tests.acceptance.client import Client, code, opened

QUERY = "query Q($n: Int) { customers(first: $n) { totalCount } }"
DATA = {"customers": {"totalCount": 0}}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def persisted(hash_: str) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash_}}}


@pytest.fixture(scope="module")
async def client(database: Database, settings: Settings) -> AsyncIterator[Client]:
    async with opened(database, settings) as opened_client:
        yield opened_client


async def test_a_document_is_kept_with_its_hash_and_then_runs_by_it(client: Client) -> None:
    unknown = await client.send(persisted(sha256(QUERY)))
    assert (unknown.status_code, code(unknown)) == (200, "PERSISTED_QUERY_NOT_FOUND")
    assert unknown.json()["errors"][0]["message"] == "PersistedQueryNotFound"
    assert (await client.send({"query": QUERY, **persisted(sha256(QUERY))})).json()["data"] == DATA
    assert (await client.send(persisted(sha256(QUERY).upper()))).json()["data"] == DATA
    client.services.documents = Documents(client.services.database)
    assert (await client.send(persisted(sha256(QUERY)))).json()["data"] == DATA, "it survives a restart"
    assert (await client.send({"documentId": f"sha256:{sha256(QUERY)}"})).json()["data"] == DATA


async def test_those_not_signed_in_keep_nothing(client: Client) -> None:
    query = "{ __typename }"
    answer = await client.raw.post("/graphql", json={"query": query, **persisted(sha256(query))})
    assert answer.json()["data"] == {"__typename": "Query"}
    assert code(await client.send(persisted(sha256(query)))) == "PERSISTED_QUERY_NOT_FOUND"


async def test_faulty_documents_are_not_kept(client: Client) -> None:
    for query in ("{", "{ noSuchField }", "{ __typename }" + " " * 50_000):
        assert (await client.send({"query": query, **persisted(sha256(query))})).status_code == 400
        assert code(await client.send(persisted(sha256(query)))) == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_hash_of_another_document_is_refused_and_not_kept(client: Client) -> None:
    wrong = sha256("something else")
    response = await client.send({"query": QUERY, **persisted(wrong)})
    assert (response.status_code, code(response)) == (400, "BAD_REQUEST")
    assert code(await client.send(persisted(wrong))) == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize(
    "given",
    [1, {}, {"sha256Hash": 5}, {"sha256Hash": "xyz"}, {"sha256Hash": "a" * 63}, {"version": 2, "sha256Hash": "a" * 64}],
)
async def test_a_malformed_hash_is_a_bad_request(client: Client, given: Any) -> None:
    response = await client.send({"extensions": {"persistedQuery": given}})
    assert (response.status_code, code(response)) == (400, "BAD_REQUEST")


async def test_only_so_many_are_kept(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "KEPT", 3)
    texts = [f"query Q{n} {{ __typename }}" for n in range(6)]
    for text in texts:
        await client.send({"query": text, **persisted(sha256(text))})
    client.services.documents = Documents(client.services.database)
    found = [(await client.send(persisted(sha256(text)))).json().get("data") for text in texts]
    assert found[-1] == {"__typename": "Query"}
    assert found[0] is None
    assert sum(data is not None for data in found) <= 4


async def publish(client: Client, manifest: Any) -> Any:
    mutation = (
        "mutation P($m: JSON!) { documentsPublish(input: {manifest: $m}) "
        "{ total added userErrors { path code message } } }"
    )
    return (await client.post(mutation, variables={"m": manifest})).json()["data"]["documentsPublish"]


async def settle(client: Client) -> None:
    """As a second later: what the process knows of the workspace's mode is read anew."""
    for mode in client.services.documents._modes.values():
        mode.read = -1e9


async def test_published_documents_run_by_their_id(client: Client) -> None:
    sha1 = hashlib.sha1(b"{ b: __typename }").hexdigest()
    manifest = {
        f"sha256:{sha256(QUERY)}": QUERY,
        "front-page-1": "{ __typename }",
        sha256("{ c: __typename }"): "{ c: __typename }",
        sha1: "{ b: __typename }",
    }
    assert await publish(client, manifest) == {"total": 4, "added": 4, "userErrors": []}
    assert await publish(client, manifest) == {"total": 4, "added": 0, "userErrors": []}
    assert (await client.send({"documentId": f"sha256:{sha256(QUERY)}"})).json()["data"] == DATA
    assert (await client.get(documentId="front-page-1")).json()["data"] == {"__typename": "Query"}
    assert (await client.send({"documentId": sha1})).json()["data"] == {"b": "Query"}
    missing = await client.send({"documentId": "sha256:" + "0" * 64})
    assert (missing.status_code, code(missing)) == (404, "PERSISTED_QUERY_NOT_FOUND")
    listed = (await client.post("{ publishedDocuments { id operations characters usedAt } }")).json()["data"]
    by_id = {d["id"]: d for d in listed["publishedDocuments"]}
    assert by_id[sha256(QUERY)]["operations"] == ["Q"]
    assert by_id[sha256(QUERY)]["usedAt"]
    assert by_id[sha256("{ c: __typename }")]["usedAt"] is None


@pytest.mark.parametrize(
    ("id_", "text", "reason"),
    [
        ("sha256:" + "0" * 64, QUERY, "not the sha256"),
        ("0" * 64, QUERY, "not the sha256"),
        ("0" * 40, QUERY, "not the sha1"),
        ("sha256:front", QUERY, "64 hexadecimal"),
        ("apq:" + sha256(QUERY), QUERY, "without colons"),
        ("two words", QUERY, "visible characters"),
        ("", QUERY, "visible characters"),
        ("bad", "{ noSuchField }", "line 1, column 3: Cannot query field 'noSuchField'"),
        ("bad", "{", "Syntax Error"),
        ("bad", "fragment F on Customer { id }", "F"),
        ("bad", "{ __typename }" + " " * 50_000, "over the limit"),
    ],
)
async def test_a_manifest_with_a_faulty_document_is_refused_whole(
    client: Client, id_: str, text: str, reason: str
) -> None:
    answer = await publish(client, {"good-one": "{ good: __typename }", id_: text})
    (error,) = answer["userErrors"]
    assert (answer["total"], error["path"], error["code"]) == (None, ["input", "manifest", id_], "INVALID")
    assert reason in error["message"]
    assert code(await client.send({"documentId": "good-one"})) == "PERSISTED_QUERY_NOT_FOUND"


async def test_an_id_is_for_one_text_only(client: Client) -> None:
    await publish(client, {"page-2": "{ __typename }"})
    (error,) = (await publish(client, {"page-2": "{ a: __typename }"}))["userErrors"]
    assert "another document" in error["message"]
    assert (await client.send({"documentId": "page-2"})).json()["data"] == {"__typename": "Query"}


async def test_a_manifest_is_an_object_of_texts(client: Client) -> None:
    for given in ([], {"a": 1}, "text"):
        (error,) = (await publish(client, given))["userErrors"]
        assert error["path"] == ["input", "manifest"]


async def test_publishing_takes_the_ability_settings(client: Client) -> None:
    key = 'mutation { apiKeyCreate(input: {name: "k", allowed: ["Customer:read"]}) { key } }'
    token = (await client.post(key)).json()["data"]["apiKeyCreate"]["key"]
    for text in (
        'mutation { documentsPublish(input: {manifest: {a: "{ __typename }"}}) { total } }',
        "mutation { documentsTrust(input: {only: true}) { only } }",
        "mutation { documentsPrune(input: {unusedDays: 0}) { removed } }",
        "{ publishedDocuments { id } }",
        "{ trustedDocumentsOnly }",
    ):
        assert code(await client.post(text, headers={"authorization": f"Bearer {token}"})) == "FORBIDDEN"


async def test_documents_out_of_use_are_pruned_everywhere(client: Client) -> None:
    """A process that has a document in memory forgets it within a second."""
    kept, gone = "{ kept: __typename }", "{ gone: __typename }"
    await publish(client, {sha256(kept): kept, sha256(gone): gone})
    assert (await client.send({"documentId": sha256(gone)})).is_success
    prune = "mutation($d: Int!, $k: [ID!]!) { documentsPrune(input: {unusedDays: $d, keep: $k}) { removed } }"
    many = await client.post(prune, variables={"d": 1, "k": []})
    assert many.json()["data"]["documentsPrune"] == {"removed": 0}
    answer = await client.post(prune, variables={"d": 0, "k": [f"sha256:{sha256(kept)}"]})
    assert answer.json()["data"]["documentsPrune"]["removed"] >= 1
    await settle(client)
    await client.post("{ __typename }")
    assert code(await client.send({"documentId": sha256(gone)})) == "PERSISTED_QUERY_NOT_FOUND"
    assert (await client.send({"documentId": sha256(kept)})).is_success


async def test_a_workspace_may_run_published_documents_only(client: Client) -> None:
    other = "{ a: __typename }"
    trust = "mutation Trust($only: Boolean!) { documentsTrust(input: {only: $only}) { only userErrors { code } } }"
    await client.send({"query": other, **persisted(sha256(other))})
    await publish(client, {f"sha256:{sha256(QUERY)}": QUERY, sha256(trust): trust})
    answer = await client.post(trust, variables={"only": True})
    assert answer.json()["data"]["documentsTrust"] == {"only": True, "userErrors": []}
    await settle(client)
    for body in (
        {"query": "{ __typename }"},
        {"query": other, **persisted(sha256(other))},
        persisted(sha256(other)),
    ):
        response = await client.send(body)
        assert (response.status_code, code(response)) == (400, "PERSISTED_QUERY_ONLY")
    assert code(await client.send({"documentId": sha256(other)})) == "PERSISTED_QUERY_NOT_FOUND"
    for body in ({"query": QUERY}, {"documentId": sha256(QUERY)}, persisted(sha256(QUERY))):
        assert (await client.send(body)).json()["data"] == DATA
    await client.send({"documentId": sha256(trust), "variables": {"only": False}})
    await settle(client)
    assert (await client.send({"query": "{ __typename }"})).is_success


async def test_trusting_nothing_is_refused(database: Database, settings: Settings) -> None:
    async with opened(database, settings) as client:
        trust = "mutation { documentsTrust(input: {only: true}) { only userErrors { message } } }"
        (error,) = (await client.post(trust)).json()["data"]["documentsTrust"]["userErrors"]
        assert "publish a manifest first" in error["message"]


def _asked() -> dict[str, str]:
    """Every document that the acceptance kits are told of."""
    folder = Path(__file__).parent / "acceptance"
    profile = json.loads((folder / "profile.json").read_text())
    found = {name: part["document"] for name, part in profile.items() if isinstance(part, dict) and "document" in part}
    found |= {file.name: file.read_text() for file in (folder / "documents").glob("*.graphql")}
    return found | json.loads((folder / profile["persistedManifest"]).read_text())


@pytest.mark.parametrize("name", _asked())
async def test_the_documents_of_the_acceptance_kits_fit_the_schema(client: Client, name: str) -> None:
    workspace = await client.services.directory.find(None)
    composition = await client.services.features.composition(workspace)
    assert composition.document(_asked()[name], client.services.limits).errors == []


def test_without_kits_acceptance_is_skipped_and_says_so(tmp_path: Path, project: Path) -> None:
    command = [sys.executable, "-m", "scripts.acceptance", str(tmp_path)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.partition(":")[0]) == (0, "skipped")
