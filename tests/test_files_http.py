"""Uploading by the multipart request specification, and downloading by signed links."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from core.contributions import Operations
from core.database import Database
from core.files import FileStore, Upload
from core.operations import Argument, Call, Member, Mutation, Payload
from core.passwords import create_user
from core.settings import Settings
from tests.acceptance.assembly import LOGIN, PASSWORD
from tests.acceptance.client import Client, code, opened

BOUNDARY = "frontier"
PREFLIGHT = {"graphql-require-preflight": "1"}
UPLOAD = (
    "mutation($file: Upload!) { fileUpload(input: {file: $file}) { file { id name contentType size sha256 url } } }"
)
SEEN: list[Any] = []


async def _look(call: Call) -> Payload:
    SEEN.append(call.input)
    texts = [each.path.read_text() for row in call.input["nested"] for each in row]
    return Payload({"texts": texts})


LOOK = Mutation(
    "look",
    "Reads uploads in nested lists.",
    _look,
    (Argument("nested", "[[Upload!]!]!", "The files."), Argument("words", "String", "Some words.")),
    (Member("texts", "[String!]", "What is in them."),),
)


@pytest.fixture(scope="module")
async def client(database: Database, settings: Settings, tmp_path_factory: Any) -> AsyncIterator[Client]:
    limits = {"max_upload_bytes": 50_000, "max_upload_total_bytes": 80_000, "max_upload_files": 3}
    folder = tmp_path_factory.mktemp("files")
    async with opened(database, settings, files_dir=folder, max_body_bytes=20_000, **limits) as made:
        made.services.features._operations += Operations(mutations=(LOOK,))
        made.services.features._known.clear()
        await made.services.features.refresh(await workspace(made))
        yield made


async def workspace(client: Client) -> Any:
    return await client.services.directory.find(None)


def drafts(client: Client) -> list[Path]:
    return list((client.services.settings.files / "drafts").glob("*"))


def part(name: str, body: bytes | str, filename: str | None = None, type_: str = "text/plain") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        head += f'; filename="{filename}"\r\nContent-Type: {type_}'
    body = body if isinstance(body, bytes) else body.encode()
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + body + b"\r\n"


def form(*parts: bytes, end: bytes = f"--{BOUNDARY}--\r\n".encode()) -> bytes:
    return b"".join(parts) + end


def operations(query: str = UPLOAD, **variables: Any) -> bytes:
    return part("operations", json.dumps({"query": query, "variables": variables or {"file": None}}))


def mapped(**names: Iterable[str]) -> bytes:
    return part("map", json.dumps({name.lstrip("_"): list(paths) for name, paths in names.items()}))


ONE = mapped(_0=["variables.file"])


async def send(client: Client, body: Any, **headers: str) -> httpx.Response:
    type_ = f"multipart/form-data; boundary={BOUNDARY}"
    given = {**client.headers, **PREFLIGHT, "content-type": type_, **headers}
    return await client.raw.post("/graphql", content=body, headers=given)


async def uploaded(client: Client, body: bytes, name: str = "a.txt", type_: str = "text/plain") -> dict[str, Any]:
    response = await send(client, form(operations(), ONE, part("0", body, name, type_)))
    assert response.status_code == 200, response.text
    answer = response.json()
    assert "errors" not in answer, answer
    return answer["data"]["fileUpload"]["file"]


async def test_an_upload_is_kept_and_can_be_downloaded_by_its_link(client: Client) -> None:
    body = "xin chào\n".encode() * 100
    file = await uploaded(client, body, "khách hàng – 顧客.txt")
    assert (file["name"], file["contentType"], file["size"]) == ("khách hàng – 顧客.txt", "text/plain", len(body))
    assert file["sha256"] == hashlib.sha256(body).hexdigest()
    response = await client.raw.get(file["url"])
    assert (response.status_code, response.content) == (200, body)
    assert response.headers["content-disposition"] == f"attachment; filename*=utf-8''{quote(file['name'])}"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["cache-control"] == "private, no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert drafts(client) == []
    middle = await client.raw.get(file["url"], headers={"range": "bytes=4-8"})
    assert (middle.status_code, middle.content) == (206, body[4:9])
    head = await client.raw.head(file["url"])
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(body)), b"")


async def test_bytes_arrive_whole_however_they_are_cut(client: Client) -> None:
    body = bytes(range(256)) * 100 + b"\r\n--frontie\r\n--" + b"\r\n"
    whole = form(operations(), ONE, part("0", body, "b.bin", "application/x-thing"))

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for at in range(0, len(whole), size):
            yield whole[at : at + size]

    for size in (7, 1000, 16_384):
        file = (await send(client, pieces(size))).json()["data"]["fileUpload"]["file"]
        assert (file["size"], file["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
        assert (await client.raw.get(file["url"])).content == body


async def test_an_empty_file_is_a_file(client: Client) -> None:
    file = await uploaded(client, b"", "empty.bin", "application/octet-stream")
    assert file["size"] == 0
    assert (await client.raw.get(file["url"])).content == b""


async def test_nested_lists_and_one_file_in_several_places(client: Client) -> None:
    query = "mutation($n: [[Upload!]!]!) { look(input: {nested: $n}) { texts } }"
    names = mapped(a=["variables.n.0.0", "variables.n.1.1"], b=["variables.n.1.0"])
    body = form(operations(query, n=[[None], [None, None]]), names, part("a", "A", "a"), part("b", "B", "b"))
    answer = (await send(client, body)).json()
    assert answer["data"]["look"]["texts"] == ["A", "B", "A"]
    given = SEEN.pop()["nested"]
    assert isinstance(given[0][0], Upload)
    assert given[0][0] is given[1][1] or given[0][0] == given[1][1]
    assert not given[0][0].path.exists()


async def test_several_files_at_once_in_their_order(client: Client) -> None:
    query = "mutation($f: [Upload!]!) { filesUpload(input: {files: $f}) { files { name size } totalSize } }"
    names = mapped(_0=["variables.f.0"], _1=["variables.f.1"], _2=["variables.f.2"])
    files = [part(str(i), "x" * (i + 1), f"{i}.txt") for i in range(3)]
    answer = (await send(client, form(operations(query, f=[None] * 3), names, *files))).json()
    assert answer["data"]["filesUpload"] == {
        "files": [{"name": f"{i}.txt", "size": i + 1} for i in range(3)],
        "totalSize": 6,
    }


async def test_a_form_without_files_is_any_operation(client: Client) -> None:
    answer = await send(client, form(operations("{ viewer { login } }", x=1), part("map", "{}")))
    assert answer.json()["data"] == {"viewer": {"login": LOGIN}}


async def test_uploading_takes_the_ability_and_files_are_their_uploaders(client: Client) -> None:
    here = await workspace(client)
    for login, role in (("seller", "Salesperson"), ("other", "Salesperson"), ("reader", "Read-only")):
        async with client.services.database.transaction(here) as connection:
            await create_user(connection, login, PASSWORD, login, [role])
    sign_in = "mutation($l: String!, $p: String!) { login(input: {login: $l, password: $p}) { accessToken } }"

    async def headers(login: str) -> dict[str, str]:
        answer = (await client.post(sign_in, variables={"l": login, "p": PASSWORD})).json()
        return {"authorization": f"Bearer {answer['data']['login']['accessToken']}"}

    refused = await send(client, form(operations(), ONE, FILE), **await headers("reader"))
    assert code(refused) == "FORBIDDEN"
    kept = await send(client, form(operations(), ONE, FILE), **await headers("seller"))
    id_ = kept.json()["data"]["fileUpload"]["file"]["id"]
    for login, seen in (("seller", True), ("other", False)):
        query = "query($i: ID!) { file(id: $i) { url } files { totalCount } }"
        shown = (await client.post(query, headers=await headers(login), variables={"i": id_})).json()["data"]
        assert (shown["file"] is not None, shown["files"]["totalCount"]) == (seen, int(seen))


FILE = part("0", "raw", "raw.txt")
MALFORMED: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "BAD_REQUEST"),
    "no parts": (form(), 400, "BAD_REQUEST"),
    "no map": (form(operations(), FILE), 400, "BAD_REQUEST"),
    "no map, no file": (form(operations()), 400, "BAD_REQUEST"),
    "no operations": (form(ONE, FILE), 400, "BAD_REQUEST"),
    "file first": (form(FILE, operations(), ONE), 400, "BAD_REQUEST"),
    "map first": (form(ONE, operations(), FILE), 400, "BAD_REQUEST"),
    "operations twice": (form(operations(), operations(), ONE, FILE), 400, "BAD_REQUEST"),
    "map is no JSON": (form(operations(), part("map", "{bad"), FILE), 400, "BAD_REQUEST"),
    "map is a list": (form(operations(), part("map", "[]"), FILE), 400, "BAD_REQUEST"),
    "map of no lists": (form(operations(), part("map", '{"0": "variables.file"}'), FILE), 400, "BAD_REQUEST"),
    "map of no paths": (form(operations(), part("map", '{"0": []}'), FILE), 400, "BAD_REQUEST"),
    "map of numbers": (form(operations(), part("map", '{"0": [1]}'), FILE), 400, "BAD_REQUEST"),
    "map of map": (form(operations(), part("map", '{"map": ["variables.file"]}'), FILE), 400, "BAD_REQUEST"),
    "operations is no JSON": (form(part("operations", "{bad"), ONE, FILE), 400, "BAD_REQUEST"),
    "operations is a text": (form(part("operations", '"text"'), ONE, FILE), 400, "BAD_REQUEST"),
    "operations is null": (form(part("operations", "null"), ONE, FILE), 400, "BAD_REQUEST"),
    "operations is a list": (form(part("operations", "[]"), ONE, FILE), 400, "BATCHING_NOT_SUPPORTED"),
    "operations is empty": (form(part("operations", ""), ONE, FILE), 400, "BAD_REQUEST"),
    "operations is a file": (form(part("operations", "{}", "x.json"), ONE, FILE), 400, "BAD_REQUEST"),
    "file missing": (form(operations(), ONE), 400, "BAD_REQUEST"),
    "file is no file": (form(operations(), ONE, part("0", "text")), 400, "BAD_REQUEST"),
    "file not in map": (form(operations(), ONE, part("1", "x", "x")), 400, "BAD_REQUEST"),
    "file twice": (form(operations(), ONE, FILE, FILE), 400, "BAD_REQUEST"),
    "unknown text": (form(operations(), part("extra", "x"), ONE, FILE), 400, "BAD_REQUEST"),
    "two in one place": (
        form(operations(), mapped(_0=["variables.file"], _1=["variables.file"]), FILE, part("1", "x", "x")),
        400,
        "BAD_REQUEST",
    ),
    "truncated in a file": (form(operations(), ONE, FILE[:-5], end=b""), 400, "BAD_REQUEST"),
    "truncated between parts": (form(operations(), ONE, FILE, end=b""), 400, "BAD_REQUEST"),
    "another boundary": (form(operations(), ONE, FILE).replace(BOUNDARY.encode(), b"elsewhere"), 400, "BAD_REQUEST"),
    "no form at all": (b'{"query": "{ __typename }"}', 400, "BAD_REQUEST"),
    "no name": (
        f"--{BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\nx\r\n".encode() + form(operations(), ONE, FILE),
        400,
        "BAD_REQUEST",
    ),
    "no disposition": (f"--{BOUNDARY}\r\nX: y\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(), 400, "BAD_REQUEST"),
    "a header without end": (f"--{BOUNDARY}\r\nX: ".encode() + b"y" * 10_000, 400, "BAD_REQUEST"),
    "a lone surrogate": (form(part("operations", '{"query": "\\ud800"}'), ONE, FILE), 400, "BAD_USER_INPUT"),
    "too many files": (
        form(operations(), mapped(**{f"_{i}": ["variables.file"] for i in range(4)})),
        413,
        "PAYLOAD_TOO_LARGE",
    ),
    "too large a file": (form(operations(), ONE, part("0", b"x" * 50_001, "x")), 413, "PAYLOAD_TOO_LARGE"),
    "too large a text": (form(part("operations", b"x" * 20_001), ONE, FILE), 413, "PAYLOAD_TOO_LARGE"),
    "too much in all": (
        form(
            operations("mutation($f: [Upload!]!) { filesUpload(input: {files: $f}) { totalSize } }", f=[None] * 2),
            mapped(_0=["variables.f.0"], _1=["variables.f.1"]),
            part("0", b"x" * 45_000, "x"),
            part("1", b"x" * 45_000, "x"),
        ),
        413,
        "PAYLOAD_TOO_LARGE",
    ),
    "too large a body": (b"x" * 200_000, 413, "PAYLOAD_TOO_LARGE"),
} | {
    f"map leads to {path}": (form(operations(), mapped(_0=[path]), FILE), 400, "BAD_REQUEST")
    for path in (
        "",
        "query",
        "variables",
        "variables.",
        "variables.nope",
        "variables.file.x",
        "variables.file.0",
        "x.y",
    )
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_forms_are_refused_and_leave_nothing(client: Client, name: str) -> None:
    body, status, expected = MALFORMED[name]
    response = await send(client, body)
    assert (response.status_code, code(response)) == (status, expected)
    assert drafts(client) == []


@pytest.mark.parametrize(
    "type_", ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'x' * 500}"]
)
async def test_a_form_needs_a_boundary(client: Client, type_: str) -> None:
    response = await send(client, form(operations(), ONE, FILE), **{"content-type": type_})
    assert (response.status_code, code(response)) == (400, "BAD_REQUEST")


async def test_every_cut_of_a_form_is_refused(client: Client) -> None:
    whole = form(operations(), ONE, FILE)
    for at in range(0, len(whole) - 4, 5):
        response = await send(client, whole[:at])
        assert (response.status_code, code(response)) == (400, "BAD_REQUEST"), at
    assert drafts(client) == []


async def test_a_list_index_must_be_one_of_the_list(client: Client) -> None:
    query = "mutation($f: [Upload!]!) { filesUpload(input: {files: $f}) { totalSize } }"
    for path in (
        "variables.f.1",
        "variables.f.-1",
        "variables.f.x",
        "variables.f",
        "variables.f.99999999999999999999",
        "variables.f.²",
    ):
        response = await send(client, form(operations(query, f=[None]), mapped(_0=[f"variables.{path}"]), FILE))
        assert (response.status_code, code(response)) == (400, "BAD_REQUEST"), path


async def test_a_form_without_preflight_header_is_refused(client: Client) -> None:
    headers = {**client.headers, "content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    response = await client.raw.post("/graphql", content=form(operations(), ONE, FILE), headers=headers)
    assert (response.status_code, code(response)) == (400, "CSRF_PREVENTION")


async def test_nobody_uploads_before_he_has_signed_in(client: Client) -> None:
    for authorization in ("", "Bearer nonsense"):
        response = await send(client, form(operations(), ONE, FILE), authorization=authorization)
        assert (response.status_code, code(response)) == (401, "UNAUTHENTICATED")
    assert drafts(client) == []


@pytest.mark.parametrize("value", ["just text", 1, True, {"name": "x"}, ["x"]])
async def test_a_value_of_another_kind_is_no_upload(client: Client, value: Any) -> None:
    response = await client.send({"query": UPLOAD, "variables": {"file": value}})
    assert (response.status_code, code(response)) == (400, "BAD_USER_INPUT")
    response = await send(client, form(operations(file=value), part("map", "{}")))
    assert (response.status_code, code(response)) == (400, "BAD_USER_INPUT")


async def test_a_literal_is_no_upload(client: Client) -> None:
    response = await client.post('mutation { fileUpload(input: {file: "x"}) { file { id } } }')
    assert response.status_code == 400
    assert response.json()["errors"][0]["extensions"]["code"] in ("BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED")


async def test_an_operation_that_fails_leaves_no_draft(client: Client) -> None:
    query = (
        "mutation($file: Upload!, $n: [[Upload!]!]!) "
        "{ fileUpload(input: {file: $file}) { file { id } } look(input: {nested: $n}) { texts } }"
    )
    body = form(
        operations(query, file=None, n=[[None]]),
        mapped(a=["variables.file", "variables.n.0.0"]),
        part("a", b"\xff\xfe", "a.bin"),
    )
    response = await send(client, body)
    assert response.status_code == 200
    assert [e["extensions"]["code"] for e in response.json()["errors"]] == ["INTERNAL_SERVER_ERROR"]
    assert drafts(client) == []


async def test_a_full_disk_is_no_fault_of_the_client(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_gathered: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.http.multipart._write", full)
    response = await send(client, form(operations(), ONE, FILE))
    assert (response.status_code, code(response)) == (503, "SERVICE_UNAVAILABLE")
    assert "retry-after" in response.headers
    assert drafts(client) == []


async def test_a_client_that_goes_away_leaves_no_draft(client: Client) -> None:
    whole = form(operations(), ONE, part("0", b"x" * 20_000, "x"))
    messages = [
        {"type": "http.request", "body": whole[:10_000], "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        if len(messages) == 1:
            assert len(drafts(client)) == 1
        return messages.pop(0)

    async def send_(message: Any) -> None:
        sent.append(message)

    headers = {**client.headers, **PREFLIGHT, "content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }
    await client.application(scope, receive, send_)
    assert sent == []
    assert drafts(client) == []


async def test_the_same_upload_with_the_same_key_is_done_once(client: Client) -> None:
    query = UPLOAD.replace(
        "fileUpload(input: {file: $file})", 'fileUpload(input: {file: $file}, idempotencyKey: "one")'
    )
    first = (await send(client, form(operations(query), ONE, FILE))).json()
    second = (await send(client, form(operations(query), ONE, FILE))).json()
    assert "errors" not in first
    assert first["data"] == second["data"]
    other = await send(client, form(operations(query), ONE, part("0", "other", "raw.txt")))
    assert code(other) == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\\\Users\\\\me\\\\a.xlsx", "a.xlsx"),
        ("..", "file"),
        ("", "file"),
        ("a\tb\x7f.txt", "ab.txt"),
        ("x" * 300 + ".xlsx", "x" * 195 + ".xlsx"),
    ],
)
async def test_names_are_only_names(client: Client, given: str, kept: str) -> None:
    file = await uploaded(client, b"x", given)
    assert file["name"] == kept


@pytest.mark.parametrize("type_", ["text/html\x01", "nonsense", "a/" + "b" * 500, ""])
async def test_a_content_type_that_is_none_is_any_bytes(client: Client, type_: str) -> None:
    assert (await uploaded(client, b"x", "x", type_))["contentType"] == "application/octet-stream"


async def test_html_is_not_shown_but_offered(client: Client) -> None:
    file = await uploaded(client, b"<script>", "x.html", "text/html")
    headers = (await client.raw.get(file["url"])).headers
    assert headers["content-disposition"] == 'attachment; filename="x.html"'
    assert "sandbox" in headers["content-security-policy"]


async def test_links_are_good_for_one_file_in_one_workspace_and_some_time(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = await uploaded(client, b"one"), await uploaded(client, b"two")
    path, query = urlsplit(file["url"]).path, urlsplit(file["url"]).query
    await client.workspace("beside_files")
    slug = (await workspace(client)).slug
    forged = [
        path,
        f"{path}?{query[:-2]}xx",
        f"{path}?{query}x",
        f"{path}?{re.sub('expires=[0-9]+', 'expires=99999999999', query)}",
        f"{path}?{re.sub('expires=[0-9]+', 'expires=x', query)}",
        f"{path}?{re.sub('expires=[0-9]+', 'expires=²', query)}",
        f"{path}?{query.replace('signature=', 'signature=%F0%9F%98%80')}",
        f"{path.replace(file['id'], other['id'])}?{query}",
        f"{path.replace(slug, 'beside_files')}?{query}",
        f"{path.replace(slug, 'no_such')}?{query}",
        f"{path.replace(file['id'], 'x')}?{query}",
        f"{path.replace(file['id'], '..%2F..%2Fsecret')}?{query}",
    ]
    for url in forged:
        response = await client.raw.get(url)
        assert response.status_code in (403, 404), url
        if response.status_code == 403:
            assert code(response) == "FORBIDDEN"
            assert response.headers["cache-control"] == "private, no-store"
    store = client.services.files
    from datetime import UTC, datetime, timedelta
    from uuid import UUID

    late = store.link(await workspace(client), UUID(file["id"]), datetime.now(UTC) - timedelta(minutes=16))
    response = await client.raw.get(late)
    assert (response.status_code, code(response)) == (410, "LINK_EXPIRED")
    assert (await client.raw.get(file["url"])).content == b"one"


async def test_a_file_that_has_expired_is_gone_and_one_that_is_not_there_was_never(client: Client) -> None:
    file, other = await uploaded(client, b"one"), await uploaded(client, b"two")
    pool = client.services.database.pool(await workspace(client))
    await pool.execute("update file set expires_at = now() - interval '1 second' where id = $1::uuid", file["id"])
    await pool.execute("delete from file where id = $1::uuid", other["id"])
    response = await client.raw.get(file["url"])
    assert (response.status_code, code(response)) == (410, "FILE_EXPIRED")
    response = await client.raw.get(other["url"])
    assert (response.status_code, code(response)) == (404, "NOT_FOUND")
    shown = (await client.post("query($i: ID!) { file(id: $i) { url } }", variables={"i": file["id"]})).json()
    assert shown["data"] == {"file": {"url": None}}


async def test_bytes_that_are_lost_are_not_found(client: Client) -> None:
    from uuid import UUID

    file = await uploaded(client, b"one")
    client.services.files.of(await workspace(client)).path(UUID(file["id"])).unlink()
    response = await client.raw.get(file["url"])
    assert (response.status_code, code(response)) == (404, "NOT_FOUND")


async def test_no_signature_is_logged(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    import core.log

    file = await uploaded(client, b"x")
    signature = file["url"].rpartition("=")[2]
    event = {"event": "boom", "path": file["url"], "signature": signature}
    shown = core.log.redact(logging.getLogger(), "info", event)
    assert signature not in str(shown)
    await client.raw.get(file["url"])
    client.services.answered.settle()
    assert signature not in "".join(capsys.readouterr())


def test_links_begin_with_the_public_address(settings: Settings) -> None:
    from datetime import UTC, datetime
    from uuid import uuid4

    from tests.test_files import WORKSPACE

    store = FileStore(settings.model_copy(update={"public_url": "https://crm.example.com"}))
    id_ = uuid4()
    assert store.link(WORKSPACE, id_, datetime.now(UTC)).startswith(f"https://crm.example.com/files/shop/{id_}?")
