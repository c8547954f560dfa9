"""GraphiQL in a real browser that can reach nothing but this server. Skipped where there is no Chromium."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import websockets

from core.database import Database
from core.settings import Settings
from tests.acceptance.assembly import LOGIN, PASSWORD
from tests.acceptance.client import opened

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH")


class Page:
    """A page driven by the DevTools protocol; `faults` are its exceptions and console errors."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._number = 0
        self.faults: list[str] = []
        self.requests: list[str] = []

    async def command(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        await self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(await self._socket.recv())
            if message.get("id") == self._number:
                return message["result"]
            match message["method"]:
                case "Runtime.exceptionThrown":
                    self.faults.append(str(message["params"]["exceptionDetails"]))
                case "Log.entryAdded" if message["params"]["entry"]["level"] == "error":
                    self.faults.append(message["params"]["entry"]["text"])
                case "Network.requestWillBeSent":
                    self.requests.append(message["params"]["request"]["url"])

    async def ask(self, script: str) -> Any:
        result = await self.command("Runtime.evaluate", expression=script, returnByValue=True)
        return result["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until a script gives something true, and return it."""
        async with asyncio.timeout(20):
            while not (found := await self.ask(script)):
                await asyncio.sleep(0.1)
        return found


@pytest.fixture
async def url(database: Database, settings: Settings) -> AsyncIterator[str]:
    async with opened(database, settings) as client:
        server = uvicorn.Server(uvicorn.Config(client.application, port=0, lifespan="off", log_config=None))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        await serving


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    process = await asyncio.create_subprocess_exec(
        *command,
        rules,
        f"--user-data-dir={tmp_path}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        told = tmp_path / "DevToolsActivePort"
        async with asyncio.timeout(20):
            while not told.exists() or not told.read_text():
                await asyncio.sleep(0.1)
        port = told.read_text().splitlines()[0]
        async with httpx.AsyncClient() as http:
            targets = (await http.get(f"http://127.0.0.1:{port}/json")).json()
        address = next(t["webSocketDebuggerUrl"] for t in targets if t["type"] == "page")
        async with websockets.connect(address, max_size=None) as socket:
            opened_page = Page(socket)
            for domain in ("Runtime", "Log", "Network", "Page"):
                await opened_page.command(f"{domain}.enable")
            yield opened_page
    finally:
        process.terminate()
        await process.wait()


def sign_in(password: str) -> str:
    return (
        f"(f => {{ f.login.value = {LOGIN!r}; f.password.value = {password!r}; f.requestSubmit(); }})"
        "(document.getElementById('sign-in'))"
    )


async def test_graphiql_loads_signs_in_runs_a_query_and_shows_docs(url: str, page: Page) -> None:
    await page.command("Page.navigate", url=f"{url}/graphql")
    await page.until("!!document.querySelector('.graphiql-execute-button')")
    await page.ask(sign_in("wrong"))
    assert await page.until("document.getElementById('who').className") == "fault"
    await page.ask(sign_in(PASSWORD))
    await page.until("document.getElementById('who').textContent === 'Signed in as Keeper'")
    await page.ask("document.querySelector('.graphiql-execute-button').click()")
    await page.until("(document.querySelector('.result-window')?.innerText || '').includes('totalCount')")
    await page.ask("document.querySelector('[aria-label*=\"Documentation Explorer\"]').click()")
    await page.until("(document.querySelector('.graphiql-doc-explorer')?.innerText || '').includes('query: Query')")
    assert page.faults == []
    assert [r for r in page.requests if not r.startswith((url, "data:"))] == []
