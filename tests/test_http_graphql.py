"""GraphQL over HTTP: media types, status codes, methods, request bodies."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from core.database import Database
from core.schema.answer import graphql_error
from core.settings import Settings
from tests.acceptance.assembly import SECRET
from tests.acceptance.client import GRAPHQL, Client, code, opened

TYPENAME = {"query": "{ __typename }"}


@pytest.fixture(scope="module")
async def client(database: Database, settings: Settings) -> AsyncIterator[Client]:
    async with opened(database, settings) as opened_client:
        yield opened_client


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (GRAPHQL, GRAPHQL),
        (f"{GRAPHQL};q=0.1, application/json", "application/json"),
        (f"application/json;q=0.5, {GRAPHQL};q=0.6", GRAPHQL),
        ("*/*", "application/json"),
        ("text/html, application/*;q=0.2", "application/json"),
        ("text/event-stream, application/json", "application/json"),
        (f"{GRAPHQL};q=bad, application/json", "application/json"),
    ],
)
async def test_the_media_type_follows_the_weights_of_accept(client: Client, accept: str, answered: str) -> None:
    response = await client.send(TYPENAME, headers={"accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{answered}; charset=utf-8"
    assert "data" in response.json()


async def test_without_an_acceptable_type_it_is_406(client: Client) -> None:
    response = await client.send(TYPENAME, headers={"accept": "text/csv"})
    assert (response.status_code, code(response)) == (406, "NOT_ACCEPTABLE")


@pytest.mark.parametrize(
    ("body", "expected", "status"),
    [
        ({"query": "{"}, "GRAPHQL_PARSE_FAILED", 400),
        ({"query": "{ noSuchField }"}, "GRAPHQL_VALIDATION_FAILED", 400),
        ({"query": "query($b: Boolean!) { __typename @skip(if: $b) }", "variables": {"b": "x"}}, "BAD_USER_INPUT", 400),
        ({"query": "query A { __typename } query B { __typename }"}, "OPERATION_RESOLUTION_FAILURE", 400),
        ({"query": "query A { __typename }", "operationName": "B"}, "OPERATION_RESOLUTION_FAILURE", 400),
    ],
)
async def test_a_request_error_has_no_data_and_a_code(
    client: Client, body: dict[str, Any], expected: str, status: int
) -> None:
    response = await client.send(body)
    assert (response.status_code, code(response)) == (status, expected)
    assert "data" not in response.json()
    legacy = await client.send(body, headers={"accept": "application/json"})
    assert (legacy.status_code, code(legacy)) == (200, expected)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"null", "BAD_REQUEST"),
        (b'"abc"', "BAD_REQUEST"),
        (b"1", "BAD_REQUEST"),
        (b"", "BAD_REQUEST"),
        (b"{bad", "BAD_REQUEST"),
        (b"{}", "BAD_REQUEST"),
        (b"[]", "BATCHING_NOT_SUPPORTED"),
        (b'[{"query": "{ __typename }"}]', "BATCHING_NOT_SUPPORTED"),
        (b"[" * 100_000, "BAD_REQUEST"),
        (b'{"query":"{ __typename }\xff\xfe"}', "BAD_REQUEST"),
        (b'{"query": 1}', "BAD_REQUEST"),
        (b'{"query": "{ __typename }", "variables": []}', "BAD_REQUEST"),
        (b'{"query": "{ __typename }", "operationName": {}}', "BAD_REQUEST"),
        (b'{"query": "{ __typename }", "extensions": "x"}', "BAD_REQUEST"),
        (b'{"query": "{ __typename }", "variables": {"a": "\\ud800"}}', "BAD_USER_INPUT"),
        (b'{"query": "{ __typename }", "variables": {"a": ["x\\u0000"]}}', "BAD_USER_INPUT"),
        (b'{"query": "{ __typename }", "variables": {"a\\u0000": 1}}', "BAD_USER_INPUT"),
        (b'{"query": "{ __typename }", "variables": {"a": ' + b"[" * 200 + b"]" * 200 + b"}}", "BAD_USER_INPUT"),
        (b'{"query": "{ customers(search: \\"a\\\\u0000\\") { totalCount } }"}', "BAD_USER_INPUT"),
    ],
)
async def test_no_body_is_answered_with_500(client: Client, raw: bytes, expected: str) -> None:
    headers = {**client.headers, "content-type": "application/json"}
    response = await client.raw.post("/graphql", content=raw, headers=headers)
    assert (response.status_code, code(response)) == (400, expected)
    assert response.headers["content-type"].startswith(GRAPHQL)


async def test_what_only_looks_like_nul_is_no_nul(client: Client) -> None:
    query = "query($s: String) { customers(search: $s) { totalCount } }"
    response = await client.post(query, variables={"s": "\\u0000"})
    assert response.json()["data"] == {"customers": {"totalCount": 0}}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_other_methods_are_405_with_allow(client: Client, method: str) -> None:
    response = await client.raw.request(method, "/graphql", headers=client.headers)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("type_", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
async def test_other_content_types_are_415(client: Client, type_: str) -> None:
    headers = {**client.headers, "content-type": type_}
    response = await client.raw.post("/graphql", content=json.dumps(TYPENAME), headers=headers)
    assert (response.status_code, code(response)) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_json_in_another_charset_is_415(client: Client) -> None:
    response = await client.send(TYPENAME, headers={"content-type": "application/json; charset=utf-16"})
    assert response.status_code == 415
    assert (await client.send(TYPENAME, headers={"content-type": "application/json; charset=UTF-8"})).is_success


async def test_a_body_over_the_limit_is_413(client: Client) -> None:
    body = {**TYPENAME, "variables": {"pad": "x" * 2_000_000}}
    response = await client.send(body)
    assert (response.status_code, code(response)) == (413, "PAYLOAD_TOO_LARGE")

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 100_000

    headers = {**client.headers, "content-type": "application/json"}
    response = await client.raw.post("/graphql", content=parts(), headers=headers)
    assert (response.status_code, code(response)) == (413, "PAYLOAD_TOO_LARGE")


async def test_queries_may_use_get_and_are_revalidated_by_etag(client: Client) -> None:
    parameters = {"query": "query Q($n: Int) { customers(first: $n) { totalCount } }", "variables": '{"n": 1}'}
    first = await client.get(**parameters)
    assert first.json()["data"] == {"customers": {"totalCount": 0}}
    assert first.headers["cache-control"] == "private, no-store"
    etag = first.headers["etag"]
    assert re.fullmatch('"[0-9a-f]{32}"', etag)
    for condition in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        again = await client.get(headers={"if-none-match": condition}, **parameters)
        assert (again.status_code, again.content) == (304, b"")
        assert (again.headers["etag"], again.headers["cache-control"]) == (etag, "private, no-store")
    for condition in (etag[:-1], etag.strip('"'), f'"x{etag[1:]}', "W/*"):
        fresh = await client.get(headers={"if-none-match": condition}, **parameters)
        assert (fresh.status_code, fresh.content) == (200, first.content), condition
    other = await client.get(headers={"if-none-match": first.headers["etag"]}, query="{ __typename }")
    assert other.status_code == 200


async def test_a_compressed_answer_has_an_etag_of_its_own(client: Client) -> None:
    query = "{ __schema { types { name description } } }"
    packed, plain = [
        await client.get(query=query, headers={"accept-encoding": encoding}) for encoding in ("gzip", "identity")
    ]
    assert (packed.headers["content-encoding"], packed.content) == ("gzip", plain.content)
    assert packed.headers["etag"] != plain.headers["etag"]
    again = await client.get(query=query, headers={"if-none-match": packed.headers["etag"], "accept-encoding": "gzip"})
    assert (again.status_code, again.headers.get("content-encoding")) == (304, None)


async def test_browsers_keep_answers_where_the_settings_say_so(database: Database, settings: Settings) -> None:
    async with opened(database, settings, keep_answers=True) as client:
        kept = await client.get(query="{ __typename }")
        assert kept.headers["cache-control"] == "private, no-cache"
        assert (await client.post("{ __typename }")).headers["cache-control"] == "no-store"


async def test_a_mutation_by_get_is_405_and_not_done(client: Client) -> None:
    query = 'mutation { customerCreate(input: {name: "Không", kind: PERSON}) { customer { id } } }'
    response = await client.get(query=query)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    count = await client.post('{ customers(search: "Không") { totalCount } }')
    assert count.json()["data"] == {"customers": {"totalCount": 0}}


@pytest.mark.parametrize(
    "query_string", ["query=%FF", "query={__typename}&variables=[", "variables=1&query={__typename}"]
)
async def test_a_bad_query_string_is_a_bad_request(client: Client, query_string: str) -> None:
    headers = {**client.headers, "graphql-require-preflight": "1"}
    response = await client.raw.get(f"/graphql?{query_string}", headers=headers)
    assert (response.status_code, code(response)) == (400, "BAD_REQUEST")


async def test_every_answer_says_that_it_is_nobody_elses(client: Client) -> None:
    response = await client.send(TYPENAME)
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "accept-encoding" in response.headers["vary"]


async def test_the_request_id_is_echoed_where_it_is_harmless(client: Client) -> None:
    assert (await client.send(TYPENAME, headers={"x-request-id": "abc-1:2.3"})).headers["x-request-id"] == "abc-1:2.3"
    for hostile in ("x" * 4000, 'a"b', "<script>"):
        found = (await client.send(TYPENAME, headers={"x-request-id": hostile})).headers["x-request-id"]
        assert re.fullmatch(r"[\w-]{1,40}", found)
    made = {(await client.send(TYPENAME)).headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3


async def test_an_exception_is_masked_and_named_by_the_request_id(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    response = await client.post("{ boom __typename }", headers={"x-request-id": "find-me"})
    assert response.status_code == 200
    body = response.json()
    assert body["data"] == {"boom": None, "__typename": "Query"}
    (error,) = body["errors"]
    assert error["path"] == ["boom"]
    assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": "find-me"}
    assert SECRET not in response.text


async def test_large_answers_are_compressed_for_those_who_ask(client: Client) -> None:
    query = "{ __schema { types { name description } } }"
    headers = {**client.headers, "accept-encoding": "gzip"}
    async with client.raw.stream("POST", "/graphql", json={"query": query}, headers=headers) as response:
        packed = b"".join([part async for part in response.aiter_raw()])
        assert response.headers["content-encoding"] == "gzip"
        assert int(response.headers["content-length"]) == len(packed)
    plain = await client.post(query, headers={"accept-encoding": "gzip;q=0, br"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed) == plain.content
    small = await client.send(TYPENAME, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in small.headers


async def test_the_cost_is_told(client: Client) -> None:
    response = await client.post("query($n: Int) { customers(first: $n) { nodes { id name } } }", variables={"n": 10})
    assert response.json()["extensions"] == {"cost": {"requested": 31, "limit": 20_000}}


@pytest.mark.parametrize(
    "query",
    [
        "{ customers(first: 200) { nodes { contacts(first: 200) { nodes { id } } } } }",
        "{ " + " ".join(f"a{i}: __typename" for i in range(31)) + " }",
        "{ __typename " + " ".join("@skip(if: false)" for _ in range(51)) + " }",
        "{ " + "customers { nodes { owner { id } } } " * 120 + "}",
        "{ ...F0 } "
        + " ".join(f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}" for i in range(20))
        + " fragment F20 on Query { __typename }",
    ],
)
async def test_documents_over_a_limit_are_refused(client: Client, query: str) -> None:
    response = await client.post(query)
    assert (response.status_code, code(response)) == (400, "LIMIT_EXCEEDED")
    assert "data" not in response.json()


async def test_a_limit_is_a_setting(database: Database, settings: Settings) -> None:
    async with opened(database, settings, max_root_fields=2, max_page_size=60) as strict:
        assert (await strict.post("{ a: __typename b: __typename }")).is_success
        assert code(await strict.post("{ a: __typename b: __typename c: __typename }")) == "LIMIT_EXCEEDED"
        assert (await strict.post("{ customers(first: 60) { totalCount } }")).json()["data"]
        assert code(await strict.post("{ customers(first: 61) { nodes { id } } }")) == "BAD_USER_INPUT"


async def test_conditions_nested_beyond_reason_are_the_callers_fault(client: Client) -> None:
    where: dict[str, Any] = {}
    for _ in range(60):
        where = {"and": [where]} if len(json.dumps(where)) % 2 else {"not": where}
    query = "query($w: CustomerWhere) { customers(where: $w) { totalCount } }"
    response = await client.post(query, variables={"w": where})
    assert response.status_code < 500
    assert "INTERNAL_SERVER_ERROR" not in response.text


@pytest.mark.parametrize("escape", ["\\uD800", "\\udfff", "\\uD83D\\u0041", "\\u{D800}", "\\u{00dfff}"])
async def test_half_a_character_in_a_literal_is_bad_input(client: Client, escape: str) -> None:
    response = await client.post('{ customers(search: "' + escape + '") { totalCount } }')
    assert (response.status_code, code(response)) == (400, "BAD_USER_INPUT")
    assert code(await client.post('{ customers(search: "\\u12") { totalCount } }')) == "GRAPHQL_PARSE_FAILED"
    whole = await client.post('{ customers(search: "\\uD83D\\uDE00") { totalCount } }')
    assert whole.json()["data"]


async def test_a_statement_that_takes_too_long_has_a_code(client: Client) -> None:
    workspace = await client.services.directory.find(None)
    assert workspace is not None
    with pytest.raises(asyncpg.QueryCanceledError) as caught:
        async with client.services.database.transaction(workspace, statement_timeout_ms=50) as connection:
            await connection.fetchval("select pg_sleep(5)")
    assert graphql_error(caught.value).extensions == {"code": "STATEMENT_TIMEOUT"}
