"""Backups: everything comes back, whatever is broken is told in one line, and nothing half-made is left."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import sha256
from typing import Any

import orjson
import pytest

from core.backup.contents import fingerprint, tables, use
from core.backup.copy import copy
from core.backup.restore import restore
from core.backup.save import save
from core.context import Actor, ActorKind, Workspace
from core.database import Database
from core.errors import BadInput, ConfigError
from core.features import Features
from core.files import FileStore, Upload
from core.grants import Grants
from core.jobs import enqueue
from core.plugins import PluginRegistry
from core.rows import new_id
from core.workspaces import Workspaces
from tests.switching import Desk

PLUGINS = ("groups", "dedupe", "tiering", "shared_pool", "sharing", "import_excel")
TEXT = "Đỗ\tThị \\ Ánh\n\"x\" 'y' \u2028 🙂"


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    """A workspace with every built-in plugin and something of everything in it."""
    features = Features(database)
    for plugin in PLUGINS:
        await features.enable(module_workspace, plugin)
    desk = Desk(database, features, module_workspace)
    for number in range(30):
        await desk.customer(f"{TEXT} {number}", email=f"an{number}@example.vn", phone=f"09{number:08}")
    gone = await desk.customer("gone")
    await desk.do("mutation($id: ID!) { customerDelete(input: {id: $id}) { userErrors { code } } }", id=gone)
    await desk.do('mutation { groupCreate(input: {name: "VIP"}) { userErrors { code } } }')
    await keep(desk, "hợp đồng.txt", b"content" * 100_000)
    yield desk
    await features.close()


async def keep(desk: Desk, name: str, content: bytes, expires_in: timedelta | None = None) -> Any:
    store = FileStore(desk.database.settings)
    draft = store.draft()
    draft.write_bytes(content)
    upload = Upload(name, "text/plain", len(content), sha256(content).hexdigest(), draft)
    async with desk.database.transaction(desk.workspace) as connection:
        kept = await store.of(desk.workspace).keep(connection, upload, purpose="test", expires_in=expires_in)
    draft.unlink()
    return kept


async def contents(database: Database, workspace: Workspace) -> dict[str, str]:
    """A hash of every table."""
    async with database.admin_at(workspace.database_url or database.dsn) as connection, connection.transaction():
        await use(connection, workspace.schema, workspace.role)
        return {t.name: await fingerprint(connection, t) for t in await tables(connection, workspace.schema)}


async def saved(desk: Desk) -> bytes:
    out = io.BytesIO()
    await save(desk.database, desk.features.registry, desk.workspace, out)
    return out.getvalue()


async def left(database: Database) -> list[str]:
    """All that restoring could leave behind: registered workspaces, schemas, roles and folders."""
    async with database.admin() as connection:
        rows = await connection.fetch(
            "select slug from crm.workspace union all select nspname from pg_namespace where nspname like 'ws%'"
            " union all select rolname from pg_roles where rolname like 'ws%' order by 1"
        )
    files = database.settings.files
    return [row[0] for row in rows] + sorted(str(f) for f in [*files.glob("*"), *files.glob("drafts/*")])


async def definitions(database: Database, workspace: Workspace) -> list[str]:
    """Indexes, constraints and sequences, without the schema's name."""
    async with database.connection(workspace) as connection:
        rows = await connection.fetch(
            "select replace(indexdef, $1 || '.', '') from pg_indexes where schemaname = $1 union all "
            "select conrelid::regclass || conname || pg_get_constraintdef(oid) || convalidated from pg_constraint "
            "where connamespace = $1::text::regnamespace union all "
            "select sequencename || ' ' || coalesce(last_value, 0) from pg_sequences where schemaname = $1 order by 1",
            workspace.schema,
        )
    return [row[0] for row in rows]


