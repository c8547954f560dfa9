"""Who finds what in an export, and switching imports off, on and away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

from python_calamine import CalamineWorkbook

from core.actors import find_actor
from core.context import Workspace
from core.database import Database
from core.seed import seed
from tests.importing import PREVIEW, book, importing
from tests.test_import_excel import exported, tally, user

TRANSFER = """mutation($id: ID!, $to: ID!, $keep: Boolean!) { customersTransfer(input: {target: {ids: [$id]},
  ownerId: $to, keepPreviousOwnerAsViewer: $keep}) { userErrors { code } } }"""


async def test_after_a_transfer_the_old_owners_export_lacks_the_customer_unless_he_is_kept(
    database: Database, workspace: Workspace, tmp_path: Path
) -> None:
    async with importing(database, workspace) as desk:
        async with database.transaction(workspace) as connection:
            await seed(connection, (await desk.features.composition(workspace)).catalog)
            role = await connection.fetchval("select id from role where name = 'Manager'")
            await connection.execute("update permission_grant set scope = 'OWN' where role_id = $1", role)
        an, binh = await user(desk, "an"), await user(desk, "binh")
        given = "mutation($u: ID!, $r: [ID!]!) { userRolesSet(input: {id: $u, roleIds: $r}) { userErrors { code } } }"
        assert (await desk.do(given, u=an, r=[str(role)]))["userErrors"] == []
        pool = database.pool(workspace)
        actor = await find_actor(lambda text, values: pool.fetchval(text, *values), UUID(an))
        assert actor is not None
        for keep in (False, True):
            id_ = await desk.customer("Gone" if not keep else "Kept", ownerId=an)
            assert (await desk.do(TRANSFER, id=id_, to=binh, keep=keep))["userErrors"] == []
        path = await exported(desk, tmp_path, actor, columns=["name"])
        rows = CalamineWorkbook.from_path(str(path.rename(tmp_path / "x.xlsx"))).get_sheet_by_index(0).to_python()
        assert [row[0] for row in rows[1:]] == ["Kept"]


async def test_off_on_and_purge_leave_customers_untouched(
    database: Database, workspace: Workspace, tmp_path: Path
) -> None:
    tables = "select array_agg(tablename::text) from pg_tables where schemaname = current_schema()"
    before = set(await database.pool(workspace).fetchval(tables))
    async with importing(database, workspace) as desk:
        done = await desk.bring(book(tmp_path / "a.xlsx", [["Mã KH", "Tên"], ["P1", "An"]]))
        asked = "query($id: ID!) { import(id: $id) { state } }"
        await desk.features.disable(workspace, "import_excel")
        assert "import" in (await desk.ask(asked, id=done["id"]))["errors"][0]["message"]
        await desk.features.enable(workspace, "import_excel")
        assert await desk.do(asked, id=done["id"]) == {"state": "DONE"}
        again = await desk.bring(book(tmp_path / "b.xlsx", [["Mã KH", "Tên"], ["P1", "An"]]), mode="OVERWRITE")
        assert tally(again) == {"unchanged": 1}
        await desk.features.disable(workspace, "import_excel")
        await desk.features.purge(workspace, "import_excel")
        assert set(await desk.fetch(tables)) == before
        assert await desk.fetch("select count(*) from customer") == 1


async def test_a_file_over_the_limit_is_refused_in_a_sentence(
    database: Database, workspace: Workspace, tmp_path: Path
) -> None:
    async with importing(database, workspace, worker=False) as desk:
        await desk.features.enable(workspace, "import_excel", {"max_megabytes": 1})
        large = tmp_path / "large.csv"
        large.write_text("Tên\n" + "Khách hàng\n" * 100_000)
        made = await desk.upload(large)
        (error,) = made["userErrors"]
        assert error["code"] == "UNREADABLE_FILE"
        assert error["params"] == {"kind": "too_large", "reason": "file_too_large", "limit": 1}
        assert "1" in error["message"]
        assert made["import"] is None


async def test_who_gets_the_rows_may_be_held_by_others_meanwhile(
    database: Database, workspace: Workspace, tmp_path: Path
) -> None:
    async with importing(database, workspace, worker=False) as desk:
        owner = await user(desk, "an")
        made = await desk.upload(book(tmp_path / "f.xlsx", [["Tên"], ["Khách"]]))
        async with database.transaction(workspace) as other:
            await other.execute("select from app_user where id = $1 for share", UUID(owner))
            asked = desk.do(PREVIEW, input={"id": made["import"]["id"], "ownerIds": [owner]})
            assert (await asyncio.wait_for(asked, 5))["userErrors"] == []
