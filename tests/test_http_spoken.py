"""Top-level errors follow Accept-Language; codes never do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.database import Database
from core.errors import ClientError
from core.messages import catalogue
from core.settings import Settings
from tests.acceptance.client import Client, opened
from tests.test_http_streams import connected, greet, subscribe

VIEWER = "{ customers { totalCount } }"
LONG = "x" * 3_000_000


@pytest.fixture(scope="module")
async def client(database: Database, settings: Settings) -> AsyncIterator[Client]:
    async with opened(database, settings) as opened_client:
        yield opened_client


@pytest.mark.parametrize(
    ("body", "headers", "code", "vietnamese"),
    [
        ({"query": VIEWER}, {"authorization": ""}, "UNAUTHENTICATED", "Bạn chưa đăng nhập"),
        ({"query": VIEWER}, {"authorization": "Bearer forged"}, "UNAUTHENTICATED", "Bạn chưa đăng nhập"),
        ({"query": "{ file(id: 7) { nothing } }"}, {}, "GRAPHQL_VALIDATION_FAILED", None),
        ({"query": "{" + "customers { nodes { owner { " * 20 + "id" + "} } }" * 20 + "}"}, {}, "LIMIT_EXCEEDED", "Yêu"),
        ({"query": LONG}, {}, "PAYLOAD_TOO_LARGE", "Dữ liệu"),
    ],
)
async def test_errors_are_told_in_the_language_asked_for(
    client: Client, body: Any, headers: dict[str, str], code: str, vietnamese: str | None
) -> None:
    told = {}
    for spoken in ("vi-VN,vi;q=0.9,en;q=0.8", "en-GB, vi;q=0.5", "de"):
        answer = await client.send(body, headers={**headers, "accept-language": spoken})
        (told[spoken[:2]], *_) = answer.json()["errors"]
    assert {error["extensions"]["code"] for error in told.values()} == {code}
    assert told["en"] == told["de"]
    assert "detail" not in told["en"]["extensions"]
    if vietnamese is None:
        assert told["vi"] == told["en"]
    else:
        assert told["vi"]["message"].startswith(vietnamese)
        assert told["vi"]["extensions"]["detail"] == told["en"]["message"]


async def test_a_socket_s_errors_are_told_in_its_language(client: Client) -> None:
    deep = "{" + "customers { nodes { owner { " * 20 + "id" + "} } }" * 20 + "}"
    async with connected(client, **{"accept-language": "vi"}) as wire:
        await greet(client, wire)
        await wire.send(subscribe("1", deep))
        (error,) = (await wire.next())["payload"]
        assert (error["extensions"]["code"], error["message"][:7]) == ("LIMIT_EXCEEDED", "Yêu cầu")


def test_every_message_is_of_a_code_there_is() -> None:
    def codes(of: type[ClientError]) -> set[str]:
        return {of.code}.union(*(codes(sub) for sub in of.__subclasses__()))

    of_http = {"PAYLOAD_TOO_LARGE", "SERVICE_UNAVAILABLE", "INTERNAL_SERVER_ERROR"}
    told = {key.removeprefix("error_") for key in catalogue("core", "vi") if key.startswith("error_")}
    assert len(told) > 8
    assert told <= codes(ClientError) | of_http
