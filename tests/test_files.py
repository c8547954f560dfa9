"""Files that are kept: their bytes, their rows, and what becomes of both."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import files as files_module
from core.context import Workspace
from core.database import Database
from core.errors import NotFound
from core.files import FileStore, Upload, safe_content_type, safe_name
from core.settings import Settings
from core.workspaces import Workspaces
from tests.conftest import NewWorkspace

WORKSPACE = Workspace(uuid4(), "shop", "ws_shop", "ws_shop_1")


@pytest.fixture
def store(settings: Settings, tmp_path: Path) -> FileStore:
    return FileStore(settings.model_copy(update={"files_dir": tmp_path / "files"}))


async def made(store: FileStore, workspace: Workspace, body: bytes = b"abc") -> Upload:
    async with store.of(workspace).draft("a.txt", "text/plain") as draft:
        kept = draft.path.with_suffix(".kept")
        draft.path.write_bytes(body)
        os.link(draft.path, kept)
        upload = await draft.finished()
        return Upload(upload.name, upload.content_type, upload.size, upload.sha256, kept)


async def test_a_file_is_kept_with_the_transaction(store: FileStore, database: Database, workspace: Workspace) -> None:
    files = store.of(workspace)
    async with files.draft("báo cáo.xlsx", "application/x-sheet; v=1") as draft, database.transaction(workspace) as tx:
        draft.path.write_bytes(b"rows")
        upload = await draft.finished()
        kept = await files.keep(tx, upload, purpose="test.result", expires_in=timedelta(hours=1))
        twice = await files.keep(tx, upload, purpose="test.result")
    assert not draft.path.exists()
    assert files.path(kept.id).read_bytes() == files.path(twice.id).read_bytes() == b"rows"
    assert files.path(kept.id).stat().st_mode & 0o077 == 0 or files.path(kept.id).parent.stat().st_mode & 0o077 == 0
    async with database.connection(workspace) as connection:
        found = await files.find(connection, kept.id)
        assert (found.name, found.content_type, found.size) == ("báo cáo.xlsx", "application/x-sheet", 4)
        assert found.purpose == "test.result"
        assert found.created_by is None
        assert found.expires_at is not None
        assert found.expires_at - found.created_at == timedelta(hours=1)
        assert (await files.find(connection, twice.id)).expires_at is None
        with pytest.raises(NotFound):
            await files.find(connection, uuid4())


async def test_what_is_rolled_back_is_swept_up_a_day_later(
    store: FileStore, database: Database, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = store.of(workspace)
    upload = await made(store, workspace)
    with pytest.raises(ZeroDivisionError):
        async with database.transaction(workspace) as tx:
            lost = await files.keep(tx, upload, purpose="test.result")
            raise ZeroDivisionError
    async with database.transaction(workspace) as tx:
        kept = await files.keep(tx, upload, purpose="test.result")
    assert files.path(lost.id).exists()
    async with database.connection(workspace) as connection:
        assert await files.prune(connection) == await files.sweep(connection) == 0
        monkeypatch.setattr(files_module, "ORPHANED_SECONDS", -1)
        assert (await files.prune(connection), await files.sweep(connection)) == (0, 1)
    assert not files.path(lost.id).exists()
    assert files.path(kept.id).exists()


async def test_expired_files_are_pruned(store: FileStore, database: Database, workspace: Workspace) -> None:
    files = store.of(workspace)
    upload = await made(store, workspace)
    async with database.transaction(workspace) as tx:
        gone, later, stays = [await files.keep(tx, upload, purpose="test.result") for _ in range(3)]
    async with database.transaction(workspace) as tx:
        await files.expire(tx, gone.id)
        await files.expire(tx, later.id, timedelta(days=1))
        await files.expire(tx, stays.id)
        await files.expire(tx, stays.id, None)
        with pytest.raises(NotFound):
            await files.expire(tx, uuid4())
    async with database.connection(workspace) as connection:
        assert await files.prune(connection) == 1
        assert await connection.fetchval("select count(*) from file") == 2
    assert [files.path(each.id).exists() for each in (gone, later, stays)] == [False, True, True]


async def test_without_hard_links_bytes_are_copied(
    store: FileStore, database: Database, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: Path, _target: Path) -> None:
        raise PermissionError

    upload = await made(store, workspace, b"copied")
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    files = store.of(workspace)
    async with database.transaction(workspace) as tx:
        kept = await files.keep(tx, upload, purpose="test.result")
    assert files.path(kept.id).read_bytes() == b"copied"
    assert [p.name for p in files.path(kept.id).parent.iterdir()] == [str(kept.id)]


async def test_bytes_that_cannot_be_stored_leave_no_row(
    store: FileStore, database: Database, workspace: Workspace
) -> None:
    nowhere = Upload("a", "text/plain", 1, "0" * 64, Path("/nonexistent/a"))
    with pytest.raises(FileNotFoundError):
        async with database.transaction(workspace) as tx:
            await store.of(workspace).keep(tx, nowhere, purpose="test.result")
    async with database.connection(workspace) as connection:
        assert await connection.fetchval("select count(*) from file") == 0


async def test_a_workspace_takes_its_files_with_it(
    settings: Settings, database: Database, workspaces: Workspaces, new_workspace: NewWorkspace
) -> None:
    store = FileStore(settings)
    one, other = await new_workspace(), await new_workspace()
    for each in (one, other):
        upload = await made(store, each)
        async with database.transaction(each) as tx:
            await store.of(each).keep(tx, upload, purpose="test.result")
        upload.path.unlink()
    await workspaces.erase(one.slug)
    assert not store.folder(one).exists()
    assert store.folder(other).exists()


async def test_drafts_that_were_left_behind_are_swept(store: FileStore) -> None:
    old, new = store.draft(), store.draft()
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    os.utime(old, (time.time() - 100_000,) * 2)
    assert await asyncio.to_thread(store.sweep_drafts) == 1
    assert (old.exists(), new.exists()) == (False, True)


@given(st.text())
def test_a_safe_name_is_one_name(name: str) -> None:
    safe = safe_name(name)
    assert safe
    assert safe == safe_name(safe)
    assert len(safe) <= 200
    assert not set(safe) & set("/\\\0\r\n")
    assert safe not in (".", "..")
    safe.encode()


@given(st.text())
def test_a_safe_content_type_fits_a_header(given_: str) -> None:
    safe = safe_content_type(given_)
    assert safe == safe_content_type(safe)
    assert safe.isascii()
    assert safe.isprintable()


def test_ids_alone_make_paths(store: FileStore) -> None:
    id_ = UUID("01890000-0000-7000-8000-0000000000ab")
    assert store.of(WORKSPACE).path(id_) == store.settings.files / "ws_shop_1" / "ab" / str(id_)
