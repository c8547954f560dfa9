"""Subscriptions: each receiver is told exactly what he may see, over sockets and as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from core.apikeys import issue_api_key
from core.changes import ChangeSet
from core.context import Actor, ActorKind, RequestContext
from core.database import Database
from core.events import feed
from core.events import subscription as subscriptions
from core.events.progress import Progress
from core.grants import SYSTEM
from core.jobs import enqueue
from core.settings import Settings
from tests.acceptance.client import Client, opened
from tests.test_http_streams import Wire, connected, subscribe

WATCH = """subscription($where: CustomerWhere, $since: String) { customerChanged(where: $where, since: $since) {
  action id cursor changeSetId customer { name phone owner { login } } } }"""
CREATE = """mutation($input: CustomerCreateInput!) {
  customerCreate(input: $input) { customer { id } changeSet { id } userErrors { code } } }"""
MANY = """mutation($r: [CustomerCreateInput!]!) {
  customersBulkCreate(input: {records: $r}) { userErrors { code } } }"""
UPDATE = """mutation($input: CustomerUpdateInput!) { customerUpdate(input: $input) {
  changeSet { id } userErrors { code message } } }"""


class Desk:
    """A client with users besides the admin, each with a key."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.tokens = {"admin": client.token}
        self.users: dict[str, str] = {}

    async def do(self, query: str, who: str = "admin", **variables: Any) -> Any:
        headers = {"authorization": f"Bearer {self.tokens[who]}"}
        answer = (await self.client.post(query, headers=headers, variables=variables)).json()
        assert "errors" not in answer, answer
        (result,) = answer["data"].values()
        return result

    async def hire(self, login: str, role: str) -> None:
        workspace = await self.client.services.directory.find(None)
        assert workspace is not None
        async with self.client.services.database.transaction(workspace) as c:
            id_ = await c.fetchval(
                "insert into app_user (id, login, display_name) values (gen_random_uuid(), $1, $1) returning id", login
            )
            await c.execute(
                "insert into user_role (id, user_id, role_id)"
                " select gen_random_uuid(), $1, id from role where name = $2",
                id_,
                role,
            )
            self.tokens[login] = await issue_api_key(c, id_, "test")
        self.users[login] = str(id_)

    async def customer(self, name: str, owner: str | None = None, **values: Any) -> str:
        given = {"name": name, "kind": "PERSON", "ownerId": self.users[owner] if owner else None, **values}
        made = await self.do(CREATE, input=given)
        assert made["userErrors"] == []
        id_: str = made["customer"]["id"]
        return id_

    async def change(self, id_: str, **values: Any) -> None:
        done = await self.do(UPDATE, input={"id": id_, **values})
        assert done["userErrors"] == []


