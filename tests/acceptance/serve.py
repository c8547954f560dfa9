"""Serves the test assembly for the acceptance kits: `python -m tests.acceptance.serve PORT DATA_DIR`.

Prints the URL and a token once requests are answered.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx
import uvicorn

from core import documents
from core.http.application import Application
from core.log import configure
from core.settings import Settings
from tests.acceptance.assembly import LOGIN, PASSWORD, services

MUTATION = "mutation($l: String!, $p: String!) { login(input: {login: $l, password: $p}) { accessToken } }"
#: Enough of them for several pages.
CUSTOMERS = {
    "query": "mutation($r: [CustomerCreateInput!]!) { customersBulkCreate(input: {records: $r}) { counts } }",
    "variables": {"r": [{"name": f"Khách hàng {n}", "kind": "ORGANISATION"} for n in range(60)]},
}


async def main(port: int, data_dir: Path) -> None:
    settings = Settings.load(
        data_dir=data_dir,
        port=port,
        cors_origins="https://app.example",
        access_token_minutes=600,
        worker_inside=False,
    )
    configure(settings)
    application = Application(settings, services)
    config = uvicorn.Config(
        application,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws_max_size=settings.max_body_bytes,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.05)
        if serving.done():
            await serving
            return
    made = application.services
    workspace = await made.directory.find(None)
    manifest = documents.read_manifest((Path(__file__).parent / "persisted-documents.json").read_bytes())
    async with made.database.transaction(workspace) as connection:
        await documents.publish(connection, manifest)
    url = f"http://127.0.0.1:{port}/graphql"
    async with httpx.AsyncClient() as client:
        variables = {"l": LOGIN, "p": PASSWORD}
        answer = await client.post(url, json={"query": MUTATION, "variables": variables})
        token = answer.json()["data"]["login"]["accessToken"]
        await client.post(url, json=CUSTOMERS, headers={"authorization": f"Bearer {token}"})
    print(url, token, flush=True)  # noqa: T201
    await serving


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
