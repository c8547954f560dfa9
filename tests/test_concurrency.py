"""Many at once: nothing is lost, nothing is done twice, and no deadlock reaches a caller."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from core.context import Workspace
from core.database import Database
from tests.writing import Desk, codes, desk_at

TYPES = ("Customer", "Contact", "Opportunity", "CustomerViewer")


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    async with desk_at(database, module_workspace) as opened:
        yield opened


async def customers(desk: Desk, number: int, **values: Any) -> list[str]:
    return [(await desk.create("Customer", name="x", kind="PERSON", **values))["id"] for _ in range(number)]


async def test_of_fifty_updates_with_a_version_exactly_one_wins(desk: Desk) -> None:
    (id_,) = await customers(desk, 1)
    done = await asyncio.gather(
        *(
            desk.write("Customer", "Update", {"id": id_, "name": f"n{i}", "expectedVersion": 1, "level": str(i)})
            for i in range(50)
        )
    )
    won = [d for d in done if not d["userErrors"]]
    assert len(won) == 1
    assert [codes(d) for d in done if d is not won[0]] == [["STALE"]] * 49
    row = (await desk.rows("Customer"))[UUID(id_)]
    assert (row["name"], row["level"], row["version"]) == (won[0]["customer"]["name"], won[0]["customer"]["level"], 2)


async def test_fifty_updates_without_one_all_count(desk: Desk) -> None:
    (id_,) = await customers(desk, 1)
    done = await asyncio.gather(*(desk.update("Customer", id_, level=str(i)) for i in range(50)))
    assert sorted(d["version"] for d in done) == list(range(2, 52))


async def test_of_fifty_creations_with_one_code_one_succeeds(desk: Desk) -> None:
    done = await asyncio.gather(
        *(desk.write("Customer", "Create", {"name": str(i), "kind": "PERSON", "code": "FIFTY"}) for i in range(50))
    )
    assert Counter(str(codes(d)) for d in done) == {"[]": 1, "['DUPLICATE']": 49}
    winner = next(d["customer"]["id"] for d in done if d["customer"])
    assert {d["userErrors"][0]["params"].get("id") for d in done if d["userErrors"]} == {winner}
    assert await desk.fetch("select count(*) from customer where code = 'FIFTY'") == 1


async def test_fifty_codes_made_at_once_all_differ(desk: Desk) -> None:
    done = await asyncio.gather(*(desk.create("Customer", name="c", kind="PERSON") for _ in range(50)))
    assert len({d["code"] for d in done}) == 50


async def test_fifty_deletions_and_restorations_are_done_once_each(desk: Desk) -> None:
    (id_,) = await customers(desk, 1)
    for verb in ("Delete", "Restore"):
        done = await asyncio.gather(*(desk.write("Customer", verb, {"id": id_}) for _ in range(50)))
        assert Counter(str(codes(d)) for d in done) == {"[]": 1, "['NOT_FOUND']": 49}, verb
    assert (await desk.rows("Customer"))[UUID(id_)]["version"] == 3


async def test_fifty_undos_are_done_once(desk: Desk) -> None:
    (id_,) = await customers(desk, 1)
    done = await desk.write("Customer", "Update", {"id": id_, "level": "x"})
    answers = await asyncio.gather(*(desk.undo(done["changeSet"]["id"]) for _ in range(50)))
    assert Counter(str(codes(a)) for a in answers) == {"[]": 1, "['CONFLICT']": 49}
    assert (await desk.rows("Customer"))[UUID(id_)]["version"] == 3


async def test_crossing_bulk_updates(desk: Desk) -> None:
    ids = await customers(desk, 40, source="crossing")
    shuffled = [ids[i:] + ids[:i] for i in range(0, 40, 4)]
    targets: list[dict[str, Any]] = [{"ids": part} for part in shuffled]
    targets += [{"ids": list(reversed(part))} for part in shuffled]
    targets += [{"where": {"source": {"eq": "crossing"}}}] * 5
    done = await asyncio.gather(
        *(
            desk.bulk("Customer", "BulkUpdate", {"target": target, "set": {"level": f"l{i}"}})
            for i, target in enumerate(targets)
        )
    )
    assert [codes(d) for d in done] == [[]] * len(targets)
    assert [d["counts"]["updated"] for d in done] == [40] * len(targets)
    rows = await desk.rows("Customer")
    assert {rows[UUID(i)]["version"] for i in ids} == {1 + len(targets)}
    assert len({rows[UUID(i)]["level"] for i in ids}) == 1


async def test_customers_that_come_to_refer_to_each_other(desk: Desk) -> None:
    """Each update locks its own customer, then the other one: what would be a deadlock is tried again."""
    pairs = [await customers(desk, 2) for _ in range(15)]
    both = [(a, b) for pair in pairs for a, b in itertools.permutations(pair)]
    done = await asyncio.gather(
        *(desk.answer("Customer", "Update", {"id": a, "referrerId": b, "phone": "1"}) for a, b in both)
    )
    assert [a for a in done if "errors" in a or a["data"]["customerUpdate"]["userErrors"]] == []
    rows = await desk.rows("Customer")
    assert all(rows[UUID(a)]["referrerId"] == b for a, b in both)


async def test_a_condition_holds_for_every_row_it_changes(desk: Desk) -> None:
    """Whoever waits for a lock looks again: a row that meanwhile ceased to match is left alone."""
    ids = await customers(desk, 5, level="claim")
    where = {"where": {"id": {"in": ids}, "level": {"eq": "claim"}}}
    done = await asyncio.gather(
        *(desk.bulk("Customer", "BulkUpdate", {"target": where, "set": {"level": f"of {i}"}}) for i in range(20))
    )
    assert sorted(d["counts"]["updated"] for d in done) == [0] * 19 + [5]


async def test_children_and_deletions_of_their_customer(desk: Desk) -> None:
    """Whatever comes first, no contact is made under a customer that is deleted already."""
    ids = await customers(desk, 15)
    asked = [desk.write("Contact", "Create", {"customerId": i, "name": "x"}) for i in ids]
    asked += [desk.write("Customer", "Delete", {"id": i}) for i in ids]
    done = await asyncio.gather(*asked)
    assert {str(codes(d)) for d in done[15:]} == {"[]"}
    assert {str(codes(d)) for d in done[:15]} <= {"[]", "['NOT_FOUND']"}
    late = """select count(*) from contact c join change a on a.record_id = c.id and a.action = 'CREATE'
        join change b on b.record_id = c.customer_id and b.action = 'DELETE'
        where c.customer_id = any($1::uuid[]) and a.id > b.id"""
    assert await desk.fetch(late, [UUID(i) for i in ids]) == 0


async def test_main_contacts_wanted_at_once(desk: Desk) -> None:
    (parent,) = await customers(desk, 1)
    done = await asyncio.gather(
        *(desk.write("Contact", "Create", {"customerId": parent, "name": str(i), "isMain": True}) for i in range(20))
    )
    assert [codes(d) for d in done] == [[]] * 20
    rows = [r for r in (await desk.rows("Contact")).values() if r["customerId"] == parent]
    assert (len(rows), sum(r["isMain"] for r in rows)) == (20, 1)
    ids = [r["id"] for r in rows]
    done = await asyncio.gather(*(desk.write("Contact", "Update", {"id": i, "isMain": True}) for i in ids))
    assert [codes(d) for d in done] == [[]] * 20
    done = await asyncio.gather(*(desk.write("Contact", "Delete", {"id": i}) for i in ids[:19]))
    assert [codes(d) for d in done] == [[]] * 19
    (last,) = [r for r in (await desk.rows("Contact")).values() if r["id"] == ids[19]]
    assert last["isMain"]


async def test_the_journal_replayed_gives_the_rows(desk: Desk) -> None:
    await desk.demand_replay(*TYPES)