class Watcher:
    """One subscription on a socket of its own."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    async def event(self, seconds: float = 5) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            message = await self.wire.next()
        assert message["type"] == "next", message
        (found,) = message["payload"]["data"].values()
        return found

    async def told(self) -> tuple[str, str | None]:
        event = await self.event()
        return event["action"], event["customer"] and event["customer"]["name"]

    async def nothing(self, seconds: float = 0.3) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                raise AssertionError(await self.wire.from_server.get())


@asynccontextmanager
async def watching(desk: Desk, who: str = "admin", query: str = WATCH, **variables: Any) -> AsyncIterator[Watcher]:
    async with connected(desk.client) as wire:
        await wire.event()
        await wire.send({"type": "connection_init", "payload": {"authorization": f"Bearer {desk.tokens[who]}"}})
        assert await wire.next() == {"type": "connection_ack"}
        await wire.send(subscribe("1", query, variables=variables))
        hubs = desk.client.services.hubs
        before = hubs.open
        async with asyncio.timeout(5):
            while hubs.open == before and wire.from_server.empty():
                await asyncio.sleep(0.005)
        yield Watcher(wire)


@pytest.fixture(scope="module")
async def desk(database: Database, settings: Settings) -> AsyncIterator[Desk]:
    async with opened(database, settings) as client:
        desk = Desk(client)
        await desk.hire("an", "Salesperson")
        await desk.hire("binh", "Salesperson")
        await desk.hire("reader", "Read-only")
        yield desk


async def test_each_change_is_told_with_the_record_as_it_is(desk: Desk) -> None:
    async with watching(desk) as watcher:
        id_ = await desk.customer("Một", phone="0901")
        event = await watcher.event()
        assert (event["action"], event["id"]) == ("CREATED", id_)
        assert event["customer"] == {"name": "Một", "phone": "0901", "owner": None}
        await desk.change(id_, name="Hai")
        assert await watcher.told() == ("UPDATED", "Hai")
        await desk.do("mutation($id: ID!) { customerDelete(input: {id: $id}) { changeSet { id } } }", id=id_)
        assert await watcher.told() == ("DELETED", None)
        await desk.do("mutation($id: ID!) { customerRestore(input: {id: $id}) { changeSet { id } } }", id=id_)
        assert await watcher.told() == ("RESTORED", "Hai")


async def test_one_is_told_of_what_one_may_see_only(desk: Desk) -> None:
    async with watching(desk, "an") as an, watching(desk, "binh") as binh, watching(desk, "reader") as reader:
        await desk.customer("An's", "an")
        assert await an.told() == ("CREATED", "An's")
        assert await reader.told() == ("CREATED", "An's")
        await desk.customer("Bình's", "binh")
        assert await binh.told() == ("CREATED", "Bình's")
        assert await reader.told() == ("CREATED", "Bình's")
        await an.nothing()


async def test_after_a_transfer_the_old_owner_is_told_to_forget_it_and_nothing_more(desk: Desk) -> None:
    id_ = await desk.customer("Moving", "an")
    async with watching(desk, "an") as an, watching(desk, "binh") as binh:
        await desk.change(id_, ownerId=desk.users["binh"], name="Moved")
        event = await an.event()
        assert (event["action"], event["id"], event["customer"]) == ("LEFT", id_, None)
        assert await binh.told() == ("UPDATED", "Moved")
        await desk.change(id_, name="Secret")
        assert await binh.told() == ("UPDATED", "Secret")
        await an.nothing()


async def test_a_previous_owner_who_is_kept_as_a_viewer_goes_on_being_told(desk: Desk) -> None:
    id_ = await desk.customer("Kept", "an")
    transfer = """mutation($id: ID!, $to: ID!) { customersTransfer(
      input: {target: {ids: [$id]}, ownerId: $to, keepPreviousOwnerAsViewer: true}) { userErrors { code } } }"""
    async with watching(desk, "an") as an:
        await desk.do(transfer, id=id_, to=desk.users["binh"])
        assert await an.told() == ("UPDATED", "Kept")
        await desk.change(id_, name="Still seen")
        assert await an.told() == ("UPDATED", "Still seen")


async def test_a_condition_tells_what_begins_and_what_ceases_to_match(desk: Desk) -> None:
    async with watching(desk, where={"level": {"eq": "VIP"}}) as watcher:
        id_ = await desk.customer("Plain", level="New")
        await watcher.nothing()
        await desk.change(id_, level="VIP")
        assert await watcher.told() == ("UPDATED", "Plain")
        await desk.change(id_, level="Old")
        event = await watcher.event()
        assert (event["action"], event["id"], event["customer"]) == ("LEFT", id_, None)
        await desk.change(id_, name="Nobody cares")
        await watcher.nothing()


async def test_text_conditions_hold_for_what_was_before_too(desk: Desk) -> None:
    async with watching(desk, where={"name": {"contains": "đặc biệt"}}) as watcher:
        id_ = await desk.customer("Khách Đặc Biệt")
        assert await watcher.told() == ("CREATED", "Khách Đặc Biệt")
        await desk.change(id_, name="Khách thường")
        assert (await watcher.told())[0] == "LEFT"


async def test_a_hidden_field_is_null_and_cannot_be_asked_for(desk: Desk) -> None:
    await desk.hire("hidden", "Read-only")
    role = await desk.do('mutation { roleCreate(input: {name: "No phones"}) { role { id } } }')
    workspace = await desk.client.services.directory.find(None)
    assert workspace is not None
    async with desk.client.services.database.transaction(workspace) as c:
        await c.execute("delete from user_role where user_id = $1::text::uuid", desk.users["hidden"])
        await c.execute(
            "insert into user_role (id, user_id, role_id) values (gen_random_uuid(), $1::text::uuid, $2::text::uuid)",
            desk.users["hidden"],
            role["role"]["id"],
        )
        await c.execute(
            "insert into permission_grant (id, role_id, record_type, action, scope)"
            " values (gen_random_uuid(), $1::text::uuid, 'Customer', 'read', 'ALL')",
            role["role"]["id"],
        )
        await c.execute(
            "insert into field_rule (id, role_id, record_type, field, access)"
            " values (gen_random_uuid(), $1::text::uuid, 'Customer', 'phone', 'HIDE')",
            role["role"]["id"],
        )
        await c.execute("select pg_notify('crm_access', $1)", workspace.slug)
    async with watching(desk, "hidden") as watcher:
        await desk.customer("Shown", phone="0999")
        assert (await watcher.event())["customer"]["phone"] is None
    async with watching(desk, "hidden", where={"phone": {"eq": "0999"}}) as watcher:
        message = await watcher.wire.next()
        assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "FORBIDDEN")


async def test_whoever_loses_a_right_is_told_nothing_more_at_once(desk: Desk) -> None:
    await desk.hire("leaving", "Read-only")
    async with watching(desk, "leaving") as watcher:
        await desk.customer("Before")
        assert await watcher.told() == ("CREATED", "Before")
        await desk.do(
            "mutation($id: ID!) { userUpdate(input: {id: $id, active: false}) { userErrors { code } } }",
            id=desk.users["leaving"],
        )
        await desk.customer("After")
        assert await watcher.wire.closed() == 4403


@pytest.mark.parametrize("several", [False, True])
async def test_going_on_from_a_cursor_misses_nothing_and_repeats_nothing(desk: Desk, several: bool) -> None:
    since = await desk.do("{ eventsCursor }")
    names = [f"Missed {i} {several}" for i in range(5)]
    if several:
        records = [{"name": n, "kind": "PERSON"} for n in names]
        await desk.do(
            MANY,
            r=records,
        )
    else:
        for name in names:
            await desk.customer(name)
    found: list[str] = []
    # Come back after every single event: each cursor leads to the next one.
    for _ in names:
        async with watching(desk, since=since) as watcher:
            event = await watcher.event()
            found.append(event["customer"]["name"])
            since = event["cursor"]
    assert found == names
    async with watching(desk, since=since) as watcher:
        await watcher.nothing()
        await desk.customer("And on")
        assert await watcher.told() == ("CREATED", "And on")


async def test_writers_at_once_and_reconnects_none_twice_none_lost(desk: Desk) -> None:
    since = await desk.do("{ eventsCursor }")
    done = asyncio.Event()

    async def write(writer: int) -> None:
        for i in range(12):
            await desk.customer(f"w{writer}-{i}")

    found: list[str] = []

    async def follow() -> None:
        nonlocal since
        while not (done.is_set() and len(found) >= 48):
            async with watching(desk, since=since) as watcher:
                for _ in range(4):
                    try:
                        event = await watcher.event(1)
                    except TimeoutError:
                        if done.is_set():
                            return
                        break
                    found.append(event["customer"]["name"])
                    since = event["cursor"]

    following = asyncio.create_task(follow())
    await asyncio.gather(*(write(w) for w in range(4)))
    done.set()
    async with asyncio.timeout(30):
        await following
    assert sorted(found) == sorted(f"w{w}-{i}" for w in range(4) for i in range(12))


async def test_a_transaction_that_commits_late_is_not_lost(desk: Desk) -> None:
    """What began before a cursor and was committed after it is told, though its numbers are lower."""
    workspace = await desk.client.services.directory.find(None)
    assert workspace is not None
    composition = await desk.client.services.features.composition(workspace)
    context = RequestContext(workspace, Actor(ActorKind.SYSTEM, SYSTEM))
    async with watching(desk) as watcher:
        async with desk.client.services.database.transaction(workspace) as c:
            late = ChangeSet(c, context, composition.policy(SYSTEM), composition.hooks)
            await late.create("Customer", [{"name": "Late", "kind": "PERSON"}])
            await late.finish()
            await desk.customer("Early")
            first = await watcher.event()
            assert first["customer"]["name"] == "Early"
        assert await watcher.told() == ("CREATED", "Late")
    async with watching(desk, since=first["cursor"]) as watcher:
        assert await watcher.told() == ("CREATED", "Late")
        await watcher.nothing()


async def test_too_many_changes_at_once_are_to_be_fetched(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST", 3)
    async with watching(desk) as watcher:
        await desk.do(
            MANY,
            r=[{"name": f"Many {i}", "kind": "PERSON"} for i in range(5)],
        )
        event = await watcher.event()
        assert (event["action"], event["id"], event["customer"]) == ("REFETCH", None, None)
        await desk.customer("One more")
        assert await watcher.told() == ("CREATED", "One more")


@pytest.mark.parametrize("since", ["", "nonsense", "eyJ4Ijox", "x" * 30_000, "ữ"])
async def test_a_cursor_that_is_none_is_refused(desk: Desk, since: str) -> None:
    async with watching(desk, since=since) as watcher:
        message = await watcher.wire.next()
        assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "BAD_USER_INPUT")


async def test_a_client_that_is_too_slow_is_dropped(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "WAITING", 3)
    async with watching(desk) as watcher:
        await desk.do(
            MANY,
            r=[{"name": f"Fast {i}", "kind": "PERSON"} for i in range(10)],
        )
        async with asyncio.timeout(5):
            while (event := await watcher.wire.event())["type"] != "websocket.close":
                pass
        assert event["code"] == 4508


async def test_a_change_to_a_child_is_told_with_its_parent_in_sight_only(desk: Desk) -> None:
    id_ = await desk.customer("Parent", "an")
    query = "subscription { contactChanged { action contact { name customer { name } } } }"
    async with watching(desk, "an", query) as an, watching(desk, "binh", query) as binh:
        create = 'mutation($id: ID!) { contactCreate(input: {customerId: $id, name: "C"}) { userErrors { code } } }'
        await desk.do(create, id=id_)
        event = await an.event()
        assert event == {"action": "CREATED", "contact": {"name": "C", "customer": {"name": "Parent"}}}
        await binh.nothing()


async def test_a_job_is_followed_to_its_end(desk: Desk) -> None:
    services = desk.client.services
    workspace = await services.directory.find(None)
    assert workspace is not None
    async with services.database.transaction(workspace) as c:
        actor = await services.authenticator.actor(workspace, desk.tokens["admin"])
        job_id = str(await enqueue(c, workspace, "test.job", {}, actor))
    query = "subscription($id: ID!) { jobProgress(id: $id) { status progress } }"
    async with watching(desk, "admin", query, id=job_id) as watcher, watching(desk, "binh", query, id=job_id) as other:
        assert await watcher.event() == {"status": "QUEUED", "progress": None}
        assert await other.event() is None
        assert (await other.wire.next())["type"] == "complete"
        async with services.database.transaction(workspace) as c:
            await c.execute("update job set status = 'RUNNING', progress = 0.5 where id = $1::text::uuid", job_id)
            await c.execute("select pg_notify('crm_jobs', $1)", f"{workspace.slug} {job_id}")
        assert await watcher.event() == {"status": "RUNNING", "progress": "0.5"}
        async with services.database.transaction(workspace) as c:
            await c.execute("update job set status = 'DONE', progress = 1 where id = $1::text::uuid", job_id)
            await c.execute("select pg_notify('crm_jobs', $1)", f"{workspace.slug} {job_id}")
        assert await watcher.event() == {"status": "DONE", "progress": "1"}
        assert (await watcher.wire.next())["type"] == "complete"


async def test_a_job_that_cannot_be_read_leaves_no_subscription_behind(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any) -> Any:
        raise OSError("the database is away")

    monkeypatch.setattr(Progress, "_fetch", fails)
    query = "subscription($id: ID!) { jobProgress(id: $id) { status } }"
    async with watching(desk, "admin", query, id=desk.users["an"]) as watcher:
        message = await watcher.wire.next()
        assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "SERVICE_UNAVAILABLE")
        assert desk.client.services.hubs.open == 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { a: customerChanged { id } b: customerChanged { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { nothingChanged { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { customerChanged(where: {name: {eq: 5}}) { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ('subscription { jobProgress(id: "x") { status } }', "BAD_USER_INPUT"),
    ],
)
async def test_what_cannot_be_subscribed_to(desk: Desk, query: str, code: str) -> None:
    async with watching(desk, query=query) as watcher:
        message = await watcher.wire.next()
        assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", code)


async def test_a_subscription_by_json_alone_is_refused_in_words(desk: Desk) -> None:
    answer = await desk.client.post("subscription { customerChanged { id } }")
    assert answer.status_code == 406
    assert "text/event-stream" in answer.json()["errors"][0]["message"]


async def test_server_sent_events(desk: Desk) -> None:
    received: asyncio.Queue[Any] = asyncio.Queue()
    body = orjson.dumps({"query": "subscription { customerChanged { action customer { name } } }"})
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    gone = asyncio.Event()

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "query_string": b"",
        "headers": [
            (b"host", b"crm.example"),
            (b"content-type", b"application/json"),
            (b"accept", b"text/event-stream"),
            (b"authorization", f"Bearer {desk.tokens['admin']}".encode()),
        ],
        "client": ("127.0.0.1", 1),
    }
    task = asyncio.create_task(desk.client.application(scope, receive, received.put))
    async with asyncio.timeout(10):
        start = await received.get()
        assert start["status"] == 200
        assert (b"content-type", b"text/event-stream; charset=utf-8") in start["headers"]
        await desk.customer("Streamed")
        chunk = (await received.get())["body"].decode()
        assert chunk.startswith("event: next\ndata: ")
        data = json.loads(chunk.split("data: ")[1])
        assert data == {"data": {"customerChanged": {"action": "CREATED", "customer": {"name": "Streamed"}}}}
        gone.set()
        await task
    assert desk.client.services.hubs.open == 0