async def test_everything_comes_back(database: Database, workspaces: Workspaces, desk: Desk) -> None:
    data = await saved(desk)
    made = await restore(database, desk.features.registry, io.BytesIO(data), "again")
    try:
        assert made.rows["customer"] == 31
        assert made.migrated == ()
        before, after = await contents(database, desk.workspace), await contents(database, made.workspace)
        assert len(before) > 30
        assert after == before
        assert await definitions(database, made.workspace) == await definitions(database, desk.workspace)
        assert made.files == 1
        store = FileStore(database.settings)
        (path,) = (p for p in store.folder(made.workspace).rglob("*") if p.is_file())
        assert path.read_bytes() == b"content" * 100_000
        assert path.stat().st_mode & 0o077 == 0
        there = Desk(database, desk.features, made.workspace)
        assert await there.do("{ customers { totalCount } }") == {"totalCount": 30}
        question = 'query { customers(where: {name: {contains: "do thi"}}) { totalCount } }'
        assert await there.do(question) == await desk.do(question)
        await there.customer("new")
        assert (await workspaces.get("again")).hostname is None
    finally:
        await workspaces.erase("again")


async def test_a_copy_leaves_waiting_jobs_to_the_original(
    database: Database, workspaces: Workspaces, desk: Desk
) -> None:
    async with database.transaction(desk.workspace) as connection:
        job = await enqueue(connection, desk.workspace, "dedupe.prune", {}, None)
    made = await copy(database, desk.features.registry, desk.workspace, "twin")
    try:
        pool = database.pool(made.workspace)
        assert await pool.fetchval("select status from job where id = $1", job) == "CANCELLED"
        assert await desk.fetch("select status from job where id = $1", job) == "QUEUED"
        assert made.files == 1
    finally:
        await workspaces.erase("twin")


async def test_jobs_that_had_not_ended_go_on_with_what_their_key_allows(
    database: Database, workspaces: Workspaces, desk: Desk
) -> None:
    user = await desk.fetch(
        "insert into app_user (id, login, display_name) values ($1, 'an', 'An') returning id", new_id()
    )
    grants = Grants((), allowed=frozenset({("Customer", "read")}))
    actor = Actor(ActorKind.API_KEY, grants, user)
    async with database.transaction(desk.workspace) as connection:
        waits = await enqueue(connection, desk.workspace, "dedupe.x", {}, actor, timedelta(hours=1))
        runs = await enqueue(connection, desk.workspace, "dedupe.y", {}, None)
        await connection.execute("update job set status = 'RUNNING', started_at = now() where id = $1", runs)
    made = await restore(database, desk.features.registry, io.BytesIO(await saved(desk)), "later")
    try:
        pool = database.pool(made.workspace)
        assert {r["status"] for r in await pool.fetch("select status from job where id in ($1, $2)", waits, runs)} == {
            "QUEUED"
        }
        async with database.admin() as connection:
            rows = await connection.fetch(
                "select convert_from(payload, 'UTF8')::jsonb as said, execute_after - now() > interval '50 min' as late"
                " from crm.pgqueuer where starts_with(dedupe_key, $1)",
                made.workspace.role,
            )
        found = {row["said"]["job"]: (row["said"]["role"], row["said"]["allowed"], row["late"]) for row in rows}
        assert found[str(waits)] == (made.workspace.role, [["Customer", "read"]], True)
        assert found[str(runs)] == (made.workspace.role, None, False)
        assert made.jobs == len(found)
    finally:
        await workspaces.erase("later")
    async with database.transaction(desk.workspace) as connection:
        await connection.execute("delete from job; delete from app_user")
    async with database.admin() as connection:
        assert (
            await connection.fetchval(
                "select count(*) from crm.pgqueuer where starts_with(dedupe_key, $1)", made.workspace.role
            )
            == 0
        )


