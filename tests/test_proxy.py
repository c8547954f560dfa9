"""The example of a proxy in deploy/, as a real nginx in front of two servers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from core.commands.console import Deployment
from core.database import Database
from core.features import Features
from core.settings import Settings
from core.workspaces import Workspaces
from tests.nodes.callers import SLUG
from tests.nodes.processes import Process
from tests.nodes.trial import workspace
from tests.serving import environment, free_port

pytestmark = pytest.mark.nightly

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
EXAMPLE = Path(__file__).parent.parent / "deploy/nginx/headless-crm.conf"
MAIN = """
{user}daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 2;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/headless-crm.conf;
}}
"""
WATCH = "subscription($since: String) { customerChanged(since: $since) { id cursor customer { name } } }"
CREATE = "mutation($name: String!) { customerCreate(input: {name: $name, kind: PERSON}) { customer { id } } }"
UPLOAD = "mutation($f: Upload!) { fileUpload(input: {file: $f}) { file { id size url } userErrors { code } } }"


@dataclass
class Proxy:
    url: str
    token: str
    servers: list[Process]

    def client(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self.token}", "graphql-require-preflight": "1"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20)

    async def ask(self, client: httpx.AsyncClient, query: str, **variables: Any) -> Any:
        answer = await client.post(f"/w/{SLUG}/graphql", json={"query": query, "variables": variables})
        assert answer.status_code == 200, answer.text
        assert "errors" not in answer.json(), answer.text
        return answer.json()["data"]

    def answered(self) -> list[int]:
        """The requests that each server has logged."""
        time.sleep(0.5)
        return [server.log.read_bytes().count(b'"event":"request"') for server in self.servers]


@pytest.fixture(scope="module")
async def proxy(
    database: Database, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Proxy]:
    if NGINX is None:
        pytest.skip("needs nginx")
    folder = tmp_path_factory.mktemp("nginx")
    features = Features(database, settings)
    token = await workspace(Deployment(settings, database, Workspaces(database), features))
    await features.close()
    env = environment(CRM_DATABASE_URL=database.dsn, CRM_DATA_DIR=folder, CRM_SECRET="s" * 40, CRM_WORKER_INSIDE=False)
    servers = [Process(f"server{n}", folder / f"server{n}.log", env, free_port()) for n in (1, 2)]
    port = free_port()
    try:
        await asyncio.gather(*(server.start() for server in servers))
        for process in nginx(folder, port, servers):
            yield Proxy(f"http://127.0.0.1:{port}", token, servers)
            assert process.poll() is None
    finally:
        for server in servers:
            server.stop()


def nginx(folder: Path, port: int, servers: list[Process]) -> Iterator[subprocess.Popen[bytes]]:
    text = EXAMPLE.read_text().replace("listen 80;", f"listen 127.0.0.1:{port};")
    for n, server in enumerate(servers, 1):
        assert f"server{n}:8000" in text
        text = text.replace(f"server{n}:8000", f"127.0.0.1:{server.port}")
    (folder / "headless-crm.conf").write_text(text)
    user = "user root; " if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
    command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not (folder / "pid").exists() or not (folder / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(20)


async def test_both_servers_answer(proxy: Proxy) -> None:
    before = proxy.answered()
    async with proxy.client() as client:
        await asyncio.gather(*(proxy.ask(client, "{ viewer { login } }") for _ in range(40)))
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/metrics")).status_code == 404
        assert (await client.get(f"/w/{SLUG}/schema.graphql")).status_code == 200
    gained = [after - was for was, after in zip(before, proxy.answered(), strict=True)]
    assert sum(gained) == 40
    assert min(gained) >= 5


async def test_what_a_client_says_of_its_address_is_not_believed(proxy: Proxy) -> None:
    told: dict[str, str] = {"x-forwarded-for": "203.0.113.9", "authorization": "Bearer none"}
    remaining = []
    async with proxy.client() as client:
        for address in ("203.0.113.9", "198.51.100.7"):
            answer = await client.get("/readyz", headers=told | {"x-forwarded-for": address})
            # The parts are shown to this machine only: the address is the true one.
            remaining.append(set(answer.json()))
    assert all("database" in parts for parts in remaining)


async def test_a_socket_and_a_stream_tell_at_once(proxy: Proxy) -> None:
    url = f"{proxy.url.replace('http', 'ws')}/w/{SLUG}/graphql"
    asked = {"query": WATCH, "variables": {}}
    headers = {"accept": "text/event-stream"}
    async with (
        proxy.client() as client,
        connect(url, subprotocols=["graphql-transport-ws"]) as socket,  # type: ignore[list-item]
        client.stream("POST", f"/w/{SLUG}/graphql", json=asked, headers=headers) as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        auth = {"authorization": f"Bearer {proxy.token}"}
        await socket.send(json.dumps({"type": "connection_init", "payload": auth}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": asked}))
        await asyncio.sleep(1)
        async with asyncio.timeout(5):
            await proxy.ask(client, CREATE, name="At once")
            by_socket = json.loads(await socket.recv())["payload"]
            lines = stream.aiter_lines()
            line = [line async for line in _until_data(lines)][-1]
        assert by_socket["data"]["customerChanged"]["customer"] == {"name": "At once"}
        assert json.loads(line.removeprefix("data: ")) == by_socket


async def _until_data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        if line.startswith("data: "):
            return


async def test_an_upload_larger_than_nginx_takes_by_itself(proxy: Proxy) -> None:
    content = os.urandom(5_000_000)
    form = {"operations": json.dumps({"query": UPLOAD, "variables": {"f": None}}), "map": '{"0": ["variables.f"]}'}
    async with proxy.client() as client:
        answer = await client.post(f"/w/{SLUG}/graphql", data=form, files={"0": ("a.bin", content)})
        made = answer.json()["data"]["fileUpload"]
        assert (made["file"]["size"], made["userErrors"]) == (5_000_000, [])
        assert (await client.get(made["file"]["url"])).content == content


async def test_a_server_that_is_killed_is_passed_over(proxy: Proxy) -> None:
    victim = proxy.servers[0]
    async with proxy.client() as client:
        statuses: list[int] = []

        async def ask() -> None:
            for _ in range(40):
                try:
                    answer = await client.post(f"/w/{SLUG}/graphql", json={"query": "{ viewer { login } }"})
                    statuses.append(answer.status_code)
                except httpx.RemoteProtocolError:  # killed between the head of the answer and its body
                    statuses.append(502)
                await asyncio.sleep(0.05)

        asking = [asyncio.create_task(ask()) for _ in range(5)]
        await asyncio.sleep(0.5)
        assert victim.process is not None
        victim.process.kill()
        await asyncio.gather(*asking)
        # Nothing is lost but what it was just doing, at most one request of each client.
        assert len(statuses) == 200
        assert sum(status != 200 for status in statuses) <= 5
        assert set(statuses) <= {200, 502}
        before = proxy.answered()
        await asyncio.gather(*(proxy.ask(client, "{ viewer { login } }") for _ in range(10)))
        after = proxy.answered()
        assert [now - was for was, now in zip(before, after, strict=True)] == [0, 10]
        await asyncio.to_thread(victim.process.wait)
        await victim.start()
        await asyncio.sleep(2.5)  # fail_timeout
        await asyncio.gather(*(proxy.ask(client, "{ viewer { login } }") for _ in range(20)))
        assert proxy.answered()[0] > after[0]
