"""Random writes, dry runs and undos against a plain model in Python, and the journal against what they leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from core.context import Workspace
from core.database import Database
from tests.writing import Desk, codes, desk_at

FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=1500, derandomize=False)
FIELDS = ("name", "code", "level", "phone", "tags")
CODES = ("A", "B", "C")

Values = dict[str, Any]
Entry = tuple[str, str, Values, Values]


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    async with desk_at(database, module_workspace) as opened:
        yield opened


@dataclass
class Set:
    """A change set as the model keeps it: its entries (action, id, before, after) with their places in the journal."""

    id: str
    entries: list[tuple[int, Entry]] = field(default_factory=list)
    undoes: Set | None = None
    undone: bool = False


@dataclass
class Model:
    """Customers by id, those deleted apart, and the change sets there were."""

    live: dict[str, Values] = field(default_factory=dict)
    gone: dict[str, Values] = field(default_factory=dict)
    sets: list[Set] = field(default_factory=list)
    clock: int = 0

    def all(self) -> list[str]:
        return sorted([*self.live, *self.gone])

    def fits(self, ids: Iterable[str], code_of: dict[str, Any]) -> set[str]:
        """Those of some records that cannot have the codes they are to get."""
        failed: set[str] = set()
        while True:
            moving = [i for i in ids if i not in failed]
            held = {v["code"] for i, v in self.live.items() if i not in moving}
            seen: set[Any] = set()
            found = set()
            for i in moving:
                if code_of[i] in held or code_of[i] in seen:
                    found.add(i)
                seen.add(code_of[i])
            if not found:
                return failed
            failed |= found

    def apply(self, entries: Iterable[Entry]) -> list[tuple[int, Entry]]:
        numbered = []
        for entry in entries:
            action, id_, _, after = entry
            if action == "CREATE":
                self.live[id_] = dict(after)
            elif action == "UPDATE":
                self.live[id_] |= after
            elif action == "DELETE":
                self.gone[id_] = self.live.pop(id_)
            else:
                self.live[id_] = self.gone.pop(id_)
            self.clock += 1
            numbered.append((self.clock, entry))
        return numbered

    def update(self, wanted: dict[str, Values]) -> tuple[list[Entry], set[str]]:
        """The entries of a batch of updates, and those that cannot be done."""
        changes = {i: {k: v for k, v in values.items() if self.live[i][k] != v} for i, values in sorted(wanted.items())}
        failed = self.fits(
            [i for i, v in changes.items() if "code" in v], {i: v.get("code") for i, v in changes.items()}
        )
        return [
            ("UPDATE", i, {k: self.live[i][k] for k in v}, v) for i, v in changes.items() if v and i not in failed
        ], failed

    def restore(self, ids: Iterable[str]) -> tuple[list[Entry], set[str]]:
        ids = sorted(ids)
        failed = self.fits(ids, {i: self.gone[i]["code"] for i in ids})
        return [("RESTORE", i, {}, {}) for i in ids if i not in failed], failed

    def changed_since(self, id_: str, number: int) -> bool:
        then: Values = {}
        for found in self.sets:
            for n, (_, i, before, _) in found.entries:
                if i == id_ and n > number:
                    for k, v in before.items():
                        then.setdefault(k, (n, v))
                        then[k] = min(then[k], (n, v), key=lambda p: p[0])
        return any(self.live[id_][k] != v for k, (_, v) in then.items())

    def undo(self, done: Set) -> tuple[list[tuple[int, Entry]], set[str]]:
        """Put back what a change set did, run by run; what was done, and what could not be put back."""
        written: list[tuple[int, Entry]] = []
        failed: set[str] = set()
        for action, entries in _runs(reversed(done.entries)):
            if action == "DELETE":
                more, bad = self.restore(i for _, (_, i, _, _) in entries if i in self.gone)
            elif action == "UPDATE":
                wanted, bad = {}, set()
                for _, (_, i, before, after) in entries:
                    now = self.live.get(i)
                    if now is not None and all(now[k] in (before[k], after[k]) for k in after):
                        wanted[i] = before
                    else:
                        bad.add(i)
                more, dull = self.update(wanted)
                bad |= dull
            else:
                there = [(n, i) for n, (_, i, _, _) in entries if i in self.live]
                bad = {i for n, i in there if self.changed_since(i, n)}
                more = [("DELETE", i, {}, {}) for _, i in there if i not in bad]
            failed |= bad
            written += self.apply(more)
        return written, failed

    def undone(self, done: Set, by: str, written: list[tuple[int, Entry]], failed: set[str]) -> None:
        if not written:
            return
        self.sets.append(Set(by, written, undoes=done))
        state, link = not failed, done
        while link is not None:
            link.undone = state
            link, state = link.undoes, not state  # type: ignore[assignment]


def _runs(entries: Iterable[tuple[int, Entry]]) -> Iterable[tuple[str, list[tuple[int, Entry]]]]:
    run: list[tuple[int, Entry]] = []
    for entry in entries:
        if run and (run[0][1][0] != entry[1][0] or entry[1][1] in {e[1][1] for e in run}):
            yield run[0][1][0], run
            run = []
        run.append(entry)
    if run:
        yield run[0][1][0], run


class Play:
    """Does the same thing to the workspace and to the model, and compares."""

    def __init__(self, desk: Desk, draw: Any) -> None:
        self.desk, self.draw, self.model, self.made = desk, draw, Model(), 0

    async def step(self) -> None:
        acts = (self.create, self.update, self.update, self.delete, self.restore, self.undo, self.undo)
        act = self.draw(st.sampled_from(acts if self.model.sets else (self.create,)))
        dry = self.draw(st.booleans()) and self.draw(st.booleans())
        kept = deepcopy(self.model) if dry else None
        await act({"dryRun": True} if dry else {})
        if kept is not None:
            self.model = kept
        rows = await self.desk.rows("Customer")
        shown = {str(i): {k: r[k] for k in FIELDS} for i, r in rows.items()}
        live = {str(i) for i, r in rows.items() if r["deletedAt"] is None}
        assert {i: v for i, v in shown.items() if i in live} == self.model.live
        assert {i: v for i, v in shown.items() if i not in live} == self.model.gone

    def some(self) -> list[str]:
        """Some ids, one of them perhaps unknown."""
        ids = self.draw(st.lists(st.sampled_from(self.model.all()), unique=True, min_size=1, max_size=4))
        return [*ids, str(uuid4())] if self.draw(st.integers(0, 7)) == 0 else ids

    def values(self) -> Values:
        return self.draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "level": st.sampled_from((None, "a", "b")),
                    "phone": st.sampled_from((None, "", " ", "1", "2")),
                    "tags": st.sampled_from((None, [], ["x"], ["x", "y"])),
                    "code": st.sampled_from(CODES),
                },
            )
        )

    def policy(self) -> Values:
        return {"errorPolicy": "SKIP_FAILED"} if self.draw(st.booleans()) else {}

    def settle(self, done: Values, entries: list[Entry], failed: set[str], skipping: Values) -> None:
        """Hold a payload against what the model says, and let the model have it."""
        note(f"{done['counts']} {codes(done)} expected {len(entries)} done, {failed} failed")
        assert bool(failed) is bool(done["userErrors"])
        if failed and not skipping:
            assert done["changeSet"] is None
            return
        assert done["counts"]["skipped"] == len(failed)
        total = sum(done["counts"][k] for k in ("created", "updated", "deleted", "restored"))
        assert total == len(entries)
        if entries:
            assert sum(done["changeSet"]["counts"].values()) == total
            self.model.sets.append(Set(done["changeSet"]["id"], self.model.apply(entries)))
        else:
            assert done["changeSet"] is None

    async def create(self, dry: Values) -> None:
        skipping, records = self.policy(), []
        for _ in range(self.draw(st.integers(1, 3))):
            self.made += 1
            records.append({"name": f"c{self.made}", "kind": "PERSON", **self.values()})
        note(f"create {records} {skipping} {dry}")
        done = await self.desk.bulk("Customer", "BulkCreate", {"records": records, **skipping}, **dry)
        names = [r["name"] for r in records]
        wanted = {r["name"]: r["code"] for r in records if "code" in r}
        failed = self.model.fits([n for n in names if n in wanted], wanted)
        rows = {r["name"]: r for r in (await self.desk.rows("Customer")).values()}
        if dry:
            assert not rows.keys() & set(names)
            assert bool(failed) is bool(done["userErrors"])
            return
        entries: list[Entry] = []
        for record in records:
            row = rows.get(record["name"], {"id": record["name"], "code": ""})
            after = dict.fromkeys(FIELDS) | {k: v for k, v in record.items() if k in FIELDS}
            after["phone"] = (after["phone"] or "").strip() or None
            after["code"] = after["code"] or row["code"]
            if record["name"] not in failed:
                entries.append(("CREATE", row["id"], {}, after))
        self.settle(done, entries, failed, skipping)

    async def update(self, dry: Values) -> None:
        ids, values, skipping = self.some(), self.values(), self.policy()
        note(f"update {ids} {values} {skipping} {dry}")
        given_ = {"target": {"ids": ids}, "set": values, **skipping}
        done = await self.desk.bulk("Customer", "BulkUpdate", given_, **dry)
        if "phone" in values:
            values["phone"] = (values["phone"] or "").strip() or None
        missing = {i for i in ids if i not in self.model.live}
        entries, failed = self.model.update({i: values for i in ids if i not in missing})
        if missing and not skipping:
            entries, failed = [], set()
        self.settle(done, entries, failed | missing, skipping)

    async def delete(self, dry: Values) -> None:
        ids, skipping = self.some(), self.policy()
        note(f"delete {ids} {skipping} {dry}")
        done = await self.desk.bulk("Customer", "BulkDelete", {"target": {"ids": ids}, **skipping}, **dry)
        there = [i for i in ids if i in self.model.live]
        self.settle(done, [("DELETE", i, {}, {}) for i in there], set(ids) - set(there), skipping)

    async def restore(self, dry: Values) -> None:
        ids, skipping = self.some(), self.policy()
        note(f"restore {ids} {skipping} {dry}")
        done = await self.desk.bulk("Customer", "BulkRestore", {"ids": ids, **skipping}, **dry)
        there = [i for i in ids if i in self.model.gone]
        entries, failed = self.model.restore(there)
        self.settle(done, entries, failed | (set(ids) - set(there)), skipping)

    async def undo(self, dry: Values) -> None:
        found = self.draw(st.sampled_from(self.model.sets[-4:]))
        note(f"undo {self.model.sets.index(found)} {dry}")
        done = await self.desk.undo(found.id, **dry)
        if found.undone:
            assert codes(done) == ["CONFLICT"]
            assert done["changeSet"] is None
            return
        written, failed = self.model.undo(found)
        assert done["conflicts"] == len(failed) == len(done["userErrors"])
        assert sum(done["counts"].values()) == len(written)
        assert bool(done["changeSet"]) is bool(written)
        self.model.undone(found, (done["changeSet"] or {}).get("id", ""), written, failed)


async def play(desk: Desk, draw: Any) -> None:
    await empty(desk)
    game = Play(desk, draw)
    for _ in range(draw(st.integers(2, 12))):
        await game.step()
    await desk.demand_replay("Customer")


async def empty(desk: Desk) -> None:
    async with desk.database.connection(desk.workspace) as connection:
        await connection.execute("truncate customer, contact, opportunity, change, change_set cascade")


@FEW
@given(draw=st.data())
async def test_writes_and_undos_do_as_the_model(desk: Desk, draw: Any) -> None:
    await play(desk, draw.draw)


@pytest.mark.nightly
@MANY
@given(draw=st.data())
async def test_writes_and_undos_do_as_the_model_at_length(desk: Desk, draw: Any) -> None:
    await play(desk, draw.draw)


async def contacts(desk: Desk) -> dict[str, tuple[Any, ...]]:
    """The live contacts, of which each customer that has any must have one main one."""
    live = {str(i): r for i, r in (await desk.rows("Contact")).items() if r["deletedAt"] is None}
    mains = [r["customerId"] for r in live.values() if r["isMain"]]
    assert sorted(mains) == sorted({r["customerId"] for r in live.values()})
    return {i: (r["name"], r["title"], r["isMain"]) for i, r in live.items()}


async def move_contacts(desk: Desk, draw: Any) -> None:
    """Whatever is done to contacts, there is one main one; what was done last can be undone and redone exactly."""
    await empty(desk)
    parents = [(await desk.create("Customer", name=n, kind="PERSON"))["id"] for n in "xy"]
    flags = st.fixed_dictionaries({}, optional={"isMain": st.booleans(), "title": st.sampled_from(("a", "b"))})
    for _ in range(draw(st.integers(1, 8))):
        before = await contacts(desk)
        known = [str(i) for i in await desk.rows("Contact")]
        some = draw(st.lists(st.sampled_from(known), unique=True, min_size=1, max_size=4)) if known else []
        verb = draw(st.sampled_from(("BulkCreate", "BulkUpdate", "BulkDelete", "BulkRestore")))
        given_: Values = {"target": {"ids": some}}
        if verb == "BulkCreate" or not known:
            verb, given_ = "BulkCreate", {"records": []}
            for _ in range(draw(st.integers(1, 3))):
                parent = draw(st.sampled_from(parents))
                given_["records"].append({"customerId": parent, "name": "n", **draw(flags)})
        elif verb == "BulkUpdate":
            given_["set"] = draw(flags)
        elif verb == "BulkRestore":
            given_ = {"ids": some}
        note(f"{verb} {given_}")
        done = await desk.bulk("Contact", verb, {**given_, "errorPolicy": "SKIP_FAILED"})
        after = await contacts(desk)
        last = done["changeSet"]
        for expected in (before, after) * draw(st.integers(0, 2)) if last else ():
            undone = await desk.undo(last["id"])
            note(f"undo {undone}")
            assert (undone["conflicts"], await contacts(desk)) == (0, expected)
            last = undone["changeSet"]
    await desk.demand_replay("Customer", "Contact")


@FEW
@given(draw=st.data())
async def test_there_is_always_one_main_contact(desk: Desk, draw: Any) -> None:
    await move_contacts(desk, draw.draw)


@pytest.mark.nightly
@MANY
@given(draw=st.data())
async def test_there_is_always_one_main_contact_at_length(desk: Desk, draw: Any) -> None:
    await move_contacts(desk, draw.draw)


async def test_the_model_itself_notices(desk: Desk) -> None:
    """A write past the change path is found by the replay."""
    await empty(desk)
    made = await desk.create("Customer", name="x", kind="PERSON")
    await desk.demand_replay("Customer")
    await desk.fetch("update customer set level = 'z' where id = $1", UUID(made["id"]))
    with pytest.raises(AssertionError):
        await desk.demand_replay("Customer")