async def test_what_is_no_sound_backup_is_refused_and_leaves_nothing(database: Database, desk: Desk) -> None:
    data = await saved(desk)
    before = await left(database)
    damaged = [data[:cut] for cut in (0, len(data) // 2, len(data) - 1)]
    for place in (1000, len(data) // 3, len(data) - 1000):
        damaged.append(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
    damaged += [b"PK\x03\x04 something else", gzip.compress(b"no tar"), gzip.compress(tar({"a.txt": b"x"}))]
    members = opened(data)
    damaged += [
        repacked(members, drop="tables/customer/00000000"),
        repacked(members, drop=next(name for name in members if name.startswith("files/"))),
        repacked(members, drop="end.json"),
        repacked(members, change={"tables/customer/00000000": members["tables/customer/00000000"][:-1] + b"x\n"}),
        repacked(members, change={"tables/team/00000000": b"no uuid\n"}),
        repacked(members, change={"files/../../x": b""}),
    ]
    for number, bad in enumerate(damaged):
        with pytest.raises(ConfigError) as caught:
            await restore(database, desk.features.registry, io.BytesIO(bad), "bad")
        assert "\n" not in caught.value.message, number
        assert "example.vn" not in caught.value.message
        assert caught.value.message.startswith(("the backup", "this is not a backup")), caught.value.message
    assert await left(database) == before


async def test_a_backup_that_does_not_fit_is_refused(database: Database, desk: Desk) -> None:
    data = await saved(desk)
    members = opened(data)
    before = await left(database)

    async def refusal(registry: PluginRegistry | None = None, **facts: Any) -> str:
        manifest = orjson.loads(members["manifest.json"]) | facts
        bad = repacked(members, change={"manifest.json": orjson.dumps(manifest)})
        with pytest.raises(ConfigError) as caught:
            await restore(database, registry or desk.features.registry, io.BytesIO(bad), "bad")
        return caught.value.message

    assert "is of format 99, this version reads 1" in await refusal(version=99)
    migrations = orjson.loads(members["manifest.json"])["migrations"]
    newer = [*migrations, {"app": "core", "id": "core_9999", "plugin": "core"}]
    assert "newer than what is installed: core_9999 is unknown here" in await refusal(migrations=newer)
    newer = [*migrations, {"app": "groups", "id": "groups_0007", "plugin": "groups"}]
    assert "made by groups 0." in await refusal(migrations=newer)
    few = PluginRegistry.discover([f"plugins.{p}" for p in PLUGINS if p != "groups"])
    assert "needs the plugin groups 0.1.0, which is not installed here" in await refusal(few)
    tables = orjson.loads(members["manifest.json"])["tables"]
    tables[0]["columns"].append(["shoe_size", "integer"])
    assert "has other columns than here: shoe_size" in await refusal(tables=tables)
    with pytest.raises(BadInput, match=r"the slug .* is in use"):
        await restore(database, desk.features.registry, io.BytesIO(data))
    assert await left(database) == before


async def test_an_older_backup_is_migrated(database: Database, workspaces: Workspaces, desk: Desk) -> None:
    members = opened(await saved(desk))
    manifest = orjson.loads(members["manifest.json"])
    # As it was before core_0005 added the column xid.
    since = [m["id"] for m in manifest["migrations"] if m["id"] >= "core_0005" and m["app"] == "core"]
    manifest["migrations"] = [m for m in manifest["migrations"] if m["id"] not in since]
    for table in manifest["tables"]:
        table["columns"] = [c for c in table["columns"] if c[0] != "xid"]
    old = {"manifest.json": orjson.dumps(manifest)}
    for name, data in members.items():
        if name.startswith("tables/change_set/"):
            old[name] = b"".join(line.rpartition(b"\t")[0] + b"\n" for line in data.splitlines())
        if name.startswith("tables/migration/"):
            lines = data.splitlines(keepends=True)
            old[name] = b"".join(line for line in lines if not any(id_.encode() in line for id_ in since))
    end = orjson.loads(members["end.json"])
    end["rows"]["migration"] -= len(since)
    made = await restore(database, desk.features.registry, io.BytesIO(repacked(members, change=old, end=end)), "old")
    try:
        assert made.migrated == tuple(since)
        assert await contents(database, made.workspace) == await contents(database, desk.workspace) | {
            "migration": (await contents(database, made.workspace))["migration"]
        }
    finally:
        await workspaces.erase("old")


def opened(data: bytes) -> dict[str, bytes]:
    """The members of a backup, in order."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as packed:
        return {m.name: packed.extractfile(m).read() for m in packed}  # type: ignore[union-attr]


def tar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return out.getvalue()


def repacked(
    members: dict[str, bytes], drop: str = "", change: dict[str, bytes] | None = None, end: dict[str, Any] | None = None
) -> bytes:
    """A backup whose end fits what was made of it, as whoever forges one would write it; but for what `end` counts."""
    changed = {name: data for name, data in (members | (change or {})).items() if name not in (drop, "end.json")}
    digest = sha256()
    for name, data in changed.items():
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    said = (end or orjson.loads(members["end.json"])) | {"sha256": digest.hexdigest()}
    return gzip.compress(tar(changed | ({} if drop == "end.json" else {"end.json": orjson.dumps(said)})))
