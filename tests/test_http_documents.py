"""Documents that are named instead of sent."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.database import Database
from core.errors import BadInput
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


async def test_published_documents_run_by_their_id(client: Client) -> None:
    workspace = await client.services.directory.find(None)
    assert workspace is not None
    manifest = {f"sha256:{sha256(QUERY)}": QUERY, "front-page-1": "{ __typename }"}
    assert await client.services.documents.publish(workspace, manifest) == 2
    assert await client.services.documents.publish(workspace, manifest) == 0
    assert (await client.send({"documentId": f"sha256:{sha256(QUERY)}"})).json()["data"] == DATA
    assert (await client.get(documentId="front-page-1")).json()["data"] == {"__typename": "Query"}
    missing = await client.send({"documentId": "sha256:" + "0" * 64})
    assert (missing.status_code, code(missing)) == (404, "PERSISTED_QUERY_NOT_FOUND")
    with pytest.raises(BadInput):
        await client.services.documents.publish(workspace, {"sha256:" + "0" * 64: QUERY})


async def test_a_workspace_may_run_published_documents_only(client: Client) -> None:
    services = client.services
    workspace = await services.directory.find(None)
    assert workspace is not None
    await client.send({"query": "{ a: __typename }", **persisted(sha256("{ a: __typename }"))})
    await services.documents.publish(workspace, {f"sha256:{sha256(QUERY)}": QUERY})
    await services.documents.trust_only(workspace, True)
    try:
        for body in (
            {"query": "{ __typename }"},
            {"query": "{ a: __typename }", **persisted(sha256("{ a: __typename }"))},
            persisted(sha256("{ a: __typename }")),
        ):
            response = await client.send(body)
            assert (response.status_code, code(response)) == (400, "PERSISTED_QUERY_ONLY")
        assert code(await client.send({"documentId": sha256("{ a: __typename }")})) == "PERSISTED_QUERY_NOT_FOUND"
        for body in ({"query": QUERY}, {"documentId": sha256(QUERY)}, persisted(sha256(QUERY))):
            assert (await client.send(body)).json()["data"] == DATA
    finally:
        await services.documents.trust_only(workspace, False)
    assert (await client.send({"query": "{ __typename }"})).is_success
